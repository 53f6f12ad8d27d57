//! What a request asks for, told from method and path alone.

use http::{Method, uri::PathAndQuery};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v1/messages`: the only one that costs tokens, so the only one
    /// that is metered.
    Messages,
    /// `POST /v1/messages/count_tokens`.
    CountTokens,
    /// `GET /v1/models` and `GET /v1/models/{id}`.
    Models,
    /// `GET /ak/{key}/me`: how the key's owner stands.
    Me,
    /// The client looks whether somebody is there.
    Probe,
    /// The client's own telemetry, which is for its vendor: dropped.
    EventLogging,
    /// The load balancer looks whether this process takes requests.
    Health,
    Unknown,
}

/// Endpoint, and what of the path matters beyond it.
#[derive(Debug, PartialEq, Eq)]
pub struct Target<'a> {
    pub endpoint: Endpoint,
    /// The access key, when the path begins with `/ak/`. Not checked.
    pub key: Option<&'a str>,
    /// Path and query as the upstream knows them: without `/ak/{key}`.
    pub path_and_query: &'a str,
}

impl Endpoint {
    /// The name in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Models => "models",
            Self::Me => "me",
            Self::Probe => "probe",
            Self::EventLogging => "event_logging",
            Self::Health => "health",
            Self::Unknown => "unknown",
        }
    }

    /// Method and path, for traces; without the access key.
    pub fn route(self) -> &'static str {
        match self {
            Self::Messages => "POST /v1/messages",
            Self::CountTokens => "POST /v1/messages/count_tokens",
            Self::Models => "GET /v1/models",
            Self::Me => "GET /me",
            Self::Probe => "GET /",
            Self::EventLogging => "POST /api/event_logging",
            Self::Health => "GET /health",
            Self::Unknown => "unknown",
        }
    }

    /// Whether an upstream answers, on behalf of an access key.
    pub fn is_relayed(self) -> bool {
        matches!(self, Self::Messages | Self::CountTokens | Self::Models)
    }

    pub fn is_metered(self) -> bool {
        self == Self::Messages
    }
}

impl<'a> Target<'a> {
    pub fn of(method: &Method, uri: &'a PathAndQuery) -> Self {
        let (key, path_and_query) = match uri.as_str().strip_prefix("/ak/") {
            Some(rest) => split_key(rest),
            None => (None, uri.as_str()),
        };
        let path = path_and_query.split('?').next().unwrap_or_default();
        Self {
            endpoint: endpoint(method, path, key.is_some()),
            key,
            path_and_query,
        }
    }
}

/// `{key}/v1/messages?beta=true` → key and the rest with its slash or query.
fn split_key(rest: &str) -> (Option<&str>, &str) {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (key, path_and_query) = rest.split_at(end);
    (Some(key), path_and_query)
}

fn endpoint(method: &Method, path: &str, has_key: bool) -> Endpoint {
    let looks = method == Method::GET || method == Method::HEAD;
    match path {
        "/v1/messages" if method == Method::POST => Endpoint::Messages,
        "/v1/messages/count_tokens" if method == Method::POST => Endpoint::CountTokens,
        "/v1/models" if method == Method::GET => Endpoint::Models,
        "/me" if has_key && method == Method::GET => Endpoint::Me,
        "" | "/" | "/api/hello" if has_key && looks => Endpoint::Probe,
        "/api/event_logging/batch" if has_key => Endpoint::EventLogging,
        "/health" if !has_key && looks => Endpoint::Health,
        _ if method == Method::GET && is_one_model(path) => Endpoint::Models,
        _ => Endpoint::Unknown,
    }
}

fn is_one_model(path: &str) -> bool {
    path.strip_prefix("/v1/models/")
        .is_some_and(|id| !id.is_empty() && !id.contains('/') && id != "." && id != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &str, endpoint: Endpoint, key: Option<&str>, rest: &str) {
        let (method, uri) = request.split_once(' ').unwrap();
        let uri: PathAndQuery = uri.parse().unwrap();
        let target = Target::of(&method.parse().unwrap(), &uri);
        assert_eq!(
            target,
            Target {
                endpoint,
                key,
                path_and_query: rest
            },
            "{request}"
        );
    }

    #[test]
    fn paths_name_endpoints() {
        use Endpoint::*;
        let k = Some("ak_x");
        for (request, endpoint, key, rest) in [
            (
                "POST /ak/ak_x/v1/messages?beta=true",
                Messages,
                k,
                "/v1/messages?beta=true",
            ),
            ("POST /ak/ak_x/v1/messages", Messages, k, "/v1/messages"),
            (
                "POST /v1/messages?a=/b",
                Messages,
                None,
                "/v1/messages?a=/b",
            ),
            (
                "POST /v1/messages/count_tokens",
                CountTokens,
                None,
                "/v1/messages/count_tokens",
            ),
            (
                "GET /ak/ak_x/v1/models?limit=1000",
                Models,
                k,
                "/v1/models?limit=1000",
            ),
            (
                "GET /v1/models/claude-x",
                Models,
                None,
                "/v1/models/claude-x",
            ),
            ("GET /ak/ak_x/me", Me, k, "/me"),
            ("GET /me", Unknown, None, "/me"),
            ("HEAD /ak/ak_x", Probe, k, ""),
            ("GET /ak/ak_x/", Probe, k, "/"),
            ("GET /ak/ak_x?a=b", Probe, k, "?a=b"),
            ("HEAD /ak/ak_x/api/hello", Probe, k, "/api/hello"),
            (
                "POST /ak/ak_x/api/event_logging/batch",
                EventLogging,
                k,
                "/api/event_logging/batch",
            ),
            ("GET /health", Health, None, "/health"),
            ("GET /ak/ak_x/health", Unknown, k, "/health"),
            ("HEAD /", Unknown, None, "/"),
            ("GET /v1/messages", Unknown, None, "/v1/messages"),
            ("POST /v1/messages/", Unknown, None, "/v1/messages/"),
            ("POST /v1/complete", Unknown, None, "/v1/complete"),
            ("POST /v1/models", Unknown, None, "/v1/models"),
            ("GET /v1/models/", Unknown, None, "/v1/models/"),
            ("GET /v1/models/a/b", Unknown, None, "/v1/models/a/b"),
            ("GET /v1/models/..", Unknown, None, "/v1/models/.."),
            ("POST /ak/v1/messages", Unknown, Some("v1"), "/messages"),
            ("POST /akk/v1/messages", Unknown, None, "/akk/v1/messages"),
            ("POST /ak//v1/messages", Messages, Some(""), "/v1/messages"),
            ("DELETE /ak/ak_x/v1/messages", Unknown, k, "/v1/messages"),
        ] {
            check(request, endpoint, key, rest);
        }
    }
}
