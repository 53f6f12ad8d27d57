//! What Converse streams → the events of a message.

use std::io::Write;

use aws_sdk_bedrockruntime::types::{
    CitationsDelta, ContentBlockDelta, ContentBlockStart, ConverseStreamOutput, MessageStopEvent,
    ReasoningContentBlockDelta, ToolUseBlockStart,
};
use aws_smithy_types::base64;
use serde::Serialize;
use serde_json::json;

use super::{
    citations::Cited,
    names::Names,
    stop::{self, Malformed},
    usage::Usage,
};

/// Turns the events of one stream into server-sent events.
///
/// The client sees one `message_start`, blocks numbered from 0 without a gap, each
/// closed before the next begins, and at the end one `message_delta` and one
/// `message_stop`, whatever Bedrock leaves out or sends twice.
#[derive(Debug)]
pub struct Events {
    model: String,
    names: Names,
    message_id: String,
    has_started: bool,
    open: Option<Open>,
    /// The client's number of the next block.
    next: u32,
    has_tool_use: bool,
    stopped: Option<MessageStopEvent>,
    usage: Option<Usage>,
    malformed: Option<Malformed>,
    has_ended: bool,
}

/// The block under way.
#[derive(Debug)]
struct Open {
    /// Bedrock's number. It may skip some, and begin one without saying so.
    number: i32,
    index: u32,
    kind: Kind,
    /// A tool use whose end the client is not told yet: it would be carried out,
    /// and what comes next may say that it is malformed.
    is_stopped: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    ToolUse,
    /// Leaves as a whole when it is closed: its text cannot be cut.
    Redacted(Vec<u8>),
    /// Nothing that a client knows.
    Skipped,
}

impl Kind {
    fn is(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// What the client has got is not a whole answer, and it must be told so.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    #[error("the stream ended before the message did")]
    Cut,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Events {
    /// `model` is what the client asked for.
    pub fn new(model: String, names: Names, message_id: String) -> Self {
        Self {
            model,
            names,
            message_id,
            has_started: false,
            open: None,
            next: 0,
            has_tool_use: false,
            stopped: None,
            usage: None,
            malformed: None,
            has_ended: false,
        }
    }

    /// Appends what `event` is to the client.
    pub fn on(&mut self, event: &ConverseStreamOutput, out: &mut Vec<u8>) {
        if self.has_ended || self.malformed.is_some() {
            return;
        }
        self.start(out);
        match event {
            // What comes after the message's end belongs to no block of it.
            ConverseStreamOutput::Metadata(metadata) => {
                self.usage = metadata.usage().map(Usage::from).or(self.usage);
            }
            _ if self.stopped.is_some() => {}
            ConverseStreamOutput::ContentBlockStart(event) => {
                let number = event.content_block_index;
                match event.start() {
                    Some(ContentBlockStart::ToolUse(tool)) if tool.r#type.is_none() => {
                        self.start_tool_use(number, tool, out);
                    }
                    // A text or a thought, as its first piece will tell.
                    None => self.close(out),
                    Some(start) if start.is_unknown() => self.close(out),
                    Some(_) => {
                        self.open(number, Kind::Skipped, out);
                    }
                }
            }
            ConverseStreamOutput::ContentBlockDelta(event) => {
                if let Some(delta) = event.delta() {
                    self.delta(event.content_block_index, delta, out);
                }
            }
            ConverseStreamOutput::ContentBlockStop(event) => {
                let number = event.content_block_index;
                match &mut self.open {
                    Some(open) if open.number != number => {}
                    Some(open) if open.kind == Kind::ToolUse => open.is_stopped = true,
                    _ => self.close(out),
                }
            }
            ConverseStreamOutput::MessageStop(event) => {
                match stop::reason(event.stop_reason(), self.has_tool_use) {
                    Ok(_) => self.close(out),
                    Err(malformed) => self.malformed = Some(malformed),
                }
                self.stopped = Some(event.clone());
            }
            _ => {}
        }
        if self.usage.is_some() {
            self.finish(out);
        }
    }

    /// The stream has ended without an error.
    ///
    /// # Errors
    ///
    /// The message has not, or is malformed. A block under way stays open: a tool
    /// use that looks whole would be carried out.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Unfinished> {
        self.finish(out);
        match self.malformed {
            Some(malformed) => Err(malformed.into()),
            None if self.has_ended => Ok(()),
            None => Err(Unfinished::Cut),
        }
    }

