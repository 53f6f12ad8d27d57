//! What Bedrock refuses: `/admin/models/capabilities`.

use actix_web::{HttpResponse, delete, get, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    State,
    error::{Code, Error, ErrorBody},
    query::Query,
};
use crate::store::model_capabilities::{self, CapabilitySource, ModelCapability};

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
    model_capability_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let model_capability_id = *model_capability_id;
    let mut connection = state.store.connection().await?;
    if !model_capabilities::delete(&mut connection, model_capability_id).await? {
        return Err(Code::ModelCapabilityNotFound.into());
    }
    tracing::info!(%model_capability_id, "model_capability.deleted");
    Ok(HttpResponse::NoContent().finish())
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
    Query(query): Query<DeleteModelCapabilities>,
) -> Result<HttpResponse, Error> {
    let mut connection = state.store.connection().await?;
    let deleted = model_capabilities::delete_all(&mut connection, query.source).await?;
    tracing::info!(
        deleted,
        source = query.source.name(),
        "model_capabilities.deleted"
    );
    Ok(HttpResponse::Ok().json(DeletedModelCapabilities { deleted }))
}
