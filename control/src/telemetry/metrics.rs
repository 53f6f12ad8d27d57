//! Every metric: its name, its unit, its labels.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

pub(super) const SECONDS_BUCKETS: [f64; 12] = [
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

pub(super) fn describe() {
    describe_gauge!(
        HEAD_REVISION,
        Unit::Count,
        "Newest committed revision that this replica knows"
    );
    describe_gauge!(
        LISTENER_CONNECTED,
        Unit::Count,
        "1 while changes are followed, 0 while the database is away"
    );
    describe_gauge!(
        WATCH_STREAMS,
        Unit::Count,
        "Proxies that are watching this replica"
    );
    describe_counter!(
        WATCH_STREAMS_ENDED,
        Unit::Count,
        "Ended watch streams by reason"
    );
    describe_counter!(
        SNAPSHOTS,
        Unit::Count,
        "Snapshots sent because a proxy could not continue from its position"
    );
    describe_gauge!(
        PROXIES_CONNECTED,
        Unit::Count,
        "Proxies that reported lately, to any replica"
    );
    describe_gauge!(
        PROXIES_BEHIND,
        Unit::Count,
        "Connected proxies that have not applied the newest revision"
    );
    describe_counter!(
        INGEST_EVENTS,
        Unit::Count,
        "Usage events by result: new, duplicate, rejected"
    );
    describe_counter!(
        INGEST_UNPRICED,
        Unit::Count,
        "New usage events with tokens for which there is no price"
    );
    describe_histogram!(
        INGEST_DURATION,
        Unit::Seconds,
        "Time to store one batch of usage events"
    );
    describe_counter!(
        LESSONS,
        Unit::Count,
        "What proxies have learned of Bedrock, by result: new, known, ignored"
    );
    describe_counter!(
        CIRCUITS_IGNORED,
        Unit::Count,
        "Circuits in reports that could not be used or were too many"
    );
    describe_counter!(
        ALERTS,
        Unit::Count,
        "Attempts to tell the webhook of a budget by result: delivered, failed, given_up"
    );
    describe_counter!(
        HTTP_REQUESTS,
        Unit::Count,
        "Admin API requests by method, route and status"
    );
    describe_histogram!(
        HTTP_DURATION,
        Unit::Seconds,
        "Time to answer an admin API request, by method and route"
    );
    describe_counter!(
        LOGINS,
        Unit::Count,
        "Logins by result: ok, refused, throttled, busy, failed"
    );
    describe_gauge!(
        DATABASE_CONNECTIONS,
        Unit::Count,
        "Pooled connections by state: busy, idle"
    );
    describe_counter!(JOB_FAILURES, Unit::Count, "Failed runs by job");
}

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

pub fn proxies(connected: usize, behind: usize) {
    gauge!(PROXIES_CONNECTED).set(connected as f64);
    gauge!(PROXIES_BEHIND).set(behind as f64);
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

pub fn job_failed(job: &'static str) {
    counter!(JOB_FAILURES, "job" => job).increment(1);
}
