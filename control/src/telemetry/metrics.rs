//! Every metric: its name, its unit, its labels. `docs/metrics.md` is made from this.

use std::time::Duration;

use ::telemetry::{catalog::Metric, recorder::Service};
use metrics::{counter, gauge, histogram};

use crate::fleet::Fleet;

const SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

const HEAD_REVISION: &str = "control_head_revision";
const LISTENER_CONNECTED: &str = "control_listener_connected";
const WATCH_STREAMS: &str = "control_watch_streams";
const WATCH_STREAMS_ENDED: &str = "control_watch_streams_ended_total";
const SNAPSHOTS: &str = "control_snapshots_total";
const PROXIES_CONNECTED: &str = "control_proxies_connected";
const PROXIES_BEHIND: &str = "control_proxies_behind";
const INGEST_EVENTS: &str = "control_ingest_events_total";
const INGEST_UNPRICED: &str = "control_ingest_unpriced_total";
const INGEST_DURATION: &str = "control_ingest_duration_seconds";
const LESSONS: &str = "control_lessons_total";
const CIRCUITS_IGNORED: &str = "control_circuits_ignored_total";
const ALERTS: &str = "control_budget_alerts_total";
const HTTP_REQUESTS: &str = "control_http_requests_total";
const HTTP_DURATION: &str = "control_http_request_duration_seconds";
const LOGINS: &str = "control_logins_total";
const DATABASE_CONNECTIONS: &str = "control_database_connections";
const JOB_FAILURES: &str = "control_job_failures_total";

/// All there are.
pub const CATALOG: &[Metric] = &[
    Metric::gauge(
        HEAD_REVISION,
        "newest committed revision that this replica knows",
    ),
    Metric::gauge(
        LISTENER_CONNECTED,
        "1 while changes are followed, 0 while the database is away",
    )
    .on_cloudwatch("DatabaseFollowed", &[]),
    Metric::gauge(WATCH_STREAMS, "proxies that are watching this replica"),
    Metric::counter(WATCH_STREAMS_ENDED, "watch streams that have ended").by(&["reason"]),
    Metric::counter(
        SNAPSHOTS,
        "snapshots sent because a proxy could not continue from its position",
    ),
    Metric::gauge(
        PROXIES_CONNECTED,
        "proxies that reported lately, to any replica",
    )
    .on_cloudwatch("ProxiesConnected", &[]),
    Metric::gauge(
        PROXIES_BEHIND,
        "connected proxies that have not applied the newest revision",
    )
    .on_cloudwatch("ProxiesBehind", &[]),
    Metric::counter(INGEST_EVENTS, "usage events: new, duplicate or rejected").by(&["result"]),
    Metric::counter(
        INGEST_UNPRICED,
        "new usage events with tokens for which there is no price",
    )
    .on_cloudwatch("UnpricedUsage", &[]),
    Metric::duration(INGEST_DURATION, "to store one batch of usage events"),
    Metric::counter(
        LESSONS,
        "what proxies have learned of Bedrock: new, known or ignored",
    )
    .by(&["result"]),
    Metric::counter(
        CIRCUITS_IGNORED,
        "circuits in reports that could not be used or were too many",
    ),
    Metric::counter(
        ALERTS,
        "attempts to tell the webhook of a budget: delivered, failed or given_up",
    )
    .by(&["result"]),
    Metric::counter(HTTP_REQUESTS, "requests to the admin API").by(&["method", "route", "status"]),
    Metric::duration(HTTP_DURATION, "to answer a request to the admin API")
        .by(&["method", "route"]),
    Metric::counter(LOGINS, "logins: ok, refused, throttled, busy or failed").by(&["result"]),
    Metric::gauge(DATABASE_CONNECTIONS, "pooled connections: busy or idle").by(&["state"]),
    Metric::counter(JOB_FAILURES, "runs of a job that have failed").by(&["job"]),
];

/// What has them.
pub const SERVICE: Service = Service {
    name: "claude-code-control",
    dimension: "control",
    catalog: CATALOG,
    seconds: &SECONDS,
};

pub fn head(revision: Option<i64>) {
    gauge!(LISTENER_CONNECTED).set(if revision.is_some() { 1.0 } else { 0.0 });
    if let Some(revision) = revision {
        // Exact up to 2^53.
        gauge!(HEAD_REVISION).set(revision as f64);
    }
}

/// Counts a watch stream for as long as it lives.
#[derive(Debug)]
pub struct WatchStream(());

impl WatchStream {
    pub fn begin() -> Self {
        gauge!(WATCH_STREAMS).increment(1.0);
        Self(())
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        gauge!(WATCH_STREAMS).decrement(1.0);
    }
}

pub fn watch_ended(reason: &'static str) {
    counter!(WATCH_STREAMS_ENDED, "reason" => reason).increment(1);
}

pub fn snapshot() {
    counter!(SNAPSHOTS).increment(1);
}

/// None: nobody knows.
pub fn proxies(fleet: Option<&Fleet>) {
    let connected = fleet.map(|it| it.connected);
    let behind = fleet.map(|it| it.connected.saturating_sub(it.in_force));
    for (gauge, count) in [(PROXIES_CONNECTED, connected), (PROXIES_BEHIND, behind)] {
        gauge!(gauge).set(count.map_or(f64::NAN, |it| it as f64));
    }
}

pub fn ingested(new: u64, duplicate: u64, rejected: u64, unpriced: u64, duration: Duration) {
    counter!(INGEST_EVENTS, "result" => "new").increment(new);
    counter!(INGEST_EVENTS, "result" => "duplicate").increment(duplicate);
    counter!(INGEST_EVENTS, "result" => "rejected").increment(rejected);
    counter!(INGEST_UNPRICED).increment(unpriced);
    histogram!(INGEST_DURATION).record(duration);
}

pub fn alert(result: &'static str) {
    counter!(ALERTS, "result" => result).increment(1);
}

pub fn lessons(new: u64, known: u64, ignored: u64) {
    counter!(LESSONS, "result" => "new").increment(new);
    counter!(LESSONS, "result" => "known").increment(known);
    counter!(LESSONS, "result" => "ignored").increment(ignored);
}

pub fn circuits_ignored(count: u64) {
    counter!(CIRCUITS_IGNORED).increment(count);
}

pub fn http(method: &'static str, route: String, status: u16, duration: Duration) {
    counter!(HTTP_REQUESTS, "method" => method, "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    histogram!(HTTP_DURATION, "method" => method, "route" => route).record(duration);
}

pub fn login(result: &'static str) {
    counter!(LOGINS, "result" => result).increment(1);
}

pub fn database_connections(busy: usize, idle: usize) {
    gauge!(DATABASE_CONNECTIONS, "state" => "busy").set(busy as f64);
    gauge!(DATABASE_CONNECTIONS, "state" => "idle").set(idle as f64);
}

/// Lets what counts failures begin at 0: an alarm sees a first failure only if there was
/// something before it.
pub fn register() {
    counter!(INGEST_UNPRICED).increment(0);
    counter!(CIRCUITS_IGNORED).increment(0);
    for result in ["delivered", "failed", "given_up"] {
        counter!(ALERTS, "result" => result).increment(0);
    }
    for result in ["new", "duplicate", "rejected"] {
        counter!(INGEST_EVENTS, "result" => result).increment(0);
    }
}

/// There is such a job, and it has not failed yet.
pub fn job_runs(job: &'static str) {
    counter!(JOB_FAILURES, "job" => job).increment(0);
}

pub fn job_failed(job: &'static str) {
    counter!(JOB_FAILURES, "job" => job).increment(1);
}
