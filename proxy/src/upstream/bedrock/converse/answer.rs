//! What Converse answers → a message.

use aws_sdk_bedrockruntime::{
    operation::converse::ConverseOutput,
    types::{CitationsContentBlock, ContentBlock, ReasoningContentBlock, ToolUseBlock},
};
use aws_smithy_types::{Document, Number, base64};
use serde_json::{Map, Value, json};

use super::{citations::Cited, names::Names, stop, usage::Usage};

/// The message that Converse's answer is. `model` is what the client asked for, and
/// `id` the message's.
pub fn message(output: &ConverseOutput, model: &str, names: &Names, id: &str) -> Value {
    let message = output.output().and_then(|it| it.as_message().ok());
    let blocks = message.map(|it| it.content()).unwrap_or_default();
    let content: Vec<Value> = blocks.iter().filter_map(|it| block(it, names)).collect();
    let has_tool_use = content.iter().any(|it| it["type"] == "tool_use");
    let fields = output.additional_model_response_fields();
    json!({
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop::reason(output.stop_reason(), has_tool_use),
        "stop_sequence": stop::sequence(fields),
        "usage": output.usage().map(Usage::from).unwrap_or_default(),
    })
}

/// None for what a message has no block for.
fn block(block: &ContentBlock, names: &Names) -> Option<Value> {
    match block {
        ContentBlock::Text(text) if text.is_empty() => None,
        ContentBlock::Text(text) => Some(json!({"type": "text", "text": text})),
        // Bedrock has run it itself; the client would run it again.
        ContentBlock::ToolUse(used) if used.r#type.is_some() => None,
        ContentBlock::ToolUse(used) => Some(tool_use(used, names)),
        ContentBlock::ReasoningContent(reasoning) => thinking(reasoning),
        ContentBlock::CitationsContent(cited) => Some(cited_text(cited)),
        _ => None,
    }
}

fn tool_use(used: &ToolUseBlock, names: &Names) -> Value {
    json!({
        "type": "tool_use",
        "id": names.id_back(&used.tool_use_id),
        "name": names.tool_back(&used.name),
        "input": value(&used.input),
    })
}

fn thinking(reasoning: &ReasoningContentBlock) -> Option<Value> {
    match reasoning {
        ReasoningContentBlock::ReasoningText(thought) => Some(json!({
            "type": "thinking",
            "thinking": thought.text,
            "signature": thought.signature().unwrap_or_default(),
        })),
        ReasoningContentBlock::RedactedContent(data) => {
            let data = base64::encode(data);
            Some(json!({"type": "redacted_thinking", "data": data}))
        }
        _ => None,
    }
}

fn cited_text(cited: &CitationsContentBlock) -> Value {
    let texts = cited.content().iter();
    let text: String = texts
        .filter_map(|it| Some(it.as_text().ok()?.as_str()))
        .collect();
    let citations: Vec<Cited<'_>> = cited.citations().iter().filter_map(Cited::of).collect();
    if citations.is_empty() {
        return json!({"type": "text", "text": text});
    }
    json!({"type": "text", "text": text, "citations": citations})
}

/// The SDK has lost the order of members; the alphabet's is the same every time.
fn value(document: &Document) -> Value {
    match document {
        Document::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            let members = members.into_iter();
            let members = members.map(|(name, member)| (name.clone(), value(member)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Document::Array(items) => items.iter().map(value).collect(),
        Document::Number(Number::PosInt(number)) => (*number).into(),
        Document::Number(Number::NegInt(number)) => (*number).into(),
        Document::Number(Number::Float(number)) => (*number).into(),
        Document::String(text) => text.as_str().into(),
        Document::Bool(is) => (*is).into(),
        Document::Null => Value::Null,
    }
}
