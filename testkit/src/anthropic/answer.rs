//! What is answered, as the API words it.

use http::StatusCode;
use serde_json::{Value, json};

use super::request::{self, Asked};
use crate::simulator::{
    answer::{Answer, event_stream},
    message::{Message, event, event_text, reported, text},
    model::MODELS,
    question::invalid,
    record::Received,
    reply::{ApiError, Content, How, Reply},
    signature::Signer,
    usage::{Cache, Usage, input_tokens},
};

/// Answers a request that the script has this reply for. None: no answer over
/// HTTP at all.
pub(super) fn answer(
    request: &Received,
    reply: &Reply,
    signer: &Signer,
    cache: &mut Cache,
) -> Option<Answer> {
    let mut answer = match &reply.content {
        Content::Raw(_) => return None,
        Content::Error(error) => error_answer(error, &request.request_id),
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
        Content::Events(events) => events_answer(events.iter().cloned()),
        Content::Answer | Content::Text(_) => by_the_api(request, reply, signer, cache),
        Content::Message(_) => {
            let body = request.json().unwrap_or_default();
            message_answer(&body, reply, signer, cache)
        }
        Content::Frames(_) => {
            let error = ApiError::new(500, "api_error", "this API has no frames");
            error_answer(&error, &request.request_id)
        }
    };
    answer.headers.extend(usual_headers(request, answer.status));
    answer.replace_headers(&reply.headers);
    if let Some(How::Error(error)) = reply.ending.as_ref().map(|ending| &ending.how) {
        let error = error_json(error, &request.request_id);
        answer.last_event = Some(event_text("error", &error).into());
    }
    Some(answer)
}

/// What the API answers when it looks at the request.
fn by_the_api(request: &Received, reply: &Reply, signer: &Signer, cache: &mut Cache) -> Answer {
    match request::read(request) {
        Err(error) => error_answer(&error, &request.request_id),
        Ok(Asked::Message(body)) => match signer.check(&body) {
            Ok(()) => message_answer(&body, reply, signer, cache),
            Err(message) => error_answer(&invalid(message), &request.request_id),
        },
        Ok(Asked::CountTokens(body)) => {
            json_answer(200, &json!({"input_tokens": input_tokens(&body)}))
        }
        Ok(Asked::Models { query }) => match models_page(&query) {
            Ok(page) => json_answer(200, &page),
            Err(error) => error_answer(&error, &request.request_id),
        },
        Ok(Asked::Model { id }) => match MODELS.iter().find(|(known, ..)| *known == id) {
            Some(model) => json_answer(200, &model_json(model)),
            None => error_answer(
                &ApiError::new(404, "not_found_error", &format!("model: {id}")),
                &request.request_id,
            ),
        },
    }
}

/// A message, streamed when the request says so.
fn message_answer(request: &Value, reply: &Reply, signer: &Signer, cache: &mut Cache) -> Answer {
    let Some(message) = Message::of(request, reply, "msg_01", signer, cache) else {
        return json_answer(200, &Value::Null);
    };
    let mut answer = if request["stream"] == true {
        events_answer(with_ping(message.events(reply.usage_in)))
    } else {
        json_answer(200, &message.whole(reply.usage_in))
    };
    answer.model = message.model().to_owned();
    answer
}

/// A ping where the API has it: after `message_start` and `content_block_start`.
fn with_ping(mut events: Vec<(String, Value)>) -> Vec<(String, Value)> {
    if events
        .get(1)
        .is_some_and(|(name, _)| name == "content_block_start")
    {
        events.insert(2, event("ping", json!({})));
    }
    events
}

fn json_answer(status: u16, value: &Value) -> Answer {
    let reported = reported(Usage::default(), &value["usage"]);
    Answer::whole(status, "application/json", text(value), reported)
}

fn error_answer(error: &ApiError, request_id: &str) -> Answer {
    json_answer(error.status, &error_json(error, request_id))
}

fn events_answer(events: impl IntoIterator<Item = (String, Value)>) -> Answer {
    let mut answer = event_stream(events);
    answer
        .headers
        .push(("cache-control".to_owned(), "no-cache".to_owned()));
    answer
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

/// The headers that the API sends with every answer.
fn usual_headers(request: &Received, status: StatusCode) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let mut add = |name: &str, value: &str| {
        headers.push((name.to_owned(), value.to_owned()));
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
    if !status.is_success() || !request.path.starts_with("/v1/messages") {
        return headers;
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
    headers
}

/// A developer's own login, in contrast to an API key.
fn is_plan_login(request: &Received) -> bool {
    request
        .header("authorization")
        .is_some_and(|value| value.starts_with("Bearer sk-ant-oat"))
}

fn error_json(error: &ApiError, request_id: &str) -> Value {
    json!({
        "type": "error",
        "error": {"type": error.kind, "message": error.message},
        "request_id": request_id,
    })
}
