//! HTTP/2 towards an upstream: a few connections, shared by many answers.

use std::{
    fmt,
    future::{Future, poll_fn},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, response};
use http_body::{Frame, SizeHint};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::{RequestBody, http1::Io, piece::Pieces};
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
    /// What the upstream allows, at most what is sensible. A request beyond it
    /// would wait for the end of another one.
    max_streams: Arc<AtomicUsize>,
}

/// The right to have one answer on a connection; counted until it is dropped.
#[derive(Debug)]
pub struct Lease {
    shared: Shared,
}

/// The body of an answer.
#[derive(Debug)]
pub struct Flow {
    pieces: Pieces,
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
            .filter(|it| {
                let max_streams = it.max_streams.load(Ordering::Relaxed);
                it.streams.load(Ordering::Relaxed) < max_streams
            })
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
        let shared = Shared {
            sender,
            streams: Arc::default(),
            max_streams: Arc::new(MAX_STREAMS.into()),
        };
        let max_streams = shared.max_streams.clone();
        let mut connection = Box::pin(connection);
        self.tasks.spawn(async move {
            let ended = poll_fn(|cx| {
                let ended = connection.as_mut().poll(cx);
                let allowed = connection.current_max_send_streams();
                max_streams.store(allowed.min(MAX_STREAMS), Ordering::Relaxed);
                ended
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "upstream connection ended");
            }
        });
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
            pieces: Pieces::new(incoming),
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
    /// See [`Pieces::poll_piece`]; the connection is driven by its own task.
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.pieces.poll_piece(cx, |_| {})
    }

    pub fn is_end(&self) -> bool {
        self.pieces.is_end()
    }

    pub fn size_hint(&self) -> SizeHint {
        self.pieces.size_hint()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({:?})", self.streams)
    }
}
