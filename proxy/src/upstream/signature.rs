//! Thinking that somebody else has signed.
//!
//! Signatures go back as they came. Where the provider has changed within a
//! session, the new one may refuse those of the old; then the blocks that it
//! refuses become plain text, and stay so for the rest of the session. It is the
//! one case in which a body for the plan is not the client's, byte for byte:
//! otherwise the session would be refused for ever.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::LazyLock,
    time::Duration,
};

use bytes::Bytes;
use moka::sync::Cache;
use proto::sync::Provider;
use regex::Regex;
use serde_json::{Value, json};

use super::members::Members;

/// Blocks that are remembered; the oldest are forgotten, and refused once more.
const CAPACITY: u64 = 100_000;

/// A session that rests longer pays once more.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// A block: which message, which block of it.
type Place = (usize, usize);

/// A refused signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Complaint {
    /// None when the words do not say which.
    place: Option<Place>,
}

/// Which blocks become text, from the fewest to all: a refusal names one block
/// only, but seldom is it the only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demotion {
    Named(Place),
    UpTo(Place),
    All,
}

/// The blocks that were refused, and the sessions in which that may happen.
#[derive(Debug)]
pub struct Signatures {
    /// Blocks, and the sessions that they are from: no other body is taken apart
    /// to look for them.
    refused: Cache<u64, ()>,
    /// Sessions that Bedrock has answered.
    switched: Cache<u64, ()>,
}

/// Whose conversation, with whom.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Session<'a> {
    /// `x-claude-code-session-id`; empty when the client named none.
    id: &'a str,
    provider: &'static str,
}

impl<'a> Session<'a> {
    pub fn new(id: &'a str, provider: Provider) -> Self {
        Self {
            id,
            provider: provider.label(),
        }
    }
}

impl Default for Signatures {
    fn default() -> Self {
        let cache = || Cache::builder().max_capacity(CAPACITY).time_to_idle(KEPT);
        Self {
            refused: cache().build(),
            switched: cache().build(),
        }
    }
}

impl Complaint {
    /// ``messages.1.content.0: Invalid `signature` in `thinking` block``,
    /// `messages.1.content.0.thinking.signature: Field required`.
    pub fn of(words: &str) -> Option<Self> {
        static SIGNATURE: LazyLock<Option<Regex>> = LazyLock::new(|| {
            Regex::new(
                r"(?i)signature.{0,40}(thinking|field required)|invalid .?data.? in .?redacted_thinking|thinking.{0,3} blocks?.{0,80}cannot be modified",
            )
            .ok()
        });
        static PLACE: LazyLock<Option<Regex>> =
            LazyLock::new(|| Regex::new(r"messages\.(\d+)\.content\.(\d+)").ok());
        if !SIGNATURE.as_ref()?.is_match(words) {
            return None;
        }
        let place = PLACE.as_ref().and_then(|it| it.captures(words));
        let number = |found: &regex::Captures<'_>, at| found.get(at)?.as_str().parse().ok();
        let place = place.and_then(|found| Some((number(&found, 1)?, number(&found, 2)?)));
        Some(Self { place })
    }

    /// What to try, one after the other, from the step on that `next` stands at. A
    /// step may find nothing: what was sent need not have the client's positions.
    pub fn demotions(self, next: &mut usize) -> impl Iterator<Item = Demotion> {
        std::iter::from_fn(move || {
            let demotion = match (self.place, *next) {
                (Some(place), 0) => Demotion::Named(place),
                (Some(place), 1) => Demotion::UpTo(place),
                (_, ..=2) => {
                    *next = 2;
                    Demotion::All
                }
                _ => return None,
            };
            *next += 1;
            Some(demotion)
        })
    }
}

impl Demotion {
    fn covers(self, place: Place) -> bool {
        match self {
            Self::Named(named) => place == named,
            Self::UpTo(last) => place <= last,
            Self::All => true,
        }
    }
}

impl Signatures {
    /// Turns the blocks into text, and remembers them for the session.
    pub fn demote(&self, session: Session<'_>, body: &mut Members, demotion: Demotion) -> bool {
        demote(body, |place, block| {
            let is_meant = demotion.covers(place);
            if is_meant {
                self.refused.insert(key(session, block), ());
                self.refused.insert(hash(session), ());
            }
            is_meant
        })
    }

