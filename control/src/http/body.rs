//! Request bodies: JSON, checked before a handler sees them.

use actix_web::{FromRequest, HttpRequest, dev::Payload, error::PayloadError, web::Bytes};
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::error::{Code, Error};

/// A JSON body. An empty one is taken as `{}`, so that nobody has to send
/// nothing in a certain way.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bytes = Bytes::from_request(request, payload);
        Box::pin(async move {
            let bytes = bytes.await.map_err(|error| unreadable(&error))?;
            let json = match bytes.trim_ascii() {
                b"" => b"{}",
                json => json,
            };
            serde_json::from_slice(json)
                .map(Self)
                .map_err(|error| Error::with_message(Code::InvalidBody, error.to_string()))
        })
    }
}

fn unreadable(error: &actix_web::Error) -> Error {
    match error.as_error() {
        Some(PayloadError::Overflow) => Code::BodyTooLarge.into(),
        _ => Error::with_message(Code::InvalidBody, error.to_string()),
    }
}

/// Tells a field that is null from one that is absent.
pub(super) fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// A text that people will read: trimmed, not empty, not too long, without
/// control characters.
pub(super) fn line(field: &str, text: &str, max_chars: usize) -> Result<String, Error> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > max_chars {
        return Err(Error::with_message(
            Code::InvalidBody,
            format!("{field} must have 1 to {max_chars} characters."),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::with_message(
            Code::InvalidBody,
            format!("{field} must not have control characters."),
        ));
    }
    Ok(text.to_owned())
}

/// The same, but it may be empty and have several lines.
pub(super) fn prose(field: &str, text: &str, max_chars: usize) -> Result<String, Error> {
    if text.chars().count() > max_chars {
        return Err(Error::with_message(
            Code::InvalidBody,
            format!("{field} must have at most {max_chars} characters."),
        ));
    }
    if text
        .chars()
        .any(|character| character.is_control() && !matches!(character, '\n' | '\r' | '\t'))
    {
        return Err(Error::with_message(
            Code::InvalidBody,
            format!("{field} must not have control characters."),
        ));
    }
    Ok(text.to_owned())
}
