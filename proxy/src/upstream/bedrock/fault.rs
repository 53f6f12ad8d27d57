//! What went wrong at Bedrock → what the proxy makes of it.

use std::{error::Error as StdError, fmt};

use aws_sdk_bedrockruntime::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use aws_smithy_types::event_stream::{HeaderValue, RawMessage};
use http::response;
use serde::Deserialize;

use super::answer::AWS_REQUEST_ID;
use crate::error::{Error, Kind, chain};

/// What Bedrock says of a failure, whatever carried it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said<'a> {
    /// `ThrottlingException` and the like; empty when it did not say.
    pub code: &'a str,
    /// 0 inside a stream.
    pub status: u16,
    pub message: &'a str,
    pub request_id: &'a str,
    /// Seconds.
    pub retry_after: Option<u32>,
}

/// The cause that goes to the log: never the message of a request that was not
/// accepted, which may quote the request.
#[derive(Debug)]
struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Cause {}

/// What Claude Code looks for before it compacts a conversation.
const TOO_LONG: &str = "prompt is too long";

impl Said<'_> {
    /// Source: "Troubleshooting Amazon Bedrock API Error Codes", user guide, and
    /// the errors of each operation in the API reference.
    pub fn kind(&self) -> Kind {
        // `com.amazon.coral.service#ThrottlingException:http://…`
        let code = self.code.rsplit('#').next().unwrap_or_default();
        let code = code.split(':').next().unwrap_or_default();
        match code.to_ascii_lowercase().trim_end_matches("exception") {
            "throttling" | "servicequotaexceeded" | "toomanyrequests" | "rate_limit_error" => {
                Kind::BedrockThrottled
            }
            "serviceunavailable" | "modelnotready" | "overloaded_error" => Kind::BedrockOverloaded,
            "internalserver" | "internalfailure" | "modelerror" | "modelstreamerror"
            | "api_error" => Kind::BedrockInternal,
            "modeltimeout" | "timeout_error" => Kind::BedrockTimeout,
            "validation" | "invalid_request_error" => Kind::BedrockInvalid,
            "request_too_large" => Kind::BodyTooLarge,
            "resourcenotfound" | "not_found_error" => Kind::BedrockNotFound,
            "accessdenied"
            | "unrecognizedclient"
            | "expiredtoken"
            | "invalidsignature"
            | "incompletesignature"
            | "invalidclienttokenid"
            | "missingauthenticationtoken"
            | "signaturedoesnotmatch"
            | "authentication_error"
            | "permission_error" => Kind::BedrockCredential,
            _ => self.kind_by_status(),
        }
    }

    fn kind_by_status(&self) -> Kind {
        match self.status {
            400 | 422 => Kind::BedrockInvalid,
            401 | 403 => Kind::BedrockCredential,
            404 => Kind::BedrockNotFound,
            408 | 504 => Kind::BedrockTimeout,
            413 => Kind::BodyTooLarge,
            429 => Kind::BedrockThrottled,
            503 | 529 => Kind::BedrockOverloaded,
            _ => Kind::BedrockInternal,
        }
    }

    /// The error, with Bedrock's words where the client should read them.
    pub fn error(&self) -> Error {
        let kind = self.kind();
        let (code, status, id) = (self.code, self.status, self.request_id);
        let mut cause = format!("Bedrock said {code:?} ({status}), request {id:?}");
        if kind == Kind::BedrockCredential {
            // It names accounts and roles: for the operator, not for the client.
            cause = format!("{cause}: {}", self.message);
        }
        let mut error = Error::because(kind, Cause(cause));
        error.retry_after = self.retry_after;
        match kind {
            Kind::BedrockInvalid => error.in_the_words(&in_the_apis_words(self.message)),
            Kind::BedrockCredential | Kind::BodyTooLarge => error,
            _ if self.message.is_empty() => error,
            _ => error.in_the_words(self.message),
        }
    }
}

