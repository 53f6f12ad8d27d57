//! A request that cannot be translated, said as the Messages API would.

use std::fmt::Display;

use aws_smithy_types::error::operation::BuildError;

/// A 400 of type `invalid_request_error`: where in the body, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {reason}")]
pub struct Invalid {
    at: String,
    reason: String,
}

impl Invalid {
    pub(super) fn new(at: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            reason: reason.into(),
        }
    }

    pub(super) fn missing(at: &str) -> Self {
        Self::new(at, "Field required")
    }

    /// The same, seen from one level further out.
    pub(super) fn within(mut self, outer: impl Display) -> Self {
        self.at = format!("{outer}.{}", self.at);
        self
    }
}

/// A builder of the SDK misses a field; the translation sets them all.
impl From<BuildError> for Invalid {
    fn from(error: BuildError) -> Self {
        Self::new("body", error.to_string())
    }
}
