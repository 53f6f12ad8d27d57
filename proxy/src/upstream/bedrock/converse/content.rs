//! Content blocks → content blocks.

use aws_sdk_bedrockruntime::types::{
    ContentBlock, ReasoningContentBlock, ReasoningTextBlock, ToolResultBlock,
    ToolResultContentBlock, ToolResultStatus, ToolUseBlock,
};
use aws_smithy_types::{Blob, base64};
use serde_json::{Value, json};

use super::{
    Family, Invalid, attachment,
    cache::{self, Place},
    dropped::Dropped,
    fields::{Object, as_object, is_blank, is_true, list, present, required_text, text},
    notes::Notes,
};

/// Stands for a result without content, which Bedrock refuses.
const EMPTY_RESULT: &str = "(empty)";

/// The blocks of the message that is the `at_message`th of the request.
pub(super) fn blocks(
    at_message: usize,
    blocks: &[Value],
    notes: &mut Notes,
) -> Result<Vec<ContentBlock>, Invalid> {
    let mut content = Vec::with_capacity(blocks.len() + 1);
    for (index, block) in blocks.iter().enumerate() {
        let at = format!("content.{index}");
        let block = as_object(block, &at)?;
        add(&mut content, (at_message, index), block, notes).map_err(|it| it.within(at))?;
    }
    Ok(content)
}

/// `at`: which message, and which block of it.
fn add(
    content: &mut Vec<ContentBlock>,
    at: (usize, usize),
    block: &Object,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    let translated = match required_text(block, "type")? {
        "text" => said(block, notes)?.map(ContentBlock::Text),
        "image" => Some(ContentBlock::Image(attachment::image(block)?)),
        "document" => Some(ContentBlock::Document(attachment::document(block, notes)?)),
        "search_result" => {
            let result = attachment::search_result(block, notes)?;
            Some(ContentBlock::SearchResult(result))
        }
        "tool_use" => Some(ContentBlock::ToolUse(tool_use(at, block, notes)?)),
        "tool_result" => Some(ContentBlock::ToolResult(tool_result(block, notes)?)),
        "thinking" => thinking(block, notes)?.map(ContentBlock::ReasoningContent),
        "redacted_thinking" => redacted(block, notes)?.map(ContentBlock::ReasoningContent),
        other => {
            notes.drop(unknown(other));
            None
        }
    };
    content.extend(translated);
    // Behind reasoning no cache point may stand; the API takes none on it either.
    if content
        .last()
        .is_some_and(ContentBlock::is_reasoning_content)
    {
        return Ok(());
    }
    let mut point = cache::point(block, Place::Messages, notes)?;
    if point.is_none() && content.last().is_some_and(ContentBlock::is_tool_result) {
        point = cache::nested(inner(block), notes)?;
    }
    cache::push(content, point);
    Ok(())
}

/// The blocks of a tool result; none when it is a text.
fn inner(block: &Object) -> &[Value] {
    let content = block.get("content").and_then(Value::as_array);
    content.map_or(&[], Vec::as_slice)
}

pub(super) fn unknown(kind: &str) -> Dropped {
    match kind {
        "server_tool_use" | "mcp_tool_use" => Dropped::ServerToolBlock,
        "container_upload" => Dropped::ContainerUpload,
        _ if kind.ends_with("_tool_result") => Dropped::ServerToolBlock,
        _ => Dropped::Content,
    }
}

fn said(block: &Object, notes: &mut Notes) -> Result<Option<String>, Invalid> {
    let text = required_text(block, "text")?;
    if present(block, "citations").is_some() {
        notes.drop(Dropped::TextCitations);
    }
    if is_blank(text) {
        notes.drop(Dropped::BlankText);
        return Ok(None);
    }
    Ok(Some(text.to_owned()))
}

