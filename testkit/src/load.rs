//! A load generator that costs little, and an upstream that costs less.
//!
//! Requests are bytes made beforehand, sent over kept-alive HTTP/1.1 connections
//! by one thread; what is measured is the process in between.
//!
//! - Closed loop: every connection sends its next request when the last one is
//!   answered. For throughput and CPU per request.
//! - Open loop: requests arrive at random with a mean rate, whether or not the
//!   earlier ones are answered, and wait for a free connection. For latency.
//! - Held: all connections open a stream and keep it. For memory per stream.

mod body;
mod connection;
mod pace;
mod process;
mod prompt;
pub mod upstream;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use self::pace::Arrivals;
pub use self::{
    connection::{Connection, Exchange, Request},
    process::{Usage, raise_file_limit, usage},
    upstream::{Provider, Shape},
};

/// No answer takes longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to send, and for how long.
#[derive(Debug, Clone)]
pub struct Load {
    pub request: Request,
    pub connections: usize,
    /// Requests per second of an open loop; none: closed.
    pub rate: Option<f64>,
    pub warm_up: Duration,
    pub duration: Duration,
    /// The processes whose CPU time and memory are measured, together.
    pub pids: Vec<u32>,
}

/// What came of it. Times are in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    pub requests: u64,
    /// Connections lost, and answers other than 200.
    pub errors: u64,
    /// Arrivals of an open loop that found no place in the queue.
    pub dropped: u64,
    pub events: u64,
    pub body_bytes: u64,
    pub seconds: f64,
    pub requests_per_second: f64,
    pub latency_us: Latency,
    pub first_byte_us: Latency,
    /// User and system time of the measured processes; zero without any.
    pub cpu_us: u64,
    /// The same since those processes started.
    pub cpu_us_at_end: u64,
    pub cpu_us_per_request: f64,
    pub cpu_us_per_event: f64,
    pub rss_bytes_before: u64,
    pub rss_bytes_after: u64,
    /// Growth per connection; means something when streams are held.
    pub rss_bytes_per_connection: f64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Latency {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
}

/// What the connections have seen together.
#[derive(Debug)]
struct Tally {
    requests: u64,
    errors: u64,
    events: u64,
    body_bytes: u64,
    latency_us: Histogram<u64>,
    first_byte_us: Histogram<u64>,
}

/// One phase of a run.
#[derive(Debug, Clone)]
struct Phase {
    request: Arc<Request>,
    end: Instant,
    /// Shared by all connections; none: a closed loop.
    arrivals: Option<Arc<Mutex<Arrivals>>>,
}

impl Load {
    /// Runs until the time is over and all requests under way are answered.
    ///
    /// # Errors
    /// When the target cannot be reached, does not answer, or a process cannot be
    /// measured.
    pub async fn run(self) -> anyhow::Result<Report> {
        let request = Arc::new(self.request.clone());
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            let connection = Connection::open(request.addr)
                .await
                .with_context(|| format!("cannot connect to {}", request.addr))?;
            connections.push(connection);
        }
        let (connections, ..) = self.phase(&request, connections, self.warm_up).await?;
        let before = usage(&self.pids)?;
        let start = Instant::now();
        let (connections, tally, dropped) =
            self.phase(&request, connections, self.duration).await?;
        let seconds = start.elapsed().as_secs_f64();
        let after = usage(&self.pids)?;
        drop(connections);
        let mut report = tally.report(seconds, before, after, self.connections);
        report.dropped = dropped;
        Ok(report)
    }

    /// Opens a stream on every connection and measures while they are open.
    ///
    /// # Errors
    /// When a stream does not begin.
    pub async fn hold(self) -> anyhow::Result<Report> {
        let before = usage(&self.pids)?;
        let start = Instant::now();
        let mut tally = Tally::new()?;
        let mut held = Vec::new();
        for _ in 0..self.connections {
            let mut connection = Connection::open(self.request.addr).await?;
            let begin = connection.begin(&self.request.bytes);
            let begin = timeout(PATIENCE, begin).await;
            tally.count(&begin.context("a stream does not begin")??)?;
            held.push(connection);
        }
        sleep(self.duration).await;
        let after = usage(&self.pids)?;
        let seconds = start.elapsed().as_secs_f64();
        for connection in &mut held {
            tally.errors += u64::from(connection.has_ended());
        }
        Ok(tally.report(seconds, before, after, self.connections))
    }

    async fn phase(
        &self,
        request: &Arc<Request>,
        connections: Vec<Connection>,
        duration: Duration,
    ) -> anyhow::Result<(Vec<Connection>, Tally, u64)> {
        let pacer = self.rate.map(|rate| pace::start(rate, duration));
        let (arrivals, dropped) = pacer.unzip();
        let phase = Phase {
            request: Arc::clone(request),
            end: Instant::now() + duration,
            arrivals: arrivals.map(|arrivals| Arc::new(Mutex::new(arrivals))),
        };
        let mut workers = JoinSet::new();
        for connection in connections {
            workers.spawn(work(connection, phase.clone()));
        }
        let mut connections = Vec::new();
        let mut total = Tally::new()?;
        while let Some(worker) = workers.join_next().await {
            let (connection, tally) = worker??;
            connections.push(connection);
            total.add(&tally)?;
        }
        let dropped = dropped.map_or(0, |dropped| dropped.count());
        Ok((connections, total, dropped))
    }
}

