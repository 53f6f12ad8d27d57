//! Asks one provider after the other, until one of them answers.
//!
//! [`route`] decides who and in which order, [`fallback`] what a failure means,
//! [`hold`] when an answer is one. Here it is only done: ask, hold, tell the
//! circuit, go on.

use std::{borrow::Cow, pin::pin, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{self, Either};
use http::{HeaderValue, StatusCode};
use proto::sync::{Provider, RoutingStrategy};

use crate::{
    ask,
    endpoint::Endpoint,
    error::{Error, Kind},
    refusal,
    relay::hold::{Patience, Wanted, hold},
    request::{
        Inquiry,
        record::{Attempt, Heard, Record},
        waiting::Client,
    },
    route::{
        self,
        circuit::{Admission, Failure},
        circuits::Permit,
        fallback::{self, Told, Verdict},
    },
    telemetry::metrics::SERVER_ERROR,
    upstream::{Answer, Flow, bedrock::fault},
};

/// Why somebody was not asked first, or not alone.
const CIRCUIT_OPEN: &str = "circuit_open";
const USAGE_LIMIT: &str = "usage_limit";
const RATE_LIMIT: &str = "rate_limit";
const TIMEOUT: &str = "timeout";

/// Every reason for a fallback that there is.
pub fn reasons() -> impl Iterator<Item = &'static str> {
    let kinds = Kind::ALL.into_iter();
    let kinds = kinds.filter(|it| fallback::of_kind(*it).moves_on);
    [CIRCUIT_OPEN, USAGE_LIMIT, RATE_LIMIT, SERVER_ERROR, TIMEOUT]
        .into_iter()
        .chain(kinds.map(Kind::label))
}

/// How long the words of a refusal are waited for.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// A client that is told of a limit which lasts longer need not try again.
const SOON: TimeDelta = TimeDelta::seconds(60);

/// A provider that did not answer, in its own words.
struct Failed {
    provider: Provider,
    result: Result<Answer, Error>,
    verdict: Verdict,
    attempt: Attempt,
}

/// The answer that the client gets.
///
/// # Errors
///
/// Nobody has answered, and no upstream's own answer is of use.
pub async fn answer(
    inquiry: &mut Inquiry,
    record: &mut Record,
    client: &Client,
) -> Result<Answer, Error> {
    let access_key = &inquiry.access_key;
    let (strategy, has_bedrock) = {
        let index = inquiry.proxy.index.load();
        let has_bedrock = index.bedrock_key(&access_key.id).is_some();
        (
            route::strategy(index.user(&access_key.user_id)),
            has_bedrock,
        )
    };
    let has_bedrock = has_bedrock || inquiry.proxy.bedrock.uses_role();
    let permit = permit(inquiry, strategy, has_bedrock);
    let admission = match &permit {
        Some(permit) => permit.admission,
        None if inquiry.proxy.circuits.is_open(access_key, Utc::now()) => Admission::Blocked,
        None => Admission::Pass,
    };
    record.prefers(route::preferred(strategy));
    match route::candidates(strategy, has_bedrock, admission) {
        // There is nobody else: its answer is the truth, as it comes.
        [Provider::Plan] => {
            record.asks(Provider::Plan);
            let headers = std::mem::take(&mut inquiry.headers);
            let result = ask::plan(headers, inquiry, record).await;
            record.hears(heard(&result), || said(&result));
            if inquiry.proxy.terms.tells_route {
                record.notes(Provider::Plan, &said(&result));
            }
            result
        }
        candidates => {
            client.allow_promise();
            if let [Provider::Bedrock, Provider::Plan] = candidates {
                record.notes(Provider::Plan, CIRCUIT_OPEN);
                record.metrics().fallback(CIRCUIT_OPEN);
            }
            Box::pin(first_of(candidates, permit, inquiry, record, client)).await
        }
    }
}

