//! What a request asks for, or why the API would refuse it.

use http::Method;
use serde_json::Value;

use crate::simulator::{
    question::{self, invalid},
    record::Received,
    reply::ApiError,
};

/// The API's version from which on requests may not choose how to sample.
const WITHOUT_SAMPLING: &str = "2026-10-21";

const VERSIONS: [&str; 2] = ["2023-06-01", WITHOUT_SAMPLING];

/// A request that the API understands.
#[derive(Debug)]
pub(super) enum Asked {
    Message(Value),
    CountTokens(Value),
    Models { query: String },
    Model { id: String },
}

/// Reads a request as the API does: who asks, where, then what.
pub(super) fn read(request: &Received) -> Result<Asked, ApiError> {
    let path = request.path_without_query();
    let model_id = path.strip_prefix("/v1/models/");
    let method = match path {
        "/v1/messages" | "/v1/messages/count_tokens" => Method::POST,
        "/v1/models" => Method::GET,
        _ if model_id.is_some_and(|id| !id.is_empty()) => Method::GET,
        _ => return Err(ApiError::of_status(404)),
    };
    if request.method != method {
        return Err(ApiError::of_status(405));
    }
    credential(request)?;
    let version = version(request)?;
    match path {
        "/v1/messages" => {
            let body = json_body(request)?;
            message(&body)?;
            sampling(&body, version)?;
            Ok(Asked::Message(body))
        }
        "/v1/messages/count_tokens" => {
            let body = json_body(request)?;
            conversation(&body)?;
            Ok(Asked::CountTokens(body))
        }
        _ => Ok(match model_id {
            Some(id) => Asked::Model { id: id.to_owned() },
            None => Asked::Models {
                query: query(&request.path).to_owned(),
            },
        }),
    }
}

fn query(path: &str) -> &str {
    path.split_once('?').map_or("", |(_, query)| query)
}

fn credential(request: &Received) -> Result<(), ApiError> {
    let given = request
        .header("x-api-key")
        .or_else(|| request.header("authorization")?.strip_prefix("Bearer "));
    match given {
        None => Err(ApiError::new(
            401,
            "authentication_error",
            "x-api-key header is required",
        )),
        Some("") => Err(ApiError::of_status(401)),
        Some(_) => Ok(()),
    }
}

fn version(request: &Received) -> Result<&str, ApiError> {
    match request.header("anthropic-version") {
        None => Err(invalid("anthropic-version: header is required")),
        Some(version) if VERSIONS.contains(&version) => Ok(version),
        Some(version) => Err(invalid(format!(
            "anthropic-version: \"{version}\" is not a valid version"
        ))),
    }
}

fn json_body(request: &Received) -> Result<Value, ApiError> {
    match serde_json::from_slice(&request.body) {
        Ok(body @ Value::Object(_)) => Ok(body),
        Ok(_) => Err(invalid("Input should be a valid dictionary")),
        Err(error) => Err(invalid(format!(
            "The request body is not valid JSON: {error}"
        ))),
    }
}

fn conversation(body: &Value) -> Result<(), ApiError> {
    let Some(model) = body["model"].as_str() else {
        return Err(invalid("model: Field required"));
    };
    if !model.contains("claude") {
        return Err(ApiError::new(
            404,
            "not_found_error",
            &format!("model: {model}"),
        ));
    }
    question::messages(body)
}

fn message(body: &Value) -> Result<(), ApiError> {
    conversation(body)?;
    question::limits(body)
}

fn sampling(body: &Value, version: &str) -> Result<(), ApiError> {
    let names = ["temperature", "top_p", "top_k"];
    match names.iter().find(|name| !body[**name].is_null()) {
        Some(name) if version == WITHOUT_SAMPLING => {
            Err(invalid(format!("{name}: Extra inputs are not permitted")))
        }
        _ => Ok(()),
    }
}
