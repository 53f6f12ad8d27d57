//! How many tokens a request is worth, and how that is written.
//!
//! Nothing is tokenised: four bytes are a token. What matters is that the
//! numbers follow from the request and that the cache behaves like a cache.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    ops::{Add, Sub},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const BYTES_PER_TOKEN: u64 = 4;

/// What marks the roles in a conversation, and is never cached.
const FRAME_TOKENS: u64 = 3;

/// Prefixes that the cache remembers, in place of a lifetime.
const MAX_CACHED_PREFIXES: usize = 10_000;

/// Tokens by the counters that are billed apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_write_5m_tokens: u64,
    pub cache_write_1h_tokens: u64,
}

/// The prompt cache: which prefixes have been sent before.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

/// A place that a client has marked with `cache_control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Breakpoint {
    /// Of everything up to here.
    bytes: u64,
    hash: u64,
    is_1h: bool,
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_sub)
    }
}

impl Usage {
    fn zip(self, other: Self, op: fn(u64, u64) -> u64) -> Self {
        Self {
            input_tokens: op(self.input_tokens, other.input_tokens),
            output_tokens: op(self.output_tokens, other.output_tokens),
            cache_read_tokens: op(self.cache_read_tokens, other.cache_read_tokens),
            cache_write_5m_tokens: op(self.cache_write_5m_tokens, other.cache_write_5m_tokens),
            cache_write_1h_tokens: op(self.cache_write_1h_tokens, other.cache_write_1h_tokens),
        }
    }

    /// The `usage` object of the API.
    pub(crate) fn to_json(self, with_split: bool) -> Value {
        let mut usage = json!({
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": self.cache_write_5m_tokens + self.cache_write_1h_tokens,
            "cache_read_input_tokens": self.cache_read_tokens,
            "output_tokens": self.output_tokens,
            "service_tier": "standard",
        });
        if with_split {
            usage["cache_creation"] = json!({
                "ephemeral_5m_input_tokens": self.cache_write_5m_tokens,
                "ephemeral_1h_input_tokens": self.cache_write_1h_tokens,
            });
        }
        usage
    }
}

/// Tokens of a text.
pub(crate) fn tokens_of(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

/// Tokens of everything that a model would read.
pub(crate) fn input_tokens(request: &Value) -> u64 {
    let bytes: usize = parts(request).map(|part| part.to_string().len()).sum();
    FRAME_TOKENS + tokens_of(bytes)
}

impl Cache {
    /// Counts a request's input and remembers its prefixes. As in the API, the
    /// longest known prefix is read, what follows up to the last breakpoint is
    /// written, and the rest is plain input.
    pub(crate) fn count(&mut self, request: &Value) -> Usage {
        let (breakpoints, total_bytes) = breakpoints(request);
        let mut usage = Usage::default();
        let mut counted_bytes = 0;
        if let Some(longest) = breakpoints
            .iter()
            .rev()
            .find(|b| self.known.contains(&b.hash))
        {
            usage.cache_read_tokens = longest.bytes / BYTES_PER_TOKEN;
            counted_bytes = longest.bytes;
        }
        for breakpoint in &breakpoints {
            if breakpoint.bytes > counted_bytes {
                let written = (breakpoint.bytes - counted_bytes) / BYTES_PER_TOKEN;
                if breakpoint.is_1h {
                    usage.cache_write_1h_tokens += written;
                } else {
                    usage.cache_write_5m_tokens += written;
                }
                counted_bytes = breakpoint.bytes;
            }
            self.remember(breakpoint.hash);
        }
        usage.input_tokens = FRAME_TOKENS + (total_bytes - counted_bytes).div_ceil(BYTES_PER_TOKEN);
        usage
    }

    fn remember(&mut self, hash: u64) {
        if !self.known.insert(hash) {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > MAX_CACHED_PREFIXES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// What a model reads, in the order in which prefixes are made: tools, system,
/// messages block by block.
fn parts(request: &Value) -> impl Iterator<Item = &Value> {
    let tools = items(&request["tools"]);
    let system = items(&request["system"]);
    let messages = items(&request["messages"]).flat_map(|message| items(&message["content"]));
    tools.chain(system).chain(messages)
}

/// The members of an array; anything else counts as its own only member.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    let members = match value {
        Value::Array(members) => members.as_slice(),
        Value::Null => &[],
        single => std::slice::from_ref(single),
    };
    members.iter()
}

fn breakpoints(request: &Value) -> (Vec<Breakpoint>, u64) {
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut hasher = DefaultHasher::new();
    request["model"].as_str().hash(&mut hasher);
    for part in parts(request) {
        // The marker moves from turn to turn; the prefix stays the same.
        let mut text = part.clone();
        if let Some(object) = text.as_object_mut() {
            object.remove("cache_control");
        }
        let text = text.to_string();
        bytes += text.len() as u64;
        text.hash(&mut hasher);
        let marker = &part["cache_control"];
        if marker.is_object() {
            found.push(Breakpoint {
                bytes,
                hash: hasher.finish(),
                is_1h: marker["ttl"] == "1h",
            });
        }
    }
    (found, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(question: &str, ttl: &str) -> Value {
        json!({
            "model": "claude-x",
            "system": [{"type": "text", "text": "s".repeat(400),
                "cache_control": {"type": "ephemeral", "ttl": ttl}}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": question,
                "cache_control": {"type": "ephemeral"}}]}],
        })
    }

    #[test]
    fn a_prefix_is_written_once_and_then_read() {
        let mut cache = Cache::default();
        let first = cache.count(&request("one", "1h"));
        assert!(first.cache_write_1h_tokens > 100, "{first:?}");
        assert!(first.cache_write_5m_tokens > 0, "{first:?}");
        assert_eq!(first.cache_read_tokens, 0);

        let second = cache.count(&request("another", "1h"));
        assert_eq!(second.cache_read_tokens, first.cache_write_1h_tokens);
        assert_eq!(second.cache_write_1h_tokens, 0);
        assert!(second.cache_write_5m_tokens > 0, "{second:?}");

        let third = cache.count(&request("another", "1h"));
        assert_eq!(third.cache_write_5m_tokens, 0);
        assert!(third.cache_read_tokens > second.cache_read_tokens);
    }

    #[test]
    fn without_markers_everything_is_input() {
        let request = json!({"model": "m", "messages": [{"role": "user", "content": "abcdef"}]});
        let usage = Cache::default().count(&request);
        assert_eq!(
            usage,
            Usage {
                input_tokens: FRAME_TOKENS + 2,
                ..Usage::default()
            }
        );
        assert_eq!(input_tokens(&request), usage.input_tokens);
    }
}
