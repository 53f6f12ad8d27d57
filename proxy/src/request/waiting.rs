//! Waits for an answer without leaving the client in silence.
//!
//! Who wants a stream and has heard nothing for the interval of pings is promised
//! one: a head of our own and a `ping`. That is not an answer yet, so whoever
//! fails meanwhile can still be replaced. What would have been a refusal is an
//! `error` event then. Where the plan is all there is nothing is promised: its
//! answer is the client's as it comes, with its status and its headers.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::{Inquiry, record::Record};
use crate::{
    error::{Error, Kind},
    failover, refusal,
    relay::{ClientBody, Pings, Relay, Terms, abandoned::read_on, is_event_stream, tap::Tap},
    signal::Signal,
    upstream::{Answer, Flow},
};

/// A question that is being asked, and the client that waits.
pub struct Waiting {
    /// None: it was answered.
    asking: Option<Pin<Box<dyn Future<Output = Answered> + Send>>>,
    pings: Option<Pings>,
    /// The sign of life that the promise was made for.
    unsaid: Option<Bytes>,
    client: Arc<Client>,
    terms: Arc<Terms>,
    request_id: HeaderValue,
}

/// What a client has been told and may be told, and whether it is still there.
#[derive(Debug, Default)]
pub struct Client {
    may_be_promised: AtomicBool,
    is_promised: AtomicBool,
    has_left: AtomicBool,
}

/// What a client that waits can be told.
#[derive(Debug)]
pub enum Sign {
    Answered(Box<Answered>),
    /// Nobody has answered for the interval of pings; one of them.
    Silence(Bytes),
}

/// The end of asking.
#[derive(Debug)]
pub struct Answered {
    result: Result<Answer, Error>,
    record: Record,
    stopping: Signal,
    terms: Arc<Terms>,
}

impl Client {
    /// From now on a head of our own takes nothing from it.
    pub fn allow_promise(&self) {
        self.may_be_promised.store(true, Ordering::Relaxed);
    }

    /// Whether it has a head already, so that it can be told by events only.
    pub fn is_promised(&self) -> bool {
        self.is_promised.load(Ordering::Relaxed)
    }

    /// Whether it is worth asking somebody else.
    pub fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Relaxed)
    }
}

impl Waiting {
    pub fn new(inquiry: Inquiry, record: Record) -> Self {
        let terms = inquiry.proxy.terms.clone();
        let client = Arc::new(Client::default());
        let wants_stream = inquiry.endpoint.is_metered() && inquiry.asked.is_streaming;
        Self {
            pings: Pings::every(terms.ping_interval).filter(|_| wants_stream),
            unsaid: None,
            request_id: record.request_id_header(),
            asking: Some(Box::pin(ask(inquiry, record, client.clone()))),
            client,
            terms,
        }
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Sign> {
        if let Some(ping) = self.unsaid.take() {
            return Poll::Ready(Sign::Silence(ping));
        }
        if let Some(asking) = &mut self.asking
            && let Poll::Ready(answered) = asking.as_mut().poll(cx)
        {
            self.asking = None;
            return Poll::Ready(Sign::Answered(Box::new(answered)));
        }
        // Whoever is asked has been decided on by now, and wakes this task.
        match &mut self.pings {
            Some(pings) if self.client.may_be_promised.load(Ordering::Relaxed) => {
                pings.poll(cx).map(Sign::Silence)
            }
            _ => Poll::Pending,
        }
    }

    /// The head of a stream that somebody will answer, with this sign of life.
    pub fn promise(mut self, ping: Bytes) -> Response<ClientBody> {
        self.client.is_promised.store(true, Ordering::Relaxed);
        self.unsaid = Some(ping);
        let mut response = Response::new(());
        let headers = response.headers_mut();
        let event_stream = HeaderValue::from_static("text/event-stream; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, event_stream);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert("request-id", self.request_id.clone());
        response.map(|()| ClientBody::Waiting(Box::new(self)))
    }
}

/// The client has left before anybody answered.
impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(asking) = self.asking.take() else {
            return;
        };
        self.client.has_left.store(true, Ordering::Relaxed);
        self.terms.abandoned.go_on(async move {
            let Answered { result, record, .. } = asking.await;
            if let Ok(answer) = result {
                let tap = Tap::new(&answer.head, record);
                read_on(answer.flow, None, tap).await;
            }
        });
    }
}

async fn ask(mut inquiry: Inquiry, mut record: Record, client: Arc<Client>) -> Answered {
    let terms = inquiry.proxy.terms.clone();
    let mut stopping = Signal::of(&terms.stopping);
    let result = tokio::select! {
        biased;
        result = failover::answer(&mut inquiry, &mut record, &client) => result,
        () = stopping.comes() => Err(Kind::Stopping.into()),
    };
    let result = match result {
        Ok(answer) if client.is_promised() && !client.has_left() => {
            in_a_stream(answer, record.request_id(), terms.idle_timeout).await
        }
        result => result,
    };
    Answered {
        result,
        record,
        stopping,
        terms,
    }
}

/// An answer for a client that was promised a stream: a refusal becomes an event.
/// Its words have this long, because pings fill the time.
async fn in_a_stream(
    mut answer: Answer,
    request_id: &str,
    patience: Duration,
) -> Result<Answer, Error> {
    if is_event_stream(&answer.head) {
        return Ok(answer);
    }
    if answer.head.status.is_success() {
        let cause = "an answer that is no stream, to a question for one";
        return Err(Error::because(Kind::UpstreamBroken, cause));
    }
    let body = answer.refusal(patience).await;
    let event = refusal::upstream_event(&answer.head, &body, request_id);
    answer.head.status = StatusCode::OK;
    let headers = &mut answer.head.headers;
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    answer.flow = Flow::Whole(Some(event));
    Ok(answer)
}

impl Answered {
    /// The answer to a client that has been told nothing yet.
    pub fn response(mut self) -> Response<ClientBody> {
        let is_wanted = self.terms.tells_route;
        let route = is_wanted.then(|| self.record.route_header()).flatten();
        let mut response = match self.result {
            Ok(answer) => Relay::begin(answer, self.record, self.stopping, &self.terms),
            Err(error) => {
                self.record.failed(&error);
                let response = refusal::answer(&error, self.record.request_id());
                self.record.answered(response.status());
                response.map(ClientBody::whole)
            }
        };
        if let Some(route) = route {
            response.headers_mut().insert("x-proxy-route", route);
        }
        response
    }

    /// What a client gets that was promised a stream.
    pub fn promised(mut self) -> ClientBody {
        match self.result {
            Ok(answer) => {
                let relay = Relay::promised(answer, self.record, self.stopping, &self.terms);
                ClientBody::Relay(Box::new(relay))
            }
            Err(error) => {
                self.record.failed(&error);
                let event = refusal::event(&error, self.record.request_id());
                self.record.answered(StatusCode::OK);
                ClientBody::whole(event)
            }
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
