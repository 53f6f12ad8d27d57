//! HTTP/1.1 towards an upstream, driven by whoever waits for the answer.
//!
//! The usual client runs each connection in a task of its own and hands every
//! chunk over a channel: a wake-up and a write per chunk. Here the answer's flow
//! owns the connection and polls it itself, so that one task reads from the
//! upstream and writes to the client, and all chunks that one read brought go
//! out in one write.
//!
//! The price is that nobody watches an idle connection. It is therefore looked
//! at before it is used, and from time to time.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Uri, Version, response};
use http_body::{Frame, SizeHint};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    RequestBody,
    heard::{Ear, Heard},
    piece::Pieces,
};
use crate::tasks::Tasks;

/// A socket, with or without TLS.
pub type Io = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Room for an answer's head, of a hundred headers at most; bodies are read in
/// growing steps up to this. Room for more headers would be taken anew for every
/// answer.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Upstreams close idle connections after a minute or more; ours go first, so
/// that a request seldom meets a closed one.
const MAX_IDLE: Duration = Duration::from_secs(55);

/// More idle connections than this are closed.
const MAX_KEPT: usize = 1024;

/// One connection that has no request, or exactly one.
pub struct Http1 {
    sender: SendRequest<RequestBody>,
    connection: Box<Connection<HeardIo, RequestBody>>,
    ear: Ear,
}

/// Between hyper's way of reading and tokio's there is nothing but types.
type HeardIo = TokioIo<Heard<TokioIo<Io>>>;

/// An exchange that ended without an answer.
#[derive(Debug)]
pub struct Broken {
    pub cause: hyper::Error,
    /// The upstream had begun to answer.
    pub has_begun: bool,
}

/// Idle connections; the one used last is used next.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Vec<Idle>>);

#[derive(Debug)]
struct Idle {
    connection: Http1,
    since: Instant,
}

/// The body of an answer, and the connection that brings it.
#[derive(Debug)]
pub struct Flow {
    pieces: Pieces,
    /// None when the connection has ended or went back to the pool.
    connection: Option<Http1>,
    pool: Arc<Pool>,
}

/// HTTP/1.1 names the target without scheme and host.
pub fn in_origin_form(mut request: Request<RequestBody>) -> Request<RequestBody> {
    let path_and_query = request.uri().path_and_query().cloned();
    *request.uri_mut() = path_and_query.map_or_else(|| Uri::from_static("/"), Uri::from);
    *request.version_mut() = Version::HTTP_11;
    request
}

impl Http1 {
    /// # Errors
    ///
    /// See [`Builder::handshake`].
    pub async fn handshake(io: Io) -> hyper::Result<Self> {
        let (io, ear) = Heard::new(TokioIo::new(io));
        let (sender, connection) = Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(io))
            .await?;
        Ok(Self {
            sender,
            connection: Box::new(connection),
            ear,
        })
    }

    /// Looks whether the upstream has closed the connection, without waiting.
    fn is_usable(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.poll_connection(&mut cx).is_pending() && self.sender.is_ready()
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Pin::new(self.connection.as_mut()).poll(cx)
    }

    /// Sends the request and waits for the head of the answer. Dropped before
    /// that, the connection is closed.
    ///
    /// # Errors
    ///
    /// The connection broke, or what came is not HTTP.
    pub async fn exchange(
        mut self,
        request: Request<RequestBody>,
        pool: &Arc<Pool>,
    ) -> Result<(response::Parts, Flow), Broken> {
        let mut is_open = true;
        // Of the answer before.
        self.ear.has_heard();
        let response = {
            let mut answer = pin!(self.sender.send_request(request));
            let connection = &mut self.connection;
            poll_fn(|cx| {
                if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                    return Poll::Ready(answer);
                }
                // The connection's own error reaches the answer as well.
                if is_open && Pin::new(connection.as_mut()).poll(cx).is_ready() {
                    is_open = false;
                }
                answer.as_mut().poll(cx)
            })
            .await
        };
        let response = response.map_err(|cause| Broken {
            cause,
            has_begun: self.ear.has_heard(),
        })?;
        let (head, incoming) = response.into_parts();
        let mut flow = Flow {
            pieces: Pieces::new(incoming),
            connection: is_open.then_some(self),
            pool: pool.clone(),
        };
        if flow.pieces.has_ended() {
            flow.settle(&mut Context::from_waker(Waker::noop()));
        }
        Ok((head, flow))
    }
}

impl Pool {
    /// The idle connection that was used last, if the upstream still has it.
    pub fn take(&self) -> Option<Http1> {
        loop {
            let mut idle = self.idle().pop()?;
            if idle.since.elapsed() < MAX_IDLE && idle.connection.is_usable() {
                return Some(idle.connection);
            }
        }
    }

    fn put(&self, connection: Http1) {
        let mut idle = self.idle();
        if idle.len() < MAX_KEPT {
            idle.push(Idle {
                connection,
                since: Instant::now(),
            });
        }
    }

    /// Closes, from time to time, what has been idle for long and what the
    /// upstream has closed.
    pub fn keep_clean(pool: &Arc<Self>, tasks: &Tasks) {
        let (pool, stopping) = (Arc::downgrade(pool), tasks.clone());
        tasks.spawn(async move {
            let mut ticks = interval(MAX_IDLE / 4);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stopping.stopping() => return,
                    _ = ticks.tick() => {}
                }
                let Some(pool) = pool.upgrade() else { return };
                pool.idle().retain_mut(|idle| {
                    idle.since.elapsed() < MAX_IDLE && idle.connection.is_usable()
                });
            }
        });
    }

    /// Nothing under this lock waits or panics.
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow {
    /// See [`Pieces::poll_piece`].
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let connection = &mut self.connection;
        let piece = self.pieces.poll_piece(cx, |cx| drive(connection, cx));
        if self.pieces.has_ended() {
            self.settle(cx);
        }
        piece
    }

    pub fn is_end(&self) -> bool {
        self.pieces.is_end()
    }

    pub fn size_hint(&self) -> SizeHint {
        self.pieces.size_hint()
    }

    /// The answer is complete: the connection becomes idle, if it may.
    fn settle(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.connection, cx);
        if let Some(connection) = self.connection.take()
            && connection.sender.is_ready()
        {
            self.pool.put(connection);
        }
    }
}

/// Lets the connection read and write, and forgets it when it has ended.
fn drive(connection: &mut Option<Http1>, cx: &mut Context<'_>) {
    if let Some(open) = connection
        && open.poll_connection(cx).is_ready()
    {
        *connection = None;
    }
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http1")
    }
}
