//! What Bedrock refuses with: its exceptions, before a stream and inside it.

use bytes::Bytes;
use serde_json::{Value, json};

use super::frame::encode;
use crate::simulator::{
    answer::Answer,
    message::event_text,
    record::{Operation, Received},
    reply::{ApiError, Frame},
    usage::Usage,
};

/// The exceptions of Bedrock runtime and of AWS's front door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exception {
    AccessDenied,
    ExpiredToken,
    InternalServer,
    InvalidSignature,
    MissingAuthenticationToken,
    ModelError,
    ModelNotReady,
    ModelStreamError,
    ModelTimeout,
    ResourceNotFound,
    ServiceQuotaExceeded,
    ServiceUnavailable,
    Throttling,
    UnknownOperation,
    UnrecognizedClient,
    Validation,
}

/// What the real one has after the name of an exception.
const NAMESPACE: &str = "http://internal.amazon.com/coral/com.amazon.bedrock/";

impl Exception {
    /// With these words in place of the usual ones.
    #[must_use]
    pub fn says(self, message: impl Into<String>) -> ApiError {
        let (status, name, _) = self.usual();
        ApiError {
            status,
            kind: name.to_owned(),
            message: message.into(),
        }
    }

    /// Its status, its name and its words.
    fn usual(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::AccessDenied => (
                403,
                "AccessDeniedException",
                "You don't have access to the model with the specified model ID.",
            ),
            Self::ExpiredToken => (
                403,
                "ExpiredTokenException",
                "The security token included in the request is expired",
            ),
            Self::InternalServer => (
                500,
                "InternalServerException",
                "The system encountered an unexpected error during processing. Try your request again.",
            ),
            Self::InvalidSignature => (
                403,
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
            ),
            Self::MissingAuthenticationToken => (
                403,
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            ),
            Self::ModelError => (
                424,
                "ModelErrorException",
                "The request failed due to an error while processing the model.",
            ),
            Self::ModelNotReady => (
                429,
                "ModelNotReadyException",
                "Model is not ready for inference. Wait and try your request again.",
            ),
            Self::ModelStreamError => (
                424,
                "ModelStreamErrorException",
                "The system encountered an unexpected error during processing. Try your request again.",
            ),
            Self::ModelTimeout => (
                408,
                "ModelTimeoutException",
                "Model has timed out in processing the request. Try your request again.",
            ),
            Self::ResourceNotFound => (
                404,
                "ResourceNotFoundException",
                "Could not resolve the foundation model from the provided model identifier.",
            ),
            Self::ServiceQuotaExceeded => (
                400,
                "ServiceQuotaExceededException",
                "Too many tokens per day, please wait before trying again.",
            ),
            Self::ServiceUnavailable => (
                503,
                "ServiceUnavailableException",
                "Bedrock is unable to process your request.",
            ),
            Self::Throttling => (
                429,
                "ThrottlingException",
                "Too many requests, please wait before trying again.",
            ),
            Self::UnknownOperation => (404, "UnknownOperationException", ""),
            Self::UnrecognizedClient => (
                403,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
            Self::Validation => (
                400,
                "ValidationException",
                "The provided request is not valid",
            ),
        }
    }

    /// What Bedrock says with this status when there is nothing special to say.
    fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::AccessDenied,
            404 => Self::ResourceNotFound,
            408 => Self::ModelTimeout,
            424 => Self::ModelError,
            429 => Self::Throttling,
            503 => Self::ServiceUnavailable,
            400..500 => Self::Validation,
            _ => Self::InternalServer,
        }
    }
}

impl From<Exception> for ApiError {
    fn from(exception: Exception) -> Self {
        exception.says(exception.usual().2)
    }
}

/// A scripted error in Bedrock's vocabulary: what was scripted in the Anthropic
/// API's, by its status alone or in words of its own, is translated.
fn translated(error: &ApiError) -> ApiError {
    if error.kind.ends_with("Exception") {
        return error.clone();
    }
    let usual = ApiError::from(Exception::of_status(error.status));
    let is_plain = *error == ApiError::of_status(error.status);
    ApiError {
        status: error.status,
        kind: usual.kind,
        message: if is_plain {
            usual.message
        } else {
            error.message.clone()
        },
    }
}

/// The answer to a request that is refused.
pub(super) fn refusal(error: &ApiError, request: &Received) -> Answer {
    let exception = translated(error);
    let body = match request.operation {
        Operation::Messages => envelope(error, &request.request_id),
        _ => json!({"message": exception.message}),
    };
    let mut answer = Answer::whole(
        exception.status,
        "application/json",
        body.to_string(),
        Usage::default(),
    );
    answer.headers.push((
        "x-amzn-errortype".to_owned(),
        format!("{}:{NAMESPACE}", exception.kind),
    ));
    answer
}

/// How an error ends an answer that has begun.
pub(super) fn last_event(error: &ApiError, request: &Received) -> Bytes {
    if request.operation == Operation::Messages {
        return event_text("error", &envelope(error, &request.request_id)).into();
    }
    let exception = translated(error);
    encode(&Frame::exception(&exception.kind, &exception.message))
}

/// The envelope of the Anthropic API, which its path on Bedrock has, too.
fn envelope(error: &ApiError, request_id: &str) -> Value {
    let error = translated(error);
    let kind = ApiError::of_status(error.status).kind;
    json!({
        "type": "error",
        "error": {"type": kind, "message": error.message},
        "request_id": request_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_other_api_are_translated() {
        let cases = [
            (ApiError::of_status(429), Exception::Throttling.into()),
            (
                ApiError::new(400, "invalid_request_error", "no"),
                Exception::Validation.says("no"),
            ),
            (
                Exception::ModelTimeout.into(),
                Exception::ModelTimeout.into(),
            ),
            (
                ApiError::of_status(503),
                Exception::ServiceUnavailable.into(),
            ),
        ];
        for (scripted, expected) in cases {
            assert_eq!(translated(&scripted), expected);
        }
    }
}
