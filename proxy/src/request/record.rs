//! What the phases learn about one request. At its end, whatever the end, it
//! becomes exactly one canonical log line and, if the request is metered,
//! exactly one usage event.
//!
//! Both are written when the record is dropped, because that is what happens in
//! every case: also when the client leaves, and when a task is cancelled.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, SubsecRound, Utc};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use proto::{
    line::{self, Line},
    sync::{Outcome, Provider, Tokens, UsageEvent},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::inspect::Asked;
use crate::{
    budget::budgets::{Budgets, Hold},
    endpoint::Endpoint,
    error::{Error, Kind},
    index::AccessKey,
    refusal,
    route::{
        circuits::Permit,
        fallback::{self, Verdict},
    },
    telemetry::{
        log::Log,
        metrics::{BROKEN_OFF, Metrics},
        trace::{End, Trace, Tracing},
    },
    upstream::bedrock::answer::AWS_REQUEST_ID,
    usage::{
        estimate,
        meter::Reading,
        outbox::{Full, Outbox},
    },
};

/// Longer names and ids are cut: they come from outside, and a batch of events
/// must fit into a message.
const MAX_CHARS: usize = 256;

/// Where records are written to.
#[derive(Debug)]
pub struct Journal {
    pub outbox: Arc<Outbox>,
    pub budgets: Arc<Budgets>,
    pub log: Log,
    pub metrics: Metrics,
    /// None: nobody wants traces.
    pub tracing: Option<Arc<Tracing>>,
    /// Set when the time to finish is over: from then on it is this process that
    /// ends an answer early.
    stopping: CancellationToken,
    /// Requests that have begun and not ended.
    active: AtomicU64,
}

/// What a provider was asked for and what it has stated, while somebody else is
/// asked.
#[derive(Debug)]
pub struct Attempt {
    hold: Option<Hold>,
    bedrock_model: String,
    bedrock_region: String,
    reading: Reading,
}

/// What came of asking a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It answers.
    Answer,
    /// It has refused the request.
    Refusal,
    /// It has failed, for the reason of this label.
    Failure(&'static str),
}

/// One request.
#[derive(Debug)]
pub struct Record {
    journal: Arc<Journal>,
    trace: Option<Trace>,
    request_id: String,
    endpoint: Endpoint,
    started_at: DateTime<Utc>,
    started: Instant,
    access_key: Option<Arc<AccessKey>>,
    session_id: String,
    agent_id: String,
    asked: Asked,
    body_bytes: usize,
    /// What the user's strategy puts first.
    preferred: Option<Provider>,
    provider: Option<Provider>,
    /// When it was asked, since the request began.
    asked_after: Duration,
    /// It has begun to answer with a success.
    is_answered: bool,
    /// Who was asked, or was not for what reason, and what each said; empty while
    /// nothing has gone wrong.
    route: String,
    /// Of the plan's, whose answer this is: told when it breaks off.
    permit: Option<Permit>,
    hold: Option<Hold>,
    /// What Bedrock was asked for, and where; empty when it was not.
    bedrock_model: String,
    bedrock_region: String,
    upstream_request_id: String,
    status: u16,
    first_byte: Option<Duration>,
    reading: Reading,
    /// None: nobody said how it ended, so it was the client that left.
    outcome: Option<Outcome>,
    error: Option<String>,
}

impl Journal {
    pub fn new(
        outbox: Arc<Outbox>,
        budgets: Arc<Budgets>,
        log: Log,
        metrics: Metrics,
        tracing: Option<Arc<Tracing>>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            outbox,
            budgets,
            log,
            metrics,
            tracing,
            stopping,
            active: AtomicU64::new(0),
        }
    }

    /// Requests that are being answered.
    pub fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }
}

