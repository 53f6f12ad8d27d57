//! Who calls: whether it may, and what it says it is.

use std::net::SocketAddr;

use chrono::{DateTime, Datelike, Utc};
use opentelemetry::Context;
use proto::sync::Node;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use telemetry::trace;
use tonic::{Request, Status, service::Interceptor};
use uuid::Uuid;

/// Versions are shown in a table.
const MAX_VERSION_CHARS: usize = 64;

/// Lets calls through that carry the token of `PROXY_SYNC_TOKEN`.
///
/// Hashes are compared: neither time nor length tells anything about it.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// What a proxy process calls itself.
#[derive(Debug, Clone)]
pub struct Caller {
    pub instance_id: Uuid,
    pub version: String,
    pub started_at: Option<DateTime<Utc>>,
}

impl Token {
    pub fn new(token: &SecretString) -> Self {
        Self(Sha256::digest(token.expose_secret()).into())
    }
}

impl Interceptor for Token {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let presented = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        if bool::from(Sha256::digest(presented).ct_eq(&self.0)) {
            return Ok(request);
        }
        Err(Status::unauthenticated(
            "the token is not the one that control knows: compare PROXY_SYNC_TOKEN",
        ))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Caller {
    pub fn new(node: Option<&Node>) -> Result<Self, Status> {
        let node = node.ok_or_else(|| Status::invalid_argument("node must be set"))?;
        let instance_id = node
            .instance_id
            .parse()
            .map_err(|_format| Status::invalid_argument("node.instance_id must be a UUID"))?;
        Ok(Self {
            instance_id,
            version: printable(&node.version).take(MAX_VERSION_CHARS).collect(),
            started_at: node.started_at.as_ref().and_then(storable),
        })
    }
}

/// Postgres knows fewer years than protobuf can say.
fn storable(timestamp: &prost_types::Timestamp) -> Option<DateTime<Utc>> {
    proto::line::time(timestamp).filter(|time| (1..=9999).contains(&time.year()))
}

/// What the caller's call is a part of.
pub fn trace<T>(request: &Request<T>) -> Context {
    trace::parent(|name| request.metadata().get(name)?.to_str().ok())
}

/// Where a call comes from.
pub fn address<T>(request: &Request<T>) -> String {
    request
        .remote_addr()
        .map_or_else(String::new, |address: SocketAddr| address.ip().to_string())
}

/// Postgres takes no NUL, and nobody wants the others in a table.
pub(super) fn printable(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().filter(|character| !character.is_control())
}
