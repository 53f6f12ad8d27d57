//! `messages` → turns of user and assistant, one after the other.

use aws_sdk_bedrockruntime::types::{ContentBlock, ConversationRole, Message};
use serde_json::Value;

use super::{
    Invalid,
    cache::{self, Place},
    content,
    dropped::Dropped,
    fields::{Object, as_object, is_blank, list, present, required_text},
    notes::Notes,
};
use crate::upstream::bedrock::shape;

/// Everything that one side says before the other does.
#[derive(Debug)]
struct Turn {
    role: ConversationRole,
    content: Vec<ContentBlock>,
}

pub(super) fn turns(body: &Object, notes: &mut Notes) -> Result<Vec<Message>, Invalid> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut silent = None;
    for (index, message) in list(body, "messages")?.iter().enumerate() {
        let at = format!("messages.{index}");
        let message = as_object(message, &at)?;
        let turn = turn(index, message, notes).map_err(|it| it.within(&at))?;
        // What says nothing is no turn, and turns of one side are one: Converse
        // wants the sides to alternate and each to say something.
        silent = (turn.content.is_empty() && turn.role == ConversationRole::User).then_some(at);
        if turn.content.is_empty() {
            continue;
        }
        match turns.last_mut() {
            Some(last) if last.role == turn.role => last.content.extend(turn.content),
            _ => turns.push(turn),
        }
    }
    if let (Some(at), Some(last)) = (silent, turns.last())
        && last.role == ConversationRole::Assistant
    {
        // The model would go on with its own answer.
        let reason = "Input should have a text or another block that the model can read";
        return Err(Invalid::new(format!("{at}.content"), reason));
    }
    // The whole conversation is to be kept, wherever it ends.
    let point = cache::point(body, Place::Messages, notes)?;
    if let Some(last) = turns.last_mut() {
        cache::push(&mut last.content, point);
    }
    if turns.is_empty() {
        return Err(Invalid::new("messages", "at least one message is required"));
    }
    turns.into_iter().map(Turn::finish).collect()
}

impl Turn {
    fn finish(self) -> Result<Message, Invalid> {
        let mut content = self.content;
        if self.role == ConversationRole::User {
            content = introduced(results_first(content));
        }
        let message = Message::builder().role(self.role);
        Ok(message.set_content(Some(content)).build()?)
    }
}

fn turn(index: usize, message: &Object, notes: &mut Notes) -> Result<Turn, Invalid> {
    for (name, value) in message {
        match name.as_str() {
            "role" | "content" => {}
            _ if value.is_null() => {}
            "output_config" => notes.drop(Dropped::MessageOutputConfig),
            _ => notes.drop(Dropped::Message),
        }
    }
    let role = match required_text(message, "role")? {
        "user" => ConversationRole::User,
        "assistant" => ConversationRole::Assistant,
        "system" => return system(index, message, notes),
        _ => {
            let reason = "Input should be 'user', 'assistant' or 'system'";
            return Err(Invalid::new("role", reason));
        }
    };
    let content = said(index, message, notes)?;
    Ok(Turn { role, content })
}

fn said(index: usize, message: &Object, notes: &mut Notes) -> Result<Vec<ContentBlock>, Invalid> {
    match present(message, "content") {
        None => Err(Invalid::missing("content")),
        Some(Value::String(text)) if is_blank(text) => {
            notes.drop(Dropped::BlankText);
            Ok(Vec::new())
        }
        Some(Value::String(text)) => Ok(vec![ContentBlock::Text(text.clone())]),
        Some(_) => content::blocks(index, list(message, "content")?, notes),
    }
}

/// A message of the system inside the conversation. The service model has a role
/// for it, and only the newest models take it; every model takes a user's text.
fn system(index: usize, message: &Object, notes: &mut Notes) -> Result<Turn, Invalid> {
    match present(message, "content") {
        None => return Err(Invalid::missing("content")),
        Some(Value::String(_)) => {}
        Some(_) => leave_out(list(message, "content")?, notes)?,
    }
    let reminder = shape::reminder(message);
    if reminder.is_none() {
        notes.drop(Dropped::BlankText);
    }
    Ok(Turn {
        role: ConversationRole::User,
        content: content::blocks(index, reminder.as_slice(), notes)?,
    })
}

/// Notes what of a system's message is no text.
fn leave_out(blocks: &[Value], notes: &mut Notes) -> Result<(), Invalid> {
    for (index, block) in blocks.iter().enumerate() {
        let at = format!("content.{index}");
        let kind = required_text(as_object(block, &at)?, "type").map_err(|it| it.within(at))?;
        if kind != "text" {
            notes.drop(content::unknown(kind));
        }
    }
    Ok(())
}

/// Results of tools, each with its cache point, in front of what else was said:
/// Anthropic models want them right behind the uses, and a message of the system
/// may have come between.
fn results_first(content: Vec<ContentBlock>) -> Vec<ContentBlock> {
    let (mut results, mut others) = (Vec::new(), Vec::new());
    let mut is_result = false;
    for block in content {
        is_result = block.is_tool_result() || (is_result && block.is_cache_point());
        if is_result {
            results.push(block);
        } else {
            others.push(block);
        }
    }
    results.append(&mut others);
    results
}

/// Converse wants a text beside a document.
fn introduced(mut content: Vec<ContentBlock>) -> Vec<ContentBlock> {
    if content.iter().any(ContentBlock::is_text) {
        return content;
    }
    let documents = content.iter().enumerate();
    let mut named = documents.filter_map(|(at, block)| Some((at, block.as_document().ok()?)));
    if let Some((at, document)) = named.next() {
        let name = document.name.clone();
        content.insert(at, ContentBlock::Text(name));
    }
    content
}
