//! The client's body, less what Bedrock is known to refuse.

use std::collections::BTreeSet;

use memchr::memmem;
use serde_json::{Map, Value, json};

use super::feature::{Feature, SYSTEM_ROLE, TOOL_REFERENCE};
use crate::upstream::members::Members;

/// A request of the Messages API as it may go to Bedrock: still in the client's
/// terms, whatever adapter carries it.
#[derive(Debug, Clone)]
pub struct Shaped {
    pub body: Members,
    /// Flags of `anthropic-beta`.
    pub betas: Vec<String>,
    /// What was there and is left out.
    pub left_out: BTreeSet<Feature>,
}

/// Members that hold cache markers.
const MARKED: [&str; 4] = ["system", "messages", "tools", "cache_control"];

/// Leaves `refused` out of a request, together with their other halves.
pub fn shape(body: &Members, betas: &[String], refused: &BTreeSet<Feature>) -> Shaped {
    let halves = refused.iter().flat_map(Feature::other_halves);
    let refused: BTreeSet<Feature> = refused.iter().cloned().chain(halves).collect();
    let mut shaped = Shaped {
        body: body.clone(),
        betas: betas.to_vec(),
        left_out: BTreeSet::new(),
    };
    for feature in refused {
        let was_there = match &feature {
            Feature::Beta(flag) => leave_beta_out(&mut shaped.betas, flag),
            Feature::Field { path, value } => {
                leave_field_out(&mut shaped.body, path, value.as_deref())
            }
        };
        if was_there {
            shaped.left_out.insert(feature);
        }
    }
    shaped
}

fn leave_beta_out(betas: &mut Vec<String>, flag: &str) -> bool {
    let before = betas.len();
    betas.retain(|it| it != flag);
    betas.len() < before
}

fn leave_field_out(body: &mut Members, path: &str, value: Option<&str>) -> bool {
    if path == SYSTEM_ROLE {
        return body.edit("messages", mentions("system"), fold_system_messages);
    }
    if path == TOOL_REFERENCE {
        return body.edit("messages", mentions(TOOL_REFERENCE), spell_references_out);
    }
    if let Some(member) = path.strip_prefix("cache_control.") {
        let mut was_there = false;
        for name in MARKED {
            was_there |= body.edit(name, mentions(member), |it| unmark(name, it, member, value));
        }
        return was_there;
    }
    let Some((first, rest)) = path.split_once('.') else {
        return match value {
            Some(value) if body.read::<&str>(path) != Some(value) => false,
            _ => body.remove(path),
        };
    };
    let rest: Vec<&str> = rest.split('.').collect();
    let last = rest.last().copied().unwrap_or_default();
    let changed = body.edit(first, mentions(last), |it| remove_at(it, &rest, value));
    if changed && body.get(first) == Some("{}") {
        body.remove(first);
    }
    changed
}

/// Whether a text has this name or value somewhere, in quotes.
fn mentions(name: &str) -> impl Fn(&str) -> bool {
    let quoted = format!("\"{name}\"");
    move |text| memmem::find(text.as_bytes(), quoted.as_bytes()).is_some()
}

/// Takes a member out wherever the path leads, through every list.
fn remove_at(value: &mut Value, path: &[&str], only: Option<&str>) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    match value {
        Value::Array(items) => {
            let mut was_there = false;
            for item in items {
                was_there |= remove_at(item, path, only);
            }
            was_there
        }
        // Between a position and a member stands the kind of the element:
        // `tools.0.custom.defer_loading`.
        Value::Object(members) if !members.contains_key(*first) => {
            is_of_kind(members, first) && remove_at(value, rest, only)
        }
        Value::Object(members) => match members.get_mut(*first) {
            Some(found) if !rest.is_empty() => remove_at(found, rest, only),
            Some(found) if only.is_some_and(|only| found.as_str() != Some(only)) => false,
            _ => members.shift_remove(*first).is_some(),
        },
        _ => false,
    }
}

fn is_of_kind(members: &serde_json::Map<String, Value>, kind: &str) -> bool {
    match members.get("type") {
        Some(it) => it.as_str() == Some(kind),
        None => kind == "custom",
    }
}

/// Takes a member out of every cache marker.
fn unmark(name: &str, value: &mut Value, member: &str, only: Option<&str>) -> bool {
    let mut was_there = false;
    match value {
        Value::Array(items) => {
            for item in items {
                was_there |= unmark("", item, member, only);
            }
        }
        Value::Object(members) if name == "cache_control" => {
            let found = members.get(member).and_then(Value::as_str);
            let is_meant = only.is_none() || found == only;
            was_there = is_meant && members.shift_remove(member).is_some();
        }
        Value::Object(members) => {
            for (name, value) in members {
                was_there |= unmark(name, value, member, only);
            }
        }
        _ => {}
    }
    was_there
}

