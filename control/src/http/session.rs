//! Name and password in, a session out: as a token for programs
//! (`/admin/auth/login`), as a cookie for the console (`/admin/session`).

use std::{sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use diesel_async::AsyncConnection;
use secrecy::SecretString;
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{self, Instant},
};
use utoipa::ToSchema;

use super::{
    State,
    auth::{self, Begun, Claims, SESSION, credentials, unchallenged},
    author::Author,
    error::{Code, Error, ErrorBody},
    origin::Origin,
    throttle::{Throttle, Throttled},
};
use crate::{
    audit::{Entry, Object},
    store::{
        audit_log::{AuditAction, AuditObjectKind},
        ended_sessions,
    },
    telemetry::metrics,
};

/// Each check of a password takes a core and 19 MiB for some 50 ms.
const MAX_CHECKS: usize = 2;
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Who tries another name may have typed a password there, so it is not written down.
const UNKNOWN: &str = "unknown";

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

/// A session in the console.
#[derive(Debug, Serialize, ToSchema)]
struct ConsoleSession {
    username: String,
    /// After that, everything is answered with `session_expired`.
    expires_at: DateTime<Utc>,
}

impl From<Claims> for ConsoleSession {
    fn from(claims: Claims) -> Self {
        Self {
            expires_at: claims.expires_at(),
            username: claims.sub,
        }
    }
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
    let begun = sign_in(&request, &state).await?;
    Ok(HttpResponse::Ok().json(Session {
        access_token: begun.token,
        token_type: "bearer",
        expires_in: SESSION.as_secs(),
    }))
}

/// Sign in to the console
///
/// Name and password come as HTTP Basic; the session is in a cookie that scripts cannot
/// read. With it, whatever changes something needs the header `x-requested-with` too.
#[utoipa::path(
    operation_id = "begin_session",
    tag = "session",
    security(("basic" = [])),
    responses(
        (status = 200, description = "Signed in", body = ConsoleSession),
        (status = 401, description = "Name or password is wrong", body = ErrorBody),
        (status = 429, description = "Too many failed logins", body = ErrorBody),
        (status = 503, description = "Too many logins wait to be checked, or the database is away", body = ErrorBody),
    )
)]
#[post("/admin/session")]
pub(super) async fn begin(
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Error> {
    let begun = sign_in(&request, &state).await?;
    Ok(HttpResponse::Ok()
        .cookie(auth::cookie(&request, &begun.token))
        .json(ConsoleSession::from(begun.claims)))
}

/// Read who is signed in
#[utoipa::path(
    operation_id = "read_session",
    tag = "session",
    security(()),
    responses(
        (status = 200, description = "The session", body = ConsoleSession),
        (status = 204, description = "Nobody is signed in"),
        (status = 503, description = "The database cannot be used now", body = ErrorBody),
    )
)]
#[get("/admin/session")]
pub(super) async fn read(
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Error> {
    match auth::session(&state, &request).await {
        Ok(claims) => Ok(HttpResponse::Ok().json(ConsoleSession::from(claims))),
        Err(error) if is_signed_out(&error) => Ok(HttpResponse::NoContent().finish()),
        Err(error) => Err(error),
    }
}

/// Sign out
///
/// Ends the session that the request is of, wherever it is used, and takes the cookie
/// away.
#[utoipa::path(
    operation_id = "end_session",
    tag = "session",
    security(()),
    responses(
        (status = 204, description = "Nobody is signed in any more"),
        (status = 403, description = "Another site's page has asked for it", body = ErrorBody),
        (status = 503, description = "The database cannot be used now", body = ErrorBody),
    )
)]
#[delete("/admin/session")]
pub(super) async fn end(
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Error> {
    match auth::session(&state, &request).await {
        Ok(claims) => sign_out(&request, &state, claims).await?,
        Err(error) if is_signed_out(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(HttpResponse::NoContent()
        .cookie(auth::no_cookie(&request))
        .finish())
}

fn is_signed_out(error: &Error) -> bool {
    matches!(error.code(), Code::NotSignedIn | Code::SessionExpired)
}

async fn sign_out(request: &HttpRequest, state: &State, claims: Claims) -> Result<(), Error> {
    let (id, expires_at) = (claims.jti, claims.expires_at());
    let author = Author {
        name: claims.sub,
        origin: Origin::of(request),
    };
    let mut connection = state.store.connection().await?;
    connection
        .transaction(async |connection| {
            if ended_sessions::insert(connection, id, expires_at).await? {
                author
                    .note(connection, &entry(AuditAction::SessionEnded, &author.name))
                    .await?;
            }
            Ok::<_, Error>(())
        })
        .await
}

/// A session for who knows name and password.
async fn sign_in(request: &HttpRequest, state: &State) -> Result<Begun, Error> {
    let outcome = check(request, state).await;
    metrics::login(label(&outcome));
    outcome.map_err(|error| unchallenged(request.headers(), error))
}

async fn check(request: &HttpRequest, state: &State) -> Result<Begun, Error> {
    let origin = Origin::of(request);
    let address = origin.address;
    let (username, password) = basic(request).ok_or(Code::WrongCredentials)?;
    // What cannot be written down is not done.
    if !state.readiness.is_migrated() {
        return Err(Code::Starting.into());
    }
    let logins = &state.logins;
    // Who is held back anyway takes no turn; who has one may be held back by
    // then.
    logins.throttle.ask(address, Instant::now())?;
    let turn = turn(&logins.checks, CHECK_TIMEOUT).await?;
    logins.throttle.begin(address, Instant::now())?;
    let sessions = state.sessions.clone();
    let is_username = username == sessions.username();
    // The turn ends with the check, also when nobody waits for it any more.
    let is_administrator = web::block(move || {
        let _turn = turn;
        sessions.is_administrator(&username, &password)
    });
    let is_administrator = is_administrator
        .await
        .map_err(|_cancelled| Code::Internal)?;
    let name = if is_username {
        state.sessions.username()
    } else {
        UNKNOWN
    };
    let author = Author {
        name: name.to_owned(),
        origin,
    };
    if !is_administrator {
        tracing::warn!(?address, "login.refused");
        note_refusal(state, &author).await;
        return Err(Code::WrongCredentials.into());
    }
    logins.throttle.succeeded(address);
    let begun = state.sessions.begin()?;
    let mut connection = state.store.connection().await?;
    let entry = entry(AuditAction::SessionBegun, &author.name);
    author.note(&mut connection, &entry).await?;
    Ok(begun)
}

/// A wrong password is refused whether that can be written down or not.
async fn note_refusal(state: &State, author: &Author) {
    let note = async {
        let mut connection = state.store.connection().await?;
        let entry = entry(AuditAction::SessionRefused, &author.name);
        author.note(&mut connection, &entry).await
    };
    if let Err(error) = note.await {
        tracing::warn!(%error, "login.refusal_not_noted");
    }
}

fn entry(action: AuditAction, username: &str) -> Entry {
    Entry::done(action, Object::named(AuditObjectKind::Session, username))
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

fn label(outcome: &Result<Begun, Error>) -> &'static str {
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
