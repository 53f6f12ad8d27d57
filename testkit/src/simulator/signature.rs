//! Who has signed a thought: the blocks of one issuer are nothing to another.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use uuid::Uuid;

/// Which thoughts a simulator takes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Thoughts {
    /// All, whoever has signed them.
    #[default]
    Any,
    /// Its own only; a foreign signature is called invalid.
    Own,
    /// Its own only; a foreign signature is called missing.
    OwnOrMissing,
}

/// The signer of one simulator. Clones share what a test has said.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    prefix: &'static str,
    thoughts: Arc<Mutex<Thoughts>>,
}

impl Signer {
    /// Signs so that each signature begins with `prefix`.
    pub(crate) fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            thoughts: Arc::default(),
        }
    }

    pub(crate) fn take(&self, thoughts: Thoughts) {
        *self.thoughts.lock().unwrap_or_else(PoisonError::into_inner) = thoughts;
    }

    pub(crate) fn signature(&self) -> String {
        let (one, other) = (Uuid::new_v4().simple(), Uuid::new_v4().simple());
        format!("{}{one}{other}==", self.prefix)
    }

    /// Looks at the thoughts in a conversation. An error is the message of a 400.
    pub(crate) fn check(&self, body: &Value) -> Result<(), String> {
        let thoughts = *self.thoughts.lock().unwrap_or_else(PoisonError::into_inner);
        if thoughts == Thoughts::Any {
            return Ok(());
        }
        let messages = body["messages"].as_array().into_iter().flatten();
        for (turn, message) in messages.enumerate() {
            let blocks = message["content"].as_array().into_iter().flatten();
            for (index, block) in blocks.enumerate() {
                let at = format!("messages.{turn}.content.{index}");
                self.check_block(&at, block, thoughts)?;
            }
        }
        Ok(())
    }

    fn check_block(&self, at: &str, block: &Value, thoughts: Thoughts) -> Result<(), String> {
        let (kind, field) = match block["type"].as_str() {
            Some("thinking") => ("thinking", "signature"),
            Some("redacted_thinking") => ("redacted_thinking", "data"),
            _ => return Ok(()),
        };
        match block[field].as_str() {
            Some(signature) if signature.starts_with(self.prefix) => Ok(()),
            Some(_) if thoughts == Thoughts::Own => {
                Err(format!("{at}: Invalid `{field}` in `{kind}` block"))
            }
            _ => Err(format!("{at}.{kind}.{field}: Field required")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn foreign_thoughts_are_refused_when_a_test_wants_it() {
        let (own, other) = (Signer::new("Eq"), Signer::new("Es"));
        let thinking =
            |signature: &str| json!({"type": "thinking", "thinking": "…", "signature": signature});
        let of = |block: Value| {
            json!({"messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [block]},
            ]})
        };
        let foreign = of(thinking(&other.signature()));
        assert_eq!(own.check(&foreign), Ok(()));
        own.take(Thoughts::Own);
        assert_eq!(own.check(&of(thinking(&own.signature()))), Ok(()));
        let cases = [
            (
                Thoughts::Own,
                foreign.clone(),
                "messages.1.content.0: Invalid `signature` in `thinking` block",
            ),
            (
                Thoughts::Own,
                of(json!({"type": "redacted_thinking", "data": "x"})),
                "messages.1.content.0: Invalid `data` in `redacted_thinking` block",
            ),
            (
                Thoughts::Own,
                of(json!({"type": "thinking", "thinking": "…"})),
                "messages.1.content.0.thinking.signature: Field required",
            ),
            (
                Thoughts::OwnOrMissing,
                foreign,
                "messages.1.content.0.thinking.signature: Field required",
            ),
        ];
        for (thoughts, body, expected) in cases {
            own.take(thoughts);
            assert_eq!(own.check(&body), Err(expected.to_owned()));
        }
    }
}
