//! The connection to control: configuration comes down, usage and reports go up.
//!
//! All of it runs on a thread of its own and touches no request. The loops end
//! only when the process does; whatever happens to control or to the network,
//! they try again.

pub mod backoff;
pub mod push;
pub mod report;
pub mod watch;

use std::{fmt, sync::Arc, time::Duration};

use anyhow::Context;
use http::HeaderValue;
use proto::{
    line,
    sync::{
        Node, config_service_client::ConfigServiceClient, usage_service_client::UsageServiceClient,
    },
};
use secrecy::ExposeSecret;
use telemetry::trace::{Span, Spans, TRACEPARENT};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use uuid::Uuid;

use crate::{
    budget::budgets::Budgets, index::IndexHandle, request::record::Journal,
    route::circuits::Circuits, settings, upstream::bedrock::lessons::Lessons,
    usage::outbox::Outbox,
};

/// See `sync-protocol`: half-open connections are found by asking, also while
/// nothing is sent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the loops share.
#[derive(Debug, Clone)]
pub struct Sync {
    channel: Channel,
    token: Token,
    pub node: Node,
    pub index: Arc<IndexHandle>,
    pub journal: Arc<Journal>,
    pub lessons: Arc<Lessons>,
    pub circuits: Arc<Circuits>,
    pub budgets: Arc<Budgets>,
    pub spans: Spans,
}

/// What is kept in step with control.
#[derive(Debug)]
pub struct Kept {
    pub index: Arc<IndexHandle>,
    pub journal: Arc<Journal>,
    pub lessons: Arc<Lessons>,
    pub circuits: Arc<Circuits>,
    pub budgets: Arc<Budgets>,
    pub spans: Spans,
}

/// Puts the bearer token on every call.
#[derive(Clone)]
pub struct Token(MetadataValue<Ascii>);

pub type ConfigClient = ConfigServiceClient<InterceptedService<Channel, Token>>;
pub type UsageClient = UsageServiceClient<InterceptedService<Channel, Token>>;

impl Sync {
    /// Prepares the channel; nothing is connected before the first call. Must be
    /// called on the runtime that will run the loops.
    ///
    /// # Errors
    ///
    /// PEM files that cannot be read or used, or a token that no header may have.
    pub fn new(settings: &settings::Sync, kept: Kept) -> anyhow::Result<Self> {
        let mut token =
            HeaderValue::from_str(&format!("Bearer {}", settings.token.expose_secret()))
                .context("PROXY_SYNC_TOKEN")?;
        token.set_sensitive(true);
        let token = MetadataValue::try_from(token.as_bytes()).context("PROXY_SYNC_TOKEN")?;
        Ok(Self {
            channel: endpoint(settings)?.connect_lazy(),
            token: Token(token),
            node: Node {
                instance_id: Uuid::now_v7().to_string(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: Some(line::timestamp(chrono::Utc::now())),
            },
            index: kept.index,
            journal: kept.journal,
            lessons: kept.lessons,
            circuits: kept.circuits,
            budgets: kept.budgets,
            spans: kept.spans,
        })
    }

    pub fn outbox(&self) -> &Outbox {
        &self.journal.outbox
    }

    pub fn config(&self) -> ConfigClient {
        ConfigServiceClient::with_interceptor(self.channel.clone(), self.token.clone())
    }

    pub fn usage(&self) -> UsageClient {
        UsageServiceClient::with_interceptor(self.channel.clone(), self.token.clone())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A message to control that says what it is a part of.
fn carrying<T>(message: T, span: &Span) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(told) = span.traceparent().and_then(|it| it.parse().ok()) {
        request.metadata_mut().insert(TRACEPARENT, told);
    }
    request
}

fn ended(span: &mut Span, code: Code) {
    span.ended(code.into(), || format!("{code:?}"));
}

fn endpoint(settings: &settings::Sync) -> anyhow::Result<Endpoint> {
    let endpoint = Endpoint::from(settings.control_url.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    if settings.control_url.scheme_str() != Some("https") {
        return Ok(endpoint);
    }
    let pem = settings.tls()?;
    let mut tls = ClientTlsConfig::new();
    if let Some(ca) = pem.ca {
        tls = tls.ca_certificate(Certificate::from_pem(ca));
    }
    if let (Some(cert), Some(key)) = (pem.cert, pem.key) {
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    endpoint
        .tls_config(tls)
        .context("PROXY_SYNC_TLS_CA, PROXY_SYNC_TLS_CERT or PROXY_SYNC_TLS_KEY")
}
