//! What proxies have learned of Bedrock, from their reports: looked at, bounded,
//! and kept, so that all proxies know it.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use proto::{region, sync};

use crate::{
    store::{
        self,
        model_capabilities::{self, Learned, Lesson},
    },
    telemetry::metrics,
};

/// After a while it is tried again: Bedrock learns too.
const KEPT_FOR: TimeDelta = TimeDelta::days(7);

/// Every proxy holds all of them.
const MAX_LEARNED: i64 = 2_000;

/// What a report may carry; the protocol says so.
const MAX_LESSONS: usize = 100;

const MAX_CHARS: usize = 256;

/// Keeps what can be used, and counts the rest.
///
/// # Errors
/// When the database fails; nothing is kept then.
pub async fn learn(
    connection: &mut AsyncPgConnection,
    reported: &[sync::Lesson],
) -> store::Result<()> {
    if reported.is_empty() {
        return Ok(());
    }
    let taken = reported.iter().take(MAX_LESSONS);
    let usable: Vec<Lesson> = taken.filter_map(usable).collect();
    let unusable = reported.len() - usable.len();
    let lessons: BTreeSet<Lesson> = usable.into_iter().collect();
    let lessons: Vec<Lesson> = lessons.into_iter().collect();
    let Learned {
        new,
        known,
        ignored,
    } = connection
        .transaction(async |connection| {
            model_capabilities::learn(connection, &lessons, KEPT_FOR, MAX_LEARNED).await
        })
        .await?;
    let ignored = ignored + unusable;
    metrics::lessons(new as u64, known as u64, ignored as u64);
    if new > 0 {
        tracing::info!(new, known, "model_capabilities.learned");
    }
    if ignored > 0 {
        tracing::warn!(ignored, "model_capabilities.ignored");
    }
    Ok(())
}

/// None for what no proxy of ours would report.
fn usable(lesson: &sync::Lesson) -> Option<Lesson> {
    let is_model = is_text(&lesson.model) && lesson.model != "*";
    (region::is_well_formed(&lesson.region) && is_model && is_feature(&lesson.feature)).then(|| {
        Lesson {
            region: lesson.region.clone(),
            model: lesson.model.clone(),
            feature: lesson.feature.clone(),
        }
    })
}

fn is_feature(feature: &str) -> bool {
    let is_word = |word: &str, also: &[u8]| {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || also.contains(&byte);
        !word.is_empty() && word.bytes().all(is_fit)
    };
    feature.len() <= MAX_CHARS
        && match feature.split_once(':') {
            Some(("beta", flag)) => is_word(flag, b"-_."),
            Some(("field", path)) => {
                // Perhaps only one value of the member is refused.
                let (path, value) = path.split_once('=').unwrap_or((path, "any"));
                let is_member = |member| is_word(member, b"-_");
                path.split('.').all(is_member) && is_word(value, b"-_.")
            }
            _ => false,
        }
}

fn is_text(text: &str) -> bool {
    (1..=MAX_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_have_a_shape() {
        for (feature, expected) in [
            ("beta:fast-mode-2026-02-01", true),
            ("field:context_management", true),
            ("field:tools.defer_loading", true),
            ("field:messages.role.system", true),
            ("field:output_config.effort=xhigh", true),
            ("field:output_config.effort=", false),
            ("beta:", false),
            ("field:", false),
            ("field:a..b", false),
            ("field:.a", false),
            ("field:a b", false),
            ("beta:a,b", false),
            ("beta:*", false),
            ("tool:a", false),
            ("context_management", false),
            ("", false),
            (&format!("beta:{}", "x".repeat(252)), false),
        ] {
            assert_eq!(is_feature(feature), expected, "{feature}");
        }
    }

    #[test]
    fn a_lesson_is_about_one_region_and_one_model() {
        let lesson = |region: &str, model: &str| sync::Lesson {
            region: region.to_owned(),
            model: model.to_owned(),
            feature: "beta:a".to_owned(),
        };
        assert!(usable(&lesson("eu-west-1", "global.anthropic.a")).is_some());
        for (region, model) in [
            ("*", "a"),
            ("eu-west-1", "*"),
            ("eu-west-1", ""),
            ("eu-west-1", "a b"),
            ("eu-west-1", &"a".repeat(257)),
            ("nowhere", "a"),
        ] {
            assert_eq!(usable(&lesson(region, model)), None, "{region} {model}");
        }
    }
}
