//! The small model: what it says to a request.
//!
//! It is not clever, but it has the manners that a client relies on: it thinks
//! when asked to, uses tools, keeps to a JSON schema and stops where it must.
//!
//! | the request | the answer |
//! |---|---|
//! | `run: ls -l`, with a tool named `Bash` | `tool_use` of `Bash` with that command |
//! | `use: get_weather {"city": "Paris"}` | `tool_use` of that tool with that input |
//! | several such lines | as many uses of tools at once |
//! | `tool_choice` `any` or `tool` | `tool_use` with an input made from its schema |
//! | the result of a tool | a text that repeats its beginning |
//! | `output_config.format` with a schema | JSON made from the schema |
//! | `say: hello` | `hello` |
//! | anything else | a text about the question |

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{signature::Signer, usage::tokens_of};

/// The blocks of an answer and why it ends.
#[derive(Debug, PartialEq)]
pub(crate) struct Speech {
    pub(crate) content: Vec<Value>,
    pub(crate) stop_reason: &'static str,
}

/// How much of a question or result is repeated.
const QUOTED_CHARS: usize = 80;

/// How deep a made-up value follows its schema.
const MAX_SCHEMA_DEPTH: usize = 8;

/// Models that `GET /v1/models` lists, newest first.
pub(crate) const MODELS: [(&str, &str, &str); 9] = [
    ("claude-opus-5-5", "Claude Opus 5.5", "2026-10-01T00:00:00Z"),
    (
        "claude-sonnet-5-5",
        "Claude Sonnet 5.5",
        "2026-10-01T00:00:00Z",
    ),
    (
        "claude-haiku-5-5",
        "Claude Haiku 5.5",
        "2026-10-01T00:00:00Z",
    ),
    ("claude-opus-4-7", "Claude Opus 4.7", "2026-04-01T00:00:00Z"),
    (
        "claude-sonnet-4-6",
        "Claude Sonnet 4.6",
        "2026-02-01T00:00:00Z",
    ),
    ("claude-opus-4-6", "Claude Opus 4.6", "2026-02-01T00:00:00Z"),
    (
        "claude-opus-4-5-20251101",
        "Claude Opus 4.5",
        "2025-11-24T00:00:00Z",
    ),
    (
        "claude-haiku-4-5-20251001",
        "Claude Haiku 4.5",
        "2025-10-15T00:00:00Z",
    ),
    (
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5",
        "2025-09-29T00:00:00Z",
    ),
];

/// Answers a valid request; `text` is said in place of an own one,
/// however long it is.
pub(crate) fn speak(request: &Value, text: Option<&str>, signer: &Signer) -> Speech {
    let turn = Turn::of(request);
    let mut content = Vec::new();
    if is_thinking(request) && turn.tool_result.is_none() {
        content.push(thinking_block(request, &turn, signer));
    }
    let tool_uses = match text {
        Some(_) => Vec::new(),
        None => tool_uses(request, &turn),
    };
    let stop_reason = if tool_uses.is_empty() {
        let text = text.map_or_else(|| own_text(request, &turn), str::to_owned);
        content.push(json!({"type": "text", "text": text}));
        "end_turn"
    } else {
        content.extend(tool_uses);
        "tool_use"
    };
    let speech = Speech {
        content,
        stop_reason,
    };
    match text {
        Some(_) => speech,
        None => speech.within(request["max_tokens"].as_u64().unwrap_or(u64::MAX)),
    }
}

/// What the last message of the user holds.
#[derive(Debug, Default)]
struct Turn {
    question: String,
    tool_result: Option<String>,
}

impl Turn {
    fn of(request: &Value) -> Self {
        let mut turn = Self::default();
        let messages = request["messages"].as_array();
        let Some(last) =
            messages.and_then(|messages| messages.iter().rev().find(|m| m["role"] == "user"))
        else {
            return turn;
        };
        match &last["content"] {
            Value::String(text) => turn.question.clone_from(text),
            content => {
                for block in content.as_array().into_iter().flatten() {
                    turn.hear(block);
                }
            }
        }
        turn
    }

    /// The last text counts, except for what Claude Code adds by itself.
    fn hear(&mut self, block: &Value) {
        match block["type"].as_str() {
            Some("text") => {
                let text = block["text"].as_str().unwrap_or_default().trim();
                if !text.starts_with("<system-reminder>") && !text.is_empty() {
                    text.clone_into(&mut self.question);
                }
            }
            Some("tool_result") => self.tool_result = Some(text_of(&block["content"])),
            _ => {}
        }
    }

