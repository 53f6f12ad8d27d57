//! The client's request as the Anthropic API gets it: the same body, the same
//! headers, another host, and exactly one credential.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, uri::PathAndQuery};

use super::RequestBody;
use crate::route::{self, OperatorKey, Owner};

/// The Anthropic API, as configured.
#[derive(Debug)]
pub struct Plan {
    origin: Uri,
    /// What is put before `/v1/…`; empty or without a trailing slash.
    prefix: String,
    operator_key: Option<OperatorKey>,
}

/// Headers that concern one connection only.
///
/// Source: RFC 9110, 7.6.1, and what proxies before it used.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

impl Plan {
    pub fn new(api_url: &Uri, operator_key: Option<OperatorKey>) -> Self {
        Self {
            origin: api_url.clone(),
            prefix: api_url.path().trim_end_matches('/').to_owned(),
            operator_key,
        }
    }

    pub fn origin(&self) -> &Uri {
        &self.origin
    }

    /// The request to the API, and whose credential it carries.
    ///
    /// # Errors
    ///
    /// The path makes no URI behind the API's own, which one that arrived as
    /// HTTP always does.
    pub fn request(
        &self,
        method: Method,
        path_and_query: &str,
        mut headers: HeaderMap,
        body: RequestBody,
    ) -> Result<(Request<RequestBody>, Owner), http::Error> {
        let mut uri = self.origin.clone().into_parts();
        uri.path_and_query = Some(if self.prefix.is_empty() {
            PathAndQuery::try_from(path_and_query)?
        } else {
            PathAndQuery::try_from(format!("{}{path_and_query}", self.prefix))?
        });
        let uri = Uri::from_parts(uri)?;

        strip_hop_by_hop(&mut headers);
        // Both are told anew: the body is sent whole, to another host.
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::EXPECT);
        if let Some(authority) = uri.authority() {
            headers.insert(header::HOST, HeaderValue::from_str(authority.as_str())?);
        }
        let owner = route::settle_credential(&mut headers, self.operator_key.as_ref());

        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok((request, owner))
    }
}

/// Removes what concerns the connection it came on, and what `connection` names
/// as such.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_path_goes_behind_the_configured_one() {
        for (api_url, expected) in [
            ("https://api", "https://api/v1/messages?beta=true"),
            ("https://api/", "https://api/v1/messages?beta=true"),
            ("http://h:1/a/b/", "http://h:1/a/b/v1/messages?beta=true"),
        ] {
            let plan = Plan::new(&api_url.parse().unwrap(), None);
            let (request, _) = plan
                .request(
                    Method::POST,
                    "/v1/messages?beta=true",
                    HeaderMap::new(),
                    RequestBody::default(),
                )
                .unwrap();
            assert_eq!(request.uri().to_string(), expected);
        }
    }

    #[test]
    fn known_and_unknown_headers_pass_and_those_of_the_hop_do_not() {
        let plan = Plan::new(&"https://api:8443".parse().unwrap(), None);
        let sent = headers(&[
            ("host", "proxy"),
            ("connection", "keep-alive, X-Hop"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("anthropic-beta", "a,b"),
            ("anthropic-beta", "c"),
            ("x-never-heard-of", "é"),
            ("accept-encoding", "gzip, br"),
            ("user-agent", "claude-cli/2.1.328"),
        ]);
        let (request, owner) = plan
            .request(Method::POST, "/v1/messages", sent, RequestBody::default())
            .unwrap();
        let left = headers(&[
            ("host", "api:8443"),
            ("anthropic-beta", "a,b"),
            ("anthropic-beta", "c"),
            ("x-never-heard-of", "é"),
            ("accept-encoding", "gzip, br"),
            ("user-agent", "claude-cli/2.1.328"),
        ]);
        assert_eq!(request.headers(), &left);
        assert_eq!(owner, Owner::Client);
    }
}
