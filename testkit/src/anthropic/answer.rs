//! What is answered: status, headers and body as the API would write them, not
//! yet as bytes on a connection.

use bytes::Bytes;
use http::StatusCode;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    model::{self, MODELS, Speech},
    record::Received,
    reply::{ApiError, Content, Reply, UsageIn},
    request::{self, Asked},
    usage::{Cache, Usage, input_tokens},
};

/// What a client is told, as far as HTTP/1.1 and HTTP/2 agree.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
    /// For the ledger; empty when no model was asked.
    pub(super) model: String,
}

#[derive(Debug)]
pub(super) enum Body {
    Events(Vec<Event>),
    Whole { bytes: Bytes, reported: Usage },
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) text: String,
    /// The usage that a reader knows of after this event.
    pub(super) reported: Usage,
}

/// Answers a request that the script has this reply for. None: no answer over
/// HTTP at all.
pub(super) fn answer(request: &Received, reply: &Reply, cache: &mut Cache) -> Option<Answer> {
    let mut answer = match &reply.content {
        Content::Raw(_) => return None,
        Content::Error(error) => Answer::error(error, &request.request_id),
        Content::Body {
            status,
            content_type,
            body,
        } => Answer::whole(
            *status,
            content_type,
            body.clone(),
            reply.tokens.unwrap_or_default(),
        ),
        Content::Events(events) => Answer::events(events.iter().cloned()),
        Content::Answer => by_the_api(request, reply, None, cache),
        Content::Text(text) => by_the_api(request, reply, Some(text), cache),
        Content::Message(fields) => {
            let body = request.json().unwrap_or_default();
            message_answer(&body, reply, fields, cache)
        }
    };
    answer.add_usual_headers(request);
    answer.replace_headers(&reply.headers);
    Some(answer)
}

/// What the API answers, with `text` in place of the small model's own.
fn by_the_api(request: &Received, reply: &Reply, text: Option<&str>, cache: &mut Cache) -> Answer {
    match request::read(request) {
        Err(error) => Answer::error(&error, &request.request_id),
        Ok(Asked::Message(body)) => {
            let Speech {
                content,
                stop_reason,
            } = model::speak(&body, text);
            let message = json!({"content": content, "stop_reason": stop_reason});
            message_answer(&body, reply, &message, cache)
        }
        Ok(Asked::CountTokens(body)) => {
            Answer::json(200, &json!({"input_tokens": input_tokens(&body)}))
        }
        Ok(Asked::Models { query }) => match models_page(&query) {
            Ok(page) => Answer::json(200, &page),
            Err(error) => Answer::error(&error, &request.request_id),
        },
        Ok(Asked::Model { id }) => match MODELS.iter().find(|(known, ..)| *known == id) {
            Some(model) => Answer::json(200, &model_json(model)),
            None => Answer::error(
                &ApiError::new(404, "not_found_error", &format!("model: {id}")),
                &request.request_id,
            ),
        },
    }
}

/// A message with these fields, streamed when the request says so.
fn message_answer(request: &Value, reply: &Reply, fields: &Value, cache: &mut Cache) -> Answer {
    let content = fields["content"].as_array().cloned().unwrap_or_default();
    let tokens = reply.tokens.unwrap_or_else(|| Usage {
        output_tokens: model::output_tokens(&content),
        ..cache.count(request)
    });
    let mut message = json!({
        "id": format!("msg_01{}", Uuid::new_v4().simple()),
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "content": content,
        "stop_reason": "end_turn",
        "stop_sequence": null,
        "usage": tokens.to_json(reply.usage_in != UsageIn::WithoutSplit),
    });
    overlay(&mut message, fields);
    let mut answer = if request["stream"] == true {
        Answer::events(message_events(&message, tokens, reply.usage_in))
    } else {
        if reply.usage_in == UsageIn::Nowhere {
            remove(&mut message, "usage");
        }
        Answer::json(200, &message)
    };
    answer.model = message["model"].as_str().unwrap_or_default().to_owned();
    answer
}

fn overlay(object: &mut Value, fields: &Value) {
    if let (Some(object), Some(fields)) = (object.as_object_mut(), fields.as_object()) {
        object.extend(fields.clone());
    }
}