/// Messages of the role `system` become part of the user's turn beside them: the
/// end of the one before, else the beginning of the one after, else one of their
/// own.
pub fn fold_system_messages(messages: &mut Value) -> bool {
    let Value::Array(list) = messages else {
        return false;
    };
    if !list.iter().any(|it| has_role(it, "system")) {
        return false;
    }
    let mut folded: Vec<Value> = Vec::with_capacity(list.len());
    let mut waiting: Vec<Value> = Vec::new();
    for mut message in std::mem::take(list) {
        if has_role(&message, "system") {
            let Some(reminder) = message.as_object().and_then(reminder) else {
                continue;
            };
            match folded.last_mut().filter(|it| has_role(it, "user")) {
                Some(before) => blocks(before).push(reminder),
                None => waiting.push(reminder),
            }
        } else {
            if has_role(&message, "user") && !waiting.is_empty() {
                let blocks = blocks(&mut message);
                // Results of tools stay first.
                let is_result = |it: &Value| it["type"] == "tool_result";
                let at = blocks.iter().rposition(is_result).map_or(0, |it| it + 1);
                blocks.splice(at..at, waiting.drain(..));
            } else if !waiting.is_empty() {
                folded.push(json!({"role": "user", "content": std::mem::take(&mut waiting)}));
            }
            folded.push(message);
        }
    }
    if !waiting.is_empty() {
        folded.push(json!({"role": "user", "content": waiting}));
    }
    *list = folded;
    true
}

fn has_role(message: &Value, role: &str) -> bool {
    message.get("role").and_then(Value::as_str) == Some(role)
}

/// A message of the role `system` as a block of a user's; none when it has no text.
/// The tag is the one under which Claude Code gives such texts itself.
pub fn reminder(message: &Map<String, Value>) -> Option<Value> {
    let mut texts: Vec<&str> = Vec::new();
    let mut marker = None;
    match message.get("content") {
        Some(Value::String(text)) => texts.push(text),
        Some(Value::Array(blocks)) => {
            for block in blocks {
                texts.extend(block.get("text").and_then(Value::as_str));
                marker = block.get("cache_control").or(marker);
            }
        }
        _ => {}
    }
    texts.retain(|it| !it.trim().is_empty());
    if texts.is_empty() {
        return None;
    }
    let mut text = texts.join("\n");
    if !text.starts_with("<system-reminder>") {
        text = format!("<system-reminder>\n{text}\n</system-reminder>");
    }
    let mut block = json!({"type": "text", "text": text});
    if let (Some(marker), Some(block)) = (marker, block.as_object_mut()) {
        block.insert("cache_control".to_owned(), marker.clone());
    }
    Some(block)
}

/// A message's content as the list of blocks that it stands for.
fn blocks(message: &mut Value) -> &mut Vec<Value> {
    let content = &mut message["content"];
    if let Value::String(text) = content {
        *content = if text.is_empty() {
            json!([])
        } else {
            json!([{"type": "text", "text": text}])
        };
    }
    if !content.is_array() {
        *content = json!([]);
    }
    match content {
        Value::Array(blocks) => blocks,
        _ => unreachable!("it was made a list"),
    }
}

