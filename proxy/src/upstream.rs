//! The way to an upstream: connections that are kept, one exchange on one of
//! them, and the answer's flow.
//!
//! HTTP/1.1 is driven by whoever waits for the answer, in one task (see
//! [`http1`]); HTTP/2 connections are shared and have a task of their own.

pub mod bedrock;
pub mod connect;
pub mod heard;
pub mod http1;
pub mod http2;
pub mod members;
pub mod piece;
pub mod plan;
pub mod signature;

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Version, header, response};
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use tokio::time::timeout;

use crate::{
    error::{Error, Kind},
    relay::decode,
    settings::Limits,
    tasks::Tasks,
};
use connect::{Connected, Connector};

/// A request's body, whole: it may have to be sent twice.
pub type RequestBody = Full<Bytes>;

/// One origin and the connections to it.
#[derive(Debug)]
pub struct Upstream {
    connector: Connector,
    http1: Arc<http1::Pool>,
    http2: http2::Pool,
    limits: Limits,
}

/// The head of an answer, and where the rest comes from.
#[derive(Debug)]
pub struct Answer {
    pub head: response::Parts,
    pub flow: Flow,
}

/// A refusal that is told in other words is not longer.
const REFUSAL_BYTES: usize = 64 << 10;

impl Answer {
    /// What a refusal says, taken out of it; nothing when it does not come in time.
    pub async fn refusal(&mut self, patience: Duration) -> Bytes {
        let body = timeout(patience, self.flow.read(REFUSAL_BYTES)).await;
        let body = body.ok().and_then(Result::ok).flatten().unwrap_or_default();
        let headers = &mut self.head.headers;
        let plain = decode::whole(headers, &body).unwrap_or_default();
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
        plain
    }
}

/// The body of an answer.
#[derive(Debug)]
pub enum Flow {
    Http1(Box<http1::Flow>),
    Http2(Box<http2::Flow>),
    /// Made here of what AWS's client receives.
    Bedrock(bedrock::stream::Flow),
    /// There at once.
    Whole(Option<Bytes>),
    /// Looked at already, and the rest.
    Resumed(Option<Bytes>, Box<Flow>),
}

/// Why an exchange ended without an answer.
#[derive(Debug)]
enum Failure {
    /// The connection died before any byte of an answer: another may do better.
    Died(Error),
    Final(Error),
}

impl Upstream {
    pub fn new(connector: Connector, limits: Limits, tasks: &Tasks) -> Self {
        let upstream = Self {
            connector,
            http1: Arc::default(),
            http2: http2::Pool::new(tasks.clone()),
            limits,
        };
        http1::Pool::keep_clean(&upstream.http1, tasks);
        upstream
    }

    /// Sends a request whose URI is absolute, and waits for the head of the
    /// answer. A connection that dies before that is replaced once by a fresh one.
    ///
    /// # Errors
    ///
    /// No connection, no answer in time, or an answer that is not HTTP.
    pub async fn send(&self, request: Request<RequestBody>) -> Result<Answer, Error> {
        let again = request.clone();
        match self.exchange(request, self.kept()).await {
            Ok(answer) => Ok(answer),
            Err(Failure::Final(error)) => Err(error),
            Err(Failure::Died(error)) => {
                tracing::debug!(error = error.chain(), "connection died, trying a fresh one");
                // Boxed like every rare step, so that the usual one stays small: its
                // memory is held by every connection and moved with every request.
                match Box::pin(self.exchange(again, None)).await {
                    Ok(answer) => Ok(answer),
                    Err(Failure::Died(error) | Failure::Final(error)) => Err(error),
                }
            }
        }
    }

    fn kept(&self) -> Option<Connected> {
        let http2 = self.http2.take().map(Connected::Http2);
        http2.or_else(|| self.http1.take().map(Connected::Http1))
    }