fn tool_use(
    (message, index): (usize, usize),
    block: &Object,
    notes: &mut Notes,
) -> Result<ToolUseBlock, Invalid> {
    let id = required_text(block, "id")?;
    let name = required_text(block, "name")?;
    let input = present(block, "input").unwrap_or(&Value::Null);
    let input = match input {
        Value::Null => notes.document(None, &json!({})),
        Value::Object(_) => {
            let text = notes.texts.input(message, index);
            notes.document(text, input)
        }
        _ => return Err(Invalid::new("input", "Input should be an object")),
    };
    let used = ToolUseBlock::builder()
        .tool_use_id(notes.names.id_there(id))
        .name(notes.names.tool_there(name))
        .input(input);
    Ok(used.build()?)
}

fn tool_result(block: &Object, notes: &mut Notes) -> Result<ToolResultBlock, Invalid> {
    let id = required_text(block, "tool_use_id")?;
    let mut content = match present(block, "content") {
        Some(Value::String(text)) if is_blank(text) => Vec::new(),
        Some(Value::String(text)) => vec![ToolResultContentBlock::Text(text.clone())],
        _ => results(list(block, "content")?, notes)?,
    };
    if content.is_empty() {
        content.push(ToolResultContentBlock::Text(EMPTY_RESULT.to_owned()));
    }
    // Success is what a result without a status is.
    let mut status = is_true(block, "is_error").then_some(ToolResultStatus::Error);
    if status.is_some() && notes.family == Family::Other {
        notes.drop(Dropped::ToolError);
        status = None;
    }
    let result = ToolResultBlock::builder()
        .tool_use_id(notes.names.id_there(id))
        .set_content(Some(content))
        .set_status(status);
    Ok(result.build()?)
}

fn results(blocks: &[Value], notes: &mut Notes) -> Result<Vec<ToolResultContentBlock>, Invalid> {
    let mut content = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.iter().enumerate() {
        let at = format!("content.{index}");
        let block = as_object(block, &at)?;
        content.extend(result(block, notes).map_err(|it| it.within(at))?);
    }
    Ok(content)
}

fn result(block: &Object, notes: &mut Notes) -> Result<Option<ToolResultContentBlock>, Invalid> {
    Ok(match required_text(block, "type")? {
        "text" => said(block, notes)?.map(ToolResultContentBlock::Text),
        "image" => Some(ToolResultContentBlock::Image(attachment::image(block)?)),
        "document" => {
            let document = attachment::document(block, notes)?;
            Some(ToolResultContentBlock::Document(document))
        }
        "search_result" => {
            let result = attachment::search_result(block, notes)?;
            Some(ToolResultContentBlock::SearchResult(result))
        }
        // A search for tools has found one: from here on it is declared.
        "tool_reference" => {
            let name = required_text(block, "tool_name")?;
            let name = notes.names.tool_there(name);
            let text = format!("The tool {name} is available now.");
            Some(ToolResultContentBlock::Text(text))
        }
        other => {
            notes.drop(unknown(other));
            None
        }
    })
}

fn thinking(block: &Object, notes: &mut Notes) -> Result<Option<ReasoningContentBlock>, Invalid> {
    let thought = required_text(block, "thinking")?;
    let signature = text(block, "signature")?.unwrap_or_default();
    if !notes.family.is_anthropic() {
        notes.drop(Dropped::OldThinking);
        return Ok(None);
    }
    if signature.is_empty() {
        notes.drop(Dropped::UnsignedThinking);
        return Ok(None);
    }
    // The text may be empty: Claude Code asks for signatures alone.
    let reasoning = ReasoningTextBlock::builder()
        .text(thought)
        .signature(signature);
    Ok(Some(ReasoningContentBlock::ReasoningText(
        reasoning.build()?,
    )))
}

fn redacted(block: &Object, notes: &mut Notes) -> Result<Option<ReasoningContentBlock>, Invalid> {
    let data = required_text(block, "data")?;
    if !notes.family.is_anthropic() {
        notes.drop(Dropped::OldThinking);
        return Ok(None);
    }
    let Ok(data) = base64::decode(data) else {
        return Err(Invalid::new("data", "Input should be valid base64"));
    };
    let data = Blob::new(data);
    Ok(Some(ReasoningContentBlock::RedactedContent(data)))
}