/// References to tools become texts: every tool is in the list then.
fn spell_references_out(messages: &mut Value) -> bool {
    let mut was_there = false;
    match messages {
        Value::Array(items) => {
            for item in items {
                was_there |= spell_references_out(item);
            }
        }
        Value::Object(members) => {
            let is_reference = members.get("type").and_then(Value::as_str) == Some(TOOL_REFERENCE);
            if let (true, Some(name)) = (is_reference, members.get("tool_name")) {
                let text = format!("Tool available: {}", name.as_str().unwrap_or_default());
                *messages = json!({"type": "text", "text": text});
                return true;
            }
            if let Some(content) = members.get_mut("content") {
                was_there = spell_references_out(content);
            }
        }
        _ => {}
    }
    was_there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &Value, betas: &str, refused: &[&str], expected: &Value, left: &str) {
        let members: Members = serde_json::from_value(body.clone()).unwrap();
        let betas: Vec<String> = betas.split_whitespace().map(ToOwned::to_owned).collect();
        let refused = refused.iter().map(|it| it.parse().unwrap()).collect();
        let shaped = shape(&members, &betas, &refused);
        let written: Value =
            serde_json::from_str(&serde_json::to_string(&shaped.body).unwrap()).unwrap();
        assert_eq!(
            (&written, shaped.betas.join(" ")),
            (expected, left.to_owned())
        );
    }

    #[test]
    fn betas_and_fields_are_left_out_with_their_other_halves() {
        check(
            &json!({"context_management": {"edits": []}, "max_tokens": 1}),
            "context-management-2025-06-27 context-1m-2025-08-07",
            &["beta:context-management-2025-06-27"],
            &json!({"max_tokens": 1}),
            "context-1m-2025-08-07",
        );
        check(
            &json!({"output_config": {"effort": "high"}, "max_tokens": 1}),
            "effort-2025-11-24",
            &["field:output_config.effort"],
            &json!({"max_tokens": 1}),
            "",
        );
        check(
            &json!({"tools": [{"name": "a", "defer_loading": true}, {"name": "b"}],
                "messages": [{"role": "user", "content": [{"type": "tool_result", "content":
                    [{"type": "tool_reference", "tool_name": "a"}]}]}]}),
            "tool-search-tool-2025-10-19",
            &["beta:tool-search-tool-2025-10-19"],
            &json!({"tools": [{"name": "a"}, {"name": "b"}],
                "messages": [{"role": "user", "content": [{"type": "tool_result", "content":
                    [{"type": "text", "text": "Tool available: a"}]}]}]}),
            "",
        );
    }

    #[test]
    fn paths_lead_through_lists_and_kinds() {
        let body = json!({"messages": [
            {"role": "user", "content": "x", "output_config": {"effort": "low"}},
            {"role": "user", "content": [{"type": "thing", "extra": 1, "text": "extra"}]},
        ]});
        check(
            &body,
            "",
            &[
                "field:messages.output_config",
                "field:messages.content.thing.extra",
            ],
            &json!({"messages": [
                {"role": "user", "content": "x"},
                {"role": "user", "content": [{"type": "thing", "text": "extra"}]},
            ]}),
            "",
        );
        check(
            &json!({"output_config": {"effort": "xhigh", "format": 1}}),
            "",
            &["field:output_config.effort=xhigh"],
            &json!({"output_config": {"format": 1}}),
            "",
        );
        let high = json!({"output_config": {"effort": "high"}});
        check(&high, "", &["field:output_config.effort=xhigh"], &high, "");
    }

    #[test]
    fn cache_markers_lose_a_member_wherever_they_stand() {
        let marked = |marker: Value| {
            json!({
                "system": [{"type": "text", "text": "s", "cache_control": marker}],
                "messages": [{"role": "user", "content": [{"type": "tool_result", "content":
                    [{"type": "text", "text": "the \"scope\"", "cache_control": marker}]}]}],
                "tools": [{"name": "t", "cache_control": marker, "input_schema":
                    {"properties": {"scope": {"type": "string"}}}}],
                "cache_control": marker,
            })
        };
        check(
            &marked(json!({"type": "ephemeral", "ttl": "1h", "scope": "global"})),
            "prompt-caching-scope-2026-01-05",
            &["field:cache_control.scope"],
            &marked(json!({"type": "ephemeral", "ttl": "1h"})),
            "",
        );
    }

    #[test]
    fn system_messages_join_the_users_turn() {
        let text = |text: &str| json!({"type": "text", "text": text});
        let reminder = |it: &str| text(&format!("<system-reminder>\n{it}\n</system-reminder>"));
        let say = |role: &str, content: Value| json!({"role": role, "content": content});
        for (messages, expected) in [
            (
                json!([say("user", json!("a")), say("system", json!("s"))]),
                json!([say("user", json!([text("a"), reminder("s")]))]),
            ),
            (
                json!([
                    say("assistant", json!("a")),
                    say("system", json!([text("s"), text("t")])),
                    say("user", json!([text("u")]))
                ]),
                json!([
                    say("assistant", json!("a")),
                    say("user", json!([reminder("s\nt"), text("u")]))
                ]),
            ),
            (
                json!([say("system", json!("s")), say("assistant", json!("a"))]),
                json!([
                    say("user", json!([reminder("s")])),
                    say("assistant", json!("a"))
                ]),
            ),
        ] {
            check(
                &json!({"messages": messages}),
                "mid-conversation-tool-changes-2026-07-01",
                &["field:messages.role.system"],
                &json!({"messages": expected}),
                "",
            );
        }
    }

    #[test]
    fn what_is_not_refused_keeps_its_bytes() {
        let text = r#"{"messages": [{"role":"user",  "content":"system 1.0 \u00e9"}],"tools":[ ]}"#;
        let members: Members = serde_json::from_str(text).unwrap();
        let refused = [
            "field:messages.role.system",
            "field:cache_control.scope",
            "field:x.y",
        ];
        let refused = refused.iter().map(|it| it.parse().unwrap()).collect();
        let shaped = shape(&members, &[], &refused);
        assert!(shaped.left_out.is_empty());
        assert_eq!(shaped.body.get("messages"), members.get("messages"));
    }
}
