//! Temperature and the like in the digits that the client said.
//!
//! The SDK keeps them in 32 bits and writes all digits of what these make of 0.7,
//! which is 0.699999988079071.

use std::ops::Range;

use memchr::{memchr, memmem};
use serde_json::Value;

/// Where the fractions stand. In a text its quotes would be escaped.
const CONFIG: &[u8] = b"\"inferenceConfig\":{";

/// What was said, by Converse's name for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Fractions(Vec<(&'static str, String)>);

impl Fractions {
    pub(super) fn keep(&mut self, name: &'static str, said: &Value) {
        self.0.push((name, said.to_string()));
    }

    /// The serialised request, before its documents are in it, with what was said.
    pub(super) fn write(&self, mut body: Vec<u8>) -> Vec<u8> {
        for (name, digits) in &self.0 {
            if let Some(place) = place(&body, name) {
                body.splice(place, digits.bytes());
            }
        }
        body
    }
}

fn place(body: &[u8], name: &str) -> Option<Range<usize>> {
    let start = memmem::find(body, CONFIG)? + CONFIG.len();
    let config = body.get(start..)?;
    // A stop sequence may hold a brace, and comes behind all numbers.
    let config = config.get(..=memchr(b'}', config)?)?;
    let member = format!("\"{name}\":");
    let from = memmem::find(config, member.as_bytes())? + member.len();
    let length = config
        .get(from..)?
        .iter()
        .position(|it| b",}".contains(it))?;
    Some(start + from..start + from + length)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_inference_configuration_is_written_anew() {
        let mut fractions = Fractions::default();
        fractions.keep("temperature", &json!(0.7));
        fractions.keep("topP", &json!(1));
        for (body, expected) in [
            (
                r#"{"inferenceConfig":{"maxTokens":3,"temperature":0.699999988079071,"topP":1.0,"stopSequences":["}"]},"x":{"temperature":2}}"#,
                r#"{"inferenceConfig":{"maxTokens":3,"temperature":0.7,"topP":1,"stopSequences":["}"]},"x":{"temperature":2}}"#,
            ),
            (
                r#"{"text":"\"inferenceConfig\":{\"temperature\":3}"}"#,
                r#"{"text":"\"inferenceConfig\":{\"temperature\":3}"}"#,
            ),
        ] {
            let written = fractions.write(body.as_bytes().to_vec());
            assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }
}
