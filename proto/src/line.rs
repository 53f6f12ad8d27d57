//! The canonical log line: one per request, at its end, whatever the end.
//!
//! It is one JSON object on one line and carries everything that a usage event
//! does, so that what a killed proxy had not delivered can be put back from its
//! log. Absent fields are left out.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::sync::{CircuitCause, CircuitState, Outcome, Provider, Tokens, UsageEvent};

/// The line's `message`: what to search for in a log that holds other lines too.
pub const MESSAGE: &str = "request";

/// One request, as it is logged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line<'a> {
    pub timestamp: DateTime<Utc>,
    pub level: Cow<'a, str>,
    pub message: Cow<'a, str>,
    /// Present exactly when the request is metered; the fields of the event
    /// that have no value otherwise are absent too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Uuid>,
    pub request_id: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub upstream_request_id: Cow<'a, str>,
    /// What was asked for: `messages`, `count_tokens`, `models`, `probe`, …
    pub endpoint: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub access_key_id: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub user_id: Cow<'a, str>,
    pub started_at: DateTime<Utc>,
    pub duration_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Cow<'a, str>>,
    #[serde(default)]
    pub is_fallback: bool,
    /// Who was asked and what each said, such as `plan:529, bedrock:200`; absent
    /// where the first one has answered.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub route: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub model: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub upstream_model: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub bedrock_model: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub bedrock_region: Cow<'a, str>,
    pub outcome: Cow<'a, str>,
    pub status: u32,
    #[serde(default)]
    pub is_streaming: bool,
    #[serde(default)]
    pub input_tokens: u64,
    #[serde(default)]
    pub output_tokens: u64,
    #[serde(default)]
    pub cache_read_tokens: u64,
    #[serde(default)]
    pub cache_write_5m_tokens: u64,
    #[serde(default)]
    pub cache_write_1h_tokens: u64,
    #[serde(default)]
    pub is_estimate: bool,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub session_id: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub agent_id: Cow<'a, str>,
    /// Why it did not end well: the chain of causes, without any secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, str>>,
}

impl Line<'_> {
    /// The usage event that was pushed, or would have been, for this request.
    /// None for requests that are not metered.
    pub fn event(&self) -> Option<UsageEvent> {
        let event_id = self.event_id?;
        Some(UsageEvent {
            event_id: event_id.as_bytes().to_vec().into(),
            request_id: self.request_id.to_string(),
            upstream_request_id: self.upstream_request_id.to_string(),
            access_key_id: self.access_key_id.to_string(),
            user_id: self.user_id.to_string(),
            started_at: Some(timestamp(self.started_at)),
            duration_ms: self.duration_ms,
            first_byte_ms: self.first_byte_ms,
            provider: self
                .provider
                .as_deref()
                .and_then(Provider::from_label)
                .unwrap_or_default()
                .into(),
            is_fallback: self.is_fallback,
            model: self.model.to_string(),
            upstream_model: self.upstream_model.to_string(),
            outcome: Outcome::from_label(&self.outcome)
                .unwrap_or_default()
                .into(),
            status: self.status,
            is_streaming: self.is_streaming,
            tokens: Some(Tokens {
                input_tokens: self.input_tokens,
                output_tokens: self.output_tokens,
                cache_read_tokens: self.cache_read_tokens,
                cache_write_5m_tokens: self.cache_write_5m_tokens,
                cache_write_1h_tokens: self.cache_write_1h_tokens,
            }),
            session_id: self.session_id.to_string(),
            agent_id: self.agent_id.to_string(),
            is_estimate: self.is_estimate,
            bedrock_model: self.bedrock_model.to_string(),
            bedrock_region: self.bedrock_region.to_string(),
        })
    }
}

/// A time as protobuf carries it.
pub fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos: time.timestamp_subsec_nanos().try_into().unwrap_or(0),
    }
}

/// The reverse of [`timestamp`]; none when the message is out of range.
pub fn time(timestamp: &prost_types::Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(timestamp.seconds, timestamp.nanos.try_into().ok()?)
}

/// One name everywhere: JSON, Postgres, metrics and logs.
macro_rules! labels {
    ($kind:ident { $($variant:ident = $label:literal),* $(,)? }) => {
        impl $kind {
            /// The name in JSON, Postgres, metrics and logs.
            pub fn label(self) -> &'static str {
                match self {
                    Self::Unspecified => "unspecified",
                    $(Self::$variant => $label),*
                }
            }

            /// None for a name that is not one of the labels.
            pub fn from_label(label: &str) -> Option<Self> {
                match label {
                    $($label => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

labels!(Provider { Plan = "plan", Bedrock = "bedrock" });
labels!(Outcome {
    Complete = "complete",
    ClientCancelled = "client_cancelled",
    UpstreamFailed = "upstream_failed",
    Refused = "refused",
    Terminated = "terminated",
});
labels!(CircuitState { Open = "open", HalfOpen = "half_open" });
labels!(CircuitCause {
    Failures = "failures",
    UsageLimit = "usage_limit",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_survives_the_log() {
        let started_at = DateTime::from_timestamp_micros(1_790_000_000_123_456).unwrap();
        let line = Line {
            timestamp: started_at,
            level: "info".into(),
            message: MESSAGE.into(),
            event_id: Some(Uuid::from_u128(7)),
            request_id: "req_1".into(),
            upstream_request_id: "req_up".into(),
            endpoint: "messages".into(),
            access_key_id: "a".into(),
            user_id: "u".into(),
            started_at,
            duration_ms: 12,
            first_byte_ms: Some(3),
            provider: Some("plan".into()),
            is_fallback: false,
            route: "plan:200".into(),
            model: "claude \"x\"\n".into(),
            upstream_model: "claude-x-1".into(),
            bedrock_model: "global.anthropic.claude-x-1".into(),
            bedrock_region: "eu-west-1".into(),
            outcome: "client_cancelled".into(),
            status: 200,
            is_streaming: true,
            input_tokens: 1,
            output_tokens: 2,
            cache_read_tokens: 3,
            cache_write_5m_tokens: 4,
            cache_write_1h_tokens: u64::MAX,
            session_id: "s".into(),
            agent_id: String::new().into(),
            is_estimate: true,
            error: None,
        };
        let text = serde_json::to_string(&line).unwrap();
        assert!(!text.contains('\n'));
        let back: Line<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(back, line);
        assert_eq!(back.event(), line.event());
        let event = back.event().unwrap();
        assert_eq!(event.provider(), Provider::Plan);
        assert_eq!(event.outcome(), Outcome::ClientCancelled);
        assert_eq!(time(&event.started_at.unwrap()), Some(started_at));
    }

    #[test]
    fn a_request_that_is_not_metered_has_no_event() {
        let text = r#"{"timestamp":"2026-11-20T00:00:00Z","level":"info","message":"request",
            "request_id":"req_1","endpoint":"probe","started_at":"2026-11-20T00:00:00Z",
            "duration_ms":0,"outcome":"refused","status":200}"#;
        let line: Line<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(line.event(), None);
    }
}
