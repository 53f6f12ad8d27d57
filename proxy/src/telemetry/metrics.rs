//! Every metric of the proxy: name, unit, labels. Labels come from closed sets,
//! so that their number is bounded. `docs/metrics.md` is made from this.

use std::time::Duration;

use ::telemetry::{catalog::Metric, recorder::Service};
use metrics::{Counter, Histogram, Unit, counter, gauge, histogram};
use proto::sync::{Outcome, Provider, Tokens};

use crate::{endpoint::Endpoint, error::Kind, failover};

/// From the time that a local answer takes to the longest that a model does.
const SECONDS: [f64; 14] = [
    0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0,
];

const REQUESTS: &str = "proxy_requests_total";
const REQUEST_DURATION: &str = "proxy_request_duration_seconds";
const FIRST_BYTE: &str = "proxy_first_byte_seconds";
const TOKENS: &str = "proxy_tokens_total";
const ERRORS: &str = "proxy_errors_total";
const PROVIDER_REQUESTS: &str = "proxy_provider_requests_total";
const PROVIDER_FAILURES: &str = "proxy_provider_failures_total";
const FALLBACKS: &str = "proxy_fallbacks_total";
const CIRCUITS: &str = "proxy_circuits";
const CIRCUIT_CHANGES: &str = "proxy_circuit_changes_total";
const TAP_ERRORS: &str = "proxy_tap_errors_total";
const CONVERSE_DROPPED: &str = "proxy_converse_dropped_total";
const ACTIVE_REQUESTS: &str = "proxy_active_requests";
const BUFFERED_BYTES: &str = "proxy_buffered_bytes";
const USAGE_DROPPED: &str = "proxy_usage_dropped_total";
const OUTBOX_EVENTS: &str = "proxy_outbox_events";
const INDEX_REVISION: &str = "proxy_index_revision";
const INDEX_AGE: &str = "proxy_index_age_seconds";
const INDEX_ACCESS_KEYS: &str = "proxy_index_access_keys";
const REJECTED_RESOURCES: &str = "proxy_rejected_resources";
const SYNC_CONNECTED: &str = "proxy_sync_connected";
const SNAPSHOTS: &str = "proxy_snapshots_total";
const LOG_LINES_DROPPED: &str = "proxy_log_lines_dropped_total";

/// All there are.
pub const CATALOG: &[Metric] = &[
    Metric::counter(REQUESTS, "requests that have ended")
        .by(&["endpoint", "provider", "outcome"])
        .on_cloudwatch("RequestsEnded", &[]),
    Metric::duration(
        REQUEST_DURATION,
        "from the request's head to the end of its answer",
    ),
    Metric::duration(
        FIRST_BYTE,
        "from asking the provider that answers to the first byte of its body",
    )
    .by(&["provider"])
    .on_cloudwatch("RequestLatency", &[("provider", "Provider")]),
    Metric::counter(TOKENS, "tokens of the requests that have ended")
        .by(&["provider", "type"])
        .on_cloudwatch("BedrockTokensUsed", &[("type", "TokenType")])
        .only("provider", "bedrock"),
    Metric::counter(
        ERRORS,
        "requests that the proxy answered with an error or cut off",
    )
    .by(&["kind"]),
    Metric::counter(
        PROVIDER_REQUESTS,
        "how often a provider was asked; a request that moves on asks two",
    )
    .by(&["provider"])
    .on_cloudwatch("RequestCount", &[("provider", "Provider")]),
    Metric::counter(
        PROVIDER_FAILURES,
        "how often a provider, or the way to it, has failed; refusals and limits are none",
    )
    .by(&["provider", "kind"])
    .on_cloudwatch(
        "ErrorCount",
        &[("provider", "Provider"), ("kind", "ErrorType")],
    ),
    Metric::counter(FALLBACKS, "requests that moved on to another provider")
        .by(&["reason"])
        .on_cloudwatch("FallbackCount", &[]),
    Metric::gauge(CIRCUITS, "access keys whose circuit is not closed")
        .by(&["state"])
        .on_cloudwatch("CircuitOpen", &[])
        .only("state", "open"),
    Metric::counter(
        CIRCUIT_CHANGES,
        "changes of the circuits of all access keys, by the state they led to",
    )
    .by(&["to"]),
    Metric::counter(
        TAP_ERRORS,
        "answers that were relayed but could not be counted",
    )
    .by(&["reason"]),
    Metric::counter(
        CONVERSE_DROPPED,
        "requests that lost something on their way to Converse",
    )
    .by(&["feature"]),
    Metric::gauge(ACTIVE_REQUESTS, "requests being answered").on_cloudwatch("OpenStreams", &[]),
    Metric::gauge(
        BUFFERED_BYTES,
        "request bodies that are held, at most PROXY_MAX_BUFFERED_BYTES",
    )
    .in_unit(Unit::Bytes),
    Metric::counter(
        USAGE_DROPPED,
        "usage events given up because the outbox was full",
    )
    .on_cloudwatch("UsageDropped", &[]),
    Metric::gauge(OUTBOX_EVENTS, "usage events without an acknowledgement")
        .on_cloudwatch("UsageBacklog", &[]),
    Metric::gauge(INDEX_REVISION, "revision that is in force"),
    Metric::gauge(INDEX_AGE, "since control last confirmed the configuration")
        .in_unit(Unit::Seconds)
        .on_cloudwatch("IndexAge", &[]),
    Metric::gauge(INDEX_ACCESS_KEYS, "access keys that are known"),
    Metric::gauge(REJECTED_RESOURCES, "resources not understood"),
    Metric::gauge(SYNC_CONNECTED, "1 while control is watched, else 0"),
    Metric::counter(SNAPSHOTS, "whole configurations received"),
    Metric::counter(
        LOG_LINES_DROPPED,
        "log lines given up because their reader is too slow",
    ),
];

