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
}

impl Kind {
    pub const ALL: [Self; 13] = [
        Self::NotFound,
        Self::Unauthenticated,
        Self::NotReady,
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
    ];

    /// The name in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Unauthenticated => "unauthenticated",
            Self::NotReady => "not_ready",
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
        )
    }
}

impl Error {
    pub fn because(kind: Kind, cause: impl Into<Cause>) -> Self {
        Self {
            kind,
            cause: Some(cause.into()),
        }
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
        Self { kind, cause: None }
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