impl Record {
    pub fn begin(journal: &Arc<Journal>, endpoint: Endpoint, headers: &HeaderMap) -> Self {
        journal.active.fetch_add(1, Ordering::Relaxed);
        Self {
            journal: journal.clone(),
            trace: journal.tracing.as_ref().map(|it| it.begin(headers)),
            request_id: format!("req_{}", Uuid::now_v7().simple()),
            endpoint,
            // As precise as Postgres, so that row, event and line agree.
            started_at: Utc::now().trunc_subsecs(6),
            started: Instant::now(),
            access_key: None,
            session_id: id(headers, "x-claude-code-session-id"),
            agent_id: id(headers, "x-claude-code-agent-id"),
            asked: Asked::default(),
            body_bytes: 0,
            preferred: None,
            provider: None,
            asked_after: Duration::ZERO,
            is_answered: false,
            route: String::new(),
            permit: None,
            hold: None,
            bedrock_model: String::new(),
            bedrock_region: String::new(),
            upstream_request_id: String::new(),
            status: 0,
            first_byte: None,
            reading: Reading::default(),
            outcome: None,
            error: None,
        }
    }

    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    pub fn request_id_header(&self) -> HeaderValue {
        // Ours: letters and digits.
        HeaderValue::from_str(&self.request_id).unwrap_or(HeaderValue::from_static(""))
    }

