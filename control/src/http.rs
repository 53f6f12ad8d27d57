//! The admin API and the console: middleware, and the one table of routes.
//!
//! Handlers are thin: they check what came in, call `store`, and shape what goes
//! out. Everything below `/admin` but the login needs a session.

mod access_keys;
mod audit_log;
mod auth;
mod author;
mod bedrock_keys;
mod body;
mod budgets;
mod circuits;
mod console;
mod error;
mod head;
mod health;
mod hs256;
mod model_capabilities;
mod model_mappings;
mod observe;
mod openapi;
mod origin;
mod page;
mod pricing;
mod proxies;
mod query;
mod session;
mod settings;
mod throttle;
mod usage;
mod users;

use std::{net::TcpListener, sync::Arc, time::Duration};

use ::telemetry::trace::Spans;
use actix_web::{
    App, HttpServer,
    dev::{Server, ServerHandle},
    middleware::{DefaultHeaders, from_fn},
    web,
};
use chrono_tz::Tz;
use proto::access_key::Hasher;
use utoipa_actix_web::{AppExt, scope, service_config::ServiceConfig};

pub use self::{auth::Sessions, openapi::document, session::Logins};
use crate::{
    alerts::Alerts, bedrock::Bedrock, pricing::Pricing, readiness::Readiness, sealing::Sealer,
    store::Store,
};

/// Requests are small; larger ones are refused before they are read.
const MAX_BODY_BYTES: usize = 1 << 20;

/// One administrator does not need more.
const WORKERS: usize = 2;

/// A load balancer keeps connections idle for minutes, and must be the one that closes
/// them: the next request would meet a closed one.
const KEEP_ALIVE: Duration = Duration::from_secs(400);

/// A connection that sends no complete head within this time is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What the handlers work with.
#[derive(Debug)]
pub struct State {
    pub store: Store,
    pub hasher: Hasher,
    pub sessions: Sessions,
    pub logins: Logins,
    pub readiness: Readiness,
    /// None: no credential can be registered.
    pub sealer: Option<Sealer>,
    pub verifier: Bedrock,
    pub bedrock: crate::settings::Bedrock,
    pub pricing: Pricing,
    pub alerts: Alerts,
    /// Of months and days in budgets and reports.
    pub timezone: Tz,
    /// Where developers reach the proxies.
    pub public_url: String,
    /// How many of them stand before the admin API.
    pub load_balancers: usize,
    pub spans: Spans,
}

/// Starts serving; the handle stops it.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(state: Arc<State>, listener: TcpListener) -> anyhow::Result<(Server, ServerHandle)> {
    let console = web::Data::new(console::Console::new());
    let document = web::Data::new(openapi::Document::new());
    let state = web::Data::from(state);
    let server = HttpServer::new(move || {
        App::new()
            .into_utoipa_app()
            .configure(routes)
            .map(|app| {
                app.app_data(state.clone())
                    .app_data(console.clone())
                    .app_data(document.clone())
                    .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
                    .app_data(web::PathConfig::default().error_handler(error::bad_path))
                    .default_service(web::to(console::serve))
                    .wrap(
                        DefaultHeaders::new()
                            .add(("cache-control", "no-store"))
                            .add((
                                "content-security-policy",
                                "default-src 'none'; frame-ancestors 'none'",
                            ))
                            .add(("referrer-policy", "no-referrer"))
                            .add(("x-content-type-options", "nosniff"))
                            .add(("x-frame-options", "DENY")),
                    )
                    .wrap(from_fn(head::read))
                    .wrap(from_fn(observe::observe))
            })
            .into_app()
    })
    .workers(WORKERS)
    .client_request_timeout(HEAD_TIMEOUT)
    .keep_alive(KEEP_ALIVE)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    Ok((server, handle))
}

/// Every route of the API.
fn routes(config: &mut ServiceConfig<'_>) {
    config
        .service(health::health)
        .service(openapi::serve)
        .service(session::login)
        .service(session::begin)
        .service(session::read)
        .service(session::end)
        .service(
            scope("/admin")
                .wrap(from_fn(auth::require))
                .service(users::list)
                .service(users::create)
                .service(users::read)
                .service(users::change)
                .service(users::route)
                .service(users::delete)
                .service(users::deactivate)
                .service(users::reactivate)
                .service(access_keys::list)
                .service(access_keys::issue)
                .service(access_keys::change)
                .service(access_keys::revoke)
                .service(access_keys::rotate)
                .service(bedrock_keys::register)
                .service(bedrock_keys::verify_only)
                .service(bedrock_keys::read)
                .service(bedrock_keys::delete)
                .service(circuits::list)
                .service(circuits::of_access_key)
                .service(circuits::reset)
                .service(model_mappings::list)
                .service(model_mappings::create)
                .service(model_mappings::read)
                .service(model_mappings::change)
                .service(model_mappings::delete)
                .service(model_capabilities::list)
                .service(model_capabilities::delete)
                .service(model_capabilities::delete_all)
                .service(budgets::read)
                .service(budgets::put)
                .service(budgets::alerts)
                .service(usage::read)
                .service(usage::requests::list)
                .service(usage::top_users::list)
                .service(usage::top_users::series)
                .service(usage::sessions::list)
                .service(usage::export::export)
                .service(proxies::list)
                .service(audit_log::list)
                .service(settings::read),
        )
        .service(
            scope("/api/pricing")
                .wrap(from_fn(auth::require))
                .service(pricing::list)
                .service(pricing::reload),
        );
}
