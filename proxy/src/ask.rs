//! Asks one provider.

use bytes::Bytes;
use chrono::Utc;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::Full;
use proto::sync::Provider;
use tokio::time::timeout;

use crate::{
    budget::{
        self, Refusal,
        budgets::{Call, Hold},
    },
    endpoint::Endpoint,
    error::{Error, Kind},
    index::Index,
    models,
    relay::decode,
    request::{Inquiry, record::Record},
    route::Owner,
    settings::Limits,
    upstream::{
        Answer, Flow,
        bedrock::{Prepared, Question},
        signature::{Complaint, Session},
    },
};

/// An upstream's refusal that is looked into is not longer.
const REFUSAL_BYTES: usize = 1 << 20;

/// Asks the plan with the client's own bytes and these headers of the client's;
/// only when it refuses thinking that Bedrock has signed in this session, again
/// without the signatures.
///
/// # Errors
///
/// It could not be reached, gave no answer that is HTTP, or does not accept the
/// company's key.
pub async fn plan(
    headers: HeaderMap,
    inquiry: &Inquiry,
    record: &mut Record,
) -> Result<Answer, Error> {
    record.asks_at(inquiry.proxy.plan.origin());
    let session = Session::new(record.session_id(), Provider::Plan);
    let signatures = &inquiry.proxy.signatures;
    let mut bytes = inquiry.body.bytes.clone();
    if let Some(demoted) = signatures.without_known(session, &bytes) {
        bytes = demoted;
    }
    if !signatures.may_be_foreign_to_the_plan(record.session_id()) {
        return send(headers, bytes, inquiry).await;
    }
    let mut next = 0;
    loop {
        let mut answer = send(headers.clone(), bytes.clone(), inquiry).await?;
        if answer.head.status != StatusCode::BAD_REQUEST {
            return Ok(answer);
        }
        let complaint = Box::pin(complaint(&mut answer, &inquiry.proxy.limits)).await?;
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

async fn send(headers: HeaderMap, body: Bytes, inquiry: &Inquiry) -> Result<Answer, Error> {
    let (request, owner) = inquiry
        .proxy
        .plan
        .request(
            inquiry.method.clone(),
            &inquiry.path_and_query,
            headers,
            Full::new(body),
        )
        .map_err(|cause| Error::because(Kind::NotFound, cause))?;
    let mut answer = inquiry.proxy.upstream.send(request).await?;
    if answer.head.status.is_informational() {
        let cause = format!("status {} to a request for none", answer.head.status);
        return Err(Error::because(Kind::UpstreamBroken, cause));
    }
    if owner == Owner::Operator {
        answer.head.extensions.insert(owner);
    }
    accepted(answer)
}

/// The plan's answer, unless it refuses the company's key.
///
/// # Errors
///
/// It does.
pub fn accepted(answer: Answer) -> Result<Answer, Error> {
    let is_ours = answer.head.extensions.get() == Some(&Owner::Operator);
    if is_ours && is_refused_credential(answer.head.status) {
        tracing::error!(
            status = answer.head.status.as_u16(),
            "the Anthropic API does not accept PROXY_PLAN_API_KEY: replace it"
        );
        return Err(Kind::OperatorCredential.into());
    }
    Ok(answer)
}

/// With the client's own credential these are the client's to see; with the
/// operator's they would tell a developer to log in again for nothing.
fn is_refused_credential(status: StatusCode) -> bool {
    status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN
}

/// Asks Bedrock, and gives its answer as the Anthropic API would.
///
/// # Errors
///
/// Whatever is no answer of a model: an unknown one, no credential, or what
/// Bedrock itself said.
pub async fn bedrock(inquiry: &Inquiry, record: &mut Record) -> Result<Answer, Error> {
    let bedrock = &inquiry.proxy.bedrock;
    let index = inquiry.proxy.index.load_full();
    if inquiry.endpoint == Endpoint::Models {
        return models::answer(&bedrock.models(&index), &inquiry.path_and_query);
    }
    let (session_id, request_id) = (
        record.session_id().to_owned(),
        record.request_id().to_owned(),
    );
    let question = Question {
        access_key: &inquiry.access_key,
        headers: &inquiry.headers,
        body: &inquiry.body.bytes,
        model: &inquiry.asked.model,
        is_streaming: inquiry.asked.is_streaming,
        session_id: &session_id,
        request_id: &request_id,
        is_count: inquiry.endpoint == Endpoint::CountTokens,
    };
    let prepared = bedrock.prepare(&index, &question).await;
    let prepared = prepared.map_err(|error| match error.kind {
        Kind::NoBedrockKey if question.is_count => uncounted(error),
        _ => error,
    })?;
    record.calls(prepared.model(), prepared.region());
    record.asks_at(prepared.origin());
    if inquiry.endpoint == Endpoint::Messages {
        let held = hold(inquiry, &index, &prepared).map_err(refused)?;
        record.holds(held);
    }
    let answer = bedrock.ask(&index, prepared, record.metrics()).await;
    let mut answer = answer.inspect_err(|error| {
        if error.kind == Kind::BedrockCredential {
            tracing::error!(
                access_key_id = &*inquiry.access_key.id,
                error = error.chain(),
                "Bedrock does not accept the credential of an access key: replace it"
            );
        }
    })?;
    if let Ok(id) = HeaderValue::from_str(record.request_id()) {
        answer.head.headers.entry("request-id").or_insert(id);
    }
    let user_id = &inquiry.access_key.user_id;
    let status = inquiry.proxy.budgets.status(&index, user_id, Utc::now());
    if let Some(status) = status {
        budget::warning::tell(&status, &mut answer.head.headers);
    }
    Ok(answer)
}

/// Nobody can count, as for a model that Bedrock does not count for. The client
/// does without the number then.
fn uncounted(cause: Error) -> Error {
    let words = "Nobody can count tokens for this access key: its requests go to Amazon Bedrock, and no credential for it is registered.";
    Error::because(Kind::CannotCount, cause).in_the_words(words)
}

/// Takes a place in the user's budget.
fn hold(
    inquiry: &Inquiry,
    index: &Index,
    prepared: &Prepared<'_>,
) -> Result<Option<Hold>, Refusal> {
    let call = Call {
        user_id: &inquiry.access_key.user_id,
        model: &inquiry.asked.model,
        bedrock_model: prepared.model(),
        bedrock_region: prepared.region(),
        body_bytes: inquiry.body.bytes.len(),
        max_tokens: prepared.max_tokens(),
    };
    inquiry.proxy.budgets.hold(index, &call, Utc::now())
}

/// Why a budget lets nobody through, in the client's terms.
///
/// Source: the wording of Anthropic's own gateway, which Claude Code shows as it
/// is.
fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Exhausted { until } => {
            let words = format!(
                "Your budget for Amazon Bedrock is used up: spend limit reached (monthly; resets {}). Please ask your administrator if you need more.",
                until.format("%Y-%m-%d %H:%M UTC")
            );
            let seconds = (until - Utc::now()).num_seconds();
            let mut error = Error::from(Kind::BudgetExhausted).in_the_words(&words);
            error.retry_after = u32::try_from(seconds.max(1)).ok();
            error
        }
        Refusal::Reserved => Kind::BudgetReserved.into(),
        Refusal::Unpriced => Kind::UnpricedModel.into(),
    }
}
