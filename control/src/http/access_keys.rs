//! Access keys: `/admin/users/{user_id}/access-keys` and `/admin/access-keys`.
//!
//! A raw key is made here, shown in one answer, and kept nowhere.

use std::collections::HashMap;

use actix_web::{HttpResponse, delete, get, patch, post, web};
use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use proto::{
    access_key::{self, Hasher},
    region,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    State,
    author::Author,
    body::{Body, line, present, token},
    error::{Code, Error, ErrorBody},
    users::{MAX_NAME_CHARS, found as found_user},
};
use crate::{
    audit::{self, Entry, Object},
    fleet,
    store::{
        access_keys::{self, AccessKey, AccessKeyPatch, AccessKeyStatus, NewAccessKey},
        audit_log::AuditAction,
        bedrock_keys::{self, BedrockKey},
        circuits::{self, WorstCircuit},
        users::{self, UserStatus},
    },
};

pub(super) const DEFAULT_GRACE_SECONDS: i32 = 300;
const MAX_GRACE_SECONDS: i32 = 86_400;
const MAX_MODEL_CHARS: usize = 256;

#[derive(Debug, Serialize, ToSchema)]
struct AccessKeyList {
    items: Vec<AccessKeyWithCircuit>,
}

/// A key, its credential for Bedrock, and whether the proxies use the plan for it.
#[derive(Debug, Serialize, ToSchema)]
struct AccessKeyWithCircuit {
    #[serde(flatten)]
    access_key: AccessKey,
    /// Null: none is registered.
    bedrock_key: Option<BedrockKey>,
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
    /// The region of a credential for Bedrock that is registered without one.
    #[schema(example = "ap-northeast-2")]
    bedrock_region: Option<String>,
    /// What the key's developer is told to ask for.
    #[schema(min_length = 1, max_length = 256, example = "claude-sonnet-4-5")]
    model: Option<String>,
}

/// Fields that are absent stay as they are; null takes away what they say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeAccessKey {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    name: Option<Option<String>>,
    /// In force on every connected proxy within a second.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    expires_at: Option<Option<DateTime<Utc>>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    bedrock_region: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256)]
    model: Option<Option<String>>,
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
    let items = with_circuits(&mut connection, keys).await?;
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
    author: Author,
    user_id: web::Path<Uuid>,
    Body(issue): Body<IssueAccessKey>,
) -> Result<HttpResponse, Error> {
    let user_id = *user_id;
    let name = issue.name.as_deref().map(name).transpose()?;
    let expires_at = issue.expires_at.map(in_the_future).transpose()?;
    let wanted = Wanted {
        user_id,
        name: name.as_deref(),
        expires_at,
        bedrock_region: issue.bedrock_region.as_deref().map(region).transpose()?,
        model: issue.model.as_deref().map(model).transpose()?,
    };
    let mut connection = state.store.connection().await?;
    let (issued, recorded) = connection
        .transaction(async |connection| {
            active_user(connection, user_id).await?;
            let new = insert(connection, &state.hasher, &wanted).await?;
            let issued = new.issued(connection).await?;
            let key = &issued.access_key.access_key;
            let action = AuditAction::AccessKeyIssued;
            let entry = Entry::made(action, Object::access_key(key), audit::access_key(key));
            let recorded = author.record(connection, &entry).await?;
            Ok::<_, Error>((issued, recorded))
        })
        .await?;
    tracing::info!(%user_id, access_key_id = %issued.id(), "access_key.issued");
    Ok(recorded.on(HttpResponse::Created()).json(issued))
}

