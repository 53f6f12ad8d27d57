//! The simulator's own endpoints, for programs in other languages.
//!
//! | request | |
//! |---|---|
//! | `POST /_script` | replaces all rules; the body is a JSON array of them |
//! | `GET /_received` | the requests so far |
//! | `GET /_ledger` | the usage reported so far |
//! | `GET /_counts` | connections, requests and answers so far |
//!
//! A rule is `{"path", "operation", "model", "body_contains", "times", "reply"}`, each
//! of which may be left out: without path and operation it is for whatever asks a
//! model to answer, `times` is 1, and `null` means for ever. A reply is a
//! [`Reply`](super::reply::Reply) in snake case:
//!
//! ```json
//! [
//!   {"times": 2, "reply": {"content": {"error": {"status": 529}}, "headers": [["retry-after", "1"]]}},
//!   {"reply": {"content": {"text": "hello"}, "encoding": "accepted"}},
//!   {"reply": {"ending": {"at": {"events": 3}, "how": "reset"}}},
//!   {"operation": "converse", "model": "opus", "reply": {"content": {"error":
//!     {"status": 429, "type": "ThrottlingException", "message": "slowly"}}}},
//!   {"times": null, "reply": {"pace": {"event_ms": 20}}}
//! ]
//! ```
//!
//! Of Bedrock, `{"content": {"frames": […]}}` and `{"how": {"frame": …}}` take
//! [`Frame`](super::reply::Frame)s: `{"headers": [[":message-type", "event"], …],
//! "payload": {…}, "damage": "message"}`.

use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::{
    record::Received,
    script::Rule,
    serve::{Body, State, full},
};

pub(crate) fn respond(request: &Received, state: &State) -> Response<Body> {
    let (status, body) = match (&request.method, request.path_without_query()) {
        (&Method::POST, "/_script") => match serde_json::from_slice::<Vec<Rule>>(&request.body) {
            Ok(rules) => {
                state.script.replace(rules);
                (StatusCode::OK, json!({}))
            }
            Err(error) => (
                StatusCode::BAD_REQUEST,
                json!({"error": format!("not an array of rules: {error}")}),
            ),
        },
        (&Method::GET, "/_received") => {
            let requests = state.record.received();
            (StatusCode::OK, requests.iter().map(received_json).collect())
        }
        (&Method::GET, "/_ledger") => (StatusCode::OK, json!(state.record.ledger())),
        (&Method::GET, "/_counts") => (StatusCode::OK, json!(*state.record.counts().borrow())),
        _ => (
            StatusCode::NOT_FOUND,
            json!({"error": "there are POST /_script, GET /_received, /_ledger and /_counts"}),
        ),
    };
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

fn received_json(request: &Received) -> Value {
    json!({
        "request_id": request.request_id,
        "operation": request.operation,
        "model": request.model,
        "version": format!("{:?}", request.version),
        "method": request.method.as_str(),
        "path": request.path,
        "headers": request.headers,
        "body": String::from_utf8_lossy(&request.body),
    })
}
