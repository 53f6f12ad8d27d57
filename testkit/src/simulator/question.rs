//! What every question to Claude must be, whoever carries it.

use serde_json::Value;

use super::reply::ApiError;

pub(crate) fn invalid(message: impl AsRef<str>) -> ApiError {
    ApiError::new(400, "invalid_request_error", message.as_ref())
}

/// Looks at the turns of a conversation.
pub(crate) fn messages(body: &Value) -> Result<(), ApiError> {
    let messages = body["messages"]
        .as_array()
        .ok_or_else(|| invalid("messages: Field required"))?;
    if messages.is_empty() {
        return Err(invalid("messages: at least one message is required"));
    }
    for (index, message) in messages.iter().enumerate() {
        turn(index, message)?;
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

/// Looks at how much a model may say and think.
pub(crate) fn limits(body: &Value) -> Result<(), ApiError> {
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
