//! HTTP/2 towards an upstream: a few connections, shared by many answers.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, response};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::{Piece, RequestBody, http1::Io};
use crate::tasks::Tasks;

/// Answers on one connection at a time. Servers commonly allow a hundred, and a
/// lost packet stops all of one connection's answers.
const MAX_STREAMS: usize = 64;

/// A stream may be this far ahead of its client; then the upstream waits.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How soon a connection that has silently died is noticed.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The open connections.
#[derive(Debug)]
pub struct Pool {
    shared: Mutex<Vec<Shared>>,
    tasks: Tasks,
}

/// One connection and how many answers are on it.
#[derive(Clone)]
struct Shared {
    sender: SendRequest<RequestBody>,
    streams: Arc<AtomicUsize>,
}

/// The right to have one answer on a connection; counted until it is dropped.
#[derive(Debug)]
pub struct Lease {
    shared: Shared,
}

/// The body of an answer.
#[derive(Debug)]
pub struct Flow {
    incoming: Incoming,
    next: Option<Result<Frame<Bytes>, hyper::Error>>,
    ended: bool,
    _lease: Lease,
}

impl Pool {
    pub fn new(tasks: Tasks) -> Self {
        Self {
            shared: Mutex::default(),
            tasks,
        }
    }

    /// A place on the connection that has the most answers and room for one
    /// more, so that the others can become idle and end.
    pub fn take(&self) -> Option<Lease> {
        let mut shared = self.shared();
        shared.retain(|it| !it.sender.is_closed());
        shared
            .iter()
            .filter(|it| it.sender.is_ready())
            .filter(|it| it.streams.load(Ordering::Relaxed) < MAX_STREAMS)
            .max_by_key(|it| it.streams.load(Ordering::Relaxed))
            .map(Lease::new)
    }

    /// Speaks HTTP/2 on a fresh connection and shares it.
    ///
    /// # Errors
    ///
    /// See [`Builder::handshake`].
    pub async fn handshake(&self, io: Io) -> hyper::Result<Lease> {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(io)
            .await?;
        self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "upstream connection ended");
            }
        });
        let shared = Shared {
            sender,
            streams: Arc::default(),
        };
        let lease = Lease::new(&shared);
        self.shared().push(shared);
        Ok(lease)
    }

    /// Nothing under this lock waits or panics.
    fn shared(&self) -> std::sync::MutexGuard<'_, Vec<Shared>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    fn new(shared: &Shared) -> Self {
        shared.streams.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: shared.clone(),
        }
    }

    /// # Errors
    ///
    /// The connection broke, or the upstream reset the stream.
    pub async fn exchange(
        mut self,
        request: Request<RequestBody>,
    ) -> hyper::Result<(response::Parts, Flow)> {
        let response = self.shared.sender.send_request(request).await?;
        let (head, incoming) = response.into_parts();
        let flow = Flow {
            ended: incoming.is_end_stream(),
            incoming,
            next: None,
            _lease: self,
        };
        Ok((head, flow))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Flow {
    /// Everything that is there now, as one piece.
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut piece = Piece::default();
        while self.next.is_none() && !self.ended && !piece.is_full() {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        piece.push(data);
                        self.ended = self.incoming.is_end_stream();
                    }
                    Err(trailers) => self.next = Some(Ok(trailers)),
                },
                Poll::Ready(Some(Err(error))) => {
                    self.ended = true;
                    self.next = Some(Err(error));
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => break,
            }
        }
        if !piece.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(piece.into_bytes()))));
        }
        match self.next.take() {
            Some(next) => Poll::Ready(Some(next)),
            None if self.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    pub fn is_end(&self) -> bool {
        self.ended && self.next.is_none()
    }

    pub fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({:?})", self.streams)
    }
}
