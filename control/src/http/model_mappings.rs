//! Which Bedrock model answers for which model: `/admin/models/mappings`.

use actix_web::{HttpResponse, delete, get, post, put, web};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    State,
    author::Author,
    body::{Body, present, prose, token},
    error::{Code, Error, ErrorBody},
    query::Query,
};
use crate::{
    audit::{self, Entry, Object},
    store::{
        audit_log::AuditAction,
        model_mappings::{self, BedrockApi, ModelMapping, ModelMappingPatch, NewModelMapping},
    },
};

/// Every proxy holds all of them.
const MAX_MAPPINGS: i64 = 1_000;

const MAX_CLAUDE_MODEL_CHARS: usize = 256;
/// As long as an ARN may be.
const MAX_BEDROCK_MODEL_CHARS: usize = 2_048;
const MAX_DESCRIPTION_CHARS: usize = 2_000;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListModelMappings {
    /// Whether to list the mappings too that are not used; false when not given.
    include_inactive: Option<bool>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ModelMappingList {
    items: Vec<ModelMapping>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateModelMapping {
    /// As clients write it; matched exactly.
    #[schema(min_length = 1, max_length = 256, example = "claude-sonnet-4-5")]
    claude_model: String,
    /// A Bedrock model id, inference profile id or ARN.
    #[schema(min_length = 1, max_length = 2048)]
    bedrock_model: String,
    /// As the proxies are set when not given.
    bedrock_api: Option<BedrockApi>,
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// True when not given.
    is_active: Option<bool>,
}

/// Fields that are absent stay as they are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeModelMapping {
    #[schema(min_length = 1, max_length = 2048)]
    bedrock_model: Option<String>,
    /// Null: as the proxies are set.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<BedrockApi>)]
    bedrock_api: Option<Option<BedrockApi>>,
    /// Null takes it away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 2000)]
    description: Option<Option<String>>,
    is_active: Option<bool>,
}

/// List model mappings
///
/// By the name that clients use.
#[utoipa::path(
    operation_id = "list_model_mappings",
    tag = "models",
    params(ListModelMappings),
    responses((status = 200, description = "All mappings", body = ModelMappingList))
)]
#[get("/models/mappings")]
pub(super) async fn list(
    state: web::Data<State>,
    Query(query): Query<ListModelMappings>,
) -> Result<HttpResponse, Error> {
    let mut connection = state.store.connection().await?;
    let include_inactive = query.include_inactive.unwrap_or(false);
    let items = model_mappings::list(&mut connection, include_inactive).await?;
    Ok(HttpResponse::Ok().json(ModelMappingList { items }))
}

/// Create a model mapping
#[utoipa::path(
    operation_id = "create_model_mapping",
    tag = "models",
    request_body = CreateModelMapping,
    responses(
        (status = 201, description = "Created", body = ModelMapping),
        (status = 409, description = "The model has a mapping already", body = ErrorBody),
    )
)]
#[post("/models/mappings")]
pub(super) async fn create(
    state: web::Data<State>,
    author: Author,
    Body(new): Body<CreateModelMapping>,
) -> Result<HttpResponse, Error> {
    let description = description(new.description.as_deref())?;
    let id = Uuid::now_v7();
    let mapping = NewModelMapping {
        id,
        claude_model: token("claude_model", &new.claude_model, MAX_CLAUDE_MODEL_CHARS)?,
        bedrock_model: bedrock_model(&new.bedrock_model)?,
        bedrock_api: new.bedrock_api,
        description: description.as_deref(),
        is_active: new.is_active.unwrap_or(true),
    };
    let mut connection = state.store.connection().await?;
    let (mapping, recorded) = connection
        .transaction(async |connection| {
            if model_mappings::count(connection).await? >= MAX_MAPPINGS {
                return Err(Code::TooManyModelMappings.into());
            }
            if !model_mappings::insert(connection, &mapping).await? {
                return Err(Code::ModelMappingExists.into());
            }
            let mapping = found(connection, id).await?;
            let action = AuditAction::ModelMappingCreated;
            let after = audit::model_mapping(&mapping);
            let entry = Entry::made(action, Object::model_mapping(&mapping), after);
            let recorded = author.record(connection, &entry).await?;
            Ok::<_, Error>((mapping, recorded))
        })
        .await?;
    tracing::info!(model_mapping_id = %id, claude_model = new.claude_model, "model_mapping.created");
    Ok(recorded.on(HttpResponse::Created()).json(mapping))
}

