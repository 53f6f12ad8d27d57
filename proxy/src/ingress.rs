//! Accepts connections and serves requests on them: HTTP/1.1 and HTTP/2 in
//! cleartext, told apart by their first bytes.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::{
    relay::ClientBody,
    request::{self, Proxy},
    tasks::Tasks,
};

/// An HTTP/1.1 connection is kept so long for its next request. Load balancers must be
/// the ones that close it, and they wait for an answer as long as for a request: longer
/// than PROXY_FIRST_BYTE_TIMEOUT.
const KEEP_ALIVE: Duration = Duration::from_secs(400);

/// How long a connection may take for the head of its first request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Room for one request's head, and for a piece of its body.
const MAX_HEAD_BYTES: u32 = 64 << 10;

/// Requests on one HTTP/2 connection at a time.
const MAX_STREAMS: u32 = 250;

/// A request's body may be this far ahead of us.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How soon a client that has silently gone is noticed.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// A pause after an error that other connections must end first to mend, such
/// as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The door for clients.
#[derive(Debug)]
pub struct Ingress {
    pub listener: TcpListener,
    pub proxy: Arc<Proxy>,
    /// When as many are open, further ones wait in the kernel.
    pub max_connections: u32,
    /// The connections, to wait for them.
    pub tasks: Tasks,
    /// Set when no more are accepted, and those that are open end with their
    /// running requests.
    pub closing: CancellationToken,
}

impl Ingress {
    /// # Errors
    ///
    /// The operating system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until the door closes.
    pub async fn run(self) {
        let places = Arc::new(Semaphore::new(self.max_connections as usize));
        let server = Server::new();
        loop {
            let accepted = tokio::select! {
                () = self.closing.cancelled() => return,
                accepted = self.accept(&places) => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    let connection = Connection {
                        proxy: self.proxy.clone(),
                        stream,
                        tasks: self.tasks.clone(),
                        closing: self.closing.clone(),
                        _place: place,
                    };
                    self.tasks.spawn(connection.serve(server.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept(
        &self,
        places: &Arc<Semaphore>,
    ) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let place = places.clone().acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        let (stream, _) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, place))
    }
}

/// How each of the two is spoken.
#[derive(Debug, Clone)]
struct Server {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Server {
    fn new() -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(KEEP_ALIVE)
            .max_buf_size(MAX_HEAD_BYTES as usize);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { http1, http2 }
    }
}

/// One client's connection.
struct Connection {
    proxy: Arc<Proxy>,
    stream: TcpStream,
    tasks: Tasks,
    closing: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Serves requests until the client is done; when the door
    /// closes, until the running ones are; at the latest until the tasks are told to stop.
    async fn serve(self, server: Server) {
        let is_http2 = tokio::select! {
            () = self.tasks.stopping() => return,
            () = self.closing.cancelled() => return,
            is_http2 = timeout(HEAD_TIMEOUT, speaks_http2(&self.stream)) => match is_http2 {
                Ok(Ok(is_http2)) => is_http2,
                // Silent for too long, or gone.
                Ok(Err(_)) | Err(_) => return,
            },
        };
        let Self {
            proxy,
            stream,
            tasks,
            closing,
            _place,
        } = self;
        let signals = signals(&tasks, &closing);
        // A client that takes nothing any more must not hold an answer for ever.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(proxy.limits.idle_timeout));
        let stream = TokioIo::new(Box::pin(stream));
        let has_spoken = Arc::new(AtomicBool::new(false));
        let service = service_fn({
            let has_spoken = has_spoken.clone();
            move |request| {
                has_spoken.store(true, Ordering::Relaxed);
                answer(proxy.clone(), request)
            }
        });
        let result = if is_http2 {
            // Boxed, because it is the rarer and the larger one.
            let connection = server.http2.serve_connection(stream, service);
            Box::pin(drive(connection, signals, has_spoken)).await
        } else {
            let connection = server.http1.serve_connection(stream, service);
            drive(connection, signals, has_spoken).await
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a client's connection ended");
        }
    }
}

/// Looks at the first bytes, without taking them. An HTTP/2 client begins with
/// `PRI`, which is no method of HTTP/1.1.
///
/// Source: RFC 9113, 3.4.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; 3];
    let seen = stream.peek(&mut first).await?;
    Ok(seen == first.len() && &first == b"PRI")
}

/// To the end of a connection, or until it is told to stop. One without a whole head
/// for too long ends as well: pings and the time between two requests begin later.
async fn drive<Conn: GracefulConnection>(
    connection: Conn,
    mut signals: Signals,
    has_spoken: Arc<AtomicBool>,
) -> Result<(), Conn::Error> {
    let mut connection = pin!(connection);
    let mut silence = pin!(sleep(HEAD_TIMEOUT));
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => return result,
            Some(signal) = signals.next() => match signal {
                Signal::Stop => return Ok(()),
                Signal::Drain => connection.as_mut().graceful_shutdown(),
            },
            () = silence.as_mut(), if !silence.is_elapsed() => {
                if !has_spoken.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
        }
    }
}

/// Boxed, so that its memory is held until the answer begins and not as long as
/// the connection.
fn answer(
    proxy: Arc<Proxy>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<ClientBody>, Infallible>> {
    let answer = Box::pin(request::handle(proxy, request));
    async move { Ok(answer.await) }
}

/// What a connection is told from outside.
enum Signal {
    /// The process ends now.
    Stop,
    /// The process ends when the running requests have.
    Drain,
}

/// The signals to come. They are looked at only when there is one: every
/// connection waits for them with every step that it makes, and looking takes a
/// lock that all connections share.
type Signals = FuturesUnordered<BoxFuture<'static, Signal>>;

fn signals(tasks: &Tasks, closing: &CancellationToken) -> Signals {
    let (tasks, closing) = (tasks.clone(), closing.clone());
    let stop = async move {
        tasks.stopping().await;
        Signal::Stop
    };
    let drain = async move {
        closing.cancelled_owned().await;
        Signal::Drain
    };
    [stop.boxed(), drain.boxed()].into_iter().collect()
}
