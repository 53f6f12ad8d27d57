//! The operators' port: probes and metrics, for nobody else.

use std::net::TcpListener;

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::{Server, ServerHandle},
    web,
};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::{
    readiness::Readiness,
    store::Store,
    telemetry::{self, metrics},
};

/// Starts serving; the handle stops it.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(
    readiness: Readiness,
    store: Store,
    listener: TcpListener,
) -> anyhow::Result<(Server, ServerHandle)> {
    let recorder = telemetry::recorder()?;
    let readiness = web::Data::new(readiness);
    let store = web::Data::new(store);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(readiness.clone())
            .app_data(store.clone())
            .app_data(web::Data::new(recorder))
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
    recorder: web::Data<&'static PrometheusHandle>,
    store: web::Data<Store>,
) -> HttpResponse {
    let (open, idle) = store.pool_use();
    metrics::database_connections(open.saturating_sub(idle), idle);
    recorder.run_upkeep();
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4")
        .body(recorder.render())
}