    /// Whether the message has said why it stops, and is what it says.
    pub fn has_stopped(&self) -> bool {
        self.stopped.is_some() && self.malformed.is_none()
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if self.has_started {
            return;
        }
        self.has_started = true;
        let message = MessageStart {
            r#type: "message_start",
            message: Message {
                id: &self.message_id,
                r#type: "message",
                role: "assistant",
                model: &self.model,
                content: [],
                stop_reason: None,
                stop_sequence: None,
                // Bedrock counts at the end.
                usage: Usage::default(),
            },
        };
        record(out, "message_start", &message);
    }

    fn start_tool_use(&mut self, number: i32, tool: &ToolUseBlockStart, out: &mut Vec<u8>) {
        let index = self.open(number, Kind::ToolUse, out);
        self.has_tool_use = true;
        let block = ToolUse {
            r#type: "tool_use",
            id: self.names.id_back(&tool.tool_use_id),
            name: self.names.tool_back(&tool.name),
            input: Empty {},
        };
        block_start(out, index, &block);
    }

    fn delta(&mut self, number: i32, delta: &ContentBlockDelta, out: &mut Vec<u8>) {
        if self.is_open(number, &Kind::Skipped) {
            return;
        }
        match delta {
            ContentBlockDelta::Text(text) if !text.is_empty() => {
                let index = self.text(number, out);
                block_delta(out, index, "text_delta", "text", text);
            }
            ContentBlockDelta::ToolUse(tool) if !tool.input.is_empty() => {
                let open = self.open.as_ref();
                match open.filter(|_| self.is_open(number, &Kind::ToolUse)) {
                    Some(open) => {
                        let index = open.index;
                        block_delta(out, index, "input_json_delta", "partial_json", &tool.input);
                    }
                    // Of a use without a start the client would know no name, and of
                    // one that has ended it would know a part.
                    None => self.malformed = Some(Malformed),
                }
            }
            ContentBlockDelta::ReasoningContent(reasoning) => {
                self.reasoning(number, reasoning, out)
            }
            ContentBlockDelta::Citation(citation) => self.citation(number, citation, out),
            _ => {}
        }
    }

    fn reasoning(
        &mut self,
        number: i32,
        reasoning: &ReasoningContentBlockDelta,
        out: &mut Vec<u8>,
    ) {
        match reasoning {
            ReasoningContentBlockDelta::Text(text) if !text.is_empty() => {
                let index = self.thinking(number, out);
                block_delta(out, index, "thinking_delta", "thinking", text);
            }
            ReasoningContentBlockDelta::Signature(signature) if !signature.is_empty() => {
                let index = self.thinking(number, out);
                block_delta(out, index, "signature_delta", "signature", signature);
            }
            ReasoningContentBlockDelta::RedactedContent(data) => {
                if !self.is_open(number, &Kind::Redacted(Vec::new())) {
                    self.open(number, Kind::Redacted(Vec::new()), out);
                }
                if let Some(Open {
                    kind: Kind::Redacted(bytes),
                    ..
                }) = &mut self.open
                {
                    bytes.extend_from_slice(data.as_ref());
                }
            }
            _ => {}
        }
    }

    fn citation(&mut self, number: i32, citation: &CitationsDelta, out: &mut Vec<u8>) {
        let Some(citation) = Cited::of_delta(citation) else {
            return;
        };
        let index = self.text(number, out);
        let delta = Delta {
            r#type: "content_block_delta",
            index,
            delta: CitationDelta {
                r#type: "citations_delta",
                citation,
            },
        };
        record(out, "content_block_delta", &delta);
    }

    fn is_open(&self, number: i32, kind: &Kind) -> bool {
        let open = self.open.as_ref();
        open.is_some_and(|it| it.number == number && it.kind.is(kind) && !it.is_stopped)
    }

    /// The client's number of the text block `number`, begun when it is not open.
    fn text(&mut self, number: i32, out: &mut Vec<u8>) -> u32 {
        match &self.open {
            Some(open) if self.is_open(number, &Kind::Text) => open.index,
            _ => {
                let index = self.open(number, Kind::Text, out);
                let block = Text {
                    r#type: "text",
                    text: "",
                };
                block_start(out, index, &block);
                index
            }
        }
    }