/// Only what costs tokens counts for the circuit, and only when there is
/// somebody else to ask.
fn permit(inquiry: &Inquiry, strategy: RoutingStrategy, has_bedrock: bool) -> Option<Permit> {
    let has_choice = has_bedrock && strategy != RoutingStrategy::BedrockOnly;
    (has_choice && inquiry.endpoint.is_metered()).then(|| {
        let circuits = &inquiry.proxy.circuits;
        circuits.admit(&inquiry.access_key, Utc::now())
    })
}

/// Asks the candidates, two at most, in their order.
async fn first_of(
    candidates: &[Provider],
    mut permit: Option<Permit>,
    inquiry: &Inquiry,
    record: &mut Record,
    client: &Client,
) -> Result<Answer, Error> {
    let mut failed: Option<Failed> = None;
    for provider in candidates {
        let permit = permit.take_if(|_| *provider == Provider::Plan);
        let attempt = attempt(*provider, permit, inquiry, record);
        let attempted = match &mut failed {
            Some(before) => {
                inquiry.proxy.journal.metrics.fallback(before.reason());
                // Its connection is free again meanwhile, and its words are known.
                beside(before.read(), attempt).await
            }
            None => attempt.await,
        };
        let last = match attempted {
            Ok(answer) => return Ok(answer),
            Err(last) => last,
        };
        if !last.verdict.moves_on || client.has_left() {
            return last.end(record);
        }
        failed = Some(match failed.take() {
            Some(before) => both_failed(before, last, record).await,
            None => last,
        });
    }
    // There is always a candidate.
    failed.map_or_else(|| Err(Kind::NotFound.into()), |it| it.end(record))
}

/// Lets something go on while `work` is done, and waits for it only when that
/// fails.
async fn beside<T, E>(
    something: impl Future<Output = ()>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match future::select(pin!(work), pin!(something)).await {
        Either::Left((Ok(done), _)) => Ok(done),
        Either::Left((failed, something)) => {
            something.await;
            failed
        }
        Either::Right(((), work)) => work.await,
    }
}

/// Asks one provider, and tells the circuit what came of it.
async fn attempt(
    provider: Provider,
    permit: Option<Permit>,
    inquiry: &Inquiry,
    record: &mut Record,
) -> Result<Answer, Failed> {
    record.asks(provider);
    let result = held(provider, inquiry, record).await;
    record.hears(heard(&result), || said(&result));
    if record.has_notes() || !is_answer(&result) || inquiry.proxy.terms.tells_route {
        record.notes(provider, &said(&result));
    }
    let result = match result {
        Ok(answer) if answer.head.status.is_success() => {
            if let Some(mut permit) = permit {
                permit.succeeded();
                record.watches(permit);
            }
            return Ok(answer);
        }
        refused => refused,
    };
    let now = Utc::now();
    let verdict = verdict(provider, &result, now);
    if let (Some(permit), Some(failure)) = (permit, verdict.counts) {
        permit.failed(failure, now);
    }
    Err(Failed {
        provider,
        result,
        verdict,
        attempt: record.put_aside(),
    })
}

/// A provider's answer from its first content on, or why there is none.
async fn held(provider: Provider, inquiry: &Inquiry, record: &mut Record) -> Result<Answer, Error> {
    let answer = match provider {
        Provider::Bedrock => Box::pin(ask::bedrock(inquiry, record)).await?,
        Provider::Plan | Provider::Unspecified => {
            ask::plan(inquiry.headers.clone(), inquiry, record).await?
        }
    };
    let status = answer.head.status;
    if !(status.is_success() || status.is_client_error() || status.is_server_error()) {
        let cause = format!("status {status} answers nothing");
        return Err(Error::because(Kind::UpstreamBroken, cause));
    }
    let wanted = match inquiry.endpoint {
        Endpoint::Messages if inquiry.asked.is_streaming => Wanted::Stream,
        Endpoint::Messages => Wanted::Message,
        Endpoint::CountTokens => Wanted::Count,
        Endpoint::Models => Wanted::Models,
        _ => return Ok(answer),
    };
    let limits = &inquiry.proxy.limits;
    let patience = Patience {
        content: limits.first_byte_timeout,
        silence: limits.idle_timeout,
    };
    let answer = hold(answer, wanted, patience, record.reading()).await?;
    // It may have said so within a success.
    let mut answer = ask::accepted(answer)?;
    if provider == Provider::Bedrock && !answer.head.status.is_success() {
        // Its other refusals are errors by now.
        let body = answer.refusal(REFUSAL_PATIENCE).await;
        return Err(fault::of_answer(&answer.head, &body));
    }
    Ok(answer)
}

