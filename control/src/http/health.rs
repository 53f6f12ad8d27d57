//! `/health`: for load balancers.

use actix_web::{HttpResponse, Responder, get};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process answers
///
/// It says nothing about the database: that is `/readyz` on the operators' port.
#[utoipa::path(
    operation_id = "read_health",
    tag = "operations",
    security(()),
    responses((status = 200, description = "It does", body = Health))
)]
#[get("/health")]
pub(super) async fn health() -> impl Responder {
    HttpResponse::Ok().json(Health { status: "ok" })
}