/// Read a model mapping
#[utoipa::path(
    operation_id = "read_model_mapping",
    tag = "models",
    responses(
        (status = 200, description = "The mapping", body = ModelMapping),
        (status = 404, description = "No such mapping", body = ErrorBody),
    )
)]
#[get("/models/mappings/{model_mapping_id}")]
pub(super) async fn read(
    state: web::Data<State>,
    model_mapping_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let mut connection = state.store.connection().await?;
    Ok(HttpResponse::Ok().json(found(&mut connection, *model_mapping_id).await?))
}

/// Change a model mapping
///
/// Its `claude_model` stays; for another one create another mapping.
#[utoipa::path(
    operation_id = "change_model_mapping",
    tag = "models",
    request_body = ChangeModelMapping,
    responses(
        (status = 200, description = "The changed mapping", body = ModelMapping),
        (status = 404, description = "No such mapping", body = ErrorBody),
    )
)]
#[put("/models/mappings/{model_mapping_id}")]
pub(super) async fn change(
    state: web::Data<State>,
    author: Author,
    model_mapping_id: web::Path<Uuid>,
    Body(change): Body<ChangeModelMapping>,
) -> Result<HttpResponse, Error> {
    let model_mapping_id = *model_mapping_id;
    let new_description = match &change.description {
        None => None,
        Some(text) => Some(description(text.as_deref())?),
    };
    let patch = ModelMappingPatch {
        bedrock_model: change
            .bedrock_model
            .as_deref()
            .map(bedrock_model)
            .transpose()?,
        bedrock_api: change.bedrock_api,
        description: new_description.as_ref().map(Option::as_deref),
        is_active: change.is_active,
    };
    let mut connection = state.store.connection().await?;
    let (mapping, recorded) = connection
        .transaction(async |connection| {
            let before = held(connection, model_mapping_id).await?;
            model_mappings::patch(connection, model_mapping_id, &patch).await?;
            let mapping = found(connection, model_mapping_id).await?;
            let entry = Entry::changed(
                AuditAction::ModelMappingChanged,
                Object::model_mapping(&mapping),
                audit::model_mapping(&before),
                audit::model_mapping(&mapping),
            );
            let recorded = author.record(connection, &entry).await?;
            Ok::<_, Error>((mapping, recorded))
        })
        .await?;
    tracing::info!(%model_mapping_id, "model_mapping.changed");
    Ok(recorded.on(HttpResponse::Ok()).json(mapping))
}

/// Delete a model mapping
#[utoipa::path(
    operation_id = "delete_model_mapping",
    tag = "models",
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "No such mapping", body = ErrorBody),
    )
)]
#[delete("/models/mappings/{model_mapping_id}")]
pub(super) async fn delete(
    state: web::Data<State>,
    author: Author,
    model_mapping_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let model_mapping_id = *model_mapping_id;
    let mut connection = state.store.connection().await?;
    let recorded = connection
        .transaction(async |connection| {
            let mapping = held(connection, model_mapping_id).await?;
            model_mappings::delete(connection, model_mapping_id).await?;
            let action = AuditAction::ModelMappingDeleted;
            let before = audit::model_mapping(&mapping);
            let entry = Entry::ended(action, Object::model_mapping(&mapping), before);
            author.record(connection, &entry).await
        })
        .await?;
    tracing::info!(%model_mapping_id, "model_mapping.deleted");
    Ok(recorded.no_content())
}

/// A mapping as it is until the end of the transaction, unless that changes it.
async fn held(connection: &mut AsyncPgConnection, id: Uuid) -> Result<ModelMapping, Error> {
    model_mappings::lock(connection, id)
        .await?
        .ok_or_else(|| Code::ModelMappingNotFound.into())
}

async fn found(connection: &mut AsyncPgConnection, id: Uuid) -> Result<ModelMapping, Error> {
    model_mappings::find(connection, id)
        .await?
        .ok_or_else(|| Code::ModelMappingNotFound.into())
}

fn bedrock_model(text: &str) -> Result<&str, Error> {
    token("bedrock_model", text, MAX_BEDROCK_MODEL_CHARS)
}

/// An empty description is none.
fn description(text: Option<&str>) -> Result<Option<String>, Error> {
    match text {
        None => Ok(None),
        Some(text) => prose("description", text, MAX_DESCRIPTION_CHARS),
    }
}
