//! Whose request is it? Key from path or header → hash → index.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, header};
use proto::access_key::{self, Hasher};

use crate::{
    error::Kind,
    index::{AccessKey, IndexHandle},
};

/// Finds the owner of the key that a request presents: the key in the path,
/// else the one in `authorization` or `x-api-key`.
///
/// # Errors
///
/// [`Kind::Unauthenticated`] whatever is wrong with the key, so that nobody can
/// probe for keys; [`Kind::NotReady`] while no key can be known.
pub fn authenticate(
    index: &IndexHandle,
    hasher: &Hasher,
    path_key: Option<&str>,
    headers: &HeaderMap,
    now: DateTime<Utc>,
) -> Result<Arc<AccessKey>, Kind> {
    let index = index.load();
    if index.position().is_none() {
        return Err(Kind::NotReady);
    }
    let key = match path_key {
        Some(key) => key,
        None => header_key(headers).ok_or(Kind::Unauthenticated)?,
    };
    if !access_key::is_well_formed(key) {
        return Err(Kind::Unauthenticated);
    }
    index
        .access_key(&hasher.hash(key), now)
        .cloned()
        .ok_or(Kind::Unauthenticated)
}

fn header_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .filter_map(bearer);
    let api_key = headers
        .get_all("x-api-key")
        .iter()
        .filter_map(|value| value.to_str().ok());
    bearer
        .chain(api_key)
        .map(str::trim)
        .find(|text| text.starts_with(access_key::PREFIX))
}

/// The token of an `authorization: Bearer …` header.
pub fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&'static str, &str)], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        assert_eq!(header_key(&headers), expected, "{pairs:?}");
    }

    #[test]
    fn the_key_is_found_in_either_header() {
        check(&[], None);
        check(&[("authorization", "Bearer ak_a")], Some("ak_a"));
        check(&[("authorization", "bearer  ak_a ")], Some("ak_a"));
        check(&[("x-api-key", "ak_a")], Some("ak_a"));
        check(&[("authorization", "Basic ak_a")], None);
        check(&[("authorization", "ak_a")], None);
        // The developer's own credential stands beside it.
        check(
            &[
                ("authorization", "Bearer sk-ant-oat01-x"),
                ("x-api-key", "ak_a"),
            ],
            Some("ak_a"),
        );
        check(
            &[("authorization", "Bearer ak_b"), ("x-api-key", "sk-ant-x")],
            Some("ak_b"),
        );
    }
}
