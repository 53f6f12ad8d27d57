//! Access keys: `/admin/users/{user_id}/access-keys` and `/admin/access-keys`.
//!
//! A raw key is made here, shown in one answer, and kept nowhere.

use actix_web::{HttpResponse, delete, get, post, web};
use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use proto::access_key::{self, Hasher};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    State,
    body::{Body, line},
    error::{Code, Error, ErrorBody},
    users::{MAX_NAME_CHARS, found as found_user},
};
use crate::{
    fleet,
    store::{
        access_keys::{self, AccessKey, AccessKeyStatus, NewAccessKey},
        bedrock_keys,
        circuits::{self, WorstCircuit},
        users::{self, UserStatus},
    },
};

const DEFAULT_GRACE_SECONDS: i32 = 300;
const MAX_GRACE_SECONDS: i32 = 86_400;

#[derive(Debug, Serialize, ToSchema)]
struct AccessKeyList {
    items: Vec<AccessKeyWithCircuit>,
}

/// A key, and whether the proxies use the plan for it.
#[derive(Debug, Serialize, ToSchema)]
struct AccessKeyWithCircuit {
    #[serde(flatten)]
    access_key: AccessKey,
    /// Null: closed on all connected proxies.
    circuit: Option<WorstCircuit>,
}

/// A new key.
#[derive(Serialize, ToSchema)]
struct IssuedAccessKey {
    #[serde(flatten)]
    access_key: AccessKeyWithCircuit,
    /// What the developer needs. It cannot be read again.
    #[schema(example = "ak_…")]
    raw_key: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct IssueAccessKey {
    /// What the key is for.
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    /// The key is refused from then on; null for no end.
    expires_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RotateAccessKey {
    /// How long the old key works on; 300 when not given.
    #[schema(minimum = 0, maximum = 86400)]
    grace_seconds: Option<i32>,
}

/// List a user's access keys
///
/// Newest first, revoked ones too.
#[utoipa::path(
    operation_id = "list_access_keys",
    tag = "access keys",
    responses(
        (status = 200, description = "All keys", body = AccessKeyList),
        (status = 404, description = "No such user", body = ErrorBody),
    )
)]
#[get("/users/{user_id}/access-keys")]
pub(super) async fn list(
    state: web::Data<State>,
    user_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let mut connection = state.store.connection().await?;
    found_user(&mut connection, *user_id).await?;
    let keys = access_keys::of_user(&mut connection, *user_id).await?;
    let ids: Vec<Uuid> = keys.iter().map(|key| key.id).collect();
    let connected_since = fleet::connected_since(Utc::now());
    let mut circuits = circuits::worst(&mut connection, &ids, connected_since).await?;
    let items = keys
        .into_iter()
        .map(|access_key| AccessKeyWithCircuit {
            circuit: circuits.remove(&access_key.id),
            access_key,
        })
        .collect();
    Ok(HttpResponse::Ok().json(AccessKeyList { items }))
}

/// Issue an access key
///
/// The raw key is in this answer and nowhere else.
#[utoipa::path(
    operation_id = "issue_access_key",
    tag = "access keys",
    request_body = IssueAccessKey,
    responses(
        (status = 201, description = "Issued", body = IssuedAccessKey),
        (status = 404, description = "No such user", body = ErrorBody),
        (status = 409, description = "The user is not active", body = ErrorBody),
    )
)]
#[post("/users/{user_id}/access-keys")]
pub(super) async fn issue(
    state: web::Data<State>,
    user_id: web::Path<Uuid>,
    Body(issue): Body<IssueAccessKey>,
) -> Result<HttpResponse, Error> {
    let user_id = *user_id;
    let name = issue
        .name
        .map(|name| line("name", &name, MAX_NAME_CHARS))
        .transpose()?;
    let expires_at = issue.expires_at.map(in_the_future).transpose()?;
    let mut connection = state.store.connection().await?;
    let issued = connection
        .transaction(async |connection| {
            active_user(connection, user_id).await?;
            insert(
                connection,
                &state.hasher,
                user_id,
                name.as_deref(),
                expires_at,
            )
            .await
        })
        .await?;
    tracing::info!(%user_id, access_key_id = %issued.id(), "access_key.issued");
    Ok(HttpResponse::Created().json(issued))
}

/// Revoke an access key
///
/// It is refused by every connected proxy within a second. Its credential for
/// Bedrock is erased.
#[utoipa::path(
    operation_id = "revoke_access_key",
    tag = "access keys",
    responses(
        (status = 204, description = "Revoked"),
        (status = 404, description = "No such key", body = ErrorBody),
        (status = 409, description = "It is revoked already", body = ErrorBody),
    )
)]
#[delete("/access-keys/{access_key_id}")]
pub(super) async fn revoke(
    state: web::Data<State>,
    access_key_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let access_key_id = *access_key_id;
    let mut connection = state.store.connection().await?;
    connection
        .transaction(async |connection| {
            working(connection, access_key_id).await?;
            access_keys::revoke(connection, access_key_id).await?;
            Ok::<_, Error>(())
        })
        .await?;
    tracing::info!(%access_key_id, "access_key.revoked");
    Ok(HttpResponse::NoContent().finish())
}

