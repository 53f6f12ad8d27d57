//! The gRPC server for proxies: who may call, over which connection, and when it
//! ends.

pub mod caller;
pub mod config;
mod outgoing;
pub mod usage;

use std::{future::Future, time::Duration};

use ::telemetry::trace::Span;
use anyhow::Context;
use proto::sync::{
    config_service_server::ConfigServiceServer, usage_service_server::UsageServiceServer,
};
use tokio::net::TcpListener;
use tonic::{
    Code, Status,
    transport::{
        Certificate, Identity, Server, ServerTlsConfig,
        server::{Router, TcpIncoming},
    },
};

use self::{
    caller::Token,
    outgoing::{Outgoing, Undelivered},
};
use crate::{
    settings::{Pace, Sync},
    store,
};

/// Finds connections whose other end is gone without a word.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Puts the server together.
///
/// # Errors
/// When the certificates cannot be used.
pub fn server(
    settings: &Sync,
    pace: &Pace,
    config: config::Service,
    usage: usage::Service,
) -> anyhow::Result<Router> {
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        // An old connection takes no new streams; its running ones end by
        // themselves, each at its own age. What is left then is cut.
        .max_connection_age(pace.connection_age.mul_f64(0.9))
        .max_connection_age_grace(pace.connection_age.mul_f64(0.2) + Duration::from_secs(30));
    if let Some(tls) = tls(settings) {
        server = server.tls_config(tls).context(
            "PROXY_SYNC_TLS_CERT, PROXY_SYNC_TLS_KEY or PROXY_SYNC_TLS_CA cannot be used",
        )?;
    }
    let token = Token::new(&settings.sync_token);
    Ok(server
        .add_service(ConfigServiceServer::with_interceptor(config, token.clone()))
        .add_service(UsageServiceServer::with_interceptor(usage, token)))
}

/// Serves until told to stop and all streams have ended.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    stopping: impl Future<Output = ()> + Send,
) {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    if let Err(error) = router
        .serve_with_incoming_shutdown(incoming, stopping)
        .await
    {
        tracing::error!(error = &error as &dyn std::error::Error, "grpc.failed");
    }
}

/// A certificate of ours makes it TLS; knowing who signs the proxies' makes it
/// mutual.
fn tls(settings: &Sync) -> Option<ServerTlsConfig> {
    let (Some(cert), Some(key)) = (&settings.sync_tls_cert, &settings.sync_tls_key) else {
        return None;
    };
    let mut tls =
        ServerTlsConfig::new().identity(Identity::from_pem(cert.as_bytes(), key.as_bytes()));
    if let Some(ca) = &settings.sync_tls_ca {
        tls = tls.client_ca_root(Certificate::from_pem(ca.as_bytes()));
    }
    Some(tls)
}

/// About the given age: ten per cent less to ten per cent more, so that proxies
/// that came together do not go together.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(rand::random_range(0.9..1.1))
}

/// Which proxy calls, in spans.
const INSTANCE_ID: &str = "claude_code_proxy.instance_id";

fn ended(span: &mut Span, code: Code) {
    span.ended(code.into(), || format!("{code:?}"));
}

/// Whatever is wrong with us, the proxy keeps what it has and tries again; the
/// cause is for our log, not for it.
fn unavailable(error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::warn!(error, "grpc.database_failed");
    Status::unavailable("control cannot use its database now; try again")
}

impl From<store::Error> for Status {
    fn from(error: store::Error) -> Self {
        unavailable(&error)
    }
}