    /// From now on the plan may be asked about what Bedrock has signed.
    pub fn served_by_bedrock(&self, session_id: &str) {
        self.switched.insert(hash(session_id), ());
    }

    /// Whether the plan may be asked about what Bedrock has signed.
    pub fn may_be_foreign_to_the_plan(&self, session_id: &str) -> bool {
        self.switched.contains_key(&hash(session_id))
    }

    /// The same for a body as bytes; none when there is nothing to change.
    pub fn without(&self, session: Session<'_>, body: &Bytes, demotion: Demotion) -> Option<Bytes> {
        let mut members: Members = serde_json::from_slice(body).ok()?;
        let changed = self.demote(session, &mut members, demotion);
        written(&members).filter(|_| changed)
    }

    /// A body without the blocks that were refused before; none when it has none
    /// of them.
    pub fn without_known(&self, session: Session<'_>, body: &Bytes) -> Option<Bytes> {
        if !self.is_affected(session) {
            return None;
        }
        let mut members: Members = serde_json::from_slice(body).ok()?;
        let changed = self.demote_known(session, &mut members);
        written(&members).filter(|_| changed)
    }

    fn is_affected(&self, session: Session<'_>) -> bool {
        self.refused.contains_key(&hash(session))
    }

    /// Turns those blocks into text that were refused before.
    pub fn demote_known(&self, session: Session<'_>, body: &mut Members) -> bool {
        self.is_affected(session)
            && demote(body, |_, block| {
                self.refused.contains_key(&key(session, block))
            })
    }
}

fn written(members: &Members) -> Option<Bytes> {
    serde_json::to_vec(members).ok().map(Bytes::from)
}

