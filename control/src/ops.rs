//! The operators' port: probes and metrics, for nobody else.

use std::{
    io::{self, Write},
    net::TcpListener,
    time::{Duration, SystemTime},
};

use ::telemetry::recorder::Recording;
use actix_web::{
    App, HttpResponse, HttpServer,
    dev::{Server, ServerHandle},
    web,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time;

use crate::{readiness::Readiness, store::Store, telemetry::metrics};

/// CloudWatch's own resolution.
const INTERVAL: Duration = Duration::from_secs(60);

/// Starts serving; the handle stops it.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(
    readiness: Readiness,
    store: Store,
    recording: &'static Recording,
    listener: TcpListener,
) -> anyhow::Result<(Server, ServerHandle)> {
    let readiness = web::Data::new(readiness);
    let store = web::Data::new(store);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(readiness.clone())
            .app_data(store.clone())
            .app_data(web::Data::new(&recording.prometheus))
            .route("/livez", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(render))
    })
    .workers(1)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    Ok((server, handle))
}

/// The process answers.
async fn livez() -> HttpResponse {
    HttpResponse::Ok().body("ok\n")
}

/// The tables are there, and the database has answered lately.
async fn readyz(readiness: web::Data<Readiness>) -> HttpResponse {
    if readiness.is_ready() {
        return HttpResponse::Ok().body("ok\n");
    }
    HttpResponse::ServiceUnavailable().body("waiting for the database\n")
}

async fn render(
    prometheus: web::Data<&'static PrometheusHandle>,
    store: web::Data<Store>,
) -> HttpResponse {
    observe(&store);
    prometheus.run_upkeep();
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4")
        .body(prometheus.render())
}

fn observe(store: &Store) {
    let (open, idle) = store.pool_use();
    metrics::database_connections(open.saturating_sub(idle), idle);
}

/// Brings up to date what nobody counts along, for those who do not ask, and tells
/// CloudWatch.
pub async fn tell(recording: &'static Recording, store: Store) {
    let mut interval = time::interval(INTERVAL);
    loop {
        interval.tick().await;
        observe(&store);
        recording.prometheus.run_upkeep();
        tell_cloudwatch(recording);
    }
}

/// What has been recorded since the last call.
pub fn tell_cloudwatch(recording: &Recording) {
    if let Some(cloudwatch) = &recording.cloudwatch {
        let lines = cloudwatch.lines(SystemTime::now());
        if let Err(error) = io::stdout().lock().write_all(&lines) {
            tracing::warn!(%error, "cloudwatch.not_told");
        }
    }
}
