//! Who may ask: both ways in which AWS lets a client in.
//!
//! A Bedrock API key is a bearer token. A key pair signs each request (Signature
//! Version 4), and the signature is computed again here from what has arrived,
//! so that a client which signs something else than it sends is refused.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::exception::Exception;
use crate::simulator::{record::Received, reply::ApiError};

/// A Bedrock API key that every simulator accepts.
pub const API_KEY: &str = "bedrock-api-key-of-the-simulator";

/// A key pair that every simulator accepts.
pub const ACCESS_KEY_ID: &str = "AKIASIMULATOR0000001";
/// The secret of [`ACCESS_KEY_ID`].
pub const SECRET_ACCESS_KEY: &str = "simulator/secret+access/key0000000000001";

/// As signed into every request to Bedrock, whichever of its hosts it goes to.
const SERVICE: &str = "bedrock";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How far a client's clock may be off.
const MAX_SKEW: TimeDelta = TimeDelta::minutes(5);

/// The credentials that a simulator accepts. Clones share them, so that a test
/// can revoke one while the simulator runs.
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Mutex<Accepted>>);

#[derive(Debug, Default)]
struct Accepted {
    /// By API key: whether it has expired.
    api_keys: HashMap<String, bool>,
    /// By access key id.
    pairs: HashMap<String, Pair>,
}

#[derive(Debug, Clone)]
struct Pair {
    secret: String,
    session_token: Option<String>,
    is_expired: bool,
}

impl Default for Credentials {
    /// With [`API_KEY`] and [`ACCESS_KEY_ID`].
    fn default() -> Self {
        let credentials = Self::none();
        credentials.accept_api_key(API_KEY);
        credentials.accept_pair(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None);
        credentials
    }
}

impl Credentials {
    /// Accepts nobody yet.
    pub fn none() -> Self {
        Self(Arc::default())
    }

    pub fn accept_api_key(&self, key: &str) {
        self.accepted().api_keys.insert(key.to_owned(), false);
    }

    pub fn accept_pair(&self, access_key_id: &str, secret: &str, session_token: Option<&str>) {
        let pair = Pair {
            secret: secret.to_owned(),
            session_token: session_token.map(str::to_owned),
            is_expired: false,
        };
        self.accepted().pairs.insert(access_key_id.to_owned(), pair);
    }

    /// Forgets an API key, or the pair of an access key id.
    pub fn revoke(&self, id: &str) {
        let mut accepted = self.accepted();
        accepted.api_keys.remove(id);
        accepted.pairs.remove(id);
    }

    /// From now on an API key, or the pair of an access key id, is too old.
    pub fn expire(&self, id: &str) {
        let mut accepted = self.accepted();
        if let Some(is_expired) = accepted.api_keys.get_mut(id) {
            *is_expired = true;
        }
        if let Some(pair) = accepted.pairs.get_mut(id) {
            pair.is_expired = true;
        }
    }

    fn accepted(&self) -> MutexGuard<'_, Accepted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request in, or says why not; `region` is the only one that may be
    /// signed for, if there is only one. Returns the region that was signed for.
    pub(super) fn check(
        &self,
        request: &Received,
        region: Option<&str>,
        now: SystemTime,
    ) -> Result<Option<String>, ApiError> {
        let Some(authorization) = request.header("authorization") else {
            return Err(Exception::MissingAuthenticationToken.into());
        };
        if let Some(key) = authorization.strip_prefix("Bearer ") {
            return self.check_api_key(key).map(|()| None);
        }
        let signature = Signature::of(authorization).ok_or_else(|| {
            Exception::InvalidSignature.says(format!(
                "Authorization header is not understood: {}",
                authorization.split(' ').next().unwrap_or_default()
            ))
        })?;
        let pair = self.accepted().pairs.get(signature.access_key_id).cloned();
        let pair = pair.ok_or(Exception::UnrecognizedClient)?;
        signature.check(request, &pair, region, now.into())?;
        Ok(Some(signature.region.to_owned()))
    }

    fn check_api_key(&self, key: &str) -> Result<(), ApiError> {
        match self.accepted().api_keys.get(key) {
            Some(false) => Ok(()),
            Some(true) => Err(Exception::AccessDenied.says("Bearer Token has expired")),
            None => Err(Exception::AccessDenied
                .says("Authentication failed: Please make sure your API Key is valid.")),
        }
    }
}

