//! What clients send, made of nothing: small, or like Claude Code.

use std::fmt::Write;

use serde_json::json;

/// Below this there is no room for tools and a conversation.
const SMALL: usize = 8 << 10;

/// As a file comes back from a tool, where most of a conversation's bytes are.
const CODE: &str = "\
    fn record(&mut self, event: &Event<'_>) -> Result<(), Error> {
        let Some(name) = event.name.strip_prefix(\"message_\") else {
            tracing::debug!(kind = %event.name, \"nothing to count in this event\");
            return Ok(());
        };
        match name {
            \"start\" => self.usage.update(&serde_json::from_slice(event.data)?),
            \"delta\" => self.usage.add(&serde_json::from_slice(event.data)?),
            _ => {} // \"stop\" says nothing that counts
        }
        Ok(())
    }
";

const PROSE: &str = "\
Use this tool when the path is known; otherwise search first. Paths must be absolute, \
and a result of more than 2000 lines is cut.\n\nUsage:\n- Call several tools at once when \
they do not depend on each other, for instance `git status` and `git diff`.\n- NEVER write \
\"TODO\" and go on: say what is missing.\n- IMPORTANT: quote paths with spaces (cd \"My \
Documents\"), and keep what you were asked for apart from what you think of.\n";

/// The body of a request for a message, of about `bytes` bytes: the model comes
/// first, the bulk in the middle, `stream` last.
pub(super) fn body(model: &str, is_stream: bool, bytes: usize) -> String {
    if bytes < SMALL {
        small(model, is_stream, bytes)
    } else {
        conversation(model, is_stream, bytes)
    }
}

fn small(model: &str, is_stream: bool, bytes: usize) -> String {
    let body = |filling: &str| {
        format!(
            r#"{{"model":"{model}","max_tokens":1024,"system":[{{"type":"text","text":"{filling}"}}],"messages":[{{"role":"user","content":"hi"}}],"stream":{is_stream}}}"#
        )
    };
    let missing = bytes.saturating_sub(body("").len());
    body(&"lorem ipsum dolor sit amet \\n".repeat(missing / 29))
}

/// A tenth instructions, a third tools, the rest a conversation about code.
fn conversation(model: &str, is_stream: bool, bytes: usize) -> String {
    let system = json!([
        { "type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude." },
        { "type": "text", "text": text(PROSE, bytes / 10), "cache_control": { "type": "ephemeral" } },
    ]);
    let tools: Vec<_> = (0..bytes / 3 / 3_000)
        .map(|number| {
            json!({
                "name": format!("Tool{number}"),
                "description": text(PROSE, 2_400),
                "input_schema": {
                    "$schema": "http://json-schema.org/draft-07/schema#",
                    "type": "object",
                    "properties": {
                        "file_path": { "type": "string", "description": "The absolute path" },
                        "limit": { "type": "number", "description": "How many lines to read" },
                    },
                    "required": ["file_path"],
                    "additionalProperties": false,
                },
            })
        })
        .collect();
    let end = format!(
        r#"{{"role":"user","content":"Go on."}}],"system":{system},"tools":{},"metadata":{{"user_id":"user_0_account_1_session_2"}},"max_tokens":32000,"temperature":1,"stream":{is_stream}}}"#,
        json!(tools)
    );
    let mut body = format!(r#"{{"model":"{model}","messages":["#);
    for number in 0.. {
        let turn = turn(number);
        if body.len() + turn.len() + end.len() > bytes {
            break;
        }
        body += &turn;
    }
    body + &end
}

/// A call of a tool, and its result.
fn turn(number: usize) -> String {
    let id = format!("toolu_{number:024}");
    let mut file = String::new();
    for (line, code) in CODE.lines().cycle().take(60).enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(file, "{:6}→{code}", line + 1);
    }
    let call = json!({ "role": "assistant", "content": [
        { "type": "text", "text": "I will look at how events are recorded." },
        { "type": "tool_use", "id": id, "name": "Tool0", "input": { "file_path": "/work/src/meter.rs" } },
    ] });
    let result = json!({ "role": "user", "content": [
        { "type": "tool_result", "tool_use_id": id, "content": file },
    ] });
    format!("{call},{result},")
}

fn text(of: &str, bytes: usize) -> String {
    of.repeat(bytes / of.len())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_size_is_json_of_about_that_size() {
        for bytes in [200, 4_000, 10_000, 150_000, 1_000_000] {
            let body = body("claude", true, bytes);
            let fields: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(fields["stream"], true);
            assert!(body.len() <= bytes, "{} for {bytes}", body.len());
            assert!(body.len() + 5_000 > bytes, "{} for {bytes}", body.len());
        }
    }

    #[test]
    fn a_conversation_is_escaped_as_code_is() {
        let body = body("claude", false, 150_000);
        let backslashes = body.bytes().filter(|byte| *byte == b'\\').count();
        let percent = backslashes * 100 / body.len();
        assert!((2..=5).contains(&percent), "{percent} %");
    }
}
