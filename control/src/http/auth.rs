//! Who may use the admin API: one administrator, known by name and password,
//! then by a signed token.

use std::{fmt, time::Duration};

use actix_web::{
    HttpMessage, HttpRequest, ResponseError,
    body::MessageBody,
    cookie::{Cookie, SameSite, time},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap},
    },
    middleware::Next,
    web,
};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::{
    State,
    author::Author,
    error::{Code, Error},
    hs256,
    origin::Origin,
};
use crate::{password::PasswordHash, settings::Admin, store::ended_sessions};

/// A working day.
pub(super) const SESSION: Duration = Duration::from_hours(8);

pub(super) const COOKIE: &str = "session";

/// The console sends it with every request. Other sites' pages could not, unless we
/// allowed them to.
const REQUESTED_WITH: &str = "x-requested-with";

/// Makes and checks the administrator's credentials.
#[derive(Clone)]
pub struct Sessions {
    username: String,
    password_hash: PasswordHash,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The administrator's name.
    pub(super) sub: String,
    /// The session.
    pub(super) jti: Uuid,
    iat: i64,
    exp: i64,
}

/// A session that has just begun.
pub(super) struct Begun {
    pub(super) token: String,
    pub(super) claims: Claims,
}

impl Claims {
    pub(super) fn expires_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.exp, 0).unwrap_or_default()
    }
}

impl Sessions {
    /// # Errors
    /// Never in practice: HMAC takes keys of every length.
    pub fn new(admin: &Admin) -> anyhow::Result<Self> {
        hs256::install();
        // Tied to name and password: a change of either ends the sessions that
        // were begun before it.
        let mut key = Hmac::<Sha256>::new_from_slice(admin.jwt_secret.expose_secret().as_bytes())?;
        key.update(admin.admin_username.as_bytes());
        key.update(b"\0");
        key.update(admin.admin_password_hash.to_string().as_bytes());
        let key = key.finalize().into_bytes();
        Ok(Self {
            username: admin.admin_username.clone(),
            password_hash: admin.admin_password_hash.clone(),
            encoding: EncodingKey::from_secret(&key),
            decoding: DecodingKey::from_secret(&key),
        })
    }

    /// Slow on purpose, and as slow for a wrong name as for a wrong password.
    pub(super) fn is_administrator(&self, username: &str, password: &SecretString) -> bool {
        let is_name = Sha256::digest(username).ct_eq(&Sha256::digest(&self.username));
        let is_password = self.password_hash.verify(password);
        bool::from(is_name) & is_password
    }

    pub(super) fn username(&self) -> &str {
        &self.username
    }

    /// A token for [`SESSION`].
    pub(super) fn begin(&self) -> Result<Begun, Error> {
        let now = Utc::now().timestamp();
        let claims = Claims {
            sub: self.username.clone(),
            jti: Uuid::new_v4(),
            iat: now,
            exp: now.saturating_add(i64::try_from(SESSION.as_secs()).unwrap_or(0)),
        };
        let token =
            jsonwebtoken::encode(&Header::default(), &claims, &self.encoding).map_err(|error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "session.not_signed"
                );
                Error::from(Code::Internal)
            })?;
        Ok(Begun { token, claims })
    }

    /// What a token of ours says, if it has not ended.
    fn open(&self, token: &str) -> Result<Claims, Code> {
        let validation = Validation {
            leeway: 0,
            ..Validation::default()
        };
        match jsonwebtoken::decode(token, &self.decoding, &validation) {
            Ok(token) => Ok(token.claims),
            Err(error) => Err(match error.kind() {
                ErrorKind::ExpiredSignature => Code::SessionExpired,
                _ => Code::NotSignedIn,
            }),
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

/// What the `Authorization` header holds, if it is of this scheme; its case does
/// not matter (RFC 9110, 11.1).
pub(super) fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (named, credentials) = value.split_once(' ')?;
    named
        .eq_ignore_ascii_case(scheme)
        .then_some(credentials.trim_ascii())
}

/// The cookie that carries a session; scripts cannot read it, and other sites' pages
/// do not send it.
pub(super) fn cookie(request: &HttpRequest, token: &str) -> Cookie<'static> {
    let max_age = time::Duration::seconds(i64::try_from(SESSION.as_secs()).unwrap_or(0));
    Cookie::build(COOKIE, token.to_owned())
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(request.connection_info().scheme() == "https")
        .max_age(max_age)
        .finish()
}

/// Takes it away.
pub(super) fn no_cookie(request: &HttpRequest) -> Cookie<'static> {
    let mut cookie = cookie(request, "");
    cookie.make_removal();
    cookie
}

/// The console asks for the password itself; a browser that saw a challenge would ask
/// too, and hold the answer back until then.
pub(super) fn unchallenged(headers: &HeaderMap, error: Error) -> Error {
    if headers.contains_key(REQUESTED_WITH) {
        return error.without_challenge();
    }
    error
}

/// Whose session a request is of.
pub(super) async fn session(state: &State, request: &HttpRequest) -> Result<Claims, Error> {
    let bearer = credentials(request.headers(), "Bearer").map(str::to_owned);
    let has_bearer = bearer.is_some();
    let token = bearer.or_else(|| Some(request.cookie(COOKIE)?.value().to_owned()));
    let claims = state.sessions.open(&token.ok_or(Code::NotSignedIn)?)?;
    if !has_bearer && !is_ours(request) {
        return Err(Code::CrossSiteRequest.into());
    }
    if !state.readiness.is_migrated() {
        return Err(Code::Starting.into());
    }
    let mut connection = state.store.connection().await?;
    if ended_sessions::contains(&mut connection, claims.jti).await? {
        return Err(Code::NotSignedIn.into());
    }
    Ok(claims)
}

/// Whether a request with the cookie was made by our own console: browsers add the
/// cookie by themselves, so that it does not say so.
fn is_ours(request: &HttpRequest) -> bool {
    let is_read = *request.method() == Method::GET;
    let site = request.headers().get("sec-fetch-site");
    let is_elsewhere = site.is_some_and(|site| site != "same-origin" && site != "none");
    is_read || (request.headers().contains_key(REQUESTED_WITH) && !is_elsewhere)
}

/// Lets a request through that is of a session, once there are tables to work with.
pub(super) async fn require(
    state: web::Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let claims = match session(&state, request.request()).await {
        Ok(claims) => claims,
        Err(error) => {
            let error = unchallenged(request.headers(), error);
            return Ok(request.into_response(error.error_response()));
        }
    };
    let author = Author {
        name: claims.sub,
        origin: Origin::of(request.request()),
    };
    request.extensions_mut().insert(author);
    Ok(next.call(request).await?.map_into_boxed_body())
}
