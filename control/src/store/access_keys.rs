//! The `access_keys` table. Raw keys never come here.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper,
    dsl::{now, sql},
    prelude::*,
    result::OptionalEmptyChangesetExtension,
    sql_types::{Bool, Integer},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Result,
    schema::{access_keys, live_access_keys},
    text_enum,
};

text_enum! {
    /// What a key is good for.
    pub enum AccessKeyStatus {
        Active = "active",
        Rotating = "rotating",
        Revoked = "revoked",
    }
}

/// A key as administrators see it.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = live_access_keys)]
pub struct AccessKey {
    pub id: Uuid,
    pub user_id: Uuid,
    pub name: Option<String>,
    /// The key's first characters, to recognise it by.
    pub key_prefix: String,
    pub status: AccessKeyStatus,
    pub created_at: DateTime<Utc>,
    /// Chosen when the key was issued; null for no end.
    pub expires_at: Option<DateTime<Utc>>,
    /// The end of the grace period of a key that was rotated.
    pub rotation_expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    /// The region of a credential for Bedrock that is registered without one; null:
    /// PROXY_BEDROCK_REGION.
    pub bedrock_region: Option<String>,
    /// What the key's developer is told to ask for; null: whatever the client asks
    /// for. Requests for other models are answered too.
    pub model: Option<String>,
    /// Whether a credential for Bedrock is registered.
    pub has_bedrock_key: bool,
    /// When the key's newest request began, whatever became of it; null when there
    /// was none.
    pub last_used_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = access_keys)]
pub struct NewAccessKey<'a> {
    pub id: Uuid,
    pub user_id: Uuid,
    pub name: Option<&'a str>,
    pub key_hash: &'a [u8],
    pub key_prefix: &'a str,
    pub expires_at: Option<DateTime<Utc>>,
    pub bedrock_region: Option<&'a str>,
    pub model: Option<&'a str>,
}

/// What to change; the outer `None` leaves a field as it is.
#[derive(Debug, Default, AsChangeset)]
#[diesel(table_name = access_keys)]
pub struct AccessKeyPatch<'a> {
    pub name: Option<Option<&'a str>>,
    pub expires_at: Option<Option<DateTime<Utc>>>,
    pub bedrock_region: Option<Option<&'a str>>,
    pub model: Option<Option<&'a str>>,
}

/// Newest first.
pub async fn of_user(connection: &mut AsyncPgConnection, user_id: Uuid) -> Result<Vec<AccessKey>> {
    let keys = live_access_keys::table
        .filter(live_access_keys::user_id.eq(user_id))
        .order((
            live_access_keys::created_at.desc(),
            live_access_keys::id.desc(),
        ))
        .select(AccessKey::as_select())
        .load(connection)
        .await?;
    Ok(keys)
}

pub async fn find(connection: &mut AsyncPgConnection, id: Uuid) -> Result<Option<AccessKey>> {
    let key = live_access_keys::table
        .find(id)
        .select(AccessKey::as_select())
        .first(connection)
        .await
        .optional()?;
    Ok(key)
}

