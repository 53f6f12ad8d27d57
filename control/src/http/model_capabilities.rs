//! What Bedrock refuses: `/admin/models/capabilities`.

use actix_web::{HttpResponse, delete, get, web};
use diesel_async::AsyncConnection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    State,
    author::Author,
    error::{Code, Error, ErrorBody},
    query::Query,
};
use crate::{
    audit::{self, Entry, Object},
    store::{
        audit_log::{AuditAction, AuditObjectKind},
        model_capabilities::{self, CapabilitySource, ModelCapability},
    },
};

#[derive(Debug, Serialize, ToSchema)]
struct ModelCapabilityList {
    items: Vec<ModelCapability>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DeleteModelCapabilities {
    source: CapabilitySource,
}

#[derive(Debug, Serialize, ToSchema)]
struct DeletedModelCapabilities {
    /// How many there were.
    deleted: usize,
}

/// List what Bedrock refuses
///
/// By region, model and feature. Proxies leave these features out of what they
/// send to these models.
#[utoipa::path(
    operation_id = "list_model_capabilities",
    tag = "models",
    responses((status = 200, description = "All capabilities", body = ModelCapabilityList))
)]
#[get("/models/capabilities")]
pub(super) async fn list(state: web::Data<State>) -> Result<HttpResponse, Error> {
    let mut connection = state.store.connection().await?;
    let items = model_capabilities::list(&mut connection).await?;
    Ok(HttpResponse::Ok().json(ModelCapabilityList { items }))
}

/// Forget one thing that Bedrock refuses
///
/// It is tried again, and learned again if it is still refused.
#[utoipa::path(
    operation_id = "delete_model_capability",
    tag = "models",
    responses(
        (status = 204, description = "Forgotten"),
        (status = 404, description = "No such capability", body = ErrorBody),
    )
)]
#[delete("/models/capabilities/{model_capability_id}")]
pub(super) async fn delete(
    state: web::Data<State>,
    author: Author,
    model_capability_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let model_capability_id = *model_capability_id;
    let mut connection = state.store.connection().await?;
    let recorded = connection
        .transaction(async |connection| {
            let capability = model_capabilities::delete(connection, model_capability_id)
                .await?
                .ok_or(Code::ModelCapabilityNotFound)?;
            let action = AuditAction::ModelCapabilityDeleted;
            let before = audit::model_capability(&capability);
            let entry = Entry::ended(action, Object::model_capability(&capability), before);
            author.record(connection, &entry).await
        })
        .await?;
    tracing::info!(%model_capability_id, "model_capability.deleted");
    Ok(recorded.no_content())
}

/// Forget everything that was learned, or everything that came with the software
#[utoipa::path(
    operation_id = "delete_model_capabilities",
    tag = "models",
    params(DeleteModelCapabilities),
    responses((status = 200, description = "Forgotten", body = DeletedModelCapabilities))
)]
#[delete("/models/capabilities")]
pub(super) async fn delete_all(
    state: web::Data<State>,
    author: Author,
    Query(query): Query<DeleteModelCapabilities>,
) -> Result<HttpResponse, Error> {
    let mut connection = state.store.connection().await?;
    let (deleted, recorded) = connection
        .transaction(async |connection| {
            let deleted = model_capabilities::delete_all(connection, query.source).await?;
            let object = Object::named(AuditObjectKind::ModelCapability, query.source.name());
            let entry = Entry::changed(
                AuditAction::ModelCapabilitiesDeleted,
                object,
                json!({ "model_capabilities": deleted }),
                json!({ "model_capabilities": 0 }),
            );
            let recorded = author.record(connection, &entry).await?;
            Ok::<_, Error>((deleted, recorded))
        })
        .await?;
    tracing::info!(
        deleted,
        source = query.source.name(),
        "model_capabilities.deleted"
    );
    Ok(recorded
        .on(HttpResponse::Ok())
        .json(DeletedModelCapabilities { deleted }))
}
