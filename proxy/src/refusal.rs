//! Error → HTTP answer in the Anthropic API's own shape. Nothing else makes
//! error answers.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Kind},
    upstream::{Answer, Flow},
};

/// One row: what the client is told.
struct Row {
    status: StatusCode,
    /// Error type of the Messages API.
    r#type: &'static str,
    message: &'static str,
    /// Whether repeating the request may help. Claude Code repeats a 401 ten
    /// times and more over three minutes unless it is told not to.
    retry: Retry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// `x-should-retry: false`.
    Never,
    /// The client decides by status.
    ByStatus,
    /// `retry-after`, in seconds.
    After(u8),
}

fn row(kind: Kind) -> Row {
    let (status, r#type, message, retry) = match kind {
        Kind::NotFound => (
            StatusCode::NOT_FOUND,
            "not_found_error",
            "The gateway has no such endpoint. ANTHROPIC_BASE_URL should be https://<gateway>/ak/<access key>.",
            Retry::Never,
        ),
        Kind::Unauthenticated => (
            StatusCode::UNAUTHORIZED,
            "authentication_error",
            "The gateway does not accept this access key. Check the key in ANTHROPIC_BASE_URL or ask your administrator for a new one.",
            Retry::Never,
        ),
        Kind::NotReady => (
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded_error",
            "The gateway is starting and does not know its access keys yet. Please try again.",
            Retry::After(1),
        ),
        Kind::Stale => (
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded_error",
            "The gateway has not heard of changes for too long and does not trust its access keys. Please try again.",
            Retry::After(5),
        ),
        Kind::MalformedBody => (
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "The request body is not valid JSON",
            Retry::Never,
        ),
        Kind::BodyTooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            "Request exceeds the maximum size",
            Retry::Never,
        ),
        Kind::BodyTimeout => (
            StatusCode::REQUEST_TIMEOUT,
            "timeout_error",
            "The request body did not arrive in time.",
            Retry::ByStatus,
        ),
        Kind::BodyBroken => (
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "The request body broke off before its end.",
            Retry::ByStatus,
        ),
        Kind::Overloaded => (
            overloaded(),
            "overloaded_error",
            "The gateway holds as many requests as it can. Please try again.",
            Retry::After(1),
        ),
        Kind::Connect => (
            StatusCode::BAD_GATEWAY,
            "api_error",
            "The gateway could not reach the model's provider.",
            Retry::ByStatus,
        ),
        Kind::FirstByteTimeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "timeout_error",
            "The model's provider did not begin to answer in time.",
            Retry::ByStatus,
        ),
        Kind::UpstreamBroken => (
            StatusCode::BAD_GATEWAY,
            "api_error",
            "The model's provider broke off before its answer was complete.",
            Retry::ByStatus,
        ),
        Kind::IdleTimeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "timeout_error",
            "The model's provider fell silent within its answer.",
            Retry::ByStatus,
        ),
        Kind::OperatorCredential => (
            StatusCode::SERVICE_UNAVAILABLE,
            "api_error",
            "The Anthropic API does not accept the gateway's own credential. Please tell your administrator.",
            Retry::Never,
        ),
        Kind::UnknownModel => (
            StatusCode::NOT_FOUND,
            "not_found_error",
            "The gateway knows no such model on Amazon Bedrock.",
            Retry::Never,
        ),
        Kind::CannotCount => (
            StatusCode::NOT_FOUND,
            "not_found_error",
            "Amazon Bedrock does not count tokens for this model.",
            Retry::Never,
        ),
        Kind::EncodedBody => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid_request_error",
            "Amazon Bedrock takes no compressed request bodies. Send the body without content-encoding.",
            Retry::Never,
        ),
        Kind::NoBedrockKey => (
            StatusCode::SERVICE_UNAVAILABLE,
            "api_error",
            "Your requests go to Amazon Bedrock, but no credential for it is registered for this access key. Please tell your administrator.",
            Retry::Never,
        ),
        Kind::SealedBedrockKey => (
            StatusCode::SERVICE_UNAVAILABLE,
            "api_error",
            "The gateway cannot open the credential for Amazon Bedrock at the moment. Please try again, and tell your administrator if it stays so.",
            Retry::ByStatus,
        ),
        Kind::SpoiltBedrockKey => (
            StatusCode::SERVICE_UNAVAILABLE,
            "api_error",
            "The gateway cannot open the credential for Amazon Bedrock of this access key. Please tell your administrator to register it again.",
            Retry::Never,
        ),
        Kind::BedrockCredential => (
            StatusCode::SERVICE_UNAVAILABLE,
            "api_error",
            "Amazon Bedrock does not accept the credential that is registered for this access key, or it has no access to this model. Please tell your administrator.",
            Retry::Never,
        ),
        Kind::Untranslatable => (
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "The request is not one of the Messages API.",
            Retry::ByStatus,
        ),
        Kind::BedrockInvalid => (
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "Amazon Bedrock does not accept the request.",
            Retry::ByStatus,
        ),
        Kind::BedrockNotFound => (
            StatusCode::NOT_FOUND,
            "not_found_error",
            "Amazon Bedrock has no such model in this region.",
            Retry::Never,
        ),
        Kind::BedrockThrottled => (
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limit_error",
            "Amazon Bedrock asks to slow down.",
            Retry::After(5),
        ),
        Kind::BedrockOverloaded => (
            overloaded(),
            "overloaded_error",
            "Amazon Bedrock is overloaded.",
            Retry::ByStatus,
        ),
        Kind::BedrockInternal => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "api_error",
            "Amazon Bedrock failed.",
            Retry::ByStatus,
        ),
        Kind::BedrockTimeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "api_error",
            "The model took too long for Amazon Bedrock.",
            Retry::ByStatus,
        ),
        Kind::BudgetExhausted => (
            StatusCode::TOO_MANY_REQUESTS,
            "billing_error",
            "Your budget for Amazon Bedrock is used up.",
            Retry::Never,
        ),
        Kind::BudgetReserved => (
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limit_error",
            "Your budget for Amazon Bedrock is nearly used up, and other requests of yours are running. Please try again.",
            Retry::After(2),
        ),
        Kind::UnpricedModel => (
            StatusCode::FORBIDDEN,
            "billing_error",
            "You have a budget for Amazon Bedrock, but the gateway has no price for this model. Choose another one, or ask your administrator to set its price.",
            Retry::Never,
        ),
        // Clients repeat this type also when it comes within a stream.
        Kind::Stopping => (
            overloaded(),
            "overloaded_error",
            "This instance of the gateway is being stopped. Please try again.",
            Retry::After(1),
        ),
    };
    Row {
        status,
        r#type,
        message,
        retry,
    }
}

