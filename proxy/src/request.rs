//! One request from its head to its answer: the phases, in order. The only
//! function that knows all of them is [`handle`].

pub mod body;
pub mod inspect;
pub mod record;

use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request};
use http_body_util::Full;
use hyper::body::Incoming;
use proto::{access_key::Hasher, sync::Provider};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    authenticate::authenticate,
    endpoint::{Endpoint, Target},
    error::{Error, Kind},
    index::{AccessKey, IndexHandle},
    models, refusal,
    relay::{ClientBody, Relay, decode},
    route::{self, Owner},
    settings::Limits,
    upstream::{
        Answer, Flow, Upstream,
        bedrock::{Bedrock, Question},
        plan::Plan,
        signature::{Complaint, Session, Signatures},
    },
};
use body::{Buffered, Buffers};
use inspect::Asked;
use record::{Journal, Record};

/// An upstream's refusal that is looked into is not longer.
const REFUSAL_BYTES: usize = 1 << 20;

/// Everything a request may touch: memory and the upstream.
#[derive(Debug)]
pub struct Proxy {
    pub index: Arc<IndexHandle>,
    pub hasher: Hasher,
    pub plan: Plan,
    pub upstream: Upstream,
    pub bedrock: Bedrock,
    pub signatures: Arc<Signatures>,
    pub buffers: Buffers,
    pub limits: Limits,
    pub journal: Arc<Journal>,
    /// Set when the process was told to stop.
    pub draining: CancellationToken,
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
        (endpoint, Some(target)) if endpoint.is_relayed() => {
            match ask(&proxy, &target, head, body, &mut record).await {
                Ok(answer) => Relay::begin(answer, record, &proxy.limits),
                Err(error) => refuse(&error, record),
            }
        }
        _ => {
            Box::pin(body::discard(body, &head.headers, &proxy.limits)).await;
            refuse(&Kind::NotFound.into(), record)
        }
    }
}

/// Asks the upstream, on behalf of whoever the access key belongs to.
async fn ask(
    proxy: &Proxy,
    target: &Target<'_>,
    head: request::Parts,
    body: Incoming,
    record: &mut Record,
) -> Result<Answer, Error> {
    let now = Utc::now();
    let access_key = match authenticate(&proxy.index, &proxy.hasher, target.key, &head.headers, now)
    {
        Ok(access_key) => access_key,
        Err(kind) => {
            Box::pin(body::discard(body, &head.headers, &proxy.limits)).await;
            return Err(kind.into());
        }
    };
    record.belongs_to(access_key.clone());
    let body = body::collect(body, &head.headers, &proxy.limits, &proxy.buffers).await?;
    let asked = match target.endpoint {
        Endpoint::Models => Asked::default(),
        _ => Asked::of(&head.headers, &body.bytes)?,
    };
    record.asks_for(asked.clone());
    let user = proxy.index.load().user(&access_key.user_id);
    match route::provider(user) {
        Provider::Bedrock => {
            record.goes_to(Provider::Bedrock);
            let asking = ask_bedrock(
                proxy,
                target,
                &access_key,
                &head.headers,
                &body,
                &asked,
                record,
            );
            Box::pin(asking).await
        }
        _ => {
            record.goes_to(Provider::Plan);
            ask_plan(proxy, target, head, &body, record.session_id()).await
        }
    }
}