/// Sends requests over one connection until the phase ends.
async fn work(mut connection: Connection, phase: Phase) -> anyhow::Result<(Connection, Tally)> {
    let mut tally = Tally::new()?;
    while let Some(arrived) = phase.next_arrival().await {
        let exchange = connection.exchange(&phase.request.bytes, arrived);
        match timeout(PATIENCE, exchange).await? {
            Ok(exchange) => tally.count(&exchange)?,
            Err(_lost) => tally.errors += 1,
        }
        if connection.has_ended() {
            connection = Connection::open(phase.request.addr).await?;
        }
    }
    Ok((connection, tally))
}

impl Phase {
    async fn next_arrival(&self) -> Option<Instant> {
        match &self.arrivals {
            Some(arrivals) => arrivals.lock().await.next().await,
            None => Some(Instant::now()).filter(|now| *now < self.end),
        }
    }
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        // They keep three digits and grow with what they record.
        Ok(Self {
            requests: 0,
            errors: 0,
            events: 0,
            body_bytes: 0,
            latency_us: Histogram::new(3)?,
            first_byte_us: Histogram::new(3)?,
        })
    }

    fn count(&mut self, exchange: &Exchange) -> anyhow::Result<()> {
        if exchange.status != 200 {
            self.errors += 1;
            return Ok(());
        }
        self.requests += 1;
        self.events += exchange.events;
        self.body_bytes += exchange.body_bytes;
        self.latency_us.record(micros(exchange.total))?;
        self.first_byte_us.record(micros(exchange.first_byte))?;
        Ok(())
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.requests += other.requests;
        self.errors += other.errors;
        self.events += other.events;
        self.body_bytes += other.body_bytes;
        self.latency_us.add(&other.latency_us)?;
        self.first_byte_us.add(&other.first_byte_us)?;
        Ok(())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "measured numbers are far below 2^52"
    )]
    fn report(&self, seconds: f64, before: Usage, after: Usage, connections: usize) -> Report {
        let cpu_us = after.cpu_us - before.cpu_us;
        let per = |count: u64| match count {
            0 => 0.0,
            count => cpu_us as f64 / count as f64,
        };
        Report {
            requests: self.requests,
            errors: self.errors,
            dropped: 0,
            events: self.events,
            body_bytes: self.body_bytes,
            seconds,
            requests_per_second: self.requests as f64 / seconds,
            latency_us: Latency::of(&self.latency_us),
            first_byte_us: Latency::of(&self.first_byte_us),
            cpu_us,
            cpu_us_at_end: after.cpu_us,
            cpu_us_per_request: per(self.requests),
            cpu_us_per_event: per(self.events),
            rss_bytes_before: before.rss_bytes,
            rss_bytes_after: after.rss_bytes,
            rss_bytes_per_connection: (after.rss_bytes as f64 - before.rss_bytes as f64)
                / connections.max(1) as f64,
        }
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
