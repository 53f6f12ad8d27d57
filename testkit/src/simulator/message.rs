//! A message as the API words it, whole and as events; Bedrock carries the same.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    model::{self, Speech},
    reply::{Content, Reply, UsageIn},
    signature::Signer,
    usage::{Cache, Usage},
};

/// A message, and what it costs.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) fields: Value,
    pub(crate) tokens: Usage,
}

impl Message {
    /// What a reply says to a request. None when it says something else than a
    /// message.
    pub(crate) fn of(
        request: &Value,
        reply: &Reply,
        id_prefix: &str,
        signer: &Signer,
        cache: &mut Cache,
    ) -> Option<Self> {
        let text = match &reply.content {
            Content::Answer => None,
            Content::Text(text) => Some(text.as_str()),
            Content::Message(fields) => {
                return Some(Self::new(request, reply, fields, id_prefix, cache));
            }
            _ => return None,
        };
        let Speech {
            content,
            stop_reason,
        } = model::speak(request, text, signer);
        let fields = json!({"content": content, "stop_reason": stop_reason});
        Some(Self::new(request, reply, &fields, id_prefix, cache))
    }

    /// A usual message, with these fields in place of its own.
    fn new(
        request: &Value,
        reply: &Reply,
        fields: &Value,
        id_prefix: &str,
        cache: &mut Cache,
    ) -> Self {
        let content = fields["content"].as_array().cloned().unwrap_or_default();
        let tokens = reply.tokens.unwrap_or_else(|| Usage {
            output_tokens: model::output_tokens(&content),
            ..cache.count(request)
        });
        let mut message = json!({
            "id": format!("{id_prefix}{}", Uuid::new_v4().simple()),
            "type": "message",
            "role": "assistant",
            "model": request["model"],
            "content": content,
            "stop_reason": "end_turn",
            "stop_sequence": null,
            "usage": tokens.to_json(reply.usage_in != UsageIn::WithoutSplit),
        });
        overlay(&mut message, fields);
        Self {
            fields: message,
            tokens,
        }
    }

    pub(crate) fn model(&self) -> &str {
        self.fields["model"].as_str().unwrap_or_default()
    }

    /// The whole message, in one piece.
    pub(crate) fn whole(&self, usage_in: UsageIn) -> Value {
        let mut message = self.fields.clone();
        if usage_in == UsageIn::Nowhere {
            remove(&mut message, "usage");
        }
        message
    }

    /// The events in which it is streamed.
    pub(crate) fn events(&self, usage_in: UsageIn) -> Vec<(String, Value)> {
        message_events(&self.fields, self.tokens, usage_in)
    }
}

pub(crate) fn overlay(object: &mut Value, fields: &Value) {
    if let (Some(object), Some(fields)) = (object.as_object_mut(), fields.as_object()) {
        object.extend(fields.clone());
    }
}

pub(crate) fn remove(object: &mut Value, field: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(field);
    }
}

/// The events in which the API streams a message.
fn message_events(message: &Value, tokens: Usage, usage_in: UsageIn) -> Vec<(String, Value)> {
    let mut start = message.clone();
    overlay(
        &mut start,
        &json!({"content": [], "stop_reason": null, "stop_sequence": null}),
    );
    let (start_usage, delta_usage) = stream_usage(&message["usage"], tokens, usage_in);
    match start_usage {
        Some(usage) => overlay(&mut start, &json!({"usage": usage})),
        None => remove(&mut start, "usage"),
    }
    let mut events = vec![event("message_start", json!({"message": start}))];
    let blocks = message["content"].as_array().into_iter().flatten();
    for (index, block) in blocks.enumerate() {
        events.extend(block_events(index, block));
    }
    let mut delta = json!({"delta": {
        "stop_reason": message["stop_reason"],
        "stop_sequence": message["stop_sequence"],
    }});
    if let Some(usage) = delta_usage {
        overlay(&mut delta, &json!({"usage": usage}));
    }
    events.push(event("message_delta", delta));
    events.push(event("message_stop", json!({})));
    events
}

/// The usage objects of `message_start` and `message_delta`.
fn stream_usage(usage: &Value, tokens: Usage, usage_in: UsageIn) -> (Option<Value>, Option<Value>) {
    let mut start = usage.clone();
    overlay(&mut start, &json!({"output_tokens": 1}));
    match usage_in {
        UsageIn::Both | UsageIn::WithoutSplit => {
            // The API repeats the sum of the cache writes, not their split.
            let mut delta = usage.clone();
            remove(&mut delta, "cache_creation");
            remove(&mut delta, "service_tier");
            (Some(start), Some(delta))
        }
        UsageIn::OutputInDelta => {
            let delta = json!({"output_tokens": tokens.output_tokens});
            (Some(start), Some(delta))
        }
        UsageIn::StartOnly => (Some(usage.clone()), None),
        UsageIn::DeltaOnly => (Some(Usage::default().to_json(true)), Some(usage.clone())),
        UsageIn::Nowhere => (None, None),
    }
}