/// Bedrock's words for the client; where Claude Code acts on the API's own
/// words, with those before them.
fn in_the_apis_words(message: &str) -> String {
    let lower = message.to_ascii_lowercase();
    let is_too_long = lower.contains("input is too long")
        || lower.contains("too many input tokens")
        || lower.contains("input length and `max_tokens` exceed context limit");
    if is_too_long && !lower.contains(TOO_LONG) {
        format!("{TOO_LONG}: {message}")
    } else {
        message.to_owned()
    }
}

/// A call that was not answered with success.
pub fn of_call<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match &error {
        SdkError::ServiceError(context) => {
            let (answer, said) = (context.raw(), context.err());
            Said {
                code: said.code().unwrap_or_default(),
                status: answer.status().as_u16(),
                message: said.message().unwrap_or_default(),
                request_id: answer.request_id().unwrap_or_default(),
                retry_after: answer
                    .headers()
                    .get("retry-after")
                    .and_then(|it| it.parse().ok()),
            }
            .error()
        }
        SdkError::TimeoutError(_) => because(Kind::FirstByteTimeout, &error),
        SdkError::DispatchFailure(failure) => {
            let failed = failure.as_connector_error().and_then(StdError::source);
            let failed = failed.and_then(|it| it.downcast_ref::<Error>());
            because(failed.map_or(Kind::BedrockInternal, |it| it.kind), &error)
        }
        SdkError::ConstructionFailure(_) => because(Kind::BedrockInternal, &error),
        _ => because(Kind::UpstreamBroken, &error),
    }
}