    /// What follows a word of command, to the end of its line; each time that
    /// it is said.
    fn commands(&self, word: &str) -> impl Iterator<Item = &str> {
        let is_answered = self.tool_result.is_some();
        let lines = self.question.lines().filter(move |_| !is_answered);
        lines.filter_map(move |line| Some(line.split_once(word)?.1.trim()))
    }
}

/// The text of a content that is a string or blocks.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .filter_map(|block| block["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

fn is_thinking(request: &Value) -> bool {
    matches!(
        request["thinking"]["type"].as_str(),
        Some("enabled" | "adaptive")
    )
}

fn thinking_block(request: &Value, turn: &Turn, signer: &Signer) -> Value {
    let thinking = match request["thinking"]["display"].as_str() {
        Some("omitted") => String::new(),
        _ => format!(
            "They ask about \"{}\". A short and honest answer will do.",
            quoted(&turn.question)
        ),
    };
    json!({"type": "thinking", "thinking": thinking, "signature": signer.signature()})
}

fn tool_uses(request: &Value, turn: &Turn) -> Vec<Value> {
    let Some(tools) = request["tools"].as_array() else {
        return Vec::new();
    };
    let named = |name: &str| tools.iter().find(|tool| tool["name"] == name);
    let mut uses = Vec::new();
    if named("Bash").is_some() {
        uses.extend(turn.commands("run:").map(|command| {
            let input = json!({"command": command, "description": "Run the command"});
            tool_use_block("Bash", input)
        }));
    }
    for call in turn.commands("use:") {
        let (name, input) = call.split_once(' ').unwrap_or((call, ""));
        if let Some(tool) = named(name) {
            let input =
                serde_json::from_str(input).unwrap_or_else(|_| made_up(&tool["input_schema"], 0));
            uses.push(tool_use_block(name, input));
        }
    }
    if uses.is_empty() {
        uses.extend(forced_tool_use(request, tools));
    }
    uses
}

fn forced_tool_use(request: &Value, tools: &[Value]) -> Option<Value> {
    let choice = &request["tool_choice"];
    let chosen = match choice["type"].as_str()? {
        "any" => tools.first(),
        "tool" => tools.iter().find(|tool| tool["name"] == choice["name"]),
        _ => None,
    }?;
    let input = made_up(&chosen["input_schema"], 0);
    Some(tool_use_block(chosen["name"].as_str()?, input))
}

fn tool_use_block(name: &str, input: Value) -> Value {
    let id = format!("toolu_01{}", Uuid::new_v4().simple());
    json!({"type": "tool_use", "id": id, "name": name, "input": input})
}

fn own_text(request: &Value, turn: &Turn) -> String {
    let schema = &request["output_config"]["format"]["schema"];
    if schema.is_object() {
        return made_up(schema, 0).to_string();
    }
    if let Some(result) = &turn.tool_result {
        return format!("Done. The tool answered: {}", quoted(result));
    }
    if let Some(text) = turn.commands("say:").next() {
        return text.to_owned();
    }
    format!(
        "You asked: \"{}\" I am a simulator of a model, so I can only tell you that your question \
         arrived, and that this answer came back the same way: word by word, with usage at the end. \
         Ask me to `run: ls` and I will use a tool.",
        quoted(&turn.question)
    )
}

