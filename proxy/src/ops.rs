//! For operators, on a port of their own: is it alive, does it take requests,
//! what does it count.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ::telemetry::recorder::Recording;
use bytes::Bytes;
use chrono::Utc;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
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
    telemetry::metrics::State,
};

/// How often histograms are folded, whose samples take memory in between, and what
/// nobody counts along is looked at, for those who do not ask.
const UPKEEP: Duration = Duration::from_secs(5);

/// CloudWatch's own resolution.
const CLOUDWATCH_INTERVAL: Duration = Duration::from_secs(60);

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
    pub recording: Recording,
    pub max_staleness: Option<Duration>,
    pub draining: CancellationToken,
}

impl Ops {
    /// Serves until the tasks are told to stop.
    pub async fn run(self, listener: TcpListener, tasks: Tasks) {
        let mut upkeep = interval(UPKEEP);
        let mut cloudwatch = interval(CLOUDWATCH_INTERVAL);
        loop {
            tokio::select! {
                () = tasks.stopping() => return self.tell_cloudwatch(),
                _ = upkeep.tick() => {
                    self.recording.prometheus.run_upkeep();
                    self.observe();
                }
                _ = cloudwatch.tick() => self.tell_cloudwatch(),
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
                text(StatusCode::OK, self.recording.prometheus.render())
            }
            _ => text(StatusCode::NOT_FOUND, "/livez, /readyz, /metrics\n"),
        }
    }

    fn unready(&self) -> Option<&'static str> {
        if self.draining.is_cancelled() {
            return Some("draining\n");
        }
        if self.index.age().is_none() {
            return Some("no configuration from control yet\n");
        }
        self.index
            .is_older_than(self.max_staleness)
            .then_some("the configuration is older than PROXY_MAX_STALENESS\n")
    }

    /// Brings up to date what nobody counts along.
    fn observe(&self) {
        let index = self.index.load();
        let (open, half_open) = self.circuits.counts(Utc::now());
        State {
            index_revision: index.position().map_or(0, |position| position.revision),
            index_access_keys: index.access_keys(),
            index_age: self.index.age(),
            rejected_resources: index.rejected().count(),
            open_circuits: open,
            half_open_circuits: half_open,
            active_requests: self.journal.active(),
            buffered_bytes: self.buffers.held_bytes(),
            outbox_events: self.journal.outbox.backlog().pending,
            log_lines_dropped: self.journal.log.dropped(),
        }
        .tell();
    }

    /// What CloudWatch gets of the time since the last call.
    fn tell_cloudwatch(&self) {
        if let Some(cloudwatch) = &self.recording.cloudwatch {
            self.observe();
            self.journal.log.lines(&cloudwatch.lines(SystemTime::now()));
        }
    }
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
