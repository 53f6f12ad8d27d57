//! Connections: accepts them, lets hyper speak HTTP on them, and plays scores.

use std::{collections::VecDeque, convert::Infallible, io, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Api, control,
    record::{Received, Record},
    reply::{Pace, Reply},
    score::{self, Farewell, Manner, Opening, Score, Step},
    script::Script,
    usage::Usage,
    wire::{Stream, Wire, part},
};

/// The limit of the Anthropic API, which is the larger one.
const MAX_BODY_BYTES: usize = 32 << 20;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) api: Box<dyn Api>,
    pub(crate) script: Script,
    pub(crate) record: Record,
    pub(crate) pace: Pace,
}

/// What the requests of one connection share.
#[derive(Debug)]
struct Link {
    /// All written bytes are with the kernel.
    flushed: Arc<Notify>,
    /// Takes the connection away from hyper.
    leave: mpsc::Sender<Farewell>,
}

/// Accepts until it is dropped, and drops all connections then.
pub(crate) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of file descriptors, most likely: the next one may work.
                let Ok((tcp, _)) = accepted else { continue };
                connections.spawn(connection(tcp, tls.clone(), Arc::clone(&state)));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// Counts a connection as open while it lives.
struct Open(Arc<State>);

impl Open {
    fn new(state: Arc<State>) -> Self {
        state.record.count(|counts| {
            counts.connections_opened += 1;
            counts.connections_open += 1;
        });
        Self(state)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.record.count(|counts| counts.connections_open -= 1);
    }
}

async fn connection(tcp: TcpStream, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let open = Open::new(Arc::clone(&state));
    // A client that breaks the protocol or leaves is no concern of ours.
    let _ = speak(tcp, tls, state).await;
    drop(open);
}

async fn speak(tcp: TcpStream, tls: Option<TlsAcceptor>, state: Arc<State>) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let stream: Stream = match tls {
        None => Box::new(tcp),
        Some(tls) => Box::new(tls.accept(tcp).await?),
    };
    let flushed = Arc::new(Notify::new());
    let (wire, returned) = Wire::lend(stream, Arc::clone(&flushed));
    let (leave, mut leaving) = mpsc::channel(1);
    let link = Arc::new(Link { flushed, leave });
    let service = service_fn(|request| {
        let (state, link) = (Arc::clone(&state), Arc::clone(&link));
        async move { Ok::<_, Infallible>(respond(request, state, link).await) }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let farewell = tokio::select! {
        _ended = server.serve_connection(TokioIo::new(wire), service) => return Ok(()),
        farewell = leaving.recv() => farewell,
    };
    match (farewell, returned.await) {
        (Some(farewell), Ok(stream)) => part(stream, farewell).await,
        _ => Ok(()),
    }
}

async fn respond(request: Request<Incoming>, state: Arc<State>, link: Arc<Link>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let (body, reply) = match read(body).await {
        Ok(Some(body)) => (body, None),
        Ok(None) => (Bytes::new(), Some(Reply::error(413))),
        // Nobody reads the answer of a request that was broken off.
        Err(error) => return failure(StatusCode::BAD_REQUEST, &error),
    };
    let mut request = Received::new(head, body, state.api.request_id());
    (request.operation, request.model) = state.api.identify(&request);
    if request.path.starts_with("/_") {
        return control::respond(&request, &state);
    }
    let reply = reply.unwrap_or_else(|| state.script.reply_to(&request));
    state.record.request(request.clone());
    let answer = state.api.answer(&request, &reply);
    let score = score::compose(&request, &reply, answer, state.pace);
    play(score, request, state, link).await
}

/// None when there is too much of it. It is read to its end in any case, so that
/// a client which writes first and reads then gets to know.
async fn read(mut body: Incoming) -> hyper::Result<Option<Bytes>> {
    let mut bytes = BytesMut::new();
    let mut is_too_large = false;
    while let Some(frame) = body.frame().await.transpose()? {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        is_too_large |= bytes.len() + data.len() > MAX_BODY_BYTES;
        if !is_too_large {
            bytes.extend_from_slice(&data);
        }
    }
    Ok((!is_too_large).then(|| bytes.freeze()))
}

fn failure(status: StatusCode, error: &dyn std::error::Error) -> Response<Body> {
    let mut response = Response::new(full(error.to_string()));
    *response.status_mut() = status;
    response
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

async fn play(
    score: Score,
    request: Received,
    state: Arc<State>,
    link: Arc<Link>,
) -> Response<Body> {
    let mut performance = Performance {
        steps: score.steps,
        is_flushing: false,
        reported: Usage::default(),
        model: score.model,
        is_over: false,
        request,
        state,
        link,
    };
    if !score.head_after.is_zero() {
        sleep(score.head_after).await;
    }
    if let Some(gate) = score.head_gate {
        gate.pass().await;
    }
    let (status, headers) = match score.opening {
        Opening::Head { status, headers } => (status, headers),
        Opening::Leave(farewell) => return performance.leave(farewell).await,
    };
    if performance.request.method == Method::HEAD {
        performance.finish();
    }
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let frames = stream::unfold(performance, |mut performance| async {
        let bytes = performance.next_write().await?;
        Some((Ok(Frame::data(bytes)), performance))
    });
    // A script may name headers that HTTP does not have.
    response
        .body(StreamBody::new(frames.boxed()).boxed_unsync())
        .unwrap_or_else(|error| failure(StatusCode::NOT_IMPLEMENTED, &error))
}

/// A score that is being played.
struct Performance {
    steps: VecDeque<Step>,
    is_flushing: bool,
    reported: Usage,
    model: String,
    is_over: bool,
    request: Received,
    state: Arc<State>,
    link: Arc<Link>,
}

impl Performance {
    async fn next_write(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.is_flushing) {
            self.flush().await;
        }
        while let Some(step) = self.steps.pop_front() {
            match step {
                Step::Wait(duration) => sleep(duration).await,
                Step::Pass(gate) => gate.pass().await,
                Step::Write { bytes, reported } => {
                    self.report(reported);
                    self.is_flushing = true;
                    // hyper does not ask again when it knows the length.
                    if self.steps.is_empty() {
                        self.finish();
                    }
                    return Some(bytes);
                }
                Step::Leave(farewell) => self.leave(farewell).await,
            }
        }
        self.finish();
        None
    }

    /// So that a write is not merged with the next one, and nothing is lost
    /// when the connection is cut.
    async fn flush(&self) {
        if self.request.version == Version::HTTP_2 {
            // Written by another task, as soon as the client's window allows.
            tokio::task::yield_now().await;
        } else {
            // hyper writes and flushes after it was told to wait.
            self.link.flushed.notified().await;
        }
    }

    fn report(&mut self, reported: Usage) {
        if reported == self.reported {
            return;
        }
        self.state.record.report(
            &self.request.request_id,
            &self.model,
            self.reported,
            reported,
        );
        self.reported = reported;
    }

    async fn leave<T>(&mut self, farewell: Farewell) -> T {
        if farewell.manner != Manner::Silence || !farewell.last_words.is_empty() {
            self.finish();
            // Full: another request has asked for the same already.
            let _ = self.link.leave.try_send(farewell);
        }
        std::future::pending().await
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.state
                .record
                .count(|counts| counts.answers_finished += 1);
        }
    }
}

impl Drop for Performance {
    fn drop(&mut self) {
        if !self.is_over {
            self.state
                .record
                .count(|counts| counts.answers_abandoned += 1);
        }
    }
}
