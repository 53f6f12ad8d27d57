//! What a request's body says that the proxy needs to know. The body itself is
//! only looked at.

use bytes::Bytes;
use http::{HeaderMap, header};
use memchr::memmem;
use serde::Deserialize;
use serde_json::error::Category;

use crate::{
    error::{Error, Kind},
    usage::CacheTtl,
};

/// The parts of a body that are acted on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Empty when the body does not say it as text.
    pub model: String,
    pub is_streaming: bool,
    pub cache_ttl: CacheTtl,
}

#[derive(Default, Deserialize)]
struct Fields {
    model: Option<String>,
    stream: Option<bool>,
}

impl Asked {
    /// Reads a body. What is JSON but not what the API expects passes, so that
    /// the API says so in its own words, which clients match.
    ///
    /// # Errors
    ///
    /// [`Kind::MalformedBody`] for what is not JSON or not UTF-8. An encoded
    /// body is not read at all.
    pub fn of(headers: &HeaderMap, body: &Bytes) -> Result<Self, Error> {
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Ok(Self::default());
        }
        let text = simdutf8::basic::from_utf8(body)
            .map_err(|cause| Error::because(Kind::MalformedBody, cause))?;
        let fields: Fields = match serde_json::from_str(text) {
            Ok(fields) => fields,
            Err(cause) if cause.classify() == Category::Data => Fields::default(),
            Err(cause) => return Err(Error::because(Kind::MalformedBody, cause)),
        };
        Ok(Self {
            model: fields.model.unwrap_or_default(),
            is_streaming: fields.stream.unwrap_or(false),
            cache_ttl: cache_ttl(body),
        })
    }
}

/// Whether the request asks for cache entries of one hour: `"ttl": "1h"`. A text
/// that quotes these characters escapes them.
fn cache_ttl(body: &[u8]) -> CacheTtl {
    let asks_for_an_hour = memmem::find_iter(body, br#""1h""#).any(|at| {
        body.get(..at)
            .is_some_and(|before| before.trim_ascii_end().ends_with(br#""ttl":"#))
    });
    if asks_for_an_hour {
        CacheTtl::OneHour
    } else {
        CacheTtl::FiveMinutes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static [u8]) -> Result<Asked, Kind> {
        Asked::of(&HeaderMap::new(), &Bytes::from_static(body)).map_err(|error| error.kind)
    }

    fn asked(model: &str, is_streaming: bool, cache_ttl: CacheTtl) -> Result<Asked, Kind> {
        let model = model.to_owned();
        Ok(Asked {
            model,
            is_streaming,
            cache_ttl,
        })
    }

    #[test]
    fn model_and_stream_are_read() {
        use CacheTtl::{FiveMinutes, OneHour};
        let body =
            br#"{"messages":[{"model":"no","stream":true}],"model":"claude-x","stream":true}"#;
        assert_eq!(read(body), asked("claude-x", true, FiveMinutes));
        let body =
            br#"{"system":[{"cache_control":{"type":"ephemeral","ttl": "1h"}}],"model":"m"}"#;
        assert_eq!(read(body), asked("m", false, OneHour));
        let body = br#"{"stream":null,"model":"m"}"#;
        assert_eq!(read(body), asked("m", false, FiveMinutes));
        let body = br#"{"messages":"a text with \"ttl\":\"1h\" in it","model":"m"}"#;
        assert_eq!(read(body), asked("m", false, FiveMinutes));
    }

    #[test]
    fn what_the_api_would_refuse_is_left_to_the_api() {
        for body in [
            &b"{}"[..],
            b"[]",
            b"null",
            br#"{"model":7}"#,
            br#"{"stream":"yes"}"#,
            br#"{"model":null}"#,
        ] {
            assert_eq!(read(body), asked("", false, CacheTtl::FiveMinutes));
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for body in [
            &b""[..],
            b"{",
            b"{\"model\":\"m\"",
            b"{\"model\":\"m\"} x",
            b"not json",
            b"{\"model\":\"\xff\"}",
            b"{\"system\":\"\xff\xfe\"}",
            b"\xef\xbb\xbf{}",
        ] {
            assert_eq!(read(body), Err(Kind::MalformedBody), "{body:?}");
        }
    }

    #[test]
    fn an_encoded_body_is_not_read() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        let asked = Asked::of(&headers, &Bytes::from_static(b"\x1f\x8b")).unwrap();
        assert_eq!(asked, Asked::default());
    }
}
