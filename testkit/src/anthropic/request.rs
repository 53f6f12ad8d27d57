//! What a request asks for, or why the API would refuse it.

use http::Method;
use serde_json::Value;

use crate::simulator::{record::Received, reply::ApiError};

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

fn invalid(message: impl AsRef<str>) -> ApiError {
    ApiError::new(400, "invalid_request_error", message.as_ref())
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
    match body["messages"].as_array() {
        None => return Err(invalid("messages: Field required")),
        Some(messages) if messages.is_empty() => {
            return Err(invalid("messages: at least one message is required"));
        }
        Some(messages) => {
            for (index, message) in messages.iter().enumerate() {
                turn(index, message)?;
            }
        }
    }
    Ok(())
}

fn turn(index: usize, message: &Value) -> Result<(), ApiError> {
    if !matches!(
        message["role"].as_str(),
        Some("user" | "assistant" | "system")
    ) {
        return Err(invalid(format!(
            "messages.{index}.role: Input should be \"user\" or \"assistant\""
        )));
    }
    if !message["content"].is_string() && !message["content"].is_array() {
        return Err(invalid(format!("messages.{index}.content: Field required")));
    }
    Ok(())
}

fn message(body: &Value) -> Result<(), ApiError> {
    conversation(body)?;
    let Some(max_tokens) = body["max_tokens"].as_u64() else {
        return Err(invalid(match body["max_tokens"] {
            Value::Null => "max_tokens: Field required",
            _ => "max_tokens: Input should be a valid integer",
        }));
    };
    if max_tokens == 0 {
        return Err(invalid(
            "max_tokens: Input should be greater than or equal to 1",
        ));
    }
    thinking(&body["thinking"], max_tokens)
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

fn thinking(thinking: &Value, max_tokens: u64) -> Result<(), ApiError> {
    match thinking["type"].as_str() {
        Some("enabled") => match thinking["budget_tokens"].as_u64() {
            None => Err(invalid("thinking.enabled.budget_tokens: Field required")),
            Some(..1024) => Err(invalid(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
            )),
            Some(budget) if budget >= max_tokens => Err(invalid(
                "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size",
            )),
            Some(_) => Ok(()),
        },
        None if thinking.is_null() => Ok(()),
        Some("adaptive" | "disabled") => Ok(()),
        _ => Err(invalid(
            "thinking: Input tag does not match any of the expected tags: 'adaptive', 'disabled', 'enabled'",
        )),
    }
}