/// What has them.
pub const SERVICE: Service = Service {
    name: "claude-code-proxy",
    dimension: "proxy",
    catalog: CATALOG,
    seconds: &SECONDS,
};

/// A provider has answered with a 5xx.
pub const SERVER_ERROR: &str = "server_error";
/// An answer has ended too early.
pub const BROKEN_OFF: &str = "broken_off";

/// Handles for what the request path counts, looked up once.
#[derive(Debug)]
pub struct Metrics {
    pub usage_dropped_total: Counter,
    duration_seconds: Histogram,
    by_provider: [OfProvider; ASKED.len()],
    /// By endpoint, provider (none, plan, bedrock) and outcome.
    requests_total: [[[Counter; OUTCOMES.len()]; PROVIDERS.len()]; ENDPOINTS.len()],
}

#[derive(Debug)]
struct OfProvider {
    asked: Counter,
    first_byte_seconds: Histogram,
    /// In the order of [`TOKEN_TYPES`].
    tokens: [Counter; TOKEN_TYPES.len()],
}

const ASKED: [Provider; 2] = [Provider::Plan, Provider::Bedrock];

const TOKEN_TYPES: [&str; 5] = [
    "input",
    "output",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
];

const ENDPOINTS: [Endpoint; 7] = [
    Endpoint::Messages,
    Endpoint::CountTokens,
    Endpoint::Models,
    Endpoint::Me,
    Endpoint::Probe,
    Endpoint::EventLogging,
    Endpoint::Unknown,
];

const PROVIDERS: [Option<Provider>; 3] = [None, Some(Provider::Plan), Some(Provider::Bedrock)];

const OUTCOMES: [Outcome; 5] = [
    Outcome::Complete,
    Outcome::ClientCancelled,
    Outcome::UpstreamFailed,
    Outcome::Refused,
    Outcome::Terminated,
];

impl Metrics {
    pub fn new() -> Self {
        register();
        Self {
            usage_dropped_total: counter!(USAGE_DROPPED),
            duration_seconds: histogram!(REQUEST_DURATION),
            by_provider: ASKED.map(OfProvider::new),
            requests_total: ENDPOINTS.map(|endpoint| {
                PROVIDERS.map(|provider| OUTCOMES.map(|it| requests(endpoint, provider, it)))
            }),
        }
    }

    /// A request has ended.
    pub fn ended(
        &self,
        endpoint: Endpoint,
        provider: Option<Provider>,
        outcome: Outcome,
        duration: Duration,
    ) {
        self.duration_seconds.record(duration);
        let place = (
            ENDPOINTS.iter().position(|it| *it == endpoint),
            PROVIDERS.iter().position(|it| *it == provider),
            OUTCOMES.iter().position(|it| *it == outcome),
        );
        if let (Some(endpoint), Some(provider), Some(outcome)) = place
            && let Some(counter) = self
                .requests_total
                .get(endpoint)
                .and_then(|it| it.get(provider))
                .and_then(|it| it.get(outcome))
        {
            counter.increment(1);
        }
    }

    /// A provider is asked.
    pub fn asked(&self, provider: Provider) {
        if let Some(of) = self.of(provider) {
            of.asked.increment(1);
        }
    }

    /// A provider has failed: `kind` is of a closed set.
    pub fn provider_failed(&self, provider: Provider, kind: &'static str) {
        let provider = provider.label();
        counter!(PROVIDER_FAILURES, "provider" => provider, "kind" => kind).increment(1);
    }

    pub fn first_byte(&self, provider: Provider, after: Duration) {
        if let Some(of) = self.of(provider) {
            of.first_byte_seconds.record(after);
        }
    }

