//! Which failures move on to the next provider, which count for the circuit, and
//! which of two failures the client is told of. One table each, and pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, StatusCode, header};

use super::circuit::Failure;
use crate::error::{Error, Kind};

/// What follows from a failure of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Somebody else may do better.
    pub moves_on: bool,
    /// None: it says nothing about the plan's health.
    pub counts: Option<Failure>,
}

impl Verdict {
    /// Whether the plan will not answer before this time, as far as it has said.
    pub fn lasts_beyond(self, time: DateTime<Utc>) -> bool {
        match self.counts {
            Some(Failure::Limit { until }) => until.is_none_or(|it| it > time),
            Some(Failure::Ordinary { until }) => until.is_some_and(|it| it > time),
            None => false,
        }
    }
}

/// The client is at fault, or has to know: as it is.
const FINAL: Verdict = Verdict {
    moves_on: false,
    counts: None,
};

/// Not the plan's health, but no answer either.
const UNCOUNTED: Verdict = Verdict {
    moves_on: true,
    counts: None,
};

fn counted(failure: Failure) -> Verdict {
    Verdict {
        moves_on: true,
        counts: Some(failure),
    }
}

/// The plan has answered with an error status.
///
/// | status | moves on | counts |
/// |---|---|---|
/// | 429 of a limit that is used up | yes | opens at once, until its reset |
/// | 429 | yes | yes |
/// | 408 | yes | no |
/// | 5xx | yes | yes |
/// | everything else, as the client's own credential refused | no | no |
pub fn of_status(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Verdict {
    let until = retry_after(headers, now);
    match status {
        StatusCode::TOO_MANY_REQUESTS if is_used_up(headers) => {
            // Absent is earlier than any time.
            let until = until.max(reset(headers));
            counted(Failure::Limit { until })
        }
        StatusCode::REQUEST_TIMEOUT => UNCOUNTED,
        StatusCode::TOO_MANY_REQUESTS => counted(Failure::Ordinary { until }),
        status if status.is_server_error() => counted(Failure::Ordinary { until }),
        _ => FINAL,
    }
}

/// The plan could not be asked, or its answer broke before there was one.
pub fn of_kind(kind: Kind) -> Verdict {
    match kind {
        Kind::Connect | Kind::FirstByteTimeout | Kind::UpstreamBroken | Kind::IdleTimeout => {
            counted(Failure::Ordinary { until: None })
        }
        // The operator's to mend; the log says so.
        Kind::OperatorCredential => UNCOUNTED,
        _ => FINAL,
    }
}

/// Bedrock was asked first and failed: the plan is the last resort, unless it
/// would have to refuse the same.
pub fn of_bedrock(kind: Kind) -> Verdict {
    match kind {
        Kind::MalformedBody => FINAL,
        _ => UNCOUNTED,
    }
}

/// Whose failure the client is told of when both have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Plan,
    Bedrock,
}

/// The plan's answer is the truth, and the client knows what to do with it.
/// There are two exceptions. When Bedrock says that the prompt is too long, the
/// client can make it shorter. And when the plan will not answer for long, until
/// after `soon` by its own word, but Bedrock may, the client should try again.
pub fn more_useful(plan: Verdict, bedrock: &Error, soon: DateTime<Utc>) -> Told {
    let plan_is_out = plan.counts.is_none()
        || matches!(plan.counts, Some(Failure::Limit { .. }))
        || plan.lasts_beyond(soon);
    let is_too_long = |words: &str| words.starts_with("prompt is too long");
    let fits_shorter = bedrock.wording.as_deref().is_some_and(is_too_long);
    if fits_shorter || (plan_is_out && is_passing(bedrock.kind)) {
        Told::Bedrock
    } else {
        Told::Plan
    }
}

/// Whether the same request may well be answered in a moment.
fn is_passing(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::BedrockThrottled
            | Kind::BedrockOverloaded
            | Kind::BedrockInternal
            | Kind::BedrockTimeout
            | Kind::SealedBedrockKey
            | Kind::BudgetReserved
            | Kind::Connect
            | Kind::FirstByteTimeout
            | Kind::UpstreamBroken
            | Kind::IdleTimeout
    )
}

/// Whether this 429 is about a plan's own limit and not about this moment.
///
/// Source: the `anthropic-ratelimit-unified-*` headers, which the API sends to
/// users of a plan; `status` is `allowed`, `allowed_warning` or `rejected`.
fn is_used_up(headers: &HeaderMap) -> bool {
    match text(headers, "anthropic-ratelimit-unified-status") {
        Some(status) => status.eq_ignore_ascii_case("rejected"),
        None => headers.contains_key(UNIFIED_RESET),
    }
}

const UNIFIED_RESET: &str = "anthropic-ratelimit-unified-reset";

/// When the plan wants to be asked again.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let text = text(headers, header::RETRY_AFTER.as_str())?;
    let seconds = text.parse().ok().map(f64::ceil);
    let delta = seconds.and_then(|it| Duration::try_from_secs_f64(it).ok());
    let delta = delta.and_then(|it| TimeDelta::from_std(it).ok());
    let after = delta.and_then(|it| now.checked_add_signed(it));
    after.or_else(|| {
        DateTime::parse_from_rfc2822(text)
            .ok()
            .map(|it| it.to_utc())
    })
}