/// 529, the API's own status for it.
fn overloaded() -> StatusCode {
    StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

/// The envelope of the Messages API.
#[derive(Serialize)]
struct Envelope<'a> {
    r#type: &'static str,
    error: Detail<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Detail<'a> {
    r#type: &'a str,
    message: &'a str,
}

/// The answer to a request that failed with `error`.
pub fn answer(error: &Error, request_id: &str) -> Response<Bytes> {
    let row = row(error.kind);
    let body = envelope(row.r#type, &message(&row, error), request_id);
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = row.status;
    let headers = response.headers_mut();
    name(headers, request_id);
    match (row.retry, error.retry_after) {
        (Retry::Never, after) => {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
            if let Some(seconds) = after {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
        }
        (Retry::After(_) | Retry::ByStatus, Some(seconds)) => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        (Retry::After(seconds), None) => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(u16::from(seconds)));
        }
        (Retry::ByStatus, None) => {}
    }
    response
}

/// A refusal for a client that was promised a stream.
pub fn event(error: &Error, request_id: &str) -> Bytes {
    let row = row(error.kind);
    let may_repeat = row.retry != Retry::Never;
    let error_type = event_type(row.r#type, row.status, may_repeat);
    event_of(&envelope(error_type, &message(&row, error), request_id))
}

/// The type of an event that stands for a status: clients do after both the same.
fn event_type(error_type: &str, status: StatusCode, may_repeat: bool) -> &str {
    match may_repeat && is_repeated(status) {
        true => repeated(error_type),
        false => error_type,
    }
}

/// The type that makes clients repeat a request as they do after a status of
/// [`is_repeated`]: in a stream they do it after three only.
///
/// Source: measured, `sse-…-mid` of the real clients.
fn repeated(error_type: &str) -> &str {
    match error_type {
        again @ ("overloaded_error" | "api_error" | "timeout_error") => again,
        "rate_limit_error" => "overloaded_error",
        _ => "api_error",
    }
}

/// Whether clients repeat a request after this status.
///
/// Source: `shouldRetry` of the official SDKs.
fn is_repeated(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 409 | 429) || status.is_server_error()
}