/// What follows from a refusal or a failure.
fn verdict(provider: Provider, result: &Result<Answer, Error>, now: DateTime<Utc>) -> Verdict {
    match result {
        Ok(answer) => fallback::of_status(answer.head.status, &answer.head.headers, now),
        Err(error) if provider == Provider::Bedrock => fallback::of_bedrock(error.kind),
        Err(error) => fallback::of_kind(error.kind),
    }
}

/// Which of two failures the client gets, in our name.
async fn both_failed(first: Failed, second: Failed, record: &mut Record) -> Failed {
    let (plan, bedrock) = match first.provider {
        Provider::Plan => (first, second),
        _ => (second, first),
    };
    let told = match &bedrock.result {
        Err(error) => fallback::more_useful(plan.verdict, error, Utc::now() + SOON),
        // It is never an answer by now.
        Ok(_) => Told::Plan,
    };
    let mut told = match told {
        Told::Plan => plan,
        Told::Bedrock => bedrock,
    };
    told.read().await;
    if let Ok(answer) = &mut told.result {
        refusal::in_our_name(answer, record.request_id());
        if told.verdict.lasts_beyond(Utc::now() + SOON) {
            let never = HeaderValue::from_static("false");
            answer.head.headers.insert("x-should-retry", never);
        }
    }
    told
}

fn is_answer(result: &Result<Answer, Error>) -> bool {
    result.as_ref().is_ok_and(|it| it.head.status.is_success())
}

/// Whether it has failed, by the metric's label.
fn heard(result: &Result<Answer, Error>) -> Heard {
    match result {
        Ok(answer) if answer.head.status.is_server_error() => Heard::Failure(SERVER_ERROR),
        Ok(answer) if answer.head.status.is_success() => Heard::Answer,
        Err(error) if error.kind.is_providers() => Heard::Failure(error.kind.label()),
        Ok(_) | Err(_) => Heard::Refusal,
    }
}

/// What a provider said, for the log: a status, or why there is none.
fn said(result: &Result<Answer, Error>) -> Cow<'static, str> {
    match result {
        Ok(answer) => answer.head.status.as_str().to_owned().into(),
        Err(error) => error.kind.label().into(),
    }
}

impl Failed {
    /// The client is told of this one, and it is what is booked.
    fn end(self, record: &mut Record) -> Result<Answer, Error> {
        record.goes_to(self.provider);
        record.resumes(self.attempt);
        self.result
    }

    /// Reads the words of a refusal, if they come soon.
    async fn read(&mut self) {
        if let Ok(answer) = &mut self.result
            && !matches!(answer.flow, Flow::Whole(_))
        {
            let body = answer.refusal(REFUSAL_PATIENCE).await;
            answer.flow = Flow::Whole(Some(body));
        }
    }

    /// The label in metrics.
    fn reason(&self) -> &'static str {
        match (&self.result, self.verdict.counts) {
            (_, Some(Failure::Limit { .. })) => USAGE_LIMIT,
            (Err(error), _) => error.kind.label(),
            (Ok(answer), _) if answer.head.status == StatusCode::TOO_MANY_REQUESTS => RATE_LIMIT,
            (Ok(answer), _) if answer.head.status.is_server_error() => SERVER_ERROR,
            (Ok(_), _) => TIMEOUT,
        }
    }
}
