//! Who may use the admin API: one administrator, known by name and password,
//! then by a signed token.

use std::{fmt, time::Duration};

use actix_web::{
    ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderMap},
    middleware::Next,
    web,
};
use chrono::Utc;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    State,
    error::{Code, Error},
    hs256,
};
use crate::{password::PasswordHash, settings::Admin};

/// A working day.
pub(super) const SESSION: Duration = Duration::from_hours(8);

/// Makes and checks the administrator's credentials.
#[derive(Clone)]
pub struct Sessions {
    username: String,
    password_hash: PasswordHash,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    iat: i64,
    exp: i64,
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

    /// A token for [`SESSION`].
    pub(super) fn begin(&self) -> Result<String, Error> {
        let now = Utc::now().timestamp();
        let claims = Claims {
            sub: self.username.clone(),
            iat: now,
            exp: now.saturating_add(i64::try_from(SESSION.as_secs()).unwrap_or(0)),
        };
        jsonwebtoken::encode(&Header::default(), &claims, &self.encoding).map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "session.not_signed"
            );
            Code::Internal.into()
        })
    }

    fn is_valid(&self, token: &str) -> bool {
        let validation = Validation {
            leeway: 0,
            ..Validation::default()
        };
        jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).is_ok()
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

/// Lets a request through that carries a valid token, once there are tables to
/// work with.
pub(super) async fn require(
    state: web::Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let token = credentials(request.headers(), "Bearer");
    let refusal = if !token.is_some_and(|token| state.sessions.is_valid(token)) {
        Code::NotSignedIn
    } else if !state.readiness.is_migrated() {
        Code::Starting
    } else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let response = Error::from(refusal).error_response();
    Ok(request.into_response(response))
}
