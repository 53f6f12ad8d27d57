//! Upstream's body → client's body, as it comes.
//!
//! A piece is handed on as soon as it is there and asked for; the client's
//! slowness reaches the upstream through the two connections. The
//! [`tap`] looks at what passes.
//!
//! Of an event stream only whole [`events`] are handed on. So `ping` events can
//! fill its silence, and when the upstream breaks, or this process has to stop,
//! the client is told by a last event: never by a clean end that could be taken
//! for a short but complete answer. An open content block stays open, because a
//! block that is closed counts as complete: half a tool call would be run. Where
//! nothing of ours fits in, because the answer is compressed or no stream, the
//! client's connection breaks as the upstream's did.

pub mod abandoned;
pub mod decode;
pub mod events;
pub mod form;
pub mod hold;
pub mod silence;
pub mod sse;
pub mod tap;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Response, header, response};
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Error, Kind},
    refusal,
    request::{
        record::Record,
        waiting::{Sign, Waiting},
    },
    settings::Limits,
    signal::Signal,
    upstream::{Answer, Flow, plan::strip_hop_by_hop},
};
use abandoned::{Abandoned, read_on};
use decode::Decoder;
use events::Events;
use form::Form;
use silence::Silence;
use tap::Tap;

/// What the client is sent.
#[derive(Debug)]
pub enum ClientBody {
    /// An answer of our own.
    Whole(Option<Bytes>),
    Relay(Box<Relay>),
    /// A stream that was promised before anybody answered.
    Waiting(Box<Waiting>),
}

/// What relaying takes besides the answer.
#[derive(Debug)]
pub struct Terms {
    pub idle_timeout: Duration,
    /// Zero: no pings.
    pub ping_interval: Duration,
    /// Answers have a header that tells who was asked.
    pub tells_route: bool,
    pub abandoned: Abandoned,
    /// Set when the time to finish is over.
    pub stopping: CancellationToken,
}

/// The body of an upstream's answer, on its way to the client.
#[derive(Debug)]
pub struct Relay {
    flow: Flow,
    silence: Silence,
    /// Of an event stream that can be read: where it stands.
    events: Option<Events>,
    /// Between `ping` events; none where they may not stand.
    pings: Option<Pings>,
    /// The client was promised a stream that is not compressed.
    decoder: Option<Decoder>,
    tap: Tap,
    /// Comes after the last piece: the upstream has ended an answer that was not
    /// complete.
    broken: Option<Error>,
    /// The client has all that it needs: the upstream may end, but not take long.
    is_ending: bool,
    /// The client was told how it ends.
    is_over: bool,
    request_id: Box<str>,
    stopping: Signal,
    terms: Arc<Terms>,
}

/// Fills silence, so that nobody on the way takes it for the end.
#[derive(Debug)]
pub struct Pings {
    interval: Duration,
    silence: Silence,
}

/// What a stream lacks that breaks after it has said why it stops: nothing that a
/// client would have to ask for again.
const MESSAGE_STOP: &[u8] = b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

/// How long an upstream may take to end what it has said to the end.
pub const GRACE: Duration = Duration::from_secs(2);

/// What the API sends for it.
const PING: &[u8] = b"event: ping\ndata: {\"type\": \"ping\"}\n\n";

impl Terms {
    pub fn new(limits: &Limits, abandoned: Abandoned, stopping: CancellationToken) -> Self {
        Self {
            idle_timeout: limits.idle_timeout,
            ping_interval: limits.ping_interval,
            tells_route: limits.route_header,
            abandoned,
            stopping,
        }
    }
}

