//! What Converse answers → a message.

use aws_sdk_bedrockruntime::{
    operation::converse::ConverseOutput,
    types::{CitationsContentBlock, ContentBlock, ReasoningContentBlock, ToolUseBlock},
};
use aws_smithy_types::{Document, Number, base64};
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    citations::Cited,
    names::Names,
    original,
    stop::{self, Malformed},
    usage::Usage,
};

/// A message of the Messages API.
#[derive(Debug, Serialize)]
pub struct Message<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Block<'a>>,
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
    usage: Usage,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        citations: Vec<Cited<'a>>,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Input<'a>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: String,
    },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Input<'a> {
    /// As the model wrote it.
    Written(&'a RawValue),
    /// As the SDK read it.
    Read(Value),
}

/// The message that Converse's answer is. `original` is the answer's body, `model`
/// what the client asked for, and `id` the message's.
///
/// # Errors
///
/// The model has made something that is no answer.
pub fn message<'a>(
    output: &'a ConverseOutput,
    original: &'a [u8],
    model: &'a str,
    names: &'a Names,
    id: &'a str,
) -> Result<Message<'a>, Malformed> {
    let message = output.output().and_then(|it| it.as_message().ok());
    let blocks = message.map(|it| it.content()).unwrap_or_default();
    let mut inputs = original::inputs(original).into_iter();
    let mut content = Vec::with_capacity(blocks.len());
    for it in blocks {
        let input = if it.is_tool_use() {
            inputs.next().flatten()
        } else {
            None
        };
        content.extend(block(it, input, names));
    }
    let has_tool_use = content.iter().any(|it| matches!(it, Block::ToolUse { .. }));
    let fields = output.additional_model_response_fields();
    Ok(Message {
        id,
        r#type: "message",
        role: "assistant",
        model,
        content,
        stop_reason: stop::reason(output.stop_reason(), has_tool_use)?,
        stop_sequence: stop::sequence(output.stop_reason(), fields),
        usage: output.usage().map(Usage::from).unwrap_or_default(),
    })
}

/// None for what a message has no block for.
fn block<'a>(
    block: &'a ContentBlock,
    input: Option<&'a RawValue>,
    names: &'a Names,
) -> Option<Block<'a>> {
    match block {
        ContentBlock::Text(text) if text.is_empty() => None,
        ContentBlock::Text(text) => Some(Block::Text {
            text: text.clone(),
            citations: Vec::new(),
        }),
        // Bedrock has run it itself; the client would run it again.
        ContentBlock::ToolUse(used) if used.r#type.is_some() => None,
        ContentBlock::ToolUse(used) => Some(tool_use(used, input, names)),
        ContentBlock::ReasoningContent(reasoning) => thinking(reasoning),
        ContentBlock::CitationsContent(cited) => Some(cited_text(cited)),
        _ => None,
    }
}

fn tool_use<'a>(
    used: &'a ToolUseBlock,
    written: Option<&'a RawValue>,
    names: &'a Names,
) -> Block<'a> {
    let input = match (written, &used.input) {
        // A client takes nothing but an object.
        (_, Document::Null) => Input::Read(Value::Object(Map::new())),
        (Some(written), _) => Input::Written(written),
        (None, input) => Input::Read(value(input)),
    };
    Block::ToolUse {
        id: names.id_back(&used.tool_use_id),
        name: names.tool_back(&used.name),
        input,
    }
}

fn thinking(reasoning: &ReasoningContentBlock) -> Option<Block<'_>> {
    match reasoning {
        ReasoningContentBlock::ReasoningText(thought) => Some(Block::Thinking {
            thinking: thought.text(),
            signature: thought.signature().unwrap_or_default(),
        }),
        ReasoningContentBlock::RedactedContent(data) => Some(Block::RedactedThinking {
            data: base64::encode(data),
        }),
        _ => None,
    }
}

fn cited_text(cited: &CitationsContentBlock) -> Block<'_> {
    let texts = cited.content().iter();
    Block::Text {
        text: texts
            .filter_map(|it| Some(it.as_text().ok()?.as_str()))
            .collect(),
        citations: cited.citations().iter().filter_map(Cited::of).collect(),
    }
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