/// What is shown of these keys.
pub async fn prefixes(
    connection: &mut AsyncPgConnection,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, String>> {
    let prefixes: Vec<(Uuid, String)> = access_keys::table
        .filter(access_keys::id.eq_any(ids))
        .select((access_keys::id, access_keys::key_prefix))
        .load(connection)
        .await?;
    Ok(prefixes.into_iter().collect())
}

/// Locks a key until the end of the transaction, so that its status holds while
/// something is decided by it.
pub async fn lock(connection: &mut AsyncPgConnection, id: Uuid) -> Result<Option<AccessKeyStatus>> {
    let status = access_keys::table
        .filter(
            access_keys::id
                .eq(id)
                .and(access_keys::deleted_at.is_null()),
        )
        .select(access_keys::status)
        .for_no_key_update()
        .first(connection)
        .await
        .optional()?;
    Ok(status)
}

/// How many of a user's keys work, and how many of those have a credential for
/// Bedrock.
pub async fn working_of_user(
    connection: &mut AsyncPgConnection,
    user_id: Uuid,
) -> Result<(i64, i64)> {
    let working = live_access_keys::table
        .filter(live_access_keys::user_id.eq(user_id))
        .filter(live_access_keys::status.ne(AccessKeyStatus::Revoked));
    let all = working.count().get_result(connection).await?;
    let with_bedrock_key = working
        .filter(live_access_keys::has_bedrock_key)
        .count()
        .get_result(connection)
        .await?;
    Ok((all, with_bedrock_key))
}

pub async fn insert(connection: &mut AsyncPgConnection, key: &NewAccessKey<'_>) -> Result<()> {
    diesel::insert_into(access_keys::table)
        .values(key)
        .execute(connection)
        .await?;
    Ok(())
}

/// Does nothing to a key that does not exist.
pub async fn patch(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    patch: &AccessKeyPatch<'_>,
) -> Result<()> {
    diesel::update(access_keys::table.find(id))
        .set(patch)
        .execute(connection)
        .await
        .optional_empty_changeset()?;
    Ok(())
}

pub async fn revoke(connection: &mut AsyncPgConnection, id: Uuid) -> Result<()> {
    diesel::update(access_keys::table.find(id))
        .set((
            access_keys::status.eq(AccessKeyStatus::Revoked),
            access_keys::revoked_at.eq(now),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

/// Tells proxies to forget the key's circuit, which closes it.
pub async fn reset_circuit(connection: &mut AsyncPgConnection, id: Uuid) -> Result<()> {
    diesel::update(access_keys::table.find(id))
        .set(access_keys::circuit_resets.eq(access_keys::circuit_resets + 1))
        .execute(connection)
        .await?;
    Ok(())
}

/// The number of keys that were not revoked before.
pub async fn revoke_all_of_user(
    connection: &mut AsyncPgConnection,
    user_id: Uuid,
) -> Result<usize> {
    let revoked = diesel::update(access_keys::table)
        .filter(
            access_keys::user_id
                .eq(user_id)
                .and(access_keys::status.ne(AccessKeyStatus::Revoked)),
        )
        .set((
            access_keys::status.eq(AccessKeyStatus::Revoked),
            access_keys::revoked_at.eq(now),
        ))
        .execute(connection)
        .await?;
    Ok(revoked)
}

/// Lets a key work for a grace period only.
pub async fn retire(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    grace_seconds: i32,
) -> Result<()> {
    diesel::update(access_keys::table.find(id))
        .set((
            access_keys::status.eq(AccessKeyStatus::Rotating),
            access_keys::rotation_expires_at.eq(sql("now() + make_interval(secs => ")
                .bind::<Integer, _>(grace_seconds)
                .sql(")")),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

/// Revokes the keys whose time has come, a bounded number at once; returns them as
/// they were before.
pub async fn revoke_expired(
    connection: &mut AsyncPgConnection,
    limit: i64,
) -> Result<Vec<AccessKey>> {
    // Skipping what another replica has just locked keeps two of them from
    // waiting for each other.
    let expired = access_keys::table
        .filter(access_keys::status.ne(AccessKeyStatus::Revoked))
        .filter(sql::<Bool>(
            "least(expires_at, rotation_expires_at) <= now()",
        ))
        .order(access_keys::id)
        .limit(limit)
        .for_update()
        .skip_locked()
        .select(access_keys::id)
        .load::<Uuid>(connection)
        .await?;
    let keys = live_access_keys::table
        .filter(live_access_keys::id.eq_any(&expired))
        .select(AccessKey::as_select())
        .load(connection)
        .await?;
    diesel::update(access_keys::table)
        .filter(access_keys::id.eq_any(&expired))
        .set((
            access_keys::status.eq(AccessKeyStatus::Revoked),
            access_keys::revoked_at.eq(now),
        ))
        .execute(connection)
        .await?;
    Ok(keys)
}
