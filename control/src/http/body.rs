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

/// A body that holds secrets: what is wrong with it is said without repeating
/// any of it.
pub(super) struct Confidential<T>(pub(super) T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let parsed = parse(request, payload, serde_json::Error::to_string);
        Box::pin(async { parsed.await.map(Self) })
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Confidential<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let parsed = parse(request, payload, |error| {
            let (line, column) = (error.line(), error.column());
            format!("The body is not what is expected at line {line} column {column}.")
        });
        Box::pin(async { parsed.await.map(Self) })
    }
}

fn parse<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: &mut Payload,
    describe: fn(&serde_json::Error) -> String,
) -> impl Future<Output = Result<T, Error>> + 'static {
    let bytes = Bytes::from_request(request, payload);
    async move {
        let bytes = time::timeout(READ_TIMEOUT, bytes)
            .await
            .map_err(|_elapsed| Code::BodyTooSlow)?
            .map_err(|error| unreadable(&error))?;
        let json = match bytes.trim_ascii() {
            b"" => b"{}",
            json => json,
        };
        // Fields would also be read from a list, by their order.
        if !json.starts_with(b"{") {
            let message = "The body must be a JSON object.";
            return Err(Error::with_message(Code::InvalidBody, message));
        }
        serde_json::from_slice(json)
            .map_err(|error| Error::with_message(Code::InvalidBody, describe(&error)))
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

/// A text for a program: printable ASCII without spaces, and there is something.
pub(super) fn token<'a>(field: &str, text: &'a str, max_chars: usize) -> Result<&'a str, Error> {
    if text.is_empty() {
        return Err(unfit(field, "must not be empty"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unfit(field, "must be ASCII without spaces"));
    }
    if text.len() > max_chars {
        let reason = format!("must have at most {max_chars} characters");
        return Err(unfit(field, &reason));
    }
    Ok(text)
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
