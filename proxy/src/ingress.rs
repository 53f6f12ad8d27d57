//! Accepts connections and serves requests on them: HTTP/1.1 and HTTP/2 in
//! cleartext, told apart by their first bytes.

use std::{
    convert::Infallible,
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
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::{
    request::{self, Proxy},
    tasks::Tasks,
};

/// How long a connection may take for a request's head, and stay idle between
/// requests: longer than a load balancer keeps an idle connection (60 s), so
/// that it is never the proxy that closes first.
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
    listener: TcpListener,
    proxy: Arc<Proxy>,
    /// Open connections; when there are as many as allowed, further ones wait in
    /// the kernel.
    places: Arc<Semaphore>,
    tasks: Tasks,
}

impl Ingress {
    pub fn new(listener: TcpListener, proxy: Arc<Proxy>, max_connections: u32) -> Self {
        Self {
            listener,
            proxy,
            places: Arc::new(Semaphore::new(max_connections as usize)),
            tasks: Tasks::new(),
        }
    }

    /// # Errors
    ///
    /// The operating system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The connections, to wait for them.
    pub fn connections(&self) -> Tasks {
        self.tasks.clone()
    }

    /// Accepts until the proxy drains.
    pub async fn run(self) {
        let draining = self.proxy.draining.clone();
        let server = server();
        loop {
            let accepted = tokio::select! {
                () = draining.cancelled() => return,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    let connection = Connection {
                        proxy: self.proxy.clone(),
                        stream,
                        tasks: self.tasks.clone(),
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

    async fn accept(&self) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let place = self.places.clone().acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        let (stream, _) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, place))
    }
}

fn server() -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES as usize)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    server
}

/// One client's connection.
struct Connection {
    proxy: Arc<Proxy>,
    stream: TcpStream,
    tasks: Tasks,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Serves requests until the client is done; when the proxy drains, until
    /// the running ones are; at the latest until the tasks are told to stop.
    async fn serve(self, server: auto::Builder<TokioExecutor>) {
        let Self {
            proxy,
            stream,
            tasks,
            _place,
        } = self;
        let idle_timeout = proxy.limits.idle_timeout;
        let has_spoken = Arc::new(AtomicBool::new(false));
        let service = service_fn({
            let (proxy, has_spoken) = (proxy.clone(), has_spoken.clone());
            move |request| {
                has_spoken.store(true, Ordering::Relaxed);
                let proxy = proxy.clone();
                // Boxed, so that its memory is held until the answer begins and
                // not as long as the connection.
                let answer = Box::pin(request::handle(proxy, request));
                async move { Ok::<_, Infallible>(answer.await) }
            }
        });
        // A client that takes nothing any more must not hold an answer for ever.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(idle_timeout));
        let stream = TokioIo::new(Box::pin(stream));
        let mut connection = pin!(server.serve_connection(stream, service));
        let mut signals = signals(&tasks, &proxy.draining);
        let result = loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => break result,
                Some(signal) = signals.next() => match signal {
                    Signal::Stop => return,
                    Signal::Drain => connection.as_mut().graceful_shutdown(),
                    Signal::Silence if !has_spoken.load(Ordering::Relaxed) => return,
                    Signal::Silence => {}
                },
            }
        };
        if let Err(error) = result {
            tracing::debug!(error, "a client's connection ended");
        }
    }
}

/// What a connection is told from outside.
enum Signal {
    /// The process ends now.
    Stop,
    /// The process ends when the running requests have.
    Drain,
    /// The time for the first request is over. Until that comes it may be neither
    /// HTTP/1.1 nor HTTP/2, so that neither's own limit holds.
    Silence,
}

/// The signals to come. They are looked at only when there is one: every
/// connection waits for them with every step that it makes, and looking takes a
/// lock that all connections share.
fn signals(
    tasks: &Tasks,
    draining: &CancellationToken,
) -> FuturesUnordered<BoxFuture<'static, Signal>> {
    let (tasks, draining) = (tasks.clone(), draining.clone());
    let stop = async move {
        tasks.stopping().await;
        Signal::Stop
    };
    let drain = async move {
        draining.cancelled_owned().await;
        Signal::Drain
    };
    let silence = async {
        sleep(HEAD_TIMEOUT).await;
        Signal::Silence
    };
    [stop.boxed(), drain.boxed(), silence.boxed()]
        .into_iter()
        .collect()
}
