//! What a usable event is. Whatever passes here can be stored; whatever does not
//! never could.

use chrono::{DateTime, Datelike, SubsecRound, Utc};
use proto::{
    line,
    sync::{Outcome, Provider, UsageEvent},
};
use uuid::Uuid;

use crate::store::usage::{Charge, NewUsage};

/// No request has that many tokens or milliseconds, and sums of less cannot
/// overflow.
const MAX_COUNT: u64 = 1_000_000_000_000;

/// Why an event will never be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("event_id must be a UUID of 16 bytes")]
    EventId,
    #[error("started_at must be a time between the years 2000 and 9999")]
    StartedAt,
    #[error("{0} is larger than {MAX_COUNT}")]
    TooLarge(&'static str),
    #[error("status must be an HTTP status or 0")]
    Status,
}

/// As many as proxies send.
const MAX_SHORT_CHARS: usize = 256;

/// The row for an event, not priced yet.
///
/// What a newer proxy may have added is kept as unknown rather than refused:
/// usage is never lost for a label. So is an id that is no UUID.
///
/// # Errors
/// When the event has no identity or numbers that no request can have.
pub fn validate(event: &UsageEvent) -> Result<NewUsage, Unfit> {
    let event_id = Uuid::from_slice(&event.event_id).map_err(|_length| Unfit::EventId)?;
    if event_id.is_nil() {
        return Err(Unfit::EventId);
    }
    let tokens = event.tokens.unwrap_or_default();
    let provider = Provider::try_from(event.provider).unwrap_or_default();
    let outcome = Outcome::try_from(event.outcome).unwrap_or_default();
    Ok(NewUsage {
        event_id,
        request_id: text(&event.request_id),
        upstream_request_id: text(&event.upstream_request_id),
        access_key_id: event.access_key_id.parse().ok(),
        user_id: event.user_id.parse().ok(),
        started_at: started_at(event).ok_or(Unfit::StartedAt)?,
        duration_ms: count("duration_ms", event.duration_ms)?,
        first_byte_ms: event
            .first_byte_ms
            .map(|ms| count("first_byte_ms", ms))
            .transpose()?,
        provider: (provider != Provider::Unspecified).then(|| provider.label()),
        is_fallback: event.is_fallback,
        model: text(&event.model),
        upstream_model: text(&event.upstream_model),
        outcome: outcome.label(),
        status: status(event.status)?,
        is_streaming: event.is_streaming,
        input_tokens: count("input_tokens", tokens.input_tokens)?,
        output_tokens: count("output_tokens", tokens.output_tokens)?,
        cache_read_tokens: count("cache_read_tokens", tokens.cache_read_tokens)?,
        cache_write_5m_tokens: count("cache_write_5m_tokens", tokens.cache_write_5m_tokens)?,
        cache_write_1h_tokens: count("cache_write_1h_tokens", tokens.cache_write_1h_tokens)?,
        is_estimate: event.is_estimate,
        session_id: short(&event.session_id),
        agent_id: text(&event.agent_id),
        bedrock_model: text(&event.bedrock_model),
        bedrock_region: text(&event.bedrock_region),
        charge: Charge::default(),
    })
}

/// To the microsecond, which is what Postgres keeps: an event must be the same
/// when it comes again.
fn started_at(event: &UsageEvent) -> Option<DateTime<Utc>> {
    let time = line::time(event.started_at.as_ref()?)?.trunc_subsecs(6);
    (2000..=9999).contains(&time.year()).then_some(time)
}

fn count(field: &'static str, value: u64) -> Result<i64, Unfit> {
    if value > MAX_COUNT {
        return Err(Unfit::TooLarge(field));
    }
    i64::try_from(value).map_err(|_range| Unfit::TooLarge(field))
}

fn status(status: u32) -> Result<i32, Unfit> {
    match status {
        0 | 100..=999 => i32::try_from(status).map_err(|_range| Unfit::Status),
        _ => Err(Unfit::Status),
    }
}

/// Part of an index, whose entries have some 2 700 bytes at most.
fn short(long: &str) -> String {
    text(long).chars().take(MAX_SHORT_CHARS).collect()
}

/// Postgres takes every character but NUL.
fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use proto::sync::Tokens;

    use super::*;

    fn event() -> UsageEvent {
        UsageEvent {
            event_id: Uuid::from_u128(1).as_bytes().to_vec().into(),
            started_at: Some(prost_types::Timestamp {
                seconds: 1_790_000_000,
                nanos: 123_456_789,
            }),
            ..UsageEvent::default()
        }
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut UsageEvent), reason: Unfit) {
        let mut event = event();
        change(&mut event);
        assert_eq!(validate(&event), Err(reason));
    }

    #[test]
    fn an_event_with_identity_is_enough() {
        let row = validate(&event()).unwrap();
        assert_eq!(row.started_at.timestamp_subsec_nanos(), 123_456_000);
        assert_eq!(row.provider, None);
        assert_eq!(row.outcome, "unspecified");
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        refused(|e| e.event_id = vec![1; 15].into(), Unfit::EventId);
        refused(|e| e.event_id = vec![0; 16].into(), Unfit::EventId);
        refused(|e| e.started_at = None, Unfit::StartedAt);
        for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, 0), (1_790_000_000, -1)] {
            let timestamp = prost_types::Timestamp { seconds, nanos };
            refused(|e| e.started_at = Some(timestamp), Unfit::StartedAt);
        }
        refused(|e| e.status = 42, Unfit::Status);
        refused(|e| e.duration_ms = u64::MAX, Unfit::TooLarge("duration_ms"));
        refused(
            |e| {
                e.tokens = Some(Tokens {
                    cache_write_1h_tokens: MAX_COUNT + 1,
                    ..Tokens::default()
                });
            },
            Unfit::TooLarge("cache_write_1h_tokens"),
        );
    }

    #[test]
    fn what_a_newer_proxy_says_is_kept_as_unknown() {
        let row = validate(&UsageEvent {
            provider: 99,
            outcome: 99,
            access_key_id: "not a uuid".to_owned(),
            model: "a\0b".to_owned(),
            ..event()
        })
        .unwrap();
        assert_eq!(row.provider, None);
        assert_eq!(row.outcome, "unspecified");
        assert_eq!(row.access_key_id, None);
        assert_eq!(row.model, "a\u{fffd}b");
    }
}