    async fn exchange(
        &self,
        request: Request<RequestBody>,
        kept: Option<Connected>,
    ) -> Result<Answer, Failure> {
        let connected = match kept {
            Some(connected) => connected,
            None => Box::pin(self.connect()).await.map_err(Failure::Final)?,
        };
        let answer = async {
            match connected {
                Connected::Http1(connection) => {
                    let request = http1::in_origin_form(request);
                    let exchange = connection.exchange(request, &self.http1).await;
                    let (head, flow) = exchange.map_err(|it| failure(it.cause, it.has_begun))?;
                    let flow = Flow::Http1(Box::new(flow));
                    Ok(Answer { head, flow })
                }
                Connected::Http2(lease) => {
                    let mut request = request;
                    *request.version_mut() = Version::HTTP_2;
                    // HTTP/2 names the host in `:authority`.
                    request.headers_mut().remove(header::HOST);
                    let exchange = lease.exchange(request).await;
                    let (head, flow) = exchange.map_err(|it| failure(it, false))?;
                    let flow = Flow::Http2(Box::new(flow));
                    Ok(Answer { head, flow })
                }
            }
        };
        match timeout(self.limits.first_byte_timeout, answer).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(Failure::Final(Error::because(
                Kind::FirstByteTimeout,
                elapsed,
            ))),
        }
    }

    async fn connect(&self) -> Result<Connected, Error> {
        match timeout(
            self.limits.connect_timeout,
            self.connector.connect(&self.http2),
        )
        .await
        {
            Ok(connected) => connected.map_err(|cause| Error::because(Kind::Connect, cause)),
            Err(elapsed) => Err(Error::because(Kind::Connect, elapsed)),
        }
    }
}

fn failure(cause: hyper::Error, has_begun: bool) -> Failure {
    let died = !has_begun && died_unanswered(&cause);
    let error = Error::because(Kind::UpstreamBroken, cause);
    if died {
        Failure::Died(error)
    } else {
        Failure::Final(error)
    }
}

/// Whether a connection ended before the head of an answer, or the upstream has
/// said that it did not look at the request. What does not parse is an answer.
fn died_unanswered(error: &hyper::Error) -> bool {
    if error.is_canceled() || error.is_closed() || error.is_incomplete_message() {
        return true;
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            let goes_away = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            return refused || goes_away || error.is_io();
        }
        if cause.is::<std::io::Error>() {
            return true;
        }
        source = cause.source();
    }
    false
}

impl Flow {
    /// The next piece: everything that is there now, never waiting for more.
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let piece = match self {
            Self::Http1(flow) => ready!(flow.poll_piece(cx)),
            Self::Http2(flow) => ready!(flow.poll_piece(cx)),
            Self::Bedrock(flow) => return flow.poll_piece(cx),
            Self::Whole(body) => return Poll::Ready(body.take().map(|it| Ok(Frame::data(it)))),
            Self::Resumed(first, rest) => {
                return match first.take() {
                    Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
                    None => rest.poll_piece(cx),
                };
            }
        };
        let broken = |cause| Error::because(Kind::UpstreamBroken, cause);
        Poll::Ready(piece.map(|it| it.map_err(broken)))
    }

    pub fn is_end(&self) -> bool {
        match self {
            Self::Http1(flow) => flow.is_end(),
            Self::Http2(flow) => flow.is_end(),
            Self::Bedrock(flow) => flow.is_end(),
            Self::Whole(body) => body.is_none(),
            Self::Resumed(first, rest) => first.is_none() && rest.is_end(),
        }
    }

    /// The same flow, as it was before `first` was taken from it.
    #[must_use]
    pub fn resumed(self, first: Bytes) -> Self {
        Self::Resumed(Some(first), Box::new(self))
    }

    /// The rest, all of it; none when it is longer than `at_most` bytes.
    ///
    /// # Errors
    ///
    /// It breaks off.
    pub async fn read(&mut self, at_most: usize) -> Result<Option<Bytes>, Error> {
        let mut whole = Vec::new();
        while !self.is_end() {
            let Some(frame) = poll_fn(|cx| self.poll_piece(cx)).await else {
                break;
            };
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            whole.extend_from_slice(&data);
            if whole.len() > at_most {
                return Ok(None);
            }
        }
        Ok(Some(whole.into()))
    }

    pub fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(flow) => flow.size_hint(),
            Self::Http2(flow) => flow.size_hint(),
            Self::Bedrock(_) => SizeHint::default(),
            Self::Whole(body) => {
                SizeHint::with_exact(body.as_ref().map_or(0, |it| it.len() as u64))
            }
            Self::Resumed(first, rest) => {
                let first = first.as_ref().map_or(0, |it| it.len() as u64);
                match rest.size_hint().exact() {
                    Some(rest) => SizeHint::with_exact(first + rest),
                    None => SizeHint::default(),
                }
            }
        }
    }
}