/// What an `Authorization` header says.
#[derive(Debug, PartialEq, Eq)]
struct Signature<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Signature<'a> {
    fn of(authorization: &'a str) -> Option<Self> {
        let fields = authorization.strip_prefix(ALGORITHM)?;
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let mut scope = field("Credential")?.split('/');
        let signature = Self {
            access_key_id: scope.next()?,
            date: scope.next()?,
            region: scope.next()?,
            service: scope.next()?,
            signed_headers: field("SignedHeaders")?.split(';').collect(),
            signature: field("Signature")?,
        };
        (scope.eq(["aws4_request"])).then_some(signature)
    }

    fn check(
        &self,
        request: &Received,
        pair: &Pair,
        region: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), ApiError> {
        let invalid = |message: &str| Err(Exception::InvalidSignature.says(message));
        if self.service != SERVICE {
            return invalid("Credential should be scoped to correct service: 'bedrock'.");
        }
        if region.map_or(!is_region(self.region), |region| region != self.region) {
            return invalid("Credential should be scoped to a valid region.");
        }
        let Some(stamp) = request.header("x-amz-date") else {
            return invalid(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
            );
        };
        let Some(time) = time_of(stamp) else {
            return invalid("Date must be in ISO-8601 'basic format'.");
        };
        if !stamp.starts_with(self.date) {
            return invalid(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.",
            );
        }
        if now - time > MAX_SKEW {
            return invalid(&format!(
                "Signature expired: {stamp} is now earlier than {}",
                stamp_of(now - MAX_SKEW)
            ));
        }
        if time - now > MAX_SKEW {
            return invalid(&format!(
                "Signature not yet current: {stamp} is still later than {}",
                stamp_of(now + MAX_SKEW)
            ));
        }
        let token = request.header("x-amz-security-token");
        if token != pair.session_token.as_deref() {
            return Err(Exception::UnrecognizedClient.into());
        }
        // A header that is left out of the signature could be anybody's.
        let is_left_out =
            |name: &str| request.header(name).is_some() && !self.signed_headers.contains(&name);
        if let Some(name) = ["host", "x-amz-date", "x-amz-security-token"]
            .iter()
            .find(|name| is_left_out(name))
        {
            return invalid(&format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            ));
        }
        let body_hash = hash(&request.body);
        if request
            .header("x-amz-content-sha256")
            .is_some_and(|said| said != body_hash)
        {
            return invalid(
                "The value of the x-amz-content-sha256 header does not match the body.",
            );
        }
        if self.expected(request, &pair.secret, stamp, time, &body_hash) != self.signature {
            return Err(Exception::InvalidSignature.into());
        }
        if pair.is_expired {
            return Err(Exception::ExpiredToken.into());
        }
        Ok(())
    }

    /// The signature that this request must have.
    fn expected(
        &self,
        request: &Received,
        secret: &str,
        stamp: &str,
        time: DateTime<Utc>,
        body_hash: &str,
    ) -> String {
        let scope = format!(
            "{}/{}/{}/aws4_request",
            self.date, self.region, self.service
        );
        let canonical = canonical(request, &self.signed_headers, body_hash);
        let text = format!(
            "{ALGORITHM}\n{stamp}\n{scope}\n{}",
            hash(canonical.as_bytes())
        );
        let key = generate_signing_key(secret, time.into(), self.region, self.service);
        calculate_signature(key, text.as_bytes())
    }
}

/// The request in the one form that both sides hash.
fn canonical(request: &Received, signed_headers: &[&str], body_hash: &str) -> String {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let mut parameters: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.contains('=') {
            true => pair.to_owned(),
            false => format!("{pair}="),
        })
        .collect();
    parameters.sort();
    let mut text = format!(
        "{}\n{}\n{}\n",
        request.method,
        encoded(path),
        parameters.join("&")
    );
    for name in signed_headers {
        let values: Vec<_> = values(request, name)
            .map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        text += &format!("{name}:{}\n", values.join(","));
    }
    text + &format!("\n{}\n{body_hash}", signed_headers.join(";"))
}

/// What a request says under this name; its host is elsewhere in HTTP/2.
fn values<'a>(request: &'a Received, name: &str) -> impl Iterator<Item = &'a str> {
    let name = match name {
        "host" if request.header("host").is_none() => ":authority",
        name => name,
    };
    let named = request
        .headers
        .iter()
        .filter(move |(known, _)| known == name);
    named.map(|(_, value)| value.as_str())
}

/// Encodes a path that is encoded already: all services but S3 want it twice.
fn encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(byte.into());
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn is_region(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let has_number = parts.last().is_some_and(|last| last.parse::<u8>().is_ok());
    parts.len() >= 3 && has_number
}

const STAMP: &str = "%Y%m%dT%H%M%SZ";