    pub fn tokens(&self, provider: Provider, tokens: &Tokens) {
        let counts = [
            tokens.input_tokens,
            tokens.output_tokens,
            tokens.cache_read_tokens,
            tokens.cache_write_5m_tokens,
            tokens.cache_write_1h_tokens,
        ];
        if let Some(of) = self.of(provider) {
            for (counter, count) in of.tokens.iter().zip(counts) {
                counter.increment(count);
            }
        }
    }

    fn of(&self, provider: Provider) -> Option<&OfProvider> {
        let place = ASKED.iter().position(|it| *it == provider)?;
        self.by_provider.get(place)
    }

    pub fn error(&self, kind: Kind) {
        counter!(ERRORS, "kind" => kind.label()).increment(1);
    }

    /// Something of a request has no counterpart in Converse.
    pub fn converse_dropped(&self, feature: &'static str) {
        counter!(CONVERSE_DROPPED, "feature" => feature).increment(1);
    }

    /// Another provider is asked than the user's strategy puts first, or another
    /// one after that.
    pub fn fallback(&self, reason: &'static str) {
        counter!(FALLBACKS, "reason" => reason).increment(1);
    }

    pub fn tap_error(&self, reason: &'static str) {
        counter!(TAP_ERRORS, "reason" => reason).increment(1);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl OfProvider {
    fn new(provider: Provider) -> Self {
        let provider = provider.label();
        Self {
            asked: counter!(PROVIDER_REQUESTS, "provider" => provider),
            first_byte_seconds: histogram!(FIRST_BYTE, "provider" => provider),
            tokens: TOKEN_TYPES.map(|it| counter!(TOKENS, "provider" => provider, "type" => it)),
        }
    }
}

fn requests(endpoint: Endpoint, provider: Option<Provider>, outcome: Outcome) -> Counter {
    counter!(
        REQUESTS,
        "endpoint" => endpoint.label(),
        "provider" => provider.map_or("none", Provider::label),
        "outcome" => outcome.label()
    )
}

/// Lets everything that counts failures begin at 0: an alarm sees a first failure only
/// if there was something before it.
fn register() {
    for kind in Kind::ALL {
        counter!(ERRORS, "kind" => kind.label()).increment(0);
    }
    let failures = Kind::ALL.into_iter().filter(|it| it.is_providers());
    let failures: Vec<_> = failures
        .map(Kind::label)
        .chain([SERVER_ERROR, BROKEN_OFF])
        .collect();
    for provider in ASKED.map(Provider::label) {
        for kind in &failures {
            counter!(PROVIDER_FAILURES, "provider" => provider, "kind" => *kind).increment(0);
        }
    }
    // An increase is seen only of what was there before it.
    for reason in failover::reasons() {
        counter!(FALLBACKS, "reason" => reason).increment(0);
    }
    counter!(LOG_LINES_DROPPED).increment(0);
    counter!(SNAPSHOTS).increment(0);
}

/// A circuit has changed.
pub fn circuit_changed(to: &'static str) {
    counter!(CIRCUIT_CHANGES, "to" => to).increment(1);
}

pub fn sync_connected(is_connected: bool) {
    gauge!(SYNC_CONNECTED).set(if is_connected { 1.0 } else { 0.0 });
}

pub fn snapshot() {
    counter!(SNAPSHOTS).increment(1);
}

/// What nobody counts along, as it is now.
#[derive(Debug, Clone, Copy)]
pub struct State {
    pub index_revision: u64,
    pub index_access_keys: usize,
    pub index_age: Option<Duration>,
    pub rejected_resources: usize,
    pub open_circuits: u64,
    pub half_open_circuits: u64,
    pub active_requests: u64,
    pub buffered_bytes: usize,
    pub outbox_events: usize,
    pub log_lines_dropped: u64,
}

impl State {
    pub fn tell(self) {
        gauge!(INDEX_REVISION).set(approximate(self.index_revision));
        gauge!(INDEX_ACCESS_KEYS).set(approximate(self.index_access_keys as u64));
        gauge!(REJECTED_RESOURCES).set(approximate(self.rejected_resources as u64));
        if let Some(age) = self.index_age {
            gauge!(INDEX_AGE).set(age.as_secs_f64());
        }
        gauge!(CIRCUITS, "state" => "open").set(approximate(self.open_circuits));
        gauge!(CIRCUITS, "state" => "half_open").set(approximate(self.half_open_circuits));
        gauge!(ACTIVE_REQUESTS).set(approximate(self.active_requests));
        gauge!(BUFFERED_BYTES).set(approximate(self.buffered_bytes as u64));
        gauge!(OUTBOX_EVENTS).set(approximate(self.outbox_events as u64));
        counter!(LOG_LINES_DROPPED).absolute(self.log_lines_dropped);
    }
}

/// Gauges are floating-point numbers.
#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge need not be exact beyond 2^53"
)]
fn approximate(number: u64) -> f64 {
    number as f64
}
