//! What is counted: the five disjoint counters of an answer's usage.
//!
//! [`meter`] finds them in an answer, [`estimate`] stands in where it states none,
//! [`outbox`] keeps the events until control has them.

pub mod estimate;
pub mod meter;
pub mod outbox;

use proto::sync::Tokens;
use serde::{Deserialize, Deserializer};

/// Usage as the Anthropic API states it, in full or in part. Missing and `null`
/// are the same. Every number is a running total of the whole answer.
///
/// Source: the Messages API reference, `usage` of `message`, `message_start` and
/// `message_delta`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Usage {
    #[serde(deserialize_with = "count")]
    input_tokens: Option<u64>,
    #[serde(deserialize_with = "count")]
    output_tokens: Option<u64>,
    #[serde(deserialize_with = "count")]
    cache_read_input_tokens: Option<u64>,
    /// Both classes of cache writes together.
    #[serde(deserialize_with = "count")]
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
}

/// Cache writes by how long they live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct CacheCreation {
    #[serde(deserialize_with = "count")]
    ephemeral_5m_input_tokens: Option<u64>,
    #[serde(deserialize_with = "count")]
    ephemeral_1h_input_tokens: Option<u64>,
}

/// No answer has more, and control stores no larger one.
const MAX_COUNT: u64 = 1_000_000_000_000;

/// A count, if it is one: what is written as `7.0` is 7, and what is none does not
/// void the counts beside it.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    let count = value.and_then(|value| value.as_u64().or_else(|| whole(value.as_f64()?)));
    Ok(count.filter(|it| *it <= MAX_COUNT))
}

fn whole(number: f64) -> Option<u64> {
    format!("{number:.0}").parse().ok()
}

/// How long the cache entries live that a request asks to write: what to assume
/// of writes whose class the answer does not state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheTtl {
    #[default]
    FiveMinutes,
    OneHour,
}

impl Usage {
    /// Whether no tokens are stated, which no answer goes without.
    pub fn is_nothing(&self) -> bool {
        let stated = [
            self.input_tokens,
            self.output_tokens,
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
        ];
        stated.iter().all(|it| it.unwrap_or(0) == 0)
    }

    /// Takes a later statement in. Since totals only grow, the larger number is
    /// the newer one: this is right when a number comes only at the beginning,
    /// only at the end, or at the beginning as zero.
    pub fn update(&mut self, later: &Self) {
        self.input_tokens = self.input_tokens.max(later.input_tokens);
        self.output_tokens = self.output_tokens.max(later.output_tokens);
        self.cache_read_input_tokens = self
            .cache_read_input_tokens
            .max(later.cache_read_input_tokens);
        self.cache_creation_input_tokens = self
            .cache_creation_input_tokens
            .max(later.cache_creation_input_tokens);
        if let Some(later) = &later.cache_creation {
            let split = self.cache_creation.get_or_insert_default();
            split.ephemeral_5m_input_tokens = split
                .ephemeral_5m_input_tokens
                .max(later.ephemeral_5m_input_tokens);
            split.ephemeral_1h_input_tokens = split
                .ephemeral_1h_input_tokens
                .max(later.ephemeral_1h_input_tokens);
        }
    }

    /// The counters. Writes that the answer counts in the sum but in no class
    /// are of the class that the request asked for.
    pub fn tokens(&self, requested: CacheTtl) -> Tokens {
        let split = self.cache_creation.unwrap_or_default();
        let mut five_minutes = split.ephemeral_5m_input_tokens.unwrap_or(0);
        let mut one_hour = split.ephemeral_1h_input_tokens.unwrap_or(0);
        let unclassified = self
            .cache_creation_input_tokens
            .unwrap_or(0)
            .saturating_sub(five_minutes.saturating_add(one_hour));
        match requested {
            CacheTtl::FiveMinutes => five_minutes = five_minutes.saturating_add(unclassified),
            CacheTtl::OneHour => one_hour = one_hour.saturating_add(unclassified),
        }
        Tokens {
            input_tokens: self.input_tokens.unwrap_or(0),
            output_tokens: self.output_tokens.unwrap_or(0),
            cache_read_tokens: self.cache_read_input_tokens.unwrap_or(0),
            cache_write_5m_tokens: five_minutes,
            cache_write_1h_tokens: one_hour,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(statements: &[&str], requested: CacheTtl, expected: [u64; 5]) {
        let mut usage = Usage::default();
        for statement in statements {
            usage.update(&serde_json::from_str(statement).unwrap());
        }
        let tokens = usage.tokens(requested);
        let counters = [
            tokens.input_tokens,
            tokens.output_tokens,
            tokens.cache_read_tokens,
            tokens.cache_write_5m_tokens,
            tokens.cache_write_1h_tokens,
        ];
        assert_eq!(counters, expected, "{statements:?}");
    }

    #[test]
    fn counters_follow_the_statements() {
        use CacheTtl::{FiveMinutes, OneHour};
        let start = r#"{"input_tokens":10,"output_tokens":1,"cache_read_input_tokens":5,
            "cache_creation_input_tokens":30,
            "cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}}"#;
        check(&[start], FiveMinutes, [10, 1, 5, 10, 20]);
        // A later total replaces the earlier one and is not added.
        check(
            &[start, r#"{"output_tokens":77}"#],
            FiveMinutes,
            [10, 77, 5, 10, 20],
        );
        // Zeros at the beginning, the truth at the end, and the reverse.
        let zeros = r#"{"input_tokens":0,"output_tokens":0}"#;
        check(&[zeros, start], FiveMinutes, [10, 1, 5, 10, 20]);
        check(&[start, zeros], FiveMinutes, [10, 1, 5, 10, 20]);
        // Only the sum of the cache writes.
        let sum = r#"{"input_tokens":1,"cache_creation_input_tokens":9,"cache_creation":null}"#;
        check(&[sum], FiveMinutes, [1, 0, 0, 9, 0]);
        check(&[sum], OneHour, [1, 0, 0, 0, 9]);
        // Classes without the sum, and a sum larger than its classes.
        let classes = r#"{"cache_creation":{"ephemeral_1h_input_tokens":4}}"#;
        check(&[classes], FiveMinutes, [0, 0, 0, 0, 4]);
        check(&[classes, sum], FiveMinutes, [1, 0, 0, 5, 4]);
        check(&["{}"], OneHour, [0; 5]);
        // What is no count does not void the others.
        let odd = r#"{"input_tokens":-1,"output_tokens":7.0,"cache_read_input_tokens":"x",
            "cache_creation":{"ephemeral_5m_input_tokens":{},"ephemeral_1h_input_tokens":2}}"#;
        check(&[odd], FiveMinutes, [0, 7, 0, 0, 2]);
        let large = r#"{"input_tokens":2000000000000,"output_tokens":1e300}"#;
        check(
            &[large, r#"{"output_tokens":9}"#],
            FiveMinutes,
            [0, 9, 0, 0, 0],
        );
    }
}
