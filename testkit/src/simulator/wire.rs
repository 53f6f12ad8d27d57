//! A connection that can be taken back from hyper, to end it as no HTTP server
//! would.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    sync::{Notify, oneshot},
    time::sleep,
};
use tokio_rustls::server::TlsStream;

use super::score::{Farewell, Manner};

/// A TCP connection, with or without TLS.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

pub(crate) type Stream = Box<dyn Transport>;

/// What hyper reads and writes. When hyper is done with it, the stream goes
/// back to whoever lent it.
pub(crate) struct Wire {
    stream: Option<Stream>,
    back: Option<oneshot::Sender<Stream>>,
    flushed: Arc<Notify>,
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl Wire {
    /// Lends a stream; tells `flushed` whenever all that was written is with
    /// the kernel.
    pub(crate) fn lend(stream: Stream, flushed: Arc<Notify>) -> (Self, oneshot::Receiver<Stream>) {
        let (back, returned) = oneshot::channel();
        let wire = Self {
            stream: Some(stream),
            back: Some(back),
            flushed,
        };
        (wire, returned)
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        self.stream
            .as_mut()
            .map(Pin::new)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Nobody waits when the whole simulator is dropped.
            let _ = back.send(stream);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream()?.poll_flush(cx))?;
        self.flushed.notify_waiters();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

/// Ends a connection. With [`Manner::Silence`] the client must end it.
pub(crate) async fn part(mut stream: Stream, farewell: Farewell) -> io::Result<()> {
    stream.write_all(&farewell.last_words).await?;
    stream.flush().await?;
    match farewell.manner {
        Manner::Reset => {
            delivered(stream.tcp()).await;
            stream.tcp().set_zero_linger()
        }
        Manner::Close => stream.shutdown().await,
        Manner::Silence => {
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
            Ok(())
        }
    }
}

/// Waits until the client's side has all bytes, because a reset takes back those
/// which are still under way. Gives up on a client that does not read, and on
/// systems without `/proc`.
async fn delivered(tcp: &TcpStream) {
    for _ in 0..PATIENCE_MS {
        // Fails when the client has reset the connection.
        let (Ok(local), Ok(peer)) = (tcp.local_addr(), tcp.peer_addr()) else {
            return;
        };
        let Ok(table) = std::fs::read_to_string("/proc/net/tcp") else {
            return;
        };
        // A row can be missing while the table changes.
        if table.lines().any(|row| is_idle(row, local, peer)) {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

const PATIENCE_MS: u32 = 2_000;

/// Tells whether a row of `/proc/net/tcp` is of this connection, and everything
/// sent is acknowledged.
fn is_idle(row: &str, local: SocketAddr, peer: SocketAddr) -> bool {
    let mut columns = row.split_whitespace().skip(1);
    columns.next() == hex(local).as_deref()
        && columns.next() == hex(peer).as_deref()
        && columns
            .nth(1)
            .is_some_and(|queues| queues.starts_with("00000000:"))
}

/// As in `/proc/net/tcp`, which has no IPv6.
fn hex(addr: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = addr.ip() else {
        return None;
    };
    let ip = u32::from_ne_bytes(ip.octets());
    Some(format!("{ip:08X}:{:04X}", addr.port()))
}