fn key(session: Session<'_>, block: &Value) -> u64 {
    let parts = ["signature", "data", "thinking"];
    hash((
        session,
        parts.map(|it| block.get(it).and_then(Value::as_str)),
    ))
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn demote(body: &mut Members, mut is_meant: impl FnMut(Place, &Value) -> bool) -> bool {
    let mut is_last_turn = false;
    let changed = body.edit(
        "messages",
        |text| memchr::memmem::find(text.as_bytes(), b"thinking\"").is_some(),
        |messages| {
            let Value::Array(messages) = messages else {
                return false;
            };
            let last = messages.iter().rposition(is_assistants);
            let mut changed = false;
            for (at, message) in messages.iter_mut().enumerate() {
                if demote_in(message, |block_at, block| is_meant((at, block_at), block)) {
                    changed = true;
                    is_last_turn |= last == Some(at);
                }
            }
            changed
        },
    );
    if is_last_turn {
        leave_thinking_out(body);
    }
    changed
}

fn is_assistants(message: &Value) -> bool {
    text(message, "role") == Some("assistant")
}

fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

fn demote_in(message: &mut Value, mut is_meant: impl FnMut(usize, &Value) -> bool) -> bool {
    if !is_assistants(message) {
        return false;
    }
    let Some(Value::Array(blocks)) = message.get_mut("content") else {
        return false;
    };
    let mut changed = false;
    let mut kept = Vec::with_capacity(blocks.len());
    for (at, block) in std::mem::take(blocks).into_iter().enumerate() {
        let is_thinking = matches!(text(&block, "type"), Some("thinking" | "redacted_thinking"));
        if !is_thinking || !is_meant(at, &block) {
            kept.push(block);
            continue;
        }
        changed = true;
        // Without words, or with words that nobody can read, nothing is left.
        if let Some(text) = text(&block, "thinking").filter(|it| !it.trim().is_empty()) {
            kept.push(json!({"type": "text", "text": text}));
        }
    }
    if kept.is_empty() {
        kept.push(json!({"type": "text", "text": "(no content)"}));
    }
    *blocks = kept;
    changed
}

/// With a budget for thinking, the turn that goes on must begin with thinking.
/// When that has become text, this request does without.
fn leave_thinking_out(body: &mut Members) {
    let thinking: Option<Value> = body.read("thinking");
    if thinking.is_some_and(|it| text(&it, "type") == Some("enabled")) {
        body.remove("thinking");
        // Its edits are about thinking, and refused without it.
        body.edit(
            "context_management",
            |text| text.contains("clear_thinking"),
            |value| {
                let edits = value.get_mut("edits").and_then(Value::as_array_mut);
                edits.is_some_and(|edits| {
                    let before = edits.len();
                    edits.retain(|it| {
                        !text(it, "type").is_some_and(|it| it.starts_with("clear_thinking"))
                    });
                    edits.len() < before
                })
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Session<'_> = Session {
        id: "s",
        provider: "bedrock",
    };
    const ANOTHER: Session<'_> = Session {
        id: "s",
        provider: "plan",
    };

    #[test]
    fn complaints_about_signatures_are_told_from_others() {
        for (words, expected) in [
            (
                "messages.1.content.0: Invalid `signature` in `thinking` block",
                Some(Some((1, 0))),
            ),
            (
                "messages.12.content.3.thinking.signature: Field required",
                Some(Some((12, 3))),
            ),
            (
                "The model returned the following errors: messages.1.content.0: Invalid `data` in `redacted_thinking` block",
                Some(Some((1, 0))),
            ),
            ("Invalid signature in thinking block", Some(None)),
            (
                "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified.",
                Some(Some((1, 0))),
            ),
            ("messages.1.content.0: Extra inputs are not permitted", None),
            (
                "The request signature we calculated does not match the signature you provided.",
                None,
            ),
            ("", None),
        ] {
            assert_eq!(Complaint::of(words).map(|it| it.place), expected, "{words}");
        }
    }

    fn conversation() -> Members {
        let body = json!({
            "thinking": {"type": "adaptive"},
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "foreign", "signature": "f1"},
                    {"type": "redacted_thinking", "data": "f2"},
                    {"type": "text", "text": "b"},
                ]},
                {"role": "user", "content": "c"},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "own", "signature": "o"},
                    {"type": "tool_use", "id": "t", "name": "n", "input": {}},
                ]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
            ],
        });
        serde_json::from_value(body).unwrap()
    }

    fn kinds(body: &Members) -> Vec<String> {
        let messages: Vec<Value> = body.read("messages").unwrap();
        let assistant = messages.iter().filter(|it| it["role"] == "assistant");
        let blocks = assistant.flat_map(|it| it["content"].as_array().unwrap());
        blocks
            .map(|it| it["type"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_named_block_first_then_those_before_it_then_all() {
        let complaint = Complaint::of("messages.1.content.1: Invalid signature in thinking block");
        for (refusals, expected) in [
            (0, "thinking text thinking tool_use"),
            (1, "text text thinking tool_use"),
            (2, "text text text tool_use"),
        ] {
            let mut body = conversation();
            let mut next = refusals;
            let demotion = complaint.unwrap().demotions(&mut next).next().unwrap();
            assert!(Signatures::default().demote(SESSION, &mut body, demotion));
            assert_eq!(kinds(&body).join(" "), expected);
        }
    }

    #[test]
    fn what_was_refused_is_remembered_for_its_session() {
        let refused = Signatures::default();
        assert!(!refused.demote_known(SESSION, &mut conversation()));
        refused.demote(SESSION, &mut conversation(), Demotion::UpTo((1, 1)));
        let mut again = conversation();
        assert!(refused.demote_known(SESSION, &mut again));
        assert_eq!(kinds(&again).join(" "), "text text thinking tool_use");
        assert!(!refused.demote_known(ANOTHER, &mut conversation()));
    }

    #[test]
    fn a_turn_that_cannot_begin_with_thinking_does_without() {
        let mut body = conversation();
        body.set(
            "thinking",
            &json!({"type": "enabled", "budget_tokens": 1024}),
        )
        .unwrap();
        let edits = json!({"edits": [{"type": "clear_thinking_20251015"}, {"type": "other"}]});
        body.set("context_management", &edits).unwrap();
        Signatures::default().demote(SESSION, &mut body, Demotion::All);
        assert_eq!(body.get("thinking"), None);
        assert_eq!(
            body.get("context_management"),
            Some(r#"{"edits":[{"type":"other"}]}"#)
        );
    }
}
