//! What an answer's body is, by its headers.

use http::{HeaderMap, HeaderName, header};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Server-sent events.
    Stream,
    Json,
    Other,
}

impl Form {
    pub fn of(headers: &HeaderMap) -> Self {
        let content_type = text(headers, header::CONTENT_TYPE).to_ascii_lowercase();
        if content_type.starts_with("text/event-stream") {
            Self::Stream
        } else if content_type.starts_with("application/json") {
            Self::Json
        } else {
            Self::Other
        }
    }
}

/// The content coding of a body; empty when there is none.
pub fn coding(headers: &HeaderMap) -> &str {
    match text(headers, header::CONTENT_ENCODING).trim() {
        coding if coding.eq_ignore_ascii_case("identity") => "",
        coding => coding,
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}
