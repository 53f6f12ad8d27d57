//! Request bodies: JSON, checked before a handler sees them.

use std::time::Duration;

use actix_web::{FromRequest, HttpRequest, dev::Payload, error::PayloadError, web::Bytes};
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use tokio::time;

use super::error::{Code, Error};

/// A body of at most 1 MiB takes no longer, whatever the line.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

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
            let bytes = time::timeout(READ_TIMEOUT, bytes)
                .await
                .map_err(|_elapsed| Code::BodyTooSlow)?
                .map_err(|error| unreadable(&error))?;
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

/// A text of one line that people will read: trimmed, and there is something.
pub(super) fn line(field: &str, text: &str, max_chars: usize) -> Result<String, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Err(unfit(field, "must not be empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(unfit(field, "must not have control characters"));
    }
    short(field, text, max_chars)
}

/// A text of several lines; none when there is nothing.
pub(super) fn prose(field: &str, text: &str, max_chars: usize) -> Result<Option<String>, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.contains('\0') {
        return Err(unfit(field, "must not have the character NUL"));
    }
    short(field, text, max_chars).map(Some)
}

fn short(field: &str, text: &str, max_chars: usize) -> Result<String, Error> {
    if text.chars().count() > max_chars {
        return Err(unfit(
            field,
            &format!("must have at most {max_chars} characters"),
        ));
    }
    Ok(text.to_owned())
}

fn unfit(field: &str, reason: &str) -> Error {
    Error::with_message(Code::InvalidBody, format!("{field} {reason}."))
}
