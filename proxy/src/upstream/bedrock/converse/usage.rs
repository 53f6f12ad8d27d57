//! Tokens, as the Messages API counts them.

use aws_sdk_bedrockruntime::types::{CacheTtl, TokenUsage};
use serde::Serialize;

/// `usage` of a message. Both sides count the tokens of the cache apart from those
/// of the input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Usage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation: Option<CacheCreation>,
    output_tokens: u64,
}

/// What was written, by how long it is kept. Absent when Bedrock does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct CacheCreation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

impl From<&TokenUsage> for Usage {
    fn from(usage: &TokenUsage) -> Self {
        let details = usage.cache_details();
        let mut creation = CacheCreation::default();
        for detail in details {
            match detail.ttl {
                CacheTtl::OneHour => {
                    creation.ephemeral_1h_input_tokens += count(detail.input_tokens)
                }
                _ => creation.ephemeral_5m_input_tokens += count(detail.input_tokens),
            }
        }
        Self {
            input_tokens: count(usage.input_tokens),
            cache_creation_input_tokens: usage.cache_write_input_tokens.map_or(
                creation.ephemeral_5m_input_tokens + creation.ephemeral_1h_input_tokens,
                count,
            ),
            cache_read_input_tokens: count(usage.cache_read_input_tokens.unwrap_or(0)),
            cache_creation: (!details.is_empty()).then_some(creation),
            output_tokens: count(usage.output_tokens),
        }
    }
}

fn count(tokens: i32) -> u64 {
    u64::try_from(tokens).unwrap_or(0)
}
