//! One request from its head to its answer: the phases, in order. The only
//! function that knows all of them is [`handle`].

pub mod body;
pub mod inspect;
pub mod record;
pub mod waiting;

use std::{fmt, future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::Utc;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request};
use hyper::body::Incoming;
use proto::access_key::Hasher;
use tokio_util::sync::CancellationToken;

use crate::{
    authenticate::authenticate,
    budget::budgets::Budgets,
    endpoint::{Endpoint, Target},
    error::{Error, Kind},
    index::{AccessKey, IndexHandle},
    me, refusal,
    relay::{ClientBody, Terms},
    route::circuits::Circuits,
    settings::Limits,
    upstream::{Upstream, bedrock::Bedrock, plan::Plan, signature::Signatures},
};
use body::{Buffered, Buffers};
use inspect::Asked;
use record::{Journal, Record};
use waiting::{Sign, Waiting};

/// Everything a request may touch: memory and the upstream.
#[derive(Debug)]
pub struct Proxy {
    pub index: Arc<IndexHandle>,
    pub hasher: Hasher,
    pub plan: Plan,
    pub upstream: Upstream,
    pub bedrock: Bedrock,
    pub signatures: Arc<Signatures>,
    pub circuits: Arc<Circuits>,
    pub budgets: Arc<Budgets>,
    pub terms: Arc<Terms>,
    pub buffers: Buffers,
    pub limits: Limits,
    /// Nobody is answered from an older index; none: whatever its age.
    pub max_staleness: Option<Duration>,
    pub journal: Arc<Journal>,
    /// Set when the process was told to stop.
    pub draining: CancellationToken,
}

/// What a client asks, whole: it can be asked of one provider after another.
pub struct Inquiry {
    pub proxy: Arc<Proxy>,
    pub access_key: Arc<AccessKey>,
    pub endpoint: Endpoint,
    pub method: Method,
    /// As the upstream knows them.
    pub path_and_query: String,
    pub headers: HeaderMap,
    pub body: Buffered,
    pub asked: Asked,
}

/// Headers and body are nobody's to read in a log.
impl fmt::Debug for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inquiry")
            .field("access_key_id", &self.access_key.id)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Answers a request. Whatever happens, the record writes its line at the end.
pub async fn handle(proxy: Arc<Proxy>, request: Request<Incoming>) -> Response<ClientBody> {
    let (head, body) = request.into_parts();
    let uri = head.uri.clone();
    let target = uri
        .path_and_query()
        .map(|path_and_query| Target::of(&head.method, path_and_query));
    let endpoint = target.as_ref().map_or(Endpoint::Unknown, |it| it.endpoint);
    let mut record = Record::begin(&proxy.journal, endpoint, &head.headers);
    match (endpoint, target) {
        (Endpoint::Health, _) => answer(record, health(&proxy)),
        (Endpoint::Probe, _) => answer(record, Response::default()),
        (Endpoint::EventLogging, _) => {
            Box::pin(body::discard(body, &head.headers, &proxy.limits)).await;
            answer(record, empty_object())
        }
        (Endpoint::Me, Some(target)) => {
            Box::pin(body::discard(body, &head.headers, &proxy.limits)).await;
            match identify(&proxy, &target, &head.headers, &mut record) {
                Ok(access_key) => answer(record, me::answer(&proxy, &access_key, Utc::now())),
                Err(kind) => refuse(&kind.into(), record),
            }
        }
        (endpoint, Some(target)) if endpoint.is_relayed() => {
            match take(&proxy, &target, head, body, &mut record).await {
                Ok(inquiry) => ask(inquiry, record).await,
                Err(error) => refuse(&error, record),
            }
        }
        _ => {
            Box::pin(body::discard(body, &head.headers, &proxy.limits)).await;
            refuse(&Kind::NotFound.into(), record)
        }
    }
}

/// Receives what is to be asked, and on behalf of whom.
async fn take(
    proxy: &Arc<Proxy>,
    target: &Target<'_>,
    head: request::Parts,
    body: Incoming,
    record: &mut Record,
) -> Result<Inquiry, Error> {
    let access_key = match identify(proxy, target, &head.headers, record) {
        Ok(access_key) => access_key,
        Err(kind) => {
            Box::pin(body::discard(body, &head.headers, &proxy.limits)).await;
            return Err(kind.into());
        }
    };
    let stopping = &proxy.terms.stopping;
    let body = body::collect(body, &head.headers, &proxy.limits, &proxy.buffers, stopping).await?;
    let asked = match target.endpoint {
        Endpoint::Models => Asked::default(),
        _ => Asked::of(&head.headers, &body.bytes)?,
    };
    record.asks_for(asked.clone(), body.bytes.len());
    Ok(Inquiry {
        proxy: proxy.clone(),
        access_key,
        endpoint: target.endpoint,
        method: head.method,
        path_and_query: target.path_and_query.to_owned(),
        headers: head.headers,
        body,
        asked,
    })
}

/// Finds out whose request it is.
fn identify(
    proxy: &Proxy,
    target: &Target<'_>,
    headers: &HeaderMap,
    record: &mut Record,
) -> Result<Arc<AccessKey>, Kind> {
    if proxy.index.is_older_than(proxy.max_staleness) {
        return Err(Kind::Stale);
    }
    let now = Utc::now();
    let access_key = authenticate(&proxy.index, &proxy.hasher, target.key, headers, now)?;
    record.belongs_to(access_key.clone());
    Ok(access_key)
}

/// Has somebody answer, and gives the client a sign of life meanwhile.
async fn ask(inquiry: Inquiry, record: Record) -> Response<ClientBody> {
    let mut waiting = Waiting::new(inquiry, record);
    match poll_fn(|cx| waiting.poll(cx)).await {
        Sign::Answered(answered) => answered.response(),
        Sign::Silence(ping) => waiting.promise(ping),
    }
}

fn refuse(error: &Error, mut record: Record) -> Response<ClientBody> {
    record.failed(error);
    let response = refusal::answer(error, record.request_id());
    answer(record, response)
}

fn answer(record: Record, response: Response<Bytes>) -> Response<ClientBody> {
    record.answered(response.status());
    response.map(ClientBody::whole)
}

/// For the load balancer: whether this process takes requests.
fn health(proxy: &Proxy) -> Response<Bytes> {
    let (status, text) = if proxy.draining.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#)
    } else if proxy.index.is_ready() {
        (StatusCode::OK, r#"{"status":"ok"}"#)
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"starting"}"#)
    };
    let mut response = json(text);
    *response.status_mut() = status;
    response
}

fn empty_object() -> Response<Bytes> {
    json("{}")
}

fn json(text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
