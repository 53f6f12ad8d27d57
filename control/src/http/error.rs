//! What went wrong, for people and for programs: one status and one code for
//! each case, in one table.

use std::fmt;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    error::PathError,
    http::{StatusCode, header},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store;

macro_rules! codes {
    ($($(#[$attribute:meta])* $variant:ident = $status:literal $message:literal)*) => {
        /// What went wrong, for programs. Codes stay; messages may change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub(super) enum Code { $($(#[$attribute])* $variant),* }

        impl Code {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$variant),*];

            pub(super) fn status(self) -> StatusCode {
                let status = match self { $(Self::$variant => $status),* };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// The scheme that would be accepted.
            fn challenge(self) -> Option<&'static str> {
                match self {
                    Self::WrongCredentials => Some("Basic realm=\"control\""),
                    Self::NotSignedIn | Self::SessionExpired => Some("Bearer realm=\"control\""),
                    _ => None,
                }
            }

            /// What to do, unless the case has more to say.
            pub(super) fn message(self) -> &'static str {
                match self { $(Self::$variant => $message),* }
            }
        }
    };
}

codes! {
    InvalidBody = 400 "The request's body is not what is expected."
    InvalidQuery = 400 "A query parameter is not what is expected."
    TooManyBuckets = 400 "The range has too many buckets; take a larger bucket_type or a shorter range."
    RangeTooLong = 400 "The range may be 31 days long, at most."
    InvalidPath = 400 "The id in the path must be a UUID."
    WrongCredentials = 401 "Name or password is wrong. Send them as HTTP Basic."
    NotSignedIn = 401 "Sign in with POST /admin/auth/login and send the token as Bearer."
    SessionExpired = 401 "The session has ended after eight hours; sign in again."
    CrossSiteRequest = 403 "With the session's cookie a change needs the header x-requested-with, and must come from the console's own page."
    RouteNotFound = 404 "There is no such route; GET /openapi.json lists them."
    UserNotFound = 404 "There is no such user, or it was deleted."
    AccessKeyNotFound = 404 "There is no such access key."
    BedrockKeyNotFound = 404 "The access key has no credential for Bedrock."
    ModelMappingNotFound = 404 "There is no such model mapping."
    ModelCapabilityNotFound = 404 "There is no such capability; it may have expired."
    MethodNotAllowed = 405 "This route has other methods; see the Allow header."
    BodyTooSlow = 408 "The request's body did not arrive within 30 seconds."
    UserNotActive = 409 "The user is not active; reactivate it first."
    UserAlreadyActive = 409 "The user is active already."
    AccessKeyAlreadyRevoked = 409 "The access key is revoked already."
    AccessKeyNotActive = 409 "Only an active access key can be rotated; issue a new one."
    // These two are the original's, as it spelt them.
    #[serde(rename = "NO_ACCESS_KEYS")]
    NoAccessKeys = 400 "The user has no working access key; issue one and register a Bedrock key first."
    #[serde(rename = "MISSING_BEDROCK_KEYS")]
    MissingBedrockKeys = 400 "Not every working access key of the user has a Bedrock key; register them first."
    ModelMappingExists = 409 "There is a mapping for this claude_model already; change that."
    TooManyModelMappings = 409 "There are 1000 model mappings; delete some first."
    BodyTooLarge = 413 "The request's body is larger than 1 MiB."
    InvalidPricing = 422 "PROXY_MODEL_PRICING is no price list; the list of before stays in force."
    BedrockKeyRefused = 422 "Bedrock does not accept this credential."
    BedrockRegionWrong = 422 "Bedrock is not in this region, or the credential is not for it."
    BedrockModelNotEnabled = 422 "The account cannot use the model in this region."
    BedrockRequestRefused = 422 "Bedrock refused the request with which the credential was to be verified."
    BedrockUnreachable = 422 "Bedrock did not answer; try again, or register without verifying."
    TooManyAttempts = 429 "Too many failed logins; wait a minute."
    Internal = 500 "Something is wrong with control; its log says what."
    SealingNotConfigured = 503 "Set PROXY_KMS_KEY_ID or PROXY_LOCAL_ENCRYPTION_KEY for control and the proxies."
    KmsUnavailable = 503 "KMS gave no data key to seal with, so nothing was stored; control's log says why."
    LoginsBusy = 503 "Too many logins are waiting to be checked; try again."
    Starting = 503 "Control is waiting for its database; try again."
    DatabaseUnavailable = 503 "The database cannot be used now; try again."
}

/// A refusal.
#[derive(Debug)]
pub(super) struct Error {
    code: Code,
    message: Option<String>,
    /// Methods that would be allowed.
    allow: Option<String>,
    retry_after_seconds: Option<u64>,
    /// Whether a 401 names the scheme that it wants. Browsers take that for a
    /// reason to ask the user themselves.
    has_challenge: bool,
}

/// How an error looks: `{"error": {"code": …, "message": …}}`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    code: Code,
    /// For people: what is wrong and what to do.
    message: String,
}

impl Error {
    /// Says more than the code's own message.
    pub(super) fn with_message(code: Code, message: impl Into<String>) -> Self {
        Self {
            message: Some(message.into()),
            ..code.into()
        }
    }

    pub(super) fn method_not_allowed(allow: String) -> Self {
        Self {
            allow: Some(allow),
            ..Code::MethodNotAllowed.into()
        }
    }

    pub(super) fn retry_after(code: Code, seconds: u64) -> Self {
        Self {
            retry_after_seconds: Some(seconds),
            ..code.into()
        }
    }

    pub(super) fn without_challenge(self) -> Self {
        Self {
            has_challenge: false,
            ..self
        }
    }

    pub(super) fn code(&self) -> Code {
        self.code
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self {
            code,
            message: None,
            allow: None,
            retry_after_seconds: None,
            has_challenge: true,
        }
    }
}

impl From<store::Error> for Error {
    /// The cause is for the log, not for the answer.
    fn from(error: store::Error) -> Self {
        let cause = &error as &(dyn std::error::Error + 'static);
        match &error {
            store::Error::Unavailable(_) => {
                tracing::warn!(error = cause, "http.database_unavailable");
                Code::DatabaseUnavailable.into()
            }
            store::Error::Refused(_) => {
                tracing::error!(error = cause, "http.failed");
                Code::Internal.into()
            }
        }
    }
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        store::Error::from(error).into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message.as_deref().unwrap_or(self.code.message());
        write!(f, "{message}")
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.code.status());
        if let Some(challenge) = self.code.challenge().filter(|_| self.has_challenge) {
            response.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((header::ALLOW, allow.as_str()));
        }
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        response.json(ErrorBody {
            error: ErrorDetail {
                code: self.code,
                message: self.to_string(),
            },
        })
    }
}

pub(super) fn bad_path(_error: PathError, _request: &HttpRequest) -> actix_web::Error {
    Error::from(Code::InvalidPath).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_an_error_and_says_what_to_do() {
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error());
            assert!(code.message().ends_with('.'));
        }
    }
}
