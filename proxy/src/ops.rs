//! For operators, on a port of their own: is it alive, does it take requests,
//! what does it count.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::Utc;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{counter, gauge};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    index::IndexHandle,
    request::{body::Buffers, record::Journal},
    route::circuits::Circuits,
    tasks::Tasks,
};

/// How often histograms are folded; in between their samples take memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// See `ingress.rs`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What operators are told from.
#[derive(Debug, Clone)]
pub struct Ops {
    pub index: Arc<IndexHandle>,
    pub journal: Arc<Journal>,
    pub buffers: Buffers,
    pub circuits: Arc<Circuits>,
    pub metrics: PrometheusHandle,
    pub max_staleness: Option<Duration>,
    pub draining: CancellationToken,
}

impl Ops {
    /// Serves until the tasks are told to stop.
    pub async fn run(self, listener: TcpListener, tasks: Tasks) {
        let mut upkeep = interval(UPKEEP);
        loop {
            tokio::select! {
                () = tasks.stopping() => return,
                _ = upkeep.tick() => self.metrics.run_upkeep(),
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => tasks.spawn(self.clone().serve(stream, tasks.clone())),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept an operator");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    async fn serve(self, stream: TcpStream, tasks: Tasks) {
        let service = service_fn(move |request: Request<Incoming>| {
            let response = self.answer(request.method(), request.uri().path());
            async move { Ok::<_, Infallible>(response.map(Full::new)) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            () = tasks.stopping() => {}
            result = connection => if let Err(error) = result {
                tracing::debug!(%error, "an operator's connection ended");
            },
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Bytes> {
        if method != Method::GET && method != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        }
        match path {
            "/livez" => text(StatusCode::OK, "alive\n"),
            "/readyz" => match self.unready() {
                None => text(StatusCode::OK, "ready\n"),
                Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason),
            },
            "/metrics" => {
                self.observe();
                text(StatusCode::OK, self.metrics.render())
            }
            _ => text(StatusCode::NOT_FOUND, "/livez, /readyz, /metrics\n"),
        }
    }

    fn unready(&self) -> Option<&'static str> {
        if self.draining.is_cancelled() {
            return Some("draining\n");
        }
        match (self.index.age(), self.max_staleness) {
            (None, _) => Some("no configuration from control yet\n"),
            (Some(age), Some(limit)) if age > limit => {
                Some("the configuration is older than PROXY_MAX_STALENESS\n")
            }
            _ => None,
        }
    }

    /// Brings the gauges up to date that nobody counts along.
    fn observe(&self) {
        let index = self.index.load();
        let revision = index.position().map_or(0, |position| position.revision);
        gauge!("proxy_index_revision").set(approximate(revision));
        gauge!("proxy_index_access_keys").set(approximate(index.access_keys() as u64));
        gauge!("proxy_rejected_resources").set(approximate(index.rejected().count() as u64));
        if let Some(age) = self.index.age() {
            gauge!("proxy_index_age_seconds").set(age.as_secs_f64());
        }
        let (open, half_open) = self.circuits.counts(Utc::now());
        gauge!("proxy_circuits", "state" => "open").set(approximate(open));
        gauge!("proxy_circuits", "state" => "half_open").set(approximate(half_open));
        let journal = &self.journal;
        gauge!("proxy_active_requests").set(approximate(journal.active()));
        gauge!("proxy_buffered_bytes").set(approximate(self.buffers.held_bytes() as u64));
        gauge!("proxy_outbox_events").set(approximate(journal.outbox.backlog().pending as u64));
        counter!("proxy_log_lines_dropped_total").absolute(journal.log.dropped());
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

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