/// An HTTP answer that is a refusal, in AWS's words or in those of the Messages
/// API.
pub fn of_answer(head: &response::Parts, body: &[u8]) -> Error {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Refusal {
        message: String,
        error: Inner,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Inner {
        r#type: String,
        message: String,
    }
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
    let header = |name: &str| {
        let value = head.headers.get(name).and_then(|it| it.to_str().ok());
        value.unwrap_or_default()
    };
    let (code, message) = match header("x-amzn-errortype") {
        "" => (&*refusal.error.r#type, &*refusal.error.message),
        code if refusal.message.is_empty() => (code, &*refusal.error.message),
        code => (code, &*refusal.message),
    };
    Said {
        code,
        status: head.status.as_u16(),
        message,
        request_id: header(AWS_REQUEST_ID),
        retry_after: header("retry-after").parse().ok(),
    }
    .error()
}

/// A stream that broke off, or carried an exception. `name` tells the exceptions
/// of this stream apart, which have no code inside it.
pub fn of_stream<E>(error: SdkError<E, RawMessage>, name: fn(&E) -> &'static str) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match &error {
        SdkError::ServiceError(context) => Said {
            code: context.err().code().unwrap_or_else(|| name(context.err())),
            message: context.err().message().unwrap_or_default(),
            ..Said::default()
        }
        .error(),
        // A frame of the type `error` is not part of the service's model.
        SdkError::ResponseError(context) => match context.raw() {
            RawMessage::Decoded(frame) => {
                let header = |name: &str| {
                    let found = frame.headers().iter().find(|it| it.name().as_str() == name);
                    found.map(aws_smithy_types::event_stream::Header::value)
                };
                let text = |name| match header(name) {
                    Some(HeaderValue::String(text)) => text.as_str(),
                    _ => "",
                };
                if text(":message-type") == "error" {
                    Said {
                        code: text(":error-code"),
                        message: text(":error-message"),
                        ..Said::default()
                    }
                    .error()
                } else {
                    because(Kind::UpstreamBroken, &error)
                }
            }
            _ => because(Kind::UpstreamBroken, &error),
        },
        _ => because(Kind::UpstreamBroken, &error),
    }
}

fn because(kind: Kind, error: &dyn StdError) -> Error {
    Error::because(kind, Cause(chain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(code: &str, status: u16) -> Kind {
        Said {
            code,
            status,
            ..Said::default()
        }
        .kind()
    }

    #[test]
    fn exceptions_are_told_apart() {
        for (code, status, expected) in [
            ("ThrottlingException", 429, Kind::BedrockThrottled),
            ("ServiceQuotaExceededException", 400, Kind::BedrockThrottled),
            ("ServiceUnavailableException", 503, Kind::BedrockOverloaded),
            ("ModelNotReadyException", 429, Kind::BedrockOverloaded),
            ("InternalServerException", 500, Kind::BedrockInternal),
            ("ModelErrorException", 424, Kind::BedrockInternal),
            ("ModelStreamErrorException", 424, Kind::BedrockInternal),
            ("ModelTimeoutException", 408, Kind::BedrockTimeout),
            ("ValidationException", 400, Kind::BedrockInvalid),
            (
                "com.amazon#ValidationException:http://x",
                400,
                Kind::BedrockInvalid,
            ),
            ("AccessDeniedException", 403, Kind::BedrockCredential),
            ("UnrecognizedClientException", 403, Kind::BedrockCredential),
            ("ExpiredTokenException", 403, Kind::BedrockCredential),
            ("ResourceNotFoundException", 404, Kind::BedrockNotFound),
            // Inside a stream, where there is no status and names begin small.
            ("throttlingException", 0, Kind::BedrockThrottled),
            ("modelStreamErrorException", 0, Kind::BedrockInternal),
            ("validationException", 0, Kind::BedrockInvalid),
            // The Messages API on Bedrock.
            ("overloaded_error", 529, Kind::BedrockOverloaded),
            ("invalid_request_error", 400, Kind::BedrockInvalid),
            ("request_too_large", 413, Kind::BodyTooLarge),
            // What names itself in no way that is known.
            ("", 400, Kind::BedrockInvalid),
            ("", 401, Kind::BedrockCredential),
            ("", 403, Kind::BedrockCredential),
            ("", 404, Kind::BedrockNotFound),
            ("", 408, Kind::BedrockTimeout),
            ("", 413, Kind::BodyTooLarge),
            ("", 429, Kind::BedrockThrottled),
            ("", 500, Kind::BedrockInternal),
            ("", 502, Kind::BedrockInternal),
            ("", 503, Kind::BedrockOverloaded),
            ("", 529, Kind::BedrockOverloaded),
            ("NovelException", 503, Kind::BedrockOverloaded),
            ("", 0, Kind::BedrockInternal),
        ] {
            assert_eq!(kind(code, status), expected, "{code} {status}");
        }
    }

    #[test]
    fn the_client_reads_bedrocks_words_and_the_log_does_not() {
        let said = Said {
            code: "ValidationException",
            status: 400,
            message: "messages.0: quotes the prompt",
            ..Said::default()
        };
        let error = said.error();
        assert_eq!(
            error.wording.as_deref(),
            Some("messages.0: quotes the prompt")
        );
        assert!(!error.chain().contains("prompt"), "{}", error.chain());
        assert!(!format!("{:?}", error.chain()).contains("quotes"));

        let denied = Said {
            code: "AccessDeniedException",
            message: "User: arn:aws:iam::1:user/x is not authorized",
            ..Said::default()
        };
        assert_eq!(denied.error().wording, None);
        assert!(denied.error().chain().contains("arn:aws:iam::1:user/x"));
    }

    #[test]
    fn too_long_is_said_in_the_words_that_make_claude_code_compact() {
        for (message, expected) in [
            (
                "Input is too long for requested model.",
                "prompt is too long: Input is too long for requested model.",
            ),
            (
                "prompt is too long: 3 tokens > 2 maximum",
                "prompt is too long: 3 tokens > 2 maximum",
            ),
            ("max_tokens: too large", "max_tokens: too large"),
        ] {
            assert_eq!(in_the_apis_words(message), expected);
        }
    }
}
