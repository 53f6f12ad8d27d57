//! Upstream's body → client's body, as it comes.
//!
//! A piece is handed on as soon as it is there and asked for; the client's
//! slowness reaches the upstream through the two connections. The
//! [`tap`] looks at what passes.
//!
//! When the upstream breaks within its answer, so does the client's connection:
//! never a clean end that could be taken for a short but complete answer.

pub mod decode;
pub mod sse;
pub mod tap;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, header};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    error::{Error, Kind},
    request::record::Record,
    settings::Limits,
    upstream::{Answer, Flow, plan::strip_hop_by_hop},
};
use tap::Tap;

/// What the client is sent.
#[derive(Debug)]
pub enum ClientBody {
    /// An answer of our own.
    Whole(Option<Bytes>),
    Relay(Box<Relay>),
}

/// The body of an upstream's answer, on its way to the client.
#[derive(Debug)]
pub struct Relay {
    flow: Flow,
    silence: Silence,
    tap: Tap,
    /// Comes after the last piece: the upstream has ended an answer that was not
    /// complete.
    broken: Option<Error>,
}

/// Notices that nothing has come for too long.
#[derive(Debug)]
struct Silence {
    limit: Duration,
    /// When there was nothing for the first time after there was something.
    since: Option<Instant>,
    /// Not moved with every piece, which would cost more than the piece: when it
    /// fires early it is set anew.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Relay {
    /// The client's answer to the upstream's: status, headers and body as they
    /// are.
    pub fn begin(answer: Answer, record: Record, limits: &Limits) -> Response<ClientBody> {
        let Answer { mut head, flow } = answer;
        if head.headers.contains_key(header::TRANSFER_ENCODING) {
            // It overrides the length, which would cut the body for the client.
            head.headers.remove(header::CONTENT_LENGTH);
        }
        strip_hop_by_hop(&mut head.headers);
        let mut relay = Self {
            tap: Tap::new(&head, record),
            flow,
            silence: Silence::new(limits.idle_timeout),
            broken: None,
        };
        relay.look_for_the_end();
        let mut response = Response::new(ClientBody::Relay(Box::new(relay)));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match self.flow.poll_piece(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.silence.broken();
                if let Some(data) = frame.data_ref() {
                    self.tap.see(data);
                }
                // The server does not ask again for what it knows to be the end.
                self.look_for_the_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(cause))) => {
                let error = Error::because(Kind::UpstreamBroken, cause);
                self.tap.broken(&error);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                self.look_for_the_end();
                Poll::Ready(self.broken.take().map(Err))
            }
            Poll::Pending if self.silence.poll_too_long(cx) => {
                let error = Error::from(Kind::IdleTimeout);
                self.tap.broken(&error);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// When the upstream has nothing more to say: was it all?
    fn look_for_the_end(&mut self) {
        if !self.flow.is_end() {
            return;
        }
        if self.tap.is_cut_short() {
            let error = Error::because(Kind::UpstreamBroken, "the stream has no end");
            self.tap.broken(&error);
            self.broken = Some(error);
        } else {
            self.tap.end();
        }
    }

    fn is_end(&self) -> bool {
        self.flow.is_end() && self.broken.is_none()
    }
}

impl Silence {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: None,
            alarm: None,
        }
    }

    fn broken(&mut self) {
        self.since = None;
    }

    fn poll_too_long(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = *self.since.get_or_insert_with(Instant::now) + self.limit;
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        while alarm.as_mut().poll(cx).is_ready() {
            if deadline <= Instant::now() {
                return true;
            }
            alarm.as_mut().reset(deadline);
        }
        false
    }
}

impl ClientBody {
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes))
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut *self {
            Self::Whole(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Relay(relay) => relay.poll_piece(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Relay(relay) => relay.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Relay(relay) => relay.flow.size_hint(),
        }
    }
}
