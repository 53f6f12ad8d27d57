//! Query parameters, checked before a handler sees them.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload, error::QueryPayloadError, web};
use serde::de::DeserializeOwned;

use super::error::{Code, Error};

/// Parameters that are all optional.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(parse(request.query_string()).map(Self))
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Error> {
    from_query(query).map_err(|reason| {
        let message = match culprit::<T>(query) {
            Some((parameter, reason)) => format!("{parameter}: {reason}."),
            None => format!("{reason}."),
        };
        Error::with_message(Code::InvalidQuery, message)
    })
}

/// The parameter that cannot be used alone either; the parser does not name it.
fn culprit<T: DeserializeOwned>(query: &str) -> Option<(&str, String)> {
    query.split('&').find_map(|pair| {
        let (parameter, _) = pair.split_once('=').unwrap_or((pair, ""));
        let reason = from_query::<T>(pair).err()?;
        Some((parameter, reason))
    })
}

fn from_query<T: DeserializeOwned>(query: &str) -> Result<T, String> {
    web::Query::from_query(query)
        .map(web::Query::into_inner)
        .map_err(|error| match error {
            QueryPayloadError::Deserialize(error) => error.to_string(),
            error => error.to_string(),
        })
}

/// A text to look for in Postgres, which has no NUL. Nothing is no condition.
pub(super) fn condition(parameter: &str, text: Option<String>) -> Result<Option<String>, Error> {
    let text = text.map(|text| text.trim().to_owned());
    match text.filter(|text| !text.is_empty()) {
        Some(text) if text.contains('\0') => Err(Error::with_message(
            Code::InvalidQuery,
            format!("{parameter} must not have the character NUL."),
        )),
        text => Ok(text),
    }
}