fn time_of(stamp: &str) -> Option<DateTime<Utc>> {
    let time = NaiveDateTime::parse_from_str(stamp, STAMP).ok()?;
    Some(time.and_utc())
}

fn stamp_of(time: DateTime<Utc>) -> String {
    time.format(STAMP).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sigv4::{
        http_request::{SignableBody, SignableRequest, SigningSettings, sign},
        sign::v4,
    };
    use bytes::Bytes;

    use super::*;

    const PATH: &str = "/model/us.anthropic.claude-x-v1%3A0/invoke";
    const BODY: &[u8] = b"{}";

    /// Signs as AWS's own crate does.
    fn signed(secret: &str, region: &str, token: Option<&str>, time: SystemTime) -> Received {
        let identity = aws_credential_types::Credentials::new(
            ACCESS_KEY_ID,
            secret,
            token.map(str::to_owned),
            None,
            "test",
        )
        .into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("bedrock")
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let mut request = http::Request::post(format!("http://localhost{PATH}"))
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(())
            .unwrap();
        let signable = SignableRequest::new(
            "POST",
            request.uri().to_string(),
            [("host", "localhost"), ("content-type", "application/json")].into_iter(),
            SignableBody::Bytes(BODY),
        )
        .unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        instructions.apply_to_request_http1x(&mut request);
        let head = request.into_parts().0;
        Received::new(head, Bytes::from_static(BODY), String::new())
    }

    fn kind(result: Result<Option<String>, ApiError>) -> String {
        result.map_or_else(|error| error.kind, |region| region.unwrap_or_default())
    }

    #[test]
    fn what_awss_own_crate_signs_is_accepted_and_nothing_else() {
        let now = SystemTime::now();
        let check = |request: &Received| kind(Credentials::default().check(request, None, now));
        let good = signed(SECRET_ACCESS_KEY, "us-east-1", None, now);
        assert_eq!(check(&good), "us-east-1");

        let invalid = "InvalidSignatureException";
        assert_eq!(check(&signed("wrong", "us-east-1", None, now)), invalid);
        let mut changed = good.clone();
        changed.body = Bytes::from_static(b"{} ");
        assert_eq!(check(&changed), invalid);
        let mut changed = good.clone();
        changed.path = changed.path.replace("claude-x", "claude-y");
        assert_eq!(check(&changed), invalid);
        let hour = Duration::from_secs(3600);
        for time in [now - hour, now + hour] {
            assert_eq!(
                check(&signed(SECRET_ACCESS_KEY, "us-east-1", None, time)),
                invalid
            );
        }
        let region = Some("eu-west-1");
        assert_eq!(
            kind(Credentials::default().check(&good, region, now)),
            invalid
        );
        let with_token = signed(SECRET_ACCESS_KEY, "us-east-1", Some("t"), now);
        assert_eq!(check(&with_token), "UnrecognizedClientException");
    }

    #[test]
    fn credentials_come_and_go() {
        let now = SystemTime::now();
        let credentials = Credentials::none();
        let check = |request: &Received| kind(credentials.check(request, None, now));
        let request = signed(SECRET_ACCESS_KEY, "us-east-1", Some("t"), now);
        assert_eq!(check(&request), "UnrecognizedClientException");
        credentials.accept_pair(ACCESS_KEY_ID, SECRET_ACCESS_KEY, Some("t"));
        assert_eq!(check(&request), "us-east-1");
        credentials.expire(ACCESS_KEY_ID);
        assert_eq!(check(&request), "ExpiredTokenException");
        credentials.revoke(ACCESS_KEY_ID);
        assert_eq!(check(&request), "UnrecognizedClientException");
    }

    #[test]
    fn an_api_key_is_known_or_not() {
        let credentials = Credentials::default();
        let check = |value: Option<&str>| {
            let mut request = http::Request::post(PATH);
            if let Some(value) = value {
                request = request.header("authorization", value);
            }
            let head = request.body(()).unwrap().into_parts().0;
            let request = Received::new(head, Bytes::new(), String::new());
            kind(credentials.check(&request, None, SystemTime::now()))
        };
        let bearer = format!("Bearer {API_KEY}");
        assert_eq!(check(Some(&bearer)), "");
        assert_eq!(check(Some("Bearer other")), "AccessDeniedException");
        assert_eq!(check(Some("Basic x")), "InvalidSignatureException");
        assert_eq!(check(None), "MissingAuthenticationTokenException");
        credentials.revoke(API_KEY);
        assert_eq!(check(Some(&bearer)), "AccessDeniedException");
    }
}
