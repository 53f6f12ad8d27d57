//! Whether a process that runs here is well: for containers, in which there is
//! nobody else to ask.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// A process that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the operators' port.
///
/// # Errors
///
/// Nobody answers in time, or not with a 200; the message says what.
pub async fn ask(ops_addr: SocketAddr, is_ready: bool) -> anyhow::Result<()> {
    let path = if is_ready { "/readyz" } else { "/livez" };
    let status = timeout(PATIENCE, status(reachable(ops_addr), path)).await;
    let status = status.with_context(|| format!("no answer within {PATIENCE:?}"))??;
    anyhow::ensure!(status == StatusCode::OK, "{path} answers {status}");
    Ok(())
}

async fn status(addr: SocketAddr, path: &str) -> anyhow::Result<StatusCode> {
    let stream = TcpStream::connect(addr).await;
    let stream = stream.with_context(|| format!("nobody listens on {addr}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(header::HOST, addr.to_string())
        .body(Empty::<Bytes>::new())?;
    tokio::select! {
        answer = sender.send_request(request) => Ok(answer?.status()),
        ended = connection => {
            ended?;
            anyhow::bail!("the connection ended without an answer")
        }
    }
}

/// Who listens everywhere listens here too.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    addr
}
