//! Upstream's body → client's body, as it comes.
//!
//! A piece is handed on as soon as it is there and asked for; the client's
//! slowness reaches the upstream through the two connections. The
//! [`tap`] looks at what passes.
//!
//! When the upstream breaks within its answer, so does the client's connection:
//! never a clean end that could be taken for a short but complete answer. Where
//! pieces are whole events, the client is told by a last one instead, and `ping`
//! events fill the silence.

pub mod decode;
pub mod silence;
pub mod sse;
pub mod tap;

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, header};
use http_body::{Body, Frame, SizeHint};

use crate::{
    error::{Error, Kind},
    refusal,
    request::record::Record,
    settings::Limits,
    upstream::{Answer, Flow, plan::strip_hop_by_hop},
};
use silence::Silence;
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
    /// Between `ping` events; none where they may not stand.
    pings: Option<Pings>,
    tap: Tap,
    /// Comes after the last piece: the upstream has ended an answer that was not
    /// complete.
    broken: Option<Error>,
    /// The client was told that it is broken.
    is_over: bool,
    request_id: Box<str>,
}

/// Fills silence, so that nobody on the way takes it for the end.
#[derive(Debug)]
struct Pings {
    interval: Duration,
    silence: Silence,
}

/// What the API sends for it.
const PING: &[u8] = b"event: ping\ndata: {\"type\": \"ping\"}\n\n";

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
            request_id: record.request_id().into(),
            tap: Tap::new(&head, record),
            pings: Pings::between(&flow, limits.ping_interval),
            flow,
            silence: Silence::new(limits.idle_timeout),
            broken: None,
            is_over: false,
        };
        relay.look_for_the_end();
        let mut response = Response::new(ClientBody::Relay(Box::new(relay)));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(self.break_off(error)));
        }
        match self.flow.poll_piece(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.silence.broken();
                if let Some(pings) = &mut self.pings {
                    pings.silence.broken();
                }
                if let Some(data) = frame.data_ref() {
                    self.tap.see(data);
                }
                // The server does not ask again for what it knows to be the end.
                self.look_for_the_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_late))) if self.has_all_been_said() => {
                self.tap.end();
                self.is_over = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.tap.broken(&error);
                Poll::Ready(Some(self.break_off(error)))
            }
            Poll::Ready(None) => {
                self.look_for_the_end();
                let error = self.broken.take();
                Poll::Ready(error.map(|error| self.break_off(error)))
            }
            Poll::Pending if self.silence.poll_too_long(cx) => {
                let error = Error::from(Kind::IdleTimeout);
                self.tap.broken(&error);
                Poll::Ready(Some(self.break_off(error)))
            }
            Poll::Pending => match &mut self.pings {
                Some(pings) => pings.poll(cx).map(|ping| Some(Ok(Frame::data(ping)))),
                None => Poll::Pending,
            },
        }
    }

    /// Whether the answer is complete although its end is not a clean one: a
    /// client would throw it away for an error behind it.
    fn has_all_been_said(&self) -> bool {
        self.flow.is_of_whole_events() && self.tap.has_stopped()
    }

    /// The last thing the client gets of an answer that is not complete.
    fn break_off(&mut self, error: Error) -> Result<Frame<Bytes>, Error> {
        if !self.flow.is_of_whole_events() {
            return Err(error);
        }
        self.is_over = true;
        Ok(Frame::data(refusal::event(&error, &self.request_id)))
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
        self.is_over || (self.flow.is_end() && self.broken.is_none())
    }
}

impl Pings {
    fn between(flow: &Flow, interval: Duration) -> Option<Self> {
        let are_wanted = flow.is_of_whole_events() && !interval.is_zero();
        are_wanted.then(|| Self {
            interval,
            silence: Silence::new(interval),
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        if !self.silence.poll_too_long(cx) {
            return Poll::Pending;
        }
        self.silence = Silence::new(self.interval);
        Poll::Ready(Bytes::from_static(PING))
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