fn quoted(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The simplest value that fits a JSON schema.
fn made_up(schema: &Value, depth: usize) -> Value {
    if depth > MAX_SCHEMA_DEPTH {
        return Value::Null;
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("string") => json!("example"),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(true),
        Some("array") => json!([made_up(&schema["items"], depth + 1)]),
        Some("null") => Value::Null,
        _ => {
            let required = schema["required"].as_array().into_iter().flatten();
            let members = required.filter_map(Value::as_str).map(|name| {
                let value = made_up(&schema["properties"][name], depth + 1);
                (name.to_owned(), value)
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

impl Speech {
    pub(crate) fn output_tokens(&self) -> u64 {
        output_tokens(&self.content)
    }

    /// Cuts a text that is longer than allowed.
    fn within(mut self, max_tokens: u64) -> Self {
        let excess = self.output_tokens().saturating_sub(max_tokens);
        if excess == 0 {
            return self;
        }
        self.stop_reason = "max_tokens";
        let Some(Value::String(text)) = self.content.last_mut().and_then(|b| b.get_mut("text"))
        else {
            return self;
        };
        let kept = tokens_of(text.len()).saturating_sub(excess).max(1);
        let mut end = usize::try_from(kept * 4)
            .unwrap_or(usize::MAX)
            .min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        self
    }
}

/// What the content of an answer is worth.
pub(crate) fn output_tokens(content: &[Value]) -> u64 {
    let bytes = content.iter().map(|block| match block["type"].as_str() {
        Some("text") => block["text"].as_str().map_or(0, str::len),
        Some("thinking") => block["thinking"].as_str().map_or(0, str::len),
        _ => block["input"].to_string().len(),
    });
    bytes.map(tokens_of).sum::<u64>().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(question: &str, more: Value) -> Speech {
        let mut request = json!({
            "model": "claude-x",
            "max_tokens": 1000,
            "messages": [{"role": "user", "content": question}],
        });
        let fields = request.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        speak(&request, None, &Signer::new("Eq"))
    }

    fn text(speech: &Speech) -> &str {
        speech.content.last().unwrap()["text"].as_str().unwrap()
    }

    #[test]
    fn it_speaks_about_the_question() {
        let speech = ask("why is the sky blue?", json!({}));
        assert!(text(&speech).contains("why is the sky blue?"));
        assert_eq!(speech.stop_reason, "end_turn");
    }

    #[test]
    fn it_says_what_it_is_told() {
        assert_eq!(text(&ask("please say: hello", json!({}))), "hello");
    }

    #[test]
    fn it_runs_commands_with_the_bash_tool_only() {
        let tools = json!({"tools": [{"name": "Bash", "input_schema": {}}]});
        let speech = ask("run: ls -l", tools);
        assert_eq!(speech.stop_reason, "tool_use");
        assert_eq!(speech.content[0]["input"]["command"], "ls -l");
        assert_eq!(ask("run: ls -l", json!({})).stop_reason, "end_turn");
    }

    #[test]
    fn it_uses_several_tools_at_once() {
        let tools = json!({"tools": [
            {"name": "Bash", "input_schema": {}},
            {"name": "look", "input_schema": {}},
        ]});
        let speech = ask(
            "run: ls\nuse: look {\"at\": 1}\nuse: look {\"at\": 2}",
            tools,
        );
        let inputs: Vec<_> = speech.content.iter().map(|it| &it["input"]).collect();
        assert_eq!(inputs[0]["command"], "ls");
        assert_eq!(inputs[1..], [&json!({"at": 1}), &json!({"at": 2})]);
    }

    #[test]
    fn it_must_use_a_tool_when_told_to() {
        let speech = ask(
            "hello",
            json!({
                "tools": [{"name": "save", "input_schema": {
                    "type": "object",
                    "properties": {"n": {"type": "integer"}, "kind": {"enum": ["a", "b"]}},
                    "required": ["n", "kind"],
                }}],
                "tool_choice": {"type": "tool", "name": "save"},
            }),
        );
        assert_eq!(speech.content[0]["input"], json!({"n": 1, "kind": "a"}));
    }

    #[test]
    fn after_a_result_it_answers_in_words() {
        let speech = ask(
            "",
            json!({
                "tools": [{"name": "Bash", "input_schema": {}}],
                "thinking": {"type": "adaptive"},
                "messages": [{"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": "notes.txt"},
                    {"type": "text", "text": "run: ls"},
                ]}],
            }),
        );
        assert_eq!(speech.content.len(), 1);
        assert!(text(&speech).contains("notes.txt"));
    }

    #[test]
    fn thoughts_come_first_and_are_signed() {
        let speech = ask("why?", json!({"thinking": {"type": "adaptive"}}));
        assert!(
            speech.content[0]["thinking"]
                .as_str()
                .unwrap()
                .contains("why?")
        );
        assert!(speech.content[0]["signature"].as_str().unwrap().len() > 60);
        let hidden = ask(
            "why?",
            json!({"thinking": {"type": "adaptive", "display": "omitted"}}),
        );
        assert_eq!(hidden.content[0]["thinking"], "");
    }

    #[test]
    fn a_schema_is_kept_to() {
        let speech = ask(
            "a title",
            json!({"output_config": {"format": {"type": "json_schema", "schema": {
                "type": "object",
                "properties": {"title": {"type": "string"}},
                "required": ["title"],
            }}}}),
        );
        assert_eq!(text(&speech), r#"{"title":"example"}"#);
    }

    #[test]
    fn a_long_answer_stops_at_max_tokens() {
        let speech = ask("say: äääääääääääääääääääää", json!({"max_tokens": 3}));
        assert_eq!(speech.stop_reason, "max_tokens");
        assert_eq!(speech.output_tokens(), 3);
    }
}