fn remove(object: &mut Value, field: &str) {
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
    for (index, block) in message["content"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        events.extend(block_events(index, block));
        if index == 0 {
            // Where the API has it: after `message_start` and `content_block_start`.
            events.insert(2, event("ping", json!({})));
        }
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

fn event(name: &str, mut data: Value) -> (String, Value) {
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

fn model_json((id, display_name, created_at): &(&str, &str, &str)) -> Value {
    json!({
        "type": "model",
        "id": id,
        "display_name": display_name,
        "created_at": created_at,
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
    })
}

/// A page of the models: `limit`, and `after_id` or `before_id`.
fn models_page(query: &str) -> Result<Value, ApiError> {
    let parameter = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    };
    let limit = match parameter("limit").map_or(Ok(20), str::parse::<usize>) {
        Ok(limit @ 1..=1000) => limit,
        _ => {
            return Err(ApiError::new(
                400,
                "invalid_request_error",
                "limit: Input should be between 1 and 1000",
            ));
        }
    };
    let position = |id: &str| MODELS.iter().position(|(known, ..)| *known == id);
    let end = parameter("before_id").and_then(position);
    let start = match end {
        Some(end) => end.saturating_sub(limit),
        None => parameter("after_id")
            .and_then(position)
            .map_or(0, |at| at + 1),
    };
    let end = end.unwrap_or(MODELS.len()).min(start + limit);
    let page = MODELS.get(start..end).unwrap_or_default();
    let has_more = if parameter("before_id").is_some() {
        start > 0
    } else {
        end < MODELS.len()
    };
    Ok(json!({
        "data": page.iter().map(model_json).collect::<Vec<_>>(),
        "has_more": has_more,
        "first_id": page.first().map(|model| model.0),
        "last_id": page.last().map(|model| model.0),
    }))
}

impl Answer {
    fn whole(status: u16, content_type: &str, bytes: Bytes, reported: Usage) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: Body::Whole { bytes, reported },
            model: String::new(),
        }
    }

    fn json(status: u16, value: &Value) -> Self {
        let reported = reported(Usage::default(), &value["usage"]);
        Self::whole(status, "application/json", text(value).into(), reported)
    }

    pub(super) fn error(error: &ApiError, request_id: &str) -> Self {
        Self::json(error.status, &error_json(error, request_id))
    }

    fn events(events: impl IntoIterator<Item = (String, Value)>) -> Self {
        let mut so_far = Usage::default();
        let events = events.into_iter().map(|(name, data)| {
            so_far = reported(so_far, &data["message"]["usage"]);
            so_far = reported(so_far, &data["usage"]);
            Event {
                text: event_text(&name, &data),
                reported: so_far,
            }
        });
        Self {
            status: StatusCode::OK,
            headers: vec![
                (
                    "content-type".to_owned(),
                    "text/event-stream; charset=utf-8".to_owned(),
                ),
                ("cache-control".to_owned(), "no-cache".to_owned()),
            ],
            body: Body::Events(events.collect()),
            model: String::new(),
        }
    }

    /// The same name may come several times.
    fn replace_headers(&mut self, headers: &[(String, String)]) {
        let is_replaced = |name: &str| {
            headers
                .iter()
                .any(|(new, _)| new.eq_ignore_ascii_case(name))
        };
        self.headers.retain(|(name, _)| !is_replaced(name));
        self.headers.extend_from_slice(headers);
    }

    fn add_usual_headers(&mut self, request: &Received) {
        let mut add = |name: &str, value: &str| {
            self.headers.push((name.to_owned(), value.to_owned()));
        };
        add("request-id", &request.request_id);
        add(
            "anthropic-organization-id",
            "00000000-0000-4000-8000-000000000042",
        );
        add("strict-transport-security", "max-age=31536000");
        add("server", "cloudflare");
        add("via", "1.1 google");
        add("cf-cache-status", "DYNAMIC");
        if !self.status.is_success() || !request.path.starts_with("/v1/messages") {
            return;
        }
        let limits: &[(&str, &str)] = if is_plan_login(request) {
            &[
                ("unified-status", "allowed"),
                ("unified-reset", "4102444800"),
                ("unified-representative-claim", "five_hour"),
                ("unified-5h-status", "allowed"),
                ("unified-5h-utilization", "0.25"),
                ("unified-5h-reset", "4102444800"),
                ("unified-7d-status", "allowed"),
                ("unified-7d-utilization", "0.1"),
                ("unified-7d-reset", "4102444800"),
                ("unified-overage-status", "rejected"),
            ]
        } else {
            &[
                ("requests-limit", "4000"),
                ("requests-remaining", "3999"),
                ("requests-reset", "2100-01-01T00:00:00Z"),
                ("input-tokens-limit", "2000000"),
                ("input-tokens-remaining", "1990000"),
                ("input-tokens-reset", "2100-01-01T00:00:00Z"),
                ("output-tokens-limit", "400000"),
                ("output-tokens-remaining", "399000"),
                ("output-tokens-reset", "2100-01-01T00:00:00Z"),
            ]
        };
        for (name, value) in limits {
            add(&format!("anthropic-ratelimit-{name}"), value);
        }
    }
}

/// A developer's own login, in contrast to an API key.
fn is_plan_login(request: &Received) -> bool {
    request
        .header("authorization")
        .is_some_and(|value| value.starts_with("Bearer sk-ant-oat"))
}

pub(super) fn error_json(error: &ApiError, request_id: &str) -> Value {
    json!({
        "type": "error",
        "error": {"type": error.kind, "message": error.message},
        "request_id": request_id,
    })
}

pub(super) fn event_text(name: &str, data: &Value) -> String {
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

fn text(value: &Value) -> String {
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

/// What a reader knows who knew `so_far` and now sees this usage object: every
/// counter in it replaces the known one.
fn reported(so_far: Usage, usage: &Value) -> Usage {
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
