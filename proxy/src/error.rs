//! Why the proxy could not have a request answered.
//!
//! An upstream's answer with an error status is no [`Error`]: it is an answer,
//! and relayed. Only `refusal.rs` turns an error into one.

use std::{error::Error as StdError, fmt};

/// The cause of an error, whatever its type.
pub type Cause = Box<dyn StdError + Send + Sync>;

#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    cause: Option<Cause>,
    /// Words for the client, mostly the upstream's own; never for the log, because
    /// they may quote the request.
    pub wording: Option<Box<str>>,
    /// Seconds to wait.
    pub retry_after: Option<u32>,
}

/// Closed and small: each has one status, one type and one text for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No endpoint of ours.
    NotFound,
    /// No access key, or one that is unknown, revoked or expired: the client
    /// cannot tell which.
    Unauthenticated,
    /// The first configuration has not arrived yet.
    NotReady,
    /// The access keys are older than the operator allows.
    Stale,
    /// The body is not JSON.
    MalformedBody,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body broke off.
    BodyBroken,
    /// Too many bytes of bodies are held already.
    Overloaded,
    /// No connection to the upstream.
    Connect,
    /// The upstream did not begin to answer in time.
    FirstByteTimeout,
    /// The upstream closed the connection, or answered with something that is
    /// not HTTP.
    UpstreamBroken,
    /// The upstream fell silent within its answer.
    IdleTimeout,
    /// The upstream refused the operator's credential.
    OperatorCredential,
    /// Neither a mapping nor Bedrock itself knows the model.
    UnknownModel,
    /// Bedrock has nothing that counts tokens for this model.
    CannotCount,
    /// The body is compressed, so it cannot be adapted to Bedrock.
    EncodedBody,
    /// The access key has no credential for Bedrock.
    NoBedrockKey,
    /// The credential for Bedrock cannot be opened now.
    SealedBedrockKey,
    /// The credential for Bedrock will not open, however often it is tried.
    SpoiltBedrockKey,
    /// Bedrock refused the credential.
    BedrockCredential,
    /// The body is no request of the Messages API, or asks for what Converse
    /// cannot do.
    Untranslatable,
    /// Bedrock refused the request; its words are for the client.
    BedrockInvalid,
    /// Bedrock has no such model.
    BedrockNotFound,
    /// Bedrock asks for patience.
    BedrockThrottled,
    /// Bedrock, or the model, is not available.
    BedrockOverloaded,
    /// Bedrock failed.
    BedrockInternal,
    /// The model took too long for Bedrock.
    BedrockTimeout,
    /// The user has spent its budget for Bedrock.
    BudgetExhausted,
    /// What is left of the user's budget may be used up by what is running.
    BudgetReserved,
    /// The user has a budget, and nobody knows what the model costs.
    UnpricedModel,
    /// The process was told to stop, and the time to finish is over.
    Stopping,
}

impl Kind {
    pub const ALL: [Self; 32] = [
        Self::NotFound,
        Self::Unauthenticated,
        Self::NotReady,
        Self::Stale,
        Self::MalformedBody,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::BodyBroken,
        Self::Overloaded,
        Self::Connect,
        Self::FirstByteTimeout,
        Self::UpstreamBroken,
        Self::IdleTimeout,
        Self::OperatorCredential,
        Self::UnknownModel,
        Self::CannotCount,
        Self::EncodedBody,
        Self::NoBedrockKey,
        Self::SealedBedrockKey,
        Self::SpoiltBedrockKey,
        Self::BedrockCredential,
        Self::Untranslatable,
        Self::BedrockInvalid,
        Self::BedrockNotFound,
        Self::BedrockThrottled,
        Self::BedrockOverloaded,
        Self::BedrockInternal,
        Self::BedrockTimeout,
        Self::BudgetExhausted,
        Self::BudgetReserved,
        Self::UnpricedModel,
        Self::Stopping,
    ];

    /// The name in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Unauthenticated => "unauthenticated",
            Self::NotReady => "not_ready",
            Self::Stale => "stale",
            Self::MalformedBody => "malformed_body",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::BodyBroken => "body_broken",
            Self::Overloaded => "overloaded",
            Self::Connect => "connect",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::UpstreamBroken => "upstream_broken",
            Self::IdleTimeout => "idle_timeout",
            Self::OperatorCredential => "operator_credential",
            Self::UnknownModel => "unknown_model",
            Self::CannotCount => "cannot_count",
            Self::EncodedBody => "encoded_body",
            Self::NoBedrockKey => "no_bedrock_key",
            Self::SealedBedrockKey => "sealed_bedrock_key",
            Self::SpoiltBedrockKey => "spoilt_bedrock_key",
            Self::BedrockCredential => "bedrock_credential",
            Self::Untranslatable => "untranslatable",
            Self::BedrockInvalid => "bedrock_invalid",
            Self::BedrockNotFound => "bedrock_not_found",
            Self::BedrockThrottled => "bedrock_throttled",
            Self::BedrockOverloaded => "bedrock_overloaded",
            Self::BedrockInternal => "bedrock_internal",
            Self::BedrockTimeout => "bedrock_timeout",
            Self::BudgetExhausted => "budget_exhausted",
            Self::BudgetReserved => "budget_reserved",
            Self::UnpricedModel => "unpriced_model",
            Self::Stopping => "stopping",
        }
    }

    /// Whether the upstream is at fault, rather than the client or the proxy.
    pub fn is_upstream(self) -> bool {
        matches!(
            self,
            Self::Connect
                | Self::FirstByteTimeout
                | Self::UpstreamBroken
                | Self::IdleTimeout
                | Self::OperatorCredential
                | Self::BedrockCredential
                | Self::BedrockInvalid
                | Self::BedrockNotFound
                | Self::BedrockThrottled
                | Self::BedrockOverloaded
                | Self::BedrockInternal
                | Self::BedrockTimeout
        )
    }

    /// Whether it is the provider's fault, or that of the way to it, whoever asks.
    pub fn is_providers(self) -> bool {
        self.is_upstream() && !matches!(self, Self::BedrockInvalid | Self::BedrockNotFound)
    }
}

impl Error {
    pub fn because(kind: Kind, cause: impl Into<Cause>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::from(kind)
        }
    }

    /// The same, told to the client in these words.
    #[must_use]
    pub fn in_the_words(mut self, wording: &str) -> Self {
        self.wording = Some(wording.into());
        self
    }

    /// This error and its causes, in one line for the log.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// An error and its causes, in one line for the log.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            cause: None,
            wording: None,
            retry_after: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.label())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause
            .as_deref()
            .map(|cause| cause as &(dyn StdError + 'static))
    }
}
