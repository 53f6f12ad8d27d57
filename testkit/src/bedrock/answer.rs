//! What is answered, as Bedrock words and frames it.

use serde_json::{Value, json};

use super::{
    check::{Input, input},
    converse,
    exception::{self, Exception},
    frame::encode,
    target,
};
use crate::simulator::{
    answer::{Answer, Event, event_stream},
    message::{self, Message, with_usage},
    record::{Operation, Received},
    reply::{ApiError, Content, Frame, How, Reply},
    signature::Signer,
    usage::{Cache, Usage, input_tokens},
};

const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

/// How the API's ids of messages begin on Bedrock.
const ID_PREFIX: &str = "msg_bdrk_01";

/// Answers a request that the script has this reply for, if `checked` lets it.
/// None: no answer over HTTP at all.
pub(super) fn answer(
    request: &Received,
    reply: &Reply,
    checked: impl FnOnce() -> Result<(), ApiError>,
    signer: &Signer,
    cache: &mut Cache,
) -> Option<Answer> {
    let mut answer = match &reply.content {
        Content::Raw(_) => return None,
        Content::Error(error) => exception::refusal(error, request),
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
        _ => checked()
            .and_then(|()| by_the_model(request, reply, signer, cache))
            .unwrap_or_else(|error| exception::refusal(&error, request)),
    };
    if answer.model.is_empty() {
        answer.model.clone_from(&request.model);
    }
    add_usual_headers(&mut answer, request);
    answer.replace_headers(&reply.headers);
    answer.last_event = match reply.ending.as_ref().map(|ending| &ending.how) {
        Some(How::Error(error)) => Some(exception::last_event(error, request)),
        Some(How::Frame(frame)) => Some(encode(frame)),
        _ => None,
    };
    Some(answer)
}

fn add_usual_headers(answer: &mut Answer, request: &Received) {
    let mut add = |name: &str, value: String| answer.headers.push((name.to_owned(), value));
    add("x-amzn-requestid", request.request_id.clone());
    if request.operation == Operation::InvokeStream {
        add("x-amzn-bedrock-content-type", "application/json".to_owned());
    }
}

/// The answer to a request that is in order.
fn by_the_model(
    request: &Received,
    reply: &Reply,
    signer: &Signer,
    cache: &mut Cache,
) -> Result<Answer, ApiError> {
    let body = request.json().unwrap_or_default();
    match &reply.content {
        Content::Frames(frames) => return Ok(frames_answer(frames)),
        Content::Events(events) => return Ok(events_answer(request, events.clone())),
        _ => {}
    }
    if request.operation == Operation::CountTokens {
        let tokens = match input(&body)? {
            Input::Native(question) => input_tokens(&question),
            Input::Converse(body) => input_tokens(&converse::question(&request.model, body)),
        };
        return Ok(json_answer(
            &json!({"inputTokens": tokens}),
            Usage::default(),
        ));
    }
    let question = match request.operation {
        Operation::Converse | Operation::ConverseStream => {
            converse::question(&request.model, &body)
        }
        _ => native_question(request, body.clone()),
    };
    let message =
        Message::of(&question, reply, ID_PREFIX, signer, cache).ok_or(Exception::InternalServer)?;
    let (tokens, usage_in) = (message.tokens, reply.usage_in);
    Ok(match request.operation {
        Operation::Invoke => invoke_answer(&message, reply),
        Operation::Converse => {
            let answer = converse::answer(&message.fields, tokens, usage_in, &body);
            let reported = converse::reported(&answer["usage"]);
            json_answer(&answer, reported.unwrap_or_default())
        }
        Operation::ConverseStream => {
            let events = converse::events(&message.fields, tokens, usage_in, &body);
            events_answer(request, events)
        }
        Operation::Messages if question["stream"] != true => json_answer(
            &message.whole(usage_in),
            message::reported(Usage::default(), &message.whole(usage_in)["usage"]),
        ),
        _ => events_answer(
            request,
            with_metrics(message.events(usage_in), request, tokens),
        ),
    })
}

/// The body of `InvokeModel` names no model.
fn native_question(request: &Received, mut body: Value) -> Value {
    if let Some(body) = body.as_object_mut() {
        body.insert("model".to_owned(), json!(target::own_name(&request.model)));
    }
    body
}

fn invoke_answer(message: &Message, reply: &Reply) -> Answer {
    let whole = message.whole(reply.usage_in);
    let reported = message::reported(Usage::default(), &whole["usage"]);
    let mut answer = json_answer(&whole, reported);
    for (name, count) in [
        ("input", message.tokens.input_tokens),
        ("output", message.tokens.output_tokens),
    ] {
        answer.headers.push((
            format!("x-amzn-bedrock-{name}-token-count"),
            count.to_string(),
        ));
    }
    answer.headers.push((
        "x-amzn-bedrock-invocation-latency".to_owned(),
        "420".to_owned(),
    ));
    answer
}

/// The last event of `InvokeModelWithResponseStream` has what Bedrock measured.
fn with_metrics(
    mut events: Vec<(String, Value)>,
    request: &Received,
    tokens: Usage,
) -> Vec<(String, Value)> {
    if request.operation == Operation::InvokeStream
        && let Some((_, last)) = events.last_mut()
    {
        last["amazon-bedrock-invocationMetrics"] = json!({
            "inputTokenCount": tokens.input_tokens,
            "outputTokenCount": tokens.output_tokens,
            "invocationLatency": 420,
            "firstByteLatency": 42,
            "cacheReadInputTokenCount": tokens.cache_read_tokens,
            "cacheWriteInputTokenCount":
                tokens.cache_write_5m_tokens + tokens.cache_write_1h_tokens,
        });
    }
    events
}

fn json_answer(value: &Value, reported: Usage) -> Answer {
    let text = message::text(value);
    Answer::whole(200, "application/json", text, reported)
}

/// Events, carried as the operation does it.
fn events_answer(request: &Received, events: Vec<(String, Value)>) -> Answer {
    let events = match request.operation {
        Operation::Messages => return event_stream(events),
        Operation::Converse | Operation::ConverseStream => {
            let mut so_far = Usage::default();
            let events = events.into_iter().map(|(name, data)| {
                so_far = converse::reported(&data["usage"]).unwrap_or(so_far);
                event(&Frame::event(&name, data), so_far)
            });
            events.collect()
        }
        _ => with_usage(events)
            .map(|(_, data, reported)| event(&Frame::chunk(&message::text(&data)), reported))
            .collect(),
    };
    Answer::stream(EVENT_STREAM, events)
}

fn event(frame: &Frame, reported: Usage) -> Event {
    Event {
        bytes: encode(frame),
        reported,
    }
}

fn frames_answer(frames: &[Frame]) -> Answer {
    let mut so_far = Usage::default();
    let events = frames.iter().map(|frame| {
        if frame.header(":event-type") == Some("metadata") {
            so_far = converse::reported(&frame.payload["usage"]).unwrap_or(so_far);
        }
        if let Some(data) = frame.carried() {
            so_far = message::reported(so_far, &data["message"]["usage"]);
            so_far = message::reported(so_far, &data["usage"]);
        }
        event(frame, so_far)
    });
    Answer::stream(EVENT_STREAM, events.collect())
}