/// Change an access key
///
/// Its name, its end, and what it is meant for; not what opens it.
#[utoipa::path(
    operation_id = "change_access_key",
    tag = "access keys",
    request_body = ChangeAccessKey,
    responses(
        (status = 200, description = "The changed key", body = AccessKeyWithCircuit),
        (status = 404, description = "No such key", body = ErrorBody),
        (status = 409, description = "It is revoked", body = ErrorBody),
    )
)]
#[patch("/access-keys/{access_key_id}")]
pub(super) async fn change(
    state: web::Data<State>,
    author: Author,
    access_key_id: web::Path<Uuid>,
    Body(change): Body<ChangeAccessKey>,
) -> Result<HttpResponse, Error> {
    let access_key_id = *access_key_id;
    let new_name = given(change.name.as_ref(), |text| name(text))?;
    let patch = AccessKeyPatch {
        name: new_name.as_ref().map(Option::as_deref),
        expires_at: given(change.expires_at.as_ref(), |time| in_the_future(*time))?,
        bedrock_region: given(change.bedrock_region.as_ref(), |text| region(text))?,
        model: given(change.model.as_ref(), |text| model(text))?,
    };
    let mut connection = state.store.connection().await?;
    let (key, recorded) = connection
        .transaction(async |connection| {
            let before = working(connection, access_key_id).await?;
            access_keys::patch(connection, access_key_id, &patch).await?;
            let key = found(connection, access_key_id).await?;
            let (old, new) = (audit::access_key(&before), audit::access_key(&key));
            let action = AuditAction::AccessKeyChanged;
            let entry = Entry::changed(action, Object::access_key(&key), old, new);
            let recorded = author.record(connection, &entry).await?;
            let key = one_with_circuit(connection, key).await?;
            Ok::<_, Error>((key, recorded))
        })
        .await?;
    tracing::info!(%access_key_id, "access_key.changed");
    Ok(recorded.on(HttpResponse::Ok()).json(key))
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
    author: Author,
    access_key_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let access_key_id = *access_key_id;
    let mut connection = state.store.connection().await?;
    let recorded = connection
        .transaction(async |connection| {
            let before = working(connection, access_key_id).await?;
            access_keys::revoke(connection, access_key_id).await?;
            let key = found(connection, access_key_id).await?;
            let (old, new) = (audit::access_key(&before), audit::access_key(&key));
            let action = AuditAction::AccessKeyRevoked;
            let entry = Entry::changed(action, Object::access_key(&key), old, new);
            author.record(connection, &entry).await
        })
        .await?;
    tracing::info!(%access_key_id, "access_key.revoked");
    Ok(recorded.no_content())
}

/// Locks a key that works, until the end of the transaction.
pub(super) async fn working(
    connection: &mut AsyncPgConnection,
    access_key_id: Uuid,
) -> Result<AccessKey, Error> {
    let status = access_keys::lock(connection, access_key_id).await?;
    match status.ok_or(Code::AccessKeyNotFound)? {
        AccessKeyStatus::Revoked => Err(Code::AccessKeyAlreadyRevoked.into()),
        AccessKeyStatus::Active | AccessKeyStatus::Rotating => {
            found(connection, access_key_id).await
        }
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
    author: Author,
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
    let (issued, recorded) = connection
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
            let new = insert(connection, &state.hasher, &Wanted::like(&old)).await?;
            // Before the old key ends, because its credential ends with it.
            bedrock_keys::carry_over(connection, old_id, new.id).await?;
            if grace_seconds == 0 {
                access_keys::revoke(connection, old_id).await?;
            } else {
                access_keys::retire(connection, old_id, grace_seconds).await?;
            }
            let issued = new.issued(connection).await?;
            let entry = rotated(&old, &found(connection, old_id).await?, &issued);
            let recorded = author.record(connection, &entry).await?;
            Ok::<_, Error>((issued, recorded))
        })
        .await?;
    tracing::info!(
        access_key_id = %old_id,
        new_access_key_id = %issued.id(),
        grace_seconds,
        "access_key.rotated"
    );
    Ok(recorded.on(HttpResponse::Ok()).json(issued))
}

/// One entry for both keys.
fn rotated(before: &AccessKey, after: &AccessKey, issued: &IssuedAccessKey) -> Entry {
    let (old, mut new) = (audit::access_key(before), audit::access_key(after));
    if let Some(fields) = new.as_object_mut() {
        let key = &issued.access_key.access_key;
        fields.insert("new_access_key_id".to_owned(), key.id.to_string().into());
        fields.insert("new_key_prefix".to_owned(), key.key_prefix.clone().into());
    }
    let action = AuditAction::AccessKeyRotated;
    Entry::changed(action, Object::access_key(after), old, new)
}