    /// Empty when the client named none.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    pub fn metrics(&self) -> &Metrics {
        &self.journal.metrics
    }

    pub fn belongs_to(&mut self, access_key: Arc<AccessKey>) {
        self.access_key = Some(access_key);
    }

    /// In a body of so many bytes.
    pub fn asks_for(&mut self, mut asked: Asked, body_bytes: usize) {
        cut(&mut asked.model);
        self.asked = asked;
        self.body_bytes = body_bytes;
    }

    pub fn prefers(&mut self, provider: Provider) {
        self.preferred = Some(provider);
    }

    /// A provider is asked now.
    pub fn asks(&mut self, provider: Provider) {
        self.provider = Some(provider);
        self.journal.metrics.asked(provider);
        self.asked_after = self.started.elapsed();
        if let Some(trace) = &mut self.trace {
            trace.asks(provider, self.asked_after);
        }
    }

    /// Who is asked is there, for who wants traces.
    pub fn asks_at(&mut self, origin: &Uri) {
        if let Some(trace) = &mut self.trace {
            trace.asks_at(origin);
        }
    }

    /// Who was asked last has answered so; in its words, for who wants traces.
    pub fn hears(&mut self, heard: Heard, said: impl FnOnce() -> Cow<'static, str>) {
        self.is_answered = heard == Heard::Answer;
        if let (Heard::Failure(kind), Some(provider)) = (heard, self.provider) {
            self.journal.metrics.provider_failed(provider, kind);
        }
        if let Some(trace) = self.trace.as_mut().filter(|_| !self.is_answered) {
            trace.fails(self.started.elapsed(), said().into_owned());
        }
    }

    /// It is this provider's answer that the client gets.
    pub fn goes_to(&mut self, provider: Provider) {
        self.provider = Some(provider);
    }

    /// An attempt has failed. It is forgotten, unless [`Self::resumes`] is called
    /// with it because the client is told of it.
    pub fn put_aside(&mut self) -> Attempt {
        Attempt {
            hold: self.hold.take(),
            bedrock_model: std::mem::take(&mut self.bedrock_model),
            bedrock_region: std::mem::take(&mut self.bedrock_region),
            reading: std::mem::take(&mut self.reading),
        }
    }

    pub fn resumes(&mut self, attempt: Attempt) {
        let Attempt {
            hold,
            bedrock_model,
            bedrock_region,
            reading,
        } = attempt;
        self.hold = hold;
        self.bedrock_model = bedrock_model;
        self.bedrock_region = bedrock_region;
        self.reading = reading;
    }

    /// A provider has said this, or was not asked for this reason.
    pub fn notes(&mut self, provider: Provider, what: &str) {
        let separator = if self.route.is_empty() { "" } else { ", " };
        for part in [separator, provider.label(), ":", what] {
            self.route.push_str(part);
        }
    }

    /// Whether it is worth noting who has answered in the end.
    pub fn has_notes(&self) -> bool {
        !self.route.is_empty()
    }

    /// Who was asked and what each said, for a response header; none when nobody
    /// has said anything.
    pub fn route_header(&self) -> Option<HeaderValue> {
        let route = self.has_notes().then_some(&self.route)?;
        HeaderValue::from_str(route).ok()
    }

    /// The plan answers. When it breaks off, its circuit is told.
    pub fn watches(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    /// Whether the plan answers, and Bedrock could.
    pub fn has_a_choice(&self) -> bool {
        self.permit.is_some()
    }

    /// The upstream begins to answer.
    pub fn begins(&mut self, status: u16, headers: &HeaderMap) {
        self.status = status;
        self.upstream_request_id = id(headers, AWS_REQUEST_ID);
        if self.upstream_request_id.is_empty() {
            self.upstream_request_id = id(headers, "request-id");
        }
    }

    /// The first piece of the answer's body is here. Later calls change nothing.
    pub fn first_byte(&mut self) {
        self.first_byte.get_or_insert(self.started.elapsed());
    }

    /// The request ends with this error, at whoever's fault.
    pub fn failed(&mut self, error: &Error) {
        self.outcome = Some(match error.kind {
            Kind::Stopping => Outcome::Terminated,
            kind if kind.is_upstream() => Outcome::UpstreamFailed,
            _ => Outcome::Refused,
        });
        self.tell_circuit(fallback::of_kind(error.kind));
        self.journal.metrics.error(error.kind);
        self.error = Some(error.chain());
    }

    /// What the answer said of itself. It may come more than once; the last
    /// counts.
    pub fn reads(&mut self, mut reading: Reading) {
        if let Some(error_type) = &reading.error {
            // Also when the client leaves as soon as it has read of it.
            self.outcome = Some(Outcome::UpstreamFailed);
            let status = refusal::status_of(error_type);
            self.tell_circuit(fallback::of_status(status, &HeaderMap::new(), Utc::now()));
        }
        let names = [&mut reading.model, &mut reading.stop_reason];
        names.into_iter().flatten().for_each(cut);
        self.reading = reading;
    }

    /// Bedrock is asked for this model, in this region.
    pub fn calls(&mut self, bedrock_model: &str, bedrock_region: &str) {
        bedrock_model.clone_into(&mut self.bedrock_model);
        cut(&mut self.bedrock_model);
        bedrock_region.clone_into(&mut self.bedrock_region);
    }

    /// Its place in the user's budget, until it ends.
    pub fn holds(&mut self, hold: Option<Hold>) {
        self.hold = hold;
    }

    /// What an answer states that is held.
    pub fn reading(&mut self) -> &mut Reading {
        &mut self.reading
    }

    /// The answer was relayed to its end.
    pub fn ended(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// Ends with an answer of our own.
    pub fn answered(mut self, status: StatusCode) {
        self.status = status.as_u16();
        self.outcome.get_or_insert(Outcome::Refused);
    }

    /// The plan has failed after all.
    fn tell_circuit(&mut self, verdict: Verdict) {
        if let (Some(failure), Some(permit)) = (verdict.counts, self.permit.take()) {
            permit.failed(failure, Utc::now());
        }
    }

    /// Whether the upstream may charge for more than it has said.
    fn is_estimate(&self, outcome: Outcome) -> bool {
        let is_success = (200..300).contains(&self.status);
        let has_begun = match outcome {
            // It was cancelled, in the midst of its answer or before.
            Outcome::ClientCancelled => self.provider.is_some() && (is_success || self.status == 0),
            // The status may be ours.
            Outcome::Terminated => self.provider.is_some(),
            Outcome::UpstreamFailed => {
                let has_started = self.reading.model.is_some();
                let is_refusal = self.reading.error.is_some() && !has_started;
                let is_relayed = is_success && self.first_byte.is_some();
                has_started || (is_relayed && !is_refusal)
            }
            // It has forgotten to say.
            Outcome::Complete => return self.is_metered() && self.reading.usage.is_nothing(),
            Outcome::Refused | Outcome::Unspecified => false,
        };
        self.is_metered() && has_begun && !self.reading.stopped
    }

    /// What was used, and whether that is an estimate: what the upstream has stated,
    /// and if that is nothing, as much as an answer costs that is not read to its end.
    fn tokens(&self, outcome: Outcome) -> (Tokens, bool) {
        let Reading {
            usage,
            unstated_bytes,
            ..
        } = &self.reading;
        let is_estimate = self.is_estimate(outcome);
        let is_charged = outcome != Outcome::UpstreamFailed;
        let tokens = if is_estimate && is_charged && usage.is_nothing() {
            Tokens {
                input_tokens: estimate::prompt(self.body_bytes),
                output_tokens: estimate::answer(*unstated_bytes),
                ..Tokens::default()
            }
        } else {
            usage.tokens(self.asked.cache_ttl)
        };
        (tokens, is_estimate)
    }

    fn outcome(&self) -> Outcome {
        self.outcome.unwrap_or_else(|| {
            if self.journal.stopping.is_cancelled() {
                Outcome::Terminated
            } else {
                Outcome::ClientCancelled
            }
        })
    }

    /// Whether this request costs somebody something.
    fn is_metered(&self) -> bool {
        self.endpoint.is_metered() && self.access_key.is_some()
    }

    fn line(&self, outcome: Outcome) -> Line<'_> {
        let (access_key_id, user_id) = match &self.access_key {
            Some(key) => (key.id.as_ref(), key.user_id.as_ref()),
            None => ("", ""),
        };
        let (tokens, is_estimate) = self.tokens(outcome);
        Line {
            timestamp: Utc::now(),
            level: "INFO".into(),
            message: line::MESSAGE.into(),
            event_id: self.is_metered().then(Uuid::now_v7),
            request_id: self.request_id.as_str().into(),
            upstream_request_id: self.upstream_request_id.as_str().into(),
            endpoint: self.endpoint.label().into(),
            access_key_id: access_key_id.into(),
            user_id: user_id.into(),
            started_at: self.started_at,
            duration_ms: milliseconds(self.started.elapsed()),
            first_byte_ms: self.first_byte.map(milliseconds),
            provider: self.provider.map(|provider| provider.label().into()),
            is_fallback: self.provider != self.preferred && self.provider.is_some(),
            route: self.route.as_str().into(),
            model: self.asked.model.as_str().into(),
            upstream_model: self.reading.model.as_deref().unwrap_or_default().into(),
            bedrock_model: self.bedrock_model.as_str().into(),
            bedrock_region: self.bedrock_region.as_str().into(),
            outcome: outcome.label().into(),
            status: self.status.into(),
            is_streaming: self.asked.is_streaming,
            input_tokens: tokens.input_tokens,
            output_tokens: tokens.output_tokens,
            cache_read_tokens: tokens.cache_read_tokens,
            cache_write_5m_tokens: tokens.cache_write_5m_tokens,
            cache_write_1h_tokens: tokens.cache_write_1h_tokens,
            is_estimate,
            session_id: self.session_id.as_str().into(),
            agent_id: self.agent_id.as_str().into(),
            error: self.error.as_deref().map(Into::into),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let outcome = self.outcome();
        let metrics = &self.journal.metrics;
        self.journal.active.fetch_sub(1, Ordering::Relaxed);
        if self.endpoint == Endpoint::Health {
            return;
        }
        let elapsed = self.started.elapsed();
        metrics.ended(self.endpoint, self.provider, outcome, elapsed);
        if let Some(provider) = self.provider {
            if let Some(first_byte) = self.first_byte {
                let waited = first_byte.saturating_sub(self.asked_after);
                metrics.first_byte(provider, waited);
            }
            if self.is_answered && outcome == Outcome::UpstreamFailed {
                metrics.provider_failed(provider, BROKEN_OFF);
            }
        }
        let (hold, trace) = (self.hold.take(), self.trace.take());
        let line = self.line(outcome);
        self.journal.log.request(&line);
        if let Some(trace) = trace {
            trace.end(&End {
                endpoint: self.endpoint,
                line: &line,
                outcome,
                stop_reason: self.reading.stop_reason.as_deref(),
                after: elapsed,
            });
        }
        if let Some(event) = line.event() {
            if let (Some(provider), Some(tokens)) = (self.provider, &event.tokens) {
                metrics.tokens(provider, tokens);
            }
            if let Some(hold) = hold {
                hold.settle(&event, self.started_at);
            }
            self.journal.keep(event);
        }
    }
}

impl Journal {
    fn keep(&self, event: UsageEvent) {
        if let Err(full @ Full(_)) = self.outbox.push(event) {
            self.metrics.usage_dropped_total.increment(1);
            self.budgets.given_up(&full.0.event_id);
            tracing::error!(
                request_id = full.0.request_id,
                "{full}: control does not take usage"
            );
        }
    }
}

fn id(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    let mut text = value.unwrap_or_default().to_owned();
    cut(&mut text);
    text
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
