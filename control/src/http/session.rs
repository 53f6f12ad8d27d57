//! `/admin/auth`: name and password in, token out.

use std::{net::IpAddr, sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::header, post, web};
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::SecretString;
use serde::Serialize;
use tokio::{sync::Semaphore, time::Instant};
use utoipa::ToSchema;

use super::{
    State,
    auth::SESSION,
    error::{Code, Error, ErrorBody},
    throttle::Throttle,
};
use crate::telemetry::metrics;

/// Each check of a password takes a core and 19 MiB for some 50 ms.
const MAX_CHECKS: usize = 2;
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// A session.
#[derive(Debug, Serialize, ToSchema)]
struct Session {
    /// To be sent as `Authorization: Bearer …`.
    access_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// In seconds.
    expires_in: u64,
}

/// What holds guessing back.
#[derive(Debug)]
pub struct Logins {
    checks: Arc<Semaphore>,
    throttle: Throttle,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            checks: Arc::new(Semaphore::new(MAX_CHECKS)),
            throttle: Throttle::default(),
        }
    }
}

/// Sign in
///
/// Name and password come as HTTP Basic; the token that is answered opens
/// everything else for eight hours.
#[utoipa::path(
    operation_id = "sign_in",
    tag = "session",
    security(("basic" = [])),
    responses(
        (status = 200, description = "Signed in", body = Session),
        (status = 401, description = "Name or password is wrong", body = ErrorBody),
        (status = 429, description = "Too many failed logins", body = ErrorBody),
    )
)]
#[post("/admin/auth/login")]
pub(super) async fn login(
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Error> {
    let address = request.peer_addr().map(|address| address.ip());
    if let Some(wait) =
        address.and_then(|address| state.logins.throttle.wait(address, Instant::now()))
    {
        metrics::login("throttled");
        return Err(Error::too_many_attempts(wait.as_secs().saturating_add(1)));
    }
    let Some((username, password)) = basic(&request) else {
        return Err(Code::WrongCredentials.into());
    };
    if !is_administrator(&state, username, password).await? {
        refused(&state.logins, address);
        return Err(Code::WrongCredentials.into());
    }
    metrics::login("ok");
    Ok(HttpResponse::Ok().json(Session {
        access_token: state.sessions.begin()?,
        token_type: "bearer",
        expires_in: SESSION.as_secs(),
    }))
}

/// Name and password from the header.
fn basic(request: &HttpRequest) -> Option<(String, SecretString)> {
    let value = request.headers().get(header::AUTHORIZATION)?;
    let encoded = value.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), SecretString::from(password)))
}

/// Checks on a thread that may take its time, a few at once.
async fn is_administrator(
    state: &web::Data<State>,
    username: String,
    password: SecretString,
) -> Result<bool, Error> {
    let turn = Arc::clone(&state.logins.checks).acquire_owned();
    let Ok(Ok(turn)) = tokio::time::timeout(CHECK_TIMEOUT, turn).await else {
        return Err(Error::too_many_attempts(CHECK_TIMEOUT.as_secs()));
    };
    let sessions = state.sessions.clone();
    // The turn ends with the check, also when nobody waits for it any more.
    web::block(move || {
        let _turn = turn;
        sessions.is_administrator(&username, &password)
    })
    .await
    .map_err(|_cancelled| Code::Internal.into())
}

fn refused(logins: &Logins, address: Option<IpAddr>) {
    metrics::login("refused");
    tracing::warn!(?address, "login.refused");
    if let Some(address) = address {
        logins.throttle.failed(address, Instant::now());
    }
}