/// Asks the plan with the client's own bytes; only when it refuses thinking that
/// Bedrock has signed in this session, again without the signatures.
async fn ask_plan(
    proxy: &Proxy,
    target: &Target<'_>,
    head: request::Parts,
    body: &Buffered,
    session_id: &str,
) -> Result<Answer, Error> {
    let session = Session::new(session_id, Provider::Plan);
    let signatures = &proxy.signatures;
    let mut bytes = body.bytes.clone();
    if let Some(demoted) = signatures.without_known(session, &bytes) {
        bytes = demoted;
    }
    if !signatures.may_be_foreign_to_the_plan(session_id) {
        return send_to_plan(proxy, target, head, bytes).await;
    }
    let mut next = 0;
    loop {
        let mut answer = send_to_plan(proxy, target, head.clone(), bytes.clone()).await?;
        if answer.head.status != StatusCode::BAD_REQUEST {
            return Ok(answer);
        }
        let complaint = Box::pin(complaint(&mut answer, &proxy.limits)).await?;
        let demoted = complaint.and_then(|it| {
            let mut steps = it.demotions(&mut next);
            steps.find_map(|it| signatures.without(session, &bytes, it))
        });
        match demoted {
            Some(demoted) => bytes = demoted,
            None => return Ok(answer),
        }
    }
}

/// What the plan says about signatures, if it does; the answer stays whole.
async fn complaint(answer: &mut Answer, limits: &Limits) -> Result<Option<Complaint>, Error> {
    let reading = timeout(limits.idle_timeout, answer.flow.read(REFUSAL_BYTES)).await;
    let whole = reading.map_err(|elapsed| Error::because(Kind::IdleTimeout, elapsed))??;
    let whole = whole
        .ok_or_else(|| Error::because(Kind::UpstreamBroken, "a refusal of more than a megabyte"))?;
    let text = decode::whole(&answer.head.headers, &whole);
    answer.flow = Flow::Whole(Some(whole));
    let words = text.map(|text| String::from_utf8_lossy(&text).into_owned());
    Ok(words.ok().and_then(|words| Complaint::of(&words)))
}

async fn send_to_plan(
    proxy: &Proxy,
    target: &Target<'_>,
    head: request::Parts,
    body: Bytes,
) -> Result<Answer, Error> {
    let (request, owner) = proxy
        .plan
        .request(
            head.method,
            target.path_and_query,
            head.headers,
            Full::new(body),
        )
        .map_err(|cause| Error::because(Kind::NotFound, cause))?;
    let answer = proxy.upstream.send(request).await?;
    if answer.head.status.is_informational() {
        let cause = format!("status {} to a request for none", answer.head.status);
        return Err(Error::because(Kind::UpstreamBroken, cause));
    }
    if owner == Owner::Operator && is_refused_credential(answer.head.status) {
        tracing::error!(
            status = answer.head.status.as_u16(),
            "the Anthropic API does not accept PROXY_PLAN_API_KEY: replace it"
        );
        return Err(Kind::OperatorCredential.into());
    }
    Ok(answer)
}

async fn ask_bedrock(
    proxy: &Proxy,
    target: &Target<'_>,
    access_key: &AccessKey,
    headers: &HeaderMap,
    body: &Buffered,
    asked: &Asked,
    record: &Record,
) -> Result<Answer, Error> {
    let index = proxy.index.load_full();
    if target.endpoint == Endpoint::Models {
        let models = proxy.bedrock.models(&index);
        return models::answer(&models, target.path_and_query);
    }
    let question = Question {
        access_key,
        headers,
        body: &body.bytes,
        model: &asked.model,
        is_streaming: asked.is_streaming,
        session_id: record.session_id(),
        request_id: record.request_id(),
        is_count: target.endpoint == Endpoint::CountTokens,
    };
    let answer = proxy.bedrock.ask(&index, &question, record.metrics()).await;
    let mut answer = answer.inspect_err(|error| {
        if error.kind == Kind::BedrockCredential {
            tracing::error!(
                access_key_id = &*access_key.id,
                error = error.chain(),
                "Bedrock does not accept the credential of an access key: replace it"
            );
        }
    })?;
    if let Ok(id) = HeaderValue::from_str(record.request_id()) {
        answer.head.headers.entry("request-id").or_insert(id);
    }
    Ok(answer)
}

/// With the client's own credential these are the client's to see; with the
/// operator's they would tell a developer to log in again for nothing.
fn is_refused_credential(status: StatusCode) -> bool {
    status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN
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