/// Locks a key that works, until the end of the transaction.
pub(super) async fn working(
    connection: &mut AsyncPgConnection,
    access_key_id: Uuid,
) -> Result<(), Error> {
    let status = access_keys::lock(connection, access_key_id).await?;
    match status.ok_or(Code::AccessKeyNotFound)? {
        AccessKeyStatus::Revoked => Err(Code::AccessKeyAlreadyRevoked.into()),
        AccessKeyStatus::Active | AccessKeyStatus::Rotating => Ok(()),
    }
}

/// Rotate an access key
///
/// Answers a new key with the name, the end and the credential for Bedrock of
/// the old one, which works on for the grace period.
#[utoipa::path(
    operation_id = "rotate_access_key",
    tag = "access keys",
    request_body = RotateAccessKey,
    responses(
        (status = 200, description = "The new key", body = IssuedAccessKey),
        (status = 404, description = "No such key", body = ErrorBody),
        (status = 409, description = "The key or its user is not active", body = ErrorBody),
    )
)]
#[post("/access-keys/{access_key_id}/rotate")]
pub(super) async fn rotate(
    state: web::Data<State>,
    access_key_id: web::Path<Uuid>,
    Body(rotate): Body<RotateAccessKey>,
) -> Result<HttpResponse, Error> {
    let old_id = *access_key_id;
    let grace_seconds = rotate.grace_seconds.unwrap_or(DEFAULT_GRACE_SECONDS);
    if !(0..=MAX_GRACE_SECONDS).contains(&grace_seconds) {
        return Err(Error::with_message(
            Code::InvalidBody,
            format!("grace_seconds must be 0 to {MAX_GRACE_SECONDS}."),
        ));
    }
    let mut connection = state.store.connection().await?;
    let issued = connection
        .transaction(async |connection| {
            let old = found(connection, old_id).await?;
            // The user first, as everywhere: two orders could lock each other
            // out.
            active_user(connection, old.user_id).await?;
            let status = access_keys::lock(connection, old_id)
                .await?
                .ok_or(Code::AccessKeyNotFound)?;
            let is_over = old.expires_at.is_some_and(|end| end <= Utc::now());
            if status != AccessKeyStatus::Active || is_over {
                return Err(Code::AccessKeyNotActive.into());
            }
            let name = old.name.as_deref();
            let new = insert(connection, &state.hasher, old.user_id, name, old.expires_at).await?;
            // Before the old key ends, because its credential ends with it.
            let new_id = new.id();
            bedrock_keys::carry_over(connection, old_id, new_id).await?;
            if grace_seconds == 0 {
                access_keys::revoke(connection, old_id).await?;
            } else {
                access_keys::retire(connection, old_id, grace_seconds).await?;
            }
            Ok::<_, Error>(IssuedAccessKey::new(
                found(connection, new_id).await?,
                new.raw_key,
            ))
        })
        .await?;
    tracing::info!(
        access_key_id = %old_id,
        new_access_key_id = %issued.id(),
        grace_seconds,
        "access_key.rotated"
    );
    Ok(HttpResponse::Ok().json(issued))
}

impl IssuedAccessKey {
    fn new(access_key: AccessKey, raw_key: String) -> Self {
        let access_key = AccessKeyWithCircuit {
            access_key,
            // No proxy has met it yet.
            circuit: None,
        };
        Self {
            access_key,
            raw_key,
        }
    }

    fn id(&self) -> Uuid {
        self.access_key.access_key.id
    }
}

/// Makes a key from fresh randomness.
async fn insert(
    connection: &mut AsyncPgConnection,
    hasher: &Hasher,
    user_id: Uuid,
    name: Option<&str>,
    expires_at: Option<DateTime<Utc>>,
) -> Result<IssuedAccessKey, Error> {
    let raw_key = access_key::raw(&rand::random());
    let key_hash = hasher.hash(&raw_key);
    let id = Uuid::now_v7();
    let new = NewAccessKey {
        id,
        user_id,
        name,
        key_hash: key_hash.as_bytes(),
        key_prefix: raw_key.get(..access_key::SHOWN_LEN).unwrap_or_default(),
        expires_at,
    };
    access_keys::insert(connection, &new).await?;
    Ok(IssuedAccessKey::new(found(connection, id).await?, raw_key))
}

pub(super) async fn found(
    connection: &mut AsyncPgConnection,
    id: Uuid,
) -> Result<AccessKey, Error> {
    access_keys::find(connection, id)
        .await?
        .ok_or_else(|| Code::AccessKeyNotFound.into())
}

/// Holds the user's status until the transaction ends: a key must not appear
/// while its user is being deleted.
pub(super) async fn active_user(connection: &mut AsyncPgConnection, id: Uuid) -> Result<(), Error> {
    match users::lock(connection, id).await? {
        None => Err(Code::UserNotFound.into()),
        Some(UserStatus::Inactive) => Err(Code::UserNotActive.into()),
        Some(UserStatus::Active) => Ok(()),
    }
}

fn in_the_future(time: DateTime<Utc>) -> Result<DateTime<Utc>, Error> {
    use chrono::Datelike;
    if time <= Utc::now() || time.year() > 9999 {
        return Err(Error::with_message(
            Code::InvalidBody,
            "expires_at must be in the future.",
        ));
    }
    Ok(time)
}
