//! JSON of the client's that goes to the model as it is, in the client's own
//! writing: a number that was read and written again is not always the same.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::upstream::members::Members;

/// The schemas of tools and the inputs of their uses, by where they stand. Each is
/// taken once.
#[derive(Debug, Default)]
pub(super) struct Texts {
    schemas: Vec<Tool>,
    messages: Vec<Vec<Block>>,
}

#[derive(Debug, Default, Deserialize)]
struct Tool {
    #[serde(default)]
    input_schema: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
struct Block {
    #[serde(default)]
    input: Option<Box<RawValue>>,
}

impl Texts {
    pub(super) fn of(body: &Members) -> Self {
        let messages: Vec<Message<'_>> = body.read("messages").unwrap_or_default();
        let blocks = |message: Message<'_>| {
            // A text is no list, and has no blocks.
            let blocks = message.content.map(|it| serde_json::from_str(it.get()));
            blocks.and_then(Result::ok).unwrap_or_default()
        };
        Self {
            schemas: body.read("tools").unwrap_or_default(),
            messages: messages.into_iter().map(blocks).collect(),
        }
    }

    pub(super) fn schema(&mut self, tool: usize) -> Option<Box<str>> {
        let schema = &mut self.schemas.get_mut(tool)?.input_schema;
        schema.take().map(Into::into)
    }

    pub(super) fn input(&mut self, message: usize, block: usize) -> Option<Box<str>> {
        let input = &mut self.messages.get_mut(message)?.get_mut(block)?.input;
        input.take().map(Into::into)
    }
}
