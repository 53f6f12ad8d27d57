//! `/admin/auth`: name and password in, token out.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, post, web};
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::SecretString;
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{self, Instant},
};
use utoipa::ToSchema;

use super::{
    State,
    auth::{SESSION, credentials},
    error::{Code, Error, ErrorBody},
    throttle::{Throttle, Throttled},
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
        (status = 503, description = "Too many logins wait to be checked", body = ErrorBody),
    )
)]
#[post("/admin/auth/login")]
pub(super) async fn login(
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Error> {
    let outcome = sign_in(&request, &state).await;
    metrics::login(label(&outcome));
    let token = outcome.map_err(|error| {
        // Our console asks for the password itself; a browser that saw the
        // challenge would ask too, and hold the answer back until then.
        if request.headers().contains_key("x-requested-with") {
            error.without_challenge()
        } else {
            error
        }
    })?;
    Ok(HttpResponse::Ok().json(Session {
        access_token: token,
        token_type: "bearer",
        expires_in: SESSION.as_secs(),
    }))
}

/// A token for who knows name and password.
async fn sign_in(request: &HttpRequest, state: &State) -> Result<String, Error> {
    let address = request
        .peer_addr()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    let (username, password) = basic(request).ok_or(Code::WrongCredentials)?;
    let logins = &state.logins;
    // Who is held back anyway takes no turn; who has one may be held back by
    // then.
    logins.throttle.ask(address, Instant::now())?;
    let turn = turn(&logins.checks, CHECK_TIMEOUT).await?;
    logins.throttle.begin(address, Instant::now())?;
    let sessions = state.sessions.clone();
    // The turn ends with the check, also when nobody waits for it any more.
    let is_administrator = web::block(move || {
        let _turn = turn;
        sessions.is_administrator(&username, &password)
    });
    if !is_administrator
        .await
        .map_err(|_cancelled| Code::Internal)?
    {
        tracing::warn!(?address, "login.refused");
        return Err(Code::WrongCredentials.into());
    }
    logins.throttle.succeeded(address);
    state.sessions.begin()
}

/// Name and password from the header.
fn basic(request: &HttpRequest) -> Option<(String, SecretString)> {
    let encoded = credentials(request.headers(), "Basic")?;
    let decoded = STANDARD.decode(encoded).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), SecretString::from(password)))
}

/// A turn to check a password, of which there are a few at once.
async fn turn(checks: &Arc<Semaphore>, patience: Duration) -> Result<OwnedSemaphorePermit, Error> {
    match time::timeout(patience, Arc::clone(checks).acquire_owned()).await {
        Ok(Ok(turn)) => Ok(turn),
        _ => Err(Error::retry_after(Code::LoginsBusy, patience.as_secs())),
    }
}

fn label(outcome: &Result<String, Error>) -> &'static str {
    match outcome.as_ref().map_err(Error::code) {
        Ok(_) => "ok",
        Err(Code::WrongCredentials) => "refused",
        Err(Code::TooManyAttempts) => "throttled",
        Err(Code::LoginsBusy) => "busy",
        Err(_) => "failed",
    }
}

impl From<Throttled> for Error {
    fn from(Throttled(wait): Throttled) -> Self {
        Self::retry_after(Code::TooManyAttempts, wait.as_secs().saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_gets_no_turn_is_told_that_we_are_busy() {
        let checks = Arc::new(Semaphore::new(1));
        let taken = turn(&checks, CHECK_TIMEOUT).await.unwrap();
        let refusal = turn(&checks, Duration::ZERO).await.unwrap_err();
        assert_eq!(refusal.code(), Code::LoginsBusy);
        drop(taken);
        assert!(turn(&checks, Duration::ZERO).await.is_ok());
    }
}