/// The end of a stream that has had content. Nothing but to repeat the request is
/// of use to the client there: what the answer was, nobody knows.
pub fn last_event(error: &Error, request_id: &str) -> Bytes {
    let row = row(error.kind);
    event_of(&envelope(
        repeated(row.r#type),
        &message(&row, error),
        request_id,
    ))
}

/// An upstream's refusal, for a client that was promised a stream.
pub fn upstream_event(head: &response::Parts, body: &[u8], request_id: &str) -> Bytes {
    let said = Said::of(head.status, body);
    let should_retry = head.headers.get("x-should-retry");
    let may_repeat = should_retry.is_none_or(|it| it != "false");
    let error_type = event_type(&said.r#type, head.status, may_repeat);
    event_of(&envelope(error_type, &said.message, request_id))
}

/// An upstream's own `error` event, so that clients repeat the request: somebody
/// else can answer it. None: they do that anyway, or should not.
pub fn repeated_event(data: &[u8], request_id: &str) -> Option<Bytes> {
    let said = Said::of(StatusCode::INTERNAL_SERVER_ERROR, data);
    if said.r#type != "rate_limit_error" {
        return None;
    }
    let error_type = repeated(&said.r#type);
    Some(event_of(&envelope(error_type, &said.message, request_id)))
}

/// Makes an upstream's refusal ours: the same status, headers and words, in the
/// envelope, with our request id. Its body has to be read by now. The upstream's
/// own id is in the log.
pub fn in_our_name(answer: &mut Answer, request_id: &str) {
    let body = match &answer.flow {
        Flow::Whole(Some(body)) => body.clone(),
        _ => Bytes::new(),
    };
    let said = Said::of(answer.head.status, &body);
    let body = envelope(&said.r#type, &said.message, request_id);
    answer.flow = Flow::Whole(Some(body.into()));
    let headers = &mut answer.head.headers;
    headers.remove(header::TRANSFER_ENCODING);
    name(headers, request_id);
}

/// What an upstream says of a failure.
#[derive(Deserialize)]
struct Said {
    r#type: String,
    message: String,
}

impl Said {
    fn of(status: StatusCode, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Envelope {
            error: Said,
        }
        let envelope = serde_json::from_slice::<Envelope>(body);
        envelope.map(|it| it.error).unwrap_or_else(|_| Self {
            r#type: type_of(status).to_owned(),
            message: format!("The model's provider answered with status {status}."),
        })
    }
}

/// What the Messages API calls its error statuses.
///
/// Source: <https://docs.anthropic.com/en/api/errors>.
const TYPES: [(u16, &str); 11] = [
    (400, "invalid_request_error"),
    (401, "authentication_error"),
    (402, "billing_error"),
    (403, "permission_error"),
    (404, "not_found_error"),
    (409, "conflict_error"),
    (413, "request_too_large"),
    (429, "rate_limit_error"),
    (500, "api_error"),
    (504, "timeout_error"),
    (529, "overloaded_error"),
];

/// The status that an `error` event of this type stands for.
pub fn status_of(error_type: &str) -> StatusCode {
    let found = TYPES.iter().find(|(_, it)| *it == error_type);
    let status = found.and_then(|(code, _)| StatusCode::from_u16(*code).ok());
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn type_of(status: StatusCode) -> &'static str {
    let found = TYPES.iter().find(|(code, _)| *code == status.as_u16());
    match found {
        Some((_, error_type)) => error_type,
        None if status.is_client_error() => "invalid_request_error",
        None => "api_error",
    }
}

fn event_of(envelope: &[u8]) -> Bytes {
    [b"event: error\ndata: ", envelope, b"\n\n"].concat().into()
}

fn name(headers: &mut HeaderMap, request_id: &str) {
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        headers.insert("request-id", request_id);
    }
}

fn message<'a>(row: &Row, error: &'a Error) -> Cow<'a, str> {
    match (&error.wording, error.kind, std::error::Error::source(error)) {
        (Some(wording), ..) => Cow::Borrowed(wording),
        // The position in the body helps, and is nobody's secret.
        (None, Kind::MalformedBody, Some(cause)) => format!("{}: {cause}", row.message).into(),
        (None, ..) => Cow::Borrowed(row.message),
    }
}

fn envelope(r#type: &str, message: &str, request_id: &str) -> Vec<u8> {
    let envelope = Envelope {
        r#type: "error",
        error: Detail { r#type, message },
        request_id,
    };
    serde_json::to_vec(&envelope).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_is_answered_in_the_envelope() {
        let mut labels = HashSet::new();
        for kind in Kind::ALL {
            assert!(labels.insert(kind.label()), "{kind:?}");
            let response = answer(&kind.into(), "req_1");
            assert!(response.status().is_client_error() || response.status().is_server_error());
            assert_eq!(response.headers()["request-id"], "req_1");
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["type"], "error");
            assert_eq!(body["request_id"], "req_1");
            assert!(!body["error"]["message"].as_str().unwrap().is_empty());
            // https://docs.anthropic.com/en/api/errors
            let known = [
                "invalid_request_error",
                "authentication_error",
                "not_found_error",
                "request_too_large",
                "api_error",
                "timeout_error",
                "overloaded_error",
                "rate_limit_error",
                "billing_error",
            ];
            assert!(known.contains(&body["error"]["type"].as_str().unwrap()));
        }
    }

    #[test]
    fn error_events_stand_for_their_status() {
        for (code, error_type) in TYPES {
            assert_eq!(status_of(error_type), code);
            assert_eq!(type_of(status_of(error_type)), error_type);
        }
        assert_eq!(status_of("never_heard_of"), 500);
        assert_eq!(type_of(StatusCode::BAD_GATEWAY), "api_error");
        let teapot = StatusCode::IM_A_TEAPOT;
        assert_eq!(type_of(teapot), "invalid_request_error");
    }

    #[test]
    fn a_refused_key_is_not_tried_again() {
        let response = answer(&Kind::Unauthenticated.into(), "req_1");
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["x-should-retry"], "false");
    }

    #[test]
    fn a_proxy_that_starts_asks_for_patience() {
        let response = answer(&Kind::NotReady.into(), "req_1");
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(!response.headers().contains_key("x-should-retry"));
    }
}