    /// The same for a thinking block.
    fn thinking(&mut self, number: i32, out: &mut Vec<u8>) -> u32 {
        match &self.open {
            Some(open) if self.is_open(number, &Kind::Thinking) => open.index,
            _ => {
                let index = self.open(number, Kind::Thinking, out);
                let block = Thinking {
                    r#type: "thinking",
                    thinking: "",
                    signature: "",
                };
                block_start(out, index, &block);
                index
            }
        }
    }

    /// Makes `number` the block under way. What the client is told is up to the
    /// caller.
    fn open(&mut self, number: i32, kind: Kind, out: &mut Vec<u8>) -> u32 {
        self.close(out);
        let index = self.next;
        if kind != Kind::Skipped {
            self.next += 1;
        }
        self.open = Some(Open {
            number,
            index,
            kind,
            is_stopped: false,
        });
        index
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let Some(open) = self.open.take() else { return };
        match open.kind {
            Kind::Skipped => return,
            Kind::Redacted(data) => {
                let block = Redacted {
                    r#type: "redacted_thinking",
                    data: base64::encode(data),
                };
                block_start(out, open.index, &block);
            }
            Kind::Text | Kind::Thinking | Kind::ToolUse => {}
        }
        let stop = json!({"type": "content_block_stop", "index": open.index});
        record(out, "content_block_stop", &stop);
    }

    /// Ends the message once Bedrock has said that it ended.
    fn finish(&mut self, out: &mut Vec<u8>) {
        let Some(stopped) = self.stopped.as_ref().filter(|_| !self.has_ended) else {
            return;
        };
        let (reason, fields) = (
            stopped.stop_reason(),
            stopped.additional_model_response_fields(),
        );
        let Ok(stop_reason) = stop::reason(reason, self.has_tool_use) else {
            return;
        };
        self.has_ended = true;
        let delta = MessageDelta {
            r#type: "message_delta",
            delta: Stop {
                stop_reason,
                stop_sequence: stop::sequence(reason, fields),
            },
            usage: self.usage.unwrap_or_default(),
        };
        record(out, "message_delta", &delta);
        record(out, "message_stop", &json!({"type": "message_stop"}));
    }
}

#[derive(Serialize)]
struct MessageStart<'a> {
    r#type: &'static str,
    message: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: [(); 0],
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'static str>,
    usage: Usage,
}

#[derive(Serialize)]
struct BlockStart<'a, T> {
    r#type: &'static str,
    index: u32,
    content_block: &'a T,
}

#[derive(Serialize)]
struct Text {
    r#type: &'static str,
    text: &'static str,
}

#[derive(Serialize)]
struct Thinking {
    r#type: &'static str,
    thinking: &'static str,
    signature: &'static str,
}

#[derive(Serialize)]
struct Redacted {
    r#type: &'static str,
    data: String,
}

#[derive(Serialize)]
struct ToolUse<'a> {
    r#type: &'static str,
    id: &'a str,
    name: &'a str,
    input: Empty,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Delta<T> {
    r#type: &'static str,
    index: u32,
    delta: T,
}

#[derive(Serialize)]
struct CitationDelta<'a> {
    r#type: &'static str,
    citation: Cited<'a>,
}

#[derive(Serialize)]
struct MessageDelta<'a> {
    r#type: &'static str,
    delta: Stop<'a>,
    usage: Usage,
}

#[derive(Serialize)]
struct Stop<'a> {
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
}

fn block_start<T: Serialize>(out: &mut Vec<u8>, index: u32, content_block: &T) {
    let start = BlockStart {
        r#type: "content_block_start",
        index,
        content_block,
    };
    record(out, "content_block_start", &start);
}

/// A piece of a block: nearly all of a stream.
fn block_delta(out: &mut Vec<u8>, index: u32, kind: &str, member: &str, text: &str) {
    // Writing to memory does not fail.
    write!(
        out,
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{index},\
         \"delta\":{{\"type\":\"{kind}\",\"{member}\":"
    )
    .unwrap_or_default();
    serde_json::to_writer(&mut *out, text).unwrap_or_default();
    out.extend_from_slice(b"}}\n\n");
}

fn record<T: Serialize>(out: &mut Vec<u8>, event: &str, data: &T) {
    write!(out, "event: {event}\ndata: ").unwrap_or_default();
    serde_json::to_writer(&mut *out, data).unwrap_or_default();
    out.extend_from_slice(b"\n\n");
}
