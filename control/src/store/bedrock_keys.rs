//! The `bedrock_keys` table: credentials for Bedrock, sealed. The database erases
//! them with their access keys (`triggers.sql`).

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper, dsl::now, prelude::*,
    upsert::excluded,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Result,
    schema::{access_keys, bedrock_keys, token_usage},
    text_enum,
};

text_enum! {
    /// What a credential is.
    pub enum BedrockKeyKind {
        /// A Bedrock API key.
        ApiKey = "api_key",
        /// An IAM key pair.
        KeyPair = "key_pair",
    }
}

/// What may be known of a credential.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = bedrock_keys)]
pub struct BedrockKey {
    pub access_key_id: Uuid,
    pub kind: BedrockKeyKind,
    pub region: String,
    /// When this credential was registered; rotating the access key does not
    /// change it.
    pub registered_at: DateTime<Utc>,
    /// When Bedrock has accepted it, before it was registered; null: it was not asked.
    pub verified_at: Option<DateTime<Utc>>,
}

/// A credential's newest use.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = token_usage)]
pub struct LastUse {
    pub started_at: DateTime<Utc>,
    pub status: i32,
    pub outcome: String,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = bedrock_keys)]
pub struct NewBedrockKey<'a> {
    pub id: Uuid,
    pub access_key_id: Uuid,
    pub kind: BedrockKeyKind,
    pub region: &'a str,
    pub sealed: &'a [u8],
    pub sealed_for: Uuid,
    pub verified_at: Option<DateTime<Utc>>,
}

pub async fn find(
    connection: &mut AsyncPgConnection,
    access_key_id: Uuid,
) -> Result<Option<BedrockKey>> {
    let key = bedrock_keys::table
        .filter(bedrock_keys::access_key_id.eq(access_key_id))
        .select(BedrockKey::as_select())
        .first(connection)
        .await
        .optional()?;
    Ok(key)
}

/// Takes the place of what the access key had before.
pub async fn put(connection: &mut AsyncPgConnection, key: &NewBedrockKey<'_>) -> Result<()> {
    diesel::insert_into(bedrock_keys::table)
        .values(key)
        .on_conflict(bedrock_keys::access_key_id)
        .do_update()
        .set((
            bedrock_keys::kind.eq(excluded(bedrock_keys::kind)),
            bedrock_keys::region.eq(excluded(bedrock_keys::region)),
            bedrock_keys::sealed.eq(excluded(bedrock_keys::sealed)),
            bedrock_keys::sealed_for.eq(excluded(bedrock_keys::sealed_for)),
            bedrock_keys::registered_at.eq(now),
            bedrock_keys::verified_at.eq(excluded(bedrock_keys::verified_at)),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

/// Gives an access key the credential of another one, unopened. The other one
/// keeps it too, for as long as it works.
pub async fn carry_over(connection: &mut AsyncPgConnection, from: Uuid, to: Uuid) -> Result<()> {
    let carried = bedrock_keys::table
        .filter(bedrock_keys::access_key_id.eq(from))
        .select((
            diesel::dsl::sql::<diesel::sql_types::Uuid>("gen_random_uuid()"),
            to.into_sql::<diesel::sql_types::Uuid>(),
            bedrock_keys::kind,
            bedrock_keys::region,
            bedrock_keys::sealed,
            bedrock_keys::sealed_for,
            bedrock_keys::registered_at,
            bedrock_keys::verified_at,
        ));
    diesel::insert_into(bedrock_keys::table)
        .values(carried)
        .into_columns((
            bedrock_keys::id,
            bedrock_keys::access_key_id,
            bedrock_keys::kind,
            bedrock_keys::region,
            bedrock_keys::sealed,
            bedrock_keys::sealed_for,
            bedrock_keys::registered_at,
            bedrock_keys::verified_at,
        ))
        .execute(connection)
        .await?;
    Ok(())
}

/// False when there was none.
pub async fn delete(connection: &mut AsyncPgConnection, access_key_id: Uuid) -> Result<bool> {
    let deleted = diesel::delete(bedrock_keys::table)
        .filter(bedrock_keys::access_key_id.eq(access_key_id))
        .execute(connection)
        .await?;
    Ok(deleted > 0)
}

/// How many of a user's access keys have a credential.
pub async fn count_of_user(connection: &mut AsyncPgConnection, user_id: Uuid) -> Result<i64> {
    let count = bedrock_keys::table
        .inner_join(access_keys::table.on(access_keys::id.eq(bedrock_keys::access_key_id)))
        .filter(access_keys::user_id.eq(user_id))
        .count()
        .get_result(connection)
        .await?;
    Ok(count)
}

/// Of these access keys' credentials those that there are.
pub async fn of_access_keys(
    connection: &mut AsyncPgConnection,
    access_key_ids: &[Uuid],
) -> Result<Vec<BedrockKey>> {
    let keys = bedrock_keys::table
        .filter(bedrock_keys::access_key_id.eq_any(access_key_ids))
        .select(BedrockKey::as_select())
        .load(connection)
        .await?;
    Ok(keys)
}

/// The access key's newest request that went to Bedrock since the credential was
/// registered.
pub async fn last_use(
    connection: &mut AsyncPgConnection,
    key: &BedrockKey,
) -> Result<Option<LastUse>> {
    let newest = token_usage::table
        .filter(token_usage::access_key_id.eq(key.access_key_id))
        .filter(token_usage::provider.eq("bedrock"))
        .filter(token_usage::started_at.ge(key.registered_at))
        .order(token_usage::started_at.desc())
        .select(LastUse::as_select())
        .first(connection)
        .await
        .optional()?;
    Ok(newest)
}