pub(crate) fn event(name: &str, mut data: Value) -> (String, Value) {
    overlay(&mut data, &json!({"type": name}));
    (name.to_owned(), data)
}

fn block_events(index: usize, block: &Value) -> Vec<(String, Value)> {
    let mut empty = block.clone();
    let deltas: Vec<Value> = match block["type"].as_str() {
        Some("text") => {
            overlay(&mut empty, &json!({"text": ""}));
            words(&block["text"])
                .map(|word| json!({"type": "text_delta", "text": word}))
                .collect()
        }
        Some("thinking") => {
            overlay(&mut empty, &json!({"thinking": "", "signature": ""}));
            let thoughts = words(&block["thinking"])
                .map(|word| json!({"type": "thinking_delta", "thinking": word}));
            let signature = json!({"type": "signature_delta", "signature": block["signature"]});
            thoughts.chain([signature]).collect()
        }
        Some("tool_use" | "server_tool_use") => {
            overlay(&mut empty, &json!({"input": {}}));
            let input = block["input"].to_string();
            let pieces = words(&Value::String(input.clone()))
                .map(str::to_owned)
                .collect::<Vec<_>>();
            [String::new()]
                .into_iter()
                .chain(pieces)
                .map(|piece| json!({"type": "input_json_delta", "partial_json": piece}))
                .collect()
        }
        _ => Vec::new(),
    };
    let start = event(
        "content_block_start",
        json!({"index": index, "content_block": empty}),
    );
    let deltas = deltas.into_iter().map(|delta| {
        event(
            "content_block_delta",
            json!({"index": index, "delta": delta}),
        )
    });
    let stop = event("content_block_stop", json!({"index": index}));
    [start].into_iter().chain(deltas).chain([stop]).collect()
}

fn words(text: &Value) -> impl Iterator<Item = &str> {
    text.as_str().unwrap_or_default().split_inclusive(' ')
}

pub(crate) fn event_text(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {}\n\n", text(data))
}

/// The fields that the API writes first, in its order. Nobody may rely on it,
/// and so nobody is spared it.
const FIRST_FIELDS: [&str; 16] = [
    "type",
    "index",
    "model",
    "id",
    "role",
    "name",
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "ephemeral_5m_input_tokens",
    "content",
    "delta",
    "content_block",
    "stop_reason",
    "stop_sequence",
    "error",
];

pub(crate) fn text(value: &Value) -> String {
    serde_json::to_string(&InOrder(value)).unwrap_or_default()
}

/// Writes fields in the API's order.
struct InOrder<'a>(&'a Value);

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => serializer.collect_seq(items.iter().map(InOrder)),
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by_key(|(name, _)| {
                    let rank = FIRST_FIELDS.iter().position(|first| first == name);
                    rank.unwrap_or(FIRST_FIELDS.len())
                });
                serializer.collect_map(
                    fields
                        .into_iter()
                        .map(|(name, value)| (name, InOrder(value))),
                )
            }
            plain => plain.serialize(serializer),
        }
    }
}

/// With each event, what its reader knows of the usage after it.
pub(crate) fn with_usage(
    events: impl IntoIterator<Item = (String, Value)>,
) -> impl Iterator<Item = (String, Value, Usage)> {
    let mut so_far = Usage::default();
    events.into_iter().map(move |(name, data)| {
        so_far = reported(so_far, &data["message"]["usage"]);
        so_far = reported(so_far, &data["usage"]);
        (name, data, so_far)
    })
}

/// What a reader knows who knew `so_far` and now sees this usage object: every
/// counter in it replaces the known one.
pub(crate) fn reported(so_far: Usage, usage: &Value) -> Usage {
    let mut now = so_far;
    let set = |counter: &mut u64, value: &Value| {
        if let Some(value) = value.as_u64() {
            *counter = value;
        }
    };
    set(&mut now.input_tokens, &usage["input_tokens"]);
    set(&mut now.output_tokens, &usage["output_tokens"]);
    set(
        &mut now.cache_read_tokens,
        &usage["cache_read_input_tokens"],
    );
    let split = &usage["cache_creation"];
    if split.is_object() {
        set(
            &mut now.cache_write_5m_tokens,
            &split["ephemeral_5m_input_tokens"],
        );
        set(
            &mut now.cache_write_1h_tokens,
            &split["ephemeral_1h_input_tokens"],
        );
    } else if let Some(written) = usage["cache_creation_input_tokens"].as_u64()
        && written != now.cache_write_5m_tokens + now.cache_write_1h_tokens
    {
        now.cache_write_5m_tokens = written;
        now.cache_write_1h_tokens = 0;
    }
    now
}