impl IssuedAccessKey {
    fn id(&self) -> Uuid {
        self.access_key.access_key.id
    }
}

/// What a new key shall be.
#[derive(Debug)]
struct Wanted<'a> {
    user_id: Uuid,
    name: Option<&'a str>,
    expires_at: Option<DateTime<Utc>>,
    bedrock_region: Option<&'a str>,
    model: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn like(key: &'a AccessKey) -> Self {
        Self {
            user_id: key.user_id,
            name: key.name.as_deref(),
            expires_at: key.expires_at,
            bedrock_region: key.bedrock_region.as_deref(),
            model: key.model.as_deref(),
        }
    }
}

/// A key that is stored, with what opens it.
struct New {
    id: Uuid,
    raw_key: String,
}

impl New {
    async fn issued(self, connection: &mut AsyncPgConnection) -> Result<IssuedAccessKey, Error> {
        let key = found(connection, self.id).await?;
        Ok(IssuedAccessKey {
            access_key: one_with_circuit(connection, key).await?,
            raw_key: self.raw_key,
        })
    }
}

/// Makes a key from fresh randomness.
async fn insert(
    connection: &mut AsyncPgConnection,
    hasher: &Hasher,
    wanted: &Wanted<'_>,
) -> Result<New, Error> {
    let raw_key = access_key::raw(&rand::random());
    let key_hash = hasher.hash(&raw_key);
    let id = Uuid::now_v7();
    let new = NewAccessKey {
        id,
        user_id: wanted.user_id,
        name: wanted.name,
        key_hash: key_hash.as_bytes(),
        key_prefix: raw_key.get(..access_key::SHOWN_LEN).unwrap_or_default(),
        expires_at: wanted.expires_at,
        bedrock_region: wanted.bedrock_region,
        model: wanted.model,
    };
    access_keys::insert(connection, &new).await?;
    Ok(New { id, raw_key })
}

/// Adds what stands elsewhere.
async fn with_circuits(
    connection: &mut AsyncPgConnection,
    keys: Vec<AccessKey>,
) -> Result<Vec<AccessKeyWithCircuit>, Error> {
    let ids: Vec<Uuid> = keys.iter().map(|key| key.id).collect();
    let connected_since = fleet::connected_since(Utc::now());
    let mut circuits = circuits::worst(connection, &ids, connected_since).await?;
    let mut bedrock_keys: HashMap<Uuid, BedrockKey> =
        bedrock_keys::of_access_keys(connection, &ids)
            .await?
            .into_iter()
            .map(|key| (key.access_key_id, key))
            .collect();
    let keys = keys.into_iter().map(|access_key| AccessKeyWithCircuit {
        bedrock_key: bedrock_keys.remove(&access_key.id),
        circuit: circuits.remove(&access_key.id),
        access_key,
    });
    Ok(keys.collect())
}

async fn one_with_circuit(
    connection: &mut AsyncPgConnection,
    key: AccessKey,
) -> Result<AccessKeyWithCircuit, Error> {
    let mut keys = with_circuits(connection, vec![key]).await?;
    keys.pop().ok_or_else(|| Code::AccessKeyNotFound.into())
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

/// A field that may be absent, and may be null.
fn given<'a, T, U>(
    field: Option<&'a Option<T>>,
    check: impl Fn(&'a T) -> Result<U, Error>,
) -> Result<Option<Option<U>>, Error> {
    field
        .map(|value| value.as_ref().map(check).transpose())
        .transpose()
}

fn name(text: &str) -> Result<String, Error> {
    line("name", text, MAX_NAME_CHARS)
}

fn model(text: &str) -> Result<&str, Error> {
    token("model", text, MAX_MODEL_CHARS)
}

pub(super) fn region(text: &str) -> Result<&str, Error> {
    if !region::is_well_formed(text) {
        return Err(Error::with_message(
            Code::InvalidBody,
            "region must be the name of an AWS region, such as ap-northeast-2.",
        ));
    }
    Ok(text)
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
