//! The `model_mappings` table.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper, dsl::now, prelude::*,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Result, schema::model_mappings, text_enum};

text_enum! {
    /// Which of Bedrock's interfaces a model is called through.
    pub enum BedrockApi {
        Invoke = "invoke",
        Messages = "messages",
        Converse = "converse",
    }
}

/// Which Bedrock model answers for a model that clients ask for.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = model_mappings)]
pub struct ModelMapping {
    pub id: Uuid,
    /// As clients write it; matched exactly.
    pub claude_model: String,
    /// A Bedrock model id, inference profile id or ARN.
    pub bedrock_model: String,
    /// Null: as the proxies are set.
    pub bedrock_api: Option<BedrockApi>,
    pub description: Option<String>,
    /// Inactive mappings are kept, and not used.
    pub is_active: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = model_mappings)]
pub struct NewModelMapping<'a> {
    pub id: Uuid,
    pub claude_model: &'a str,
    pub bedrock_model: &'a str,
    pub bedrock_api: Option<BedrockApi>,
    pub description: Option<&'a str>,
    pub is_active: bool,
}

/// What to change; the outer `None` leaves a field as it is.
#[derive(Debug, Default, AsChangeset)]
#[diesel(table_name = model_mappings)]
pub struct ModelMappingPatch<'a> {
    pub bedrock_model: Option<&'a str>,
    pub bedrock_api: Option<Option<BedrockApi>>,
    pub description: Option<Option<&'a str>>,
    pub is_active: Option<bool>,
}

/// By the name that clients use.
pub async fn list(
    connection: &mut AsyncPgConnection,
    include_inactive: bool,
) -> Result<Vec<ModelMapping>> {
    let mut query = model_mappings::table.into_boxed();
    if !include_inactive {
        query = query.filter(model_mappings::is_active);
    }
    let mappings = query
        .order(model_mappings::claude_model)
        .select(ModelMapping::as_select())
        .load(connection)
        .await?;
    Ok(mappings)
}

pub async fn count(connection: &mut AsyncPgConnection) -> Result<i64> {
    let total = model_mappings::table.count().get_result(connection).await?;
    Ok(total)
}

pub async fn find(connection: &mut AsyncPgConnection, id: Uuid) -> Result<Option<ModelMapping>> {
    let mapping = model_mappings::table
        .find(id)
        .select(ModelMapping::as_select())
        .first(connection)
        .await
        .optional()?;
    Ok(mapping)
}

/// Locks a mapping until the end of the transaction.
pub async fn lock(connection: &mut AsyncPgConnection, id: Uuid) -> Result<Option<ModelMapping>> {
    let mapping = model_mappings::table
        .find(id)
        .select(ModelMapping::as_select())
        .for_update()
        .first(connection)
        .await
        .optional()?;
    Ok(mapping)
}

/// The Bedrock model that answers for a model, if an active mapping says so.
pub async fn bedrock_model(
    connection: &mut AsyncPgConnection,
    claude_model: &str,
) -> Result<Option<String>> {
    let model = model_mappings::table
        .filter(model_mappings::claude_model.eq(claude_model))
        .filter(model_mappings::is_active)
        .select(model_mappings::bedrock_model)
        .first(connection)
        .await
        .optional()?;
    Ok(model)
}

/// False when there is a mapping for the same model.
pub async fn insert(
    connection: &mut AsyncPgConnection,
    mapping: &NewModelMapping<'_>,
) -> Result<bool> {
    let inserted = diesel::insert_into(model_mappings::table)
        .values(mapping)
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    Ok(inserted > 0)
}

/// Does nothing when there is no such mapping.
pub async fn patch(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    patch: &ModelMappingPatch<'_>,
) -> Result<()> {
    diesel::update(model_mappings::table.find(id))
        .set((patch, model_mappings::updated_at.eq(now)))
        .execute(connection)
        .await?;
    Ok(())
}

pub async fn delete(connection: &mut AsyncPgConnection, id: Uuid) -> Result<()> {
    diesel::delete(model_mappings::table.find(id))
        .execute(connection)
        .await?;
    Ok(())
}