impl Relay {
    /// The client's answer to the upstream's: status, headers and body as they
    /// are.
    pub fn begin(
        answer: Answer,
        record: Record,
        stopping: Signal,
        terms: &Arc<Terms>,
    ) -> Response<ClientBody> {
        let Answer { mut head, flow } = answer;
        let is_chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
        if is_chunked || is_event_stream(&head) {
            // The encoding overrides the length, which would cut the body for the
            // client; and a stream may get events of ours.
            head.headers.remove(header::CONTENT_LENGTH);
        }
        strip_hop_by_hop(&mut head.headers);
        let relay = Self::new(&head, flow, record, stopping, terms);
        let mut response = Response::new(ClientBody::Relay(Box::new(relay)));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    /// The rest of a stream that was promised already, without any compression.
    pub fn promised(answer: Answer, record: Record, stopping: Signal, terms: &Arc<Terms>) -> Self {
        let Answer { mut head, flow } = answer;
        let decoder = Decoder::of(form::coding(&head.headers)).ok().flatten();
        head.headers.remove(header::CONTENT_ENCODING);
        let mut relay = Self::new(&head, flow, record, stopping, terms);
        relay.decoder = decoder;
        relay
    }

    fn new(
        head: &response::Parts,
        flow: Flow,
        record: Record,
        stopping: Signal,
        terms: &Arc<Terms>,
    ) -> Self {
        let is_plain = form::coding(&head.headers).is_empty();
        let is_readable = is_plain && is_event_stream(head);
        let mut relay = Self {
            request_id: record.request_id().into(),
            tap: Tap::new(head, record),
            events: is_readable.then(Events::default),
            pings: Pings::every(terms.ping_interval).filter(|_| is_readable),
            decoder: None,
            flow,
            silence: Silence::new(terms.idle_timeout),
            broken: None,
            is_ending: false,
            is_over: false,
            stopping,
            terms: terms.clone(),
        };
        relay.look_for_the_end();
        relay
    }

    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            if self.is_over {
                return Poll::Ready(None);
            }
            if let Some(error) = self.broken.take() {
                return Poll::Ready(Some(self.break_off(error)));
            }
            match self.flow.poll_piece(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.silence.broken();
                    match frame.into_data() {
                        Ok(data) => {
                            let data = self.pass(data);
                            if !data.is_empty() {
                                if let Some(pings) = &mut self.pings {
                                    pings.silence.broken();
                                }
                                return Poll::Ready(Some(Ok(Frame::data(data))));
                            }
                        }
                        Err(trailers) => {
                            let rest = self.look_for_the_end();
                            if !rest.is_empty() {
                                // A client that has all of it needs no trailers.
                                return Poll::Ready(Some(Ok(Frame::data(rest))));
                            }
                            if self.broken.is_none() {
                                return Poll::Ready(Some(Ok(trailers)));
                            }
                        }
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    if let Some(last) = self.give_up(error) {
                        return Poll::Ready(Some(Ok(Frame::data(last))));
                    }
                }
                Poll::Ready(None) => {
                    let rest = self.look_for_the_end();
                    if self.broken.is_none() {
                        let rest = (!rest.is_empty()).then(|| Ok(Frame::data(rest)));
                        return Poll::Ready(rest);
                    }
                }
                Poll::Pending => {
                    let Some(error) = self.poll_reason_to_stop(cx) else {
                        return self.poll_ping(cx);
                    };
                    if let Some(last) = self.give_up(error) {
                        return Poll::Ready(Some(Ok(Frame::data(last))));
                    }
                }
            }
        }
    }

    fn poll_reason_to_stop(&mut self, cx: &mut Context<'_>) -> Option<Error> {
        if self.stopping.poll(cx).is_ready() {
            Some(Kind::Stopping.into())
        } else if self.silence.poll_too_long(cx) {
            Some(Kind::IdleTimeout.into())
        } else {
            None
        }
    }

    /// Looks at data, and says what of it the client gets now.
    fn pass(&mut self, data: Bytes) -> Bytes {
        let data = match &mut self.decoder {
            Some(decoder) => match decoder.push(&data) {
                Ok(decoded) => decoded.into(),
                Err(cause) => {
                    let error = Error::because(Kind::UpstreamBroken, cause);
                    return self.give_up(error).unwrap_or_default();
                }
            },
            None => data,
        };
        self.tap.see(&data);
        if !self.is_ending && self.events.is_some() && self.tap.has_had_its_say() {
            self.is_ending = true;
            self.pings = None;
            self.silence = Silence::new(GRACE.min(self.terms.idle_timeout));
        }
        let data = match &mut self.events {
            Some(events) => events.push(data),
            None => data,
        };
        let data = self.repeatable(data);
        // The server does not ask again for what it knows to be the end.
        let rest = self.look_for_the_end();
        match (data.is_empty(), rest.is_empty()) {
            (_, true) => data,
            (true, false) => rest,
            (false, false) => [data, rest].concat().into(),
        }
    }

    /// Events as the client gets them: as they are, but that it is to repeat the
    /// request where somebody else can answer it.
    fn repeatable(&self, events: Bytes) -> Bytes {
        if self.events.is_none() || !self.tap.has_failed_replaceably() {
            return events;
        }
        let mut told = BytesMut::with_capacity(events.len());
        for event in events::each(&events) {
            let error = sse::error(event);
            match error.and_then(|it| refusal::repeated_event(&it, &self.request_id)) {
                Some(repeated) => told.extend_from_slice(&repeated),
                None => told.extend_from_slice(event),
            }
        }
        told.freeze()
    }

    fn poll_ping(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let is_between = self.events.as_ref().is_some_and(Events::is_between);
        match &mut self.pings {
            Some(pings) if is_between => pings.poll(cx).map(|ping| Some(Ok(Frame::data(ping)))),
            _ => Poll::Pending,
        }
    }

    /// Nothing more is to be had from the upstream. If all has been said, or an
    /// error, the client would only throw it away for an error behind it: what is
    /// left for it then.
    fn give_up(&mut self, error: Error) -> Option<Bytes> {
        if self.events.is_some() && self.tap.has_had_its_say() {
            self.is_over = true;
            let last = self.end();
            return (!last.is_empty()).then_some(last);
        }
        self.tap.broken(&error);
        self.broken = Some(error);
        None
    }

    /// The last thing the client gets of an answer that is not complete.
    fn break_off(&mut self, error: Error) -> Result<Frame<Bytes>, Error> {
        if !self.events.as_ref().is_some_and(Events::is_between) {
            return Err(error);
        }
        self.is_over = true;
        let event = refusal::last_event(&error, &self.request_id);
        Ok(Frame::data(event))
    }

    /// When the upstream has nothing more to say: was it all?
    fn look_for_the_end(&mut self) -> Bytes {
        if !self.flow.is_end() || self.tap.is_over() {
            return Bytes::new();
        }
        if self.tap.is_cut_short() {
            let error = Error::because(Kind::UpstreamBroken, "the stream has no end");
            return self.give_up(error).unwrap_or_default();
        }
        self.end()
    }

    /// The answer is complete; what the client still gets of it.
    fn end(&mut self) -> Bytes {
        let (is_stream, has_ended) = (self.tap.has_stopped(), self.tap.has_ended());
        self.tap.end();
        match &mut self.events {
            Some(events) if is_stream && !has_ended && events.is_between() => {
                Bytes::from_static(MESSAGE_STOP)
            }
            Some(events) => events.take_rest(),
            None => Bytes::new(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.events {
            // It may get events of ours.
            Some(_) => SizeHint::default(),
            None => self.flow.size_hint(),
        }
    }

    fn is_end(&self) -> bool {
        self.is_over || (self.flow.is_end() && self.broken.is_none())
    }
}

/// The client has left before the end.
impl Drop for Relay {
    fn drop(&mut self) {
        if self.tap.is_over() || self.flow.is_end() {
            return;
        }
        if self.tap.has_stopped() {
            // It has all that it needs.
            self.tap.end();
            return;
        }
        let flow = std::mem::replace(&mut self.flow, Flow::Whole(None));
        let (decoder, tap) = (self.decoder.take(), self.tap.take());
        self.terms.abandoned.go_on(read_on(flow, decoder, tap));
    }
}

pub fn is_event_stream(head: &response::Parts) -> bool {
    head.status.is_success() && Form::of(&head.headers) == Form::Stream
}

impl Pings {
    /// None when they are switched off.
    pub fn every(interval: Duration) -> Option<Self> {
        (!interval.is_zero()).then(|| Self {
            interval,
            silence: Silence::new(interval),
        })
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
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
            Self::Waiting(waiting) => match ready!(waiting.poll(cx)) {
                Sign::Silence(ping) => Poll::Ready(Some(Ok(Frame::data(ping)))),
                Sign::Answered(answered) => {
                    *self = answered.promised();
                    self.poll_frame(cx)
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Relay(relay) => relay.is_end(),
            Self::Waiting(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Relay(relay) => relay.size_hint(),
            Self::Waiting(_) => SizeHint::default(),
        }
    }
}
