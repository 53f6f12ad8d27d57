//! Every metric of the proxy: name, unit, labels. Labels come from closed sets,
//! so that their number is bounded.

use std::time::Duration;

use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use proto::sync::{Outcome, Provider};

use crate::{endpoint::Endpoint, error::Kind};

/// From the time that a local answer takes to the longest that a model does.
const SECONDS: [f64; 14] = [
    0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0,
];

/// Handles for what the request path counts, looked up once.
#[derive(Debug)]
pub struct Metrics {
    pub first_byte_seconds: Histogram,
    pub usage_dropped_total: Counter,
    duration_seconds: Histogram,
    /// By endpoint, provider (none, plan, bedrock) and outcome.
    requests_total: [[[Counter; OUTCOMES.len()]; PROVIDERS.len()]; ENDPOINTS.len()],
}

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

/// Collects the process's metrics for `/metrics`.
///
/// # Errors
///
/// There is a recorder already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()
}

impl Metrics {
    pub fn new() -> Self {
        describe();
        Self {
            first_byte_seconds: histogram!("proxy_first_byte_seconds"),
            usage_dropped_total: counter!("proxy_usage_dropped_total"),
            duration_seconds: histogram!("proxy_request_duration_seconds"),
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

    pub fn error(&self, kind: Kind) {
        counter!("proxy_errors_total", "kind" => kind.label()).increment(1);
    }

    /// Something of a request has no counterpart in Converse.
    pub fn converse_dropped(&self, feature: &'static str) {
        counter!("proxy_converse_dropped_total", "feature" => feature).increment(1);
    }

    /// Another provider is asked than the user's strategy puts first, or another
    /// one after that.
    pub fn fallback(&self, reason: &'static str) {
        counter!("proxy_fallbacks_total", "reason" => reason).increment(1);
    }

    pub fn tap_error(&self, reason: &'static str) {
        counter!("proxy_tap_errors_total", "reason" => reason).increment(1);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn requests(endpoint: Endpoint, provider: Option<Provider>, outcome: Outcome) -> Counter {
    counter!(
        "proxy_requests_total",
        "endpoint" => endpoint.label(),
        "provider" => provider.map_or("none", Provider::label),
        "outcome" => outcome.label()
    )
}

fn describe() {
    describe_gauge!("proxy_active_requests", "requests being answered");
    describe_counter!(
        "proxy_requests_total",
        "requests that have ended, by endpoint, provider and outcome"
    );
    describe_histogram!(
        "proxy_request_duration_seconds",
        Unit::Seconds,
        "from the request's head to the end of its answer"
    );
    describe_histogram!(
        "proxy_first_byte_seconds",
        Unit::Seconds,
        "from the request's head to the first byte of the upstream's body"
    );
    describe_counter!(
        "proxy_errors_total",
        "requests that the proxy answered with an error or cut off, by kind"
    );
    describe_counter!(
        "proxy_tap_errors_total",
        "answers that were relayed but could not be counted, by reason"
    );
    describe_counter!(
        "proxy_converse_dropped_total",
        "requests that lost something on their way to Converse, by feature"
    );
    describe_counter!(
        "proxy_fallbacks_total",
        "requests that moved on to another provider, by reason"
    );
    describe_counter!(
        "proxy_circuit_changes_total",
        "changes of the circuits of all access keys, by the state they led to"
    );
    describe_gauge!(
        "proxy_circuits",
        "access keys whose circuit is not closed, by state"
    );
    describe_counter!(
        "proxy_usage_dropped_total",
        "usage events given up because the outbox was full"
    );
    describe_gauge!(
        "proxy_buffered_bytes",
        Unit::Bytes,
        "request bodies that are held, at most PROXY_MAX_BUFFERED_BYTES"
    );
    describe_gauge!(
        "proxy_outbox_events",
        "usage events without an acknowledgement"
    );
    describe_gauge!("proxy_index_revision", "revision that is in force");
    describe_gauge!(
        "proxy_index_age_seconds",
        Unit::Seconds,
        "since control last confirmed the configuration"
    );
    describe_gauge!("proxy_index_access_keys", "access keys that are known");
    describe_gauge!("proxy_rejected_resources", "resources not understood");
    describe_gauge!("proxy_sync_connected", "1 while control is watched, else 0");
    describe_counter!("proxy_snapshots_total", "whole configurations received");
    describe_counter!(
        "proxy_log_lines_dropped_total",
        "log lines given up because their reader is too slow"
    );
}