/// When a limit of the plan's is no longer used up.
fn reset(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let text = text(headers, UNIFIED_RESET)?;
    let seconds = text.parse().ok();
    let epoch = seconds.and_then(|it| DateTime::from_timestamp(it, 0));
    epoch.or_else(|| {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|it| it.to_utc())
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(NOW + seconds, 0).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, value.parse().unwrap())
        });
        pairs.collect()
    }

    fn ordinary(until: Option<i64>) -> Verdict {
        counted(Failure::Ordinary {
            until: until.map(at),
        })
    }

    fn limit(until: Option<i64>) -> Verdict {
        counted(Failure::Limit {
            until: until.map(at),
        })
    }

    #[test]
    fn a_status_moves_on_or_not_and_counts_or_not() {
        let reset = (NOW + 3600).to_string();
        let rejected = [
            ("anthropic-ratelimit-unified-status", "rejected"),
            (UNIFIED_RESET, reset.as_str()),
        ];
        let allowed = [
            ("anthropic-ratelimit-unified-status", "allowed_warning"),
            (UNIFIED_RESET, reset.as_str()),
        ];
        for (status, named, expected) in [
            (400, &[][..], FINAL),
            (401, &[], FINAL),
            (402, &[], FINAL),
            (403, &[], FINAL),
            (404, &[], FINAL),
            (408, &[], UNCOUNTED),
            (409, &[], FINAL),
            (413, &[], FINAL),
            (422, &[], FINAL),
            (301, &[], FINAL),
            (429, &[], ordinary(None)),
            (429, &[("retry-after", "7")], ordinary(Some(7))),
            (429, &rejected, limit(Some(3600))),
            (429, &rejected[1..], limit(Some(3600))),
            (429, &rejected[..1], limit(None)),
            (429, &allowed, ordinary(None)),
            (500, &[], ordinary(None)),
            (501, &[], ordinary(None)),
            (502, &[], ordinary(None)),
            (503, &[("retry-after", "5")], ordinary(Some(5))),
            (504, &[], ordinary(None)),
            (529, &[], ordinary(None)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let verdict = of_status(status, &headers(named), at(0));
            assert_eq!(verdict, expected, "{status} {named:?}");
        }
    }

    #[test]
    fn times_come_in_several_forms_and_the_later_one_counts_for_a_limit() {
        let reset = (NOW + 60).to_string();
        let date = "Mon, 21 Sep 2026 14:13:21 GMT";
        for (retry_after, reset, expected, of_limit) in [
            ("x", "", None, None),
            ("-1", "", None, None),
            ("1.5", "", Some(2), Some(2)),
            ("1e300", "", None, None),
            (date, "", Some(1), Some(1)),
            ("90", &*reset, Some(90), Some(90)),
            ("9", &*reset, Some(9), Some(60)),
            ("", "2026-09-21T14:13:25Z", None, Some(5)),
            ("", "soon", None, None),
        ] {
            let mut headers = headers(&[("retry-after", retry_after), (UNIFIED_RESET, reset)]);
            let found = of_status(StatusCode::BAD_GATEWAY, &headers, at(0));
            assert_eq!(found, ordinary(expected), "{retry_after} {reset}");
            let status = "anthropic-ratelimit-unified-status";
            headers.insert(status, "Rejected".parse().unwrap());
            let found = of_status(StatusCode::TOO_MANY_REQUESTS, &headers, at(0));
            assert_eq!(found, limit(of_limit), "{retry_after} {reset}");
        }
    }

    #[test]
    fn a_limit_lasts_longer_than_a_moment() {
        for (verdict, expected) in [
            (limit(None), true),
            (limit(Some(61)), true),
            (limit(Some(59)), false),
            (ordinary(None), false),
            (ordinary(Some(61)), true),
            (UNCOUNTED, false),
        ] {
            assert_eq!(verdict.lasts_beyond(at(60)), expected, "{verdict:?}");
        }
    }

    #[test]
    fn every_kind_has_a_verdict() {
        for kind in Kind::ALL {
            let verdict = of_kind(kind);
            let is_transport = matches!(
                kind,
                Kind::Connect | Kind::FirstByteTimeout | Kind::UpstreamBroken | Kind::IdleTimeout
            );
            assert_eq!(verdict.counts.is_some(), is_transport, "{kind:?}");
            let moves_on = is_transport || kind == Kind::OperatorCredential;
            assert_eq!(verdict.moves_on, moves_on, "{kind:?}");
        }
    }

    #[test]
    fn the_client_is_told_what_helps_it_most() {
        let error = |kind: Kind, words: &str| Error::from(kind).in_the_words(words);
        let too_long = error(
            Kind::BedrockInvalid,
            "prompt is too long: 250000 tokens > 200000 maximum",
        );
        let invalid = error(Kind::BedrockInvalid, "something is invalid");
        let throttled = Error::from(Kind::BedrockThrottled);
        let credential = Error::from(Kind::BedrockCredential);
        for (plan, bedrock, expected) in [
            (limit(None), &invalid, Told::Plan),
            (limit(None), &credential, Told::Plan),
            (limit(None), &throttled, Told::Bedrock),
            (limit(None), &too_long, Told::Bedrock),
            (ordinary(None), &invalid, Told::Plan),
            (ordinary(None), &throttled, Told::Plan),
            (ordinary(Some(60)), &throttled, Told::Plan),
            (ordinary(Some(61)), &throttled, Told::Bedrock),
            (ordinary(Some(61)), &invalid, Told::Plan),
            (ordinary(None), &too_long, Told::Bedrock),
            (UNCOUNTED, &throttled, Told::Bedrock),
            (UNCOUNTED, &credential, Told::Plan),
        ] {
            let told = more_useful(plan, bedrock, at(60));
            assert_eq!(told, expected, "{plan:?} {bedrock:?}");
        }
    }
}
