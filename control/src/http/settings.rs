//! `/admin/settings`: what the console has to know of how control is set.

use actix_web::{HttpResponse, Responder, get, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{State, access_keys::DEFAULT_GRACE_SECONDS};

#[derive(Debug, Serialize, ToSchema)]
struct ConsoleSettings {
    /// Where developers reach the proxies; PROXY_PUBLIC_URL.
    public_url: String,
    /// In which days and months begin, an IANA name; PROXY_TIMEZONE.
    timezone: String,
    /// Of control.
    version: &'static str,
    /// Of credentials that are registered without a region; PROXY_BEDROCK_REGION.
    bedrock_region: String,
    /// Whether the proxies may use their own role; PROXY_BEDROCK_USE_ROLE.
    bedrock_use_role: bool,
    /// Whether credentials for Bedrock can be registered at all.
    can_seal: bool,
    /// How long a rotated key works on when nothing else is said.
    rotation_grace_seconds: i32,
}

/// Read the settings that the console shows
#[utoipa::path(
    operation_id = "read_settings",
    tag = "operations",
    responses((status = 200, description = "The settings", body = ConsoleSettings))
)]
#[get("/settings")]
pub(super) async fn read(state: web::Data<State>) -> impl Responder {
    HttpResponse::Ok().json(ConsoleSettings {
        public_url: state.public_url.clone(),
        timezone: state.timezone.name().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        bedrock_region: state.bedrock.bedrock_region.clone(),
        bedrock_use_role: state.bedrock.bedrock_use_role,
        can_seal: state.sealer.is_some(),
        rotation_grace_seconds: DEFAULT_GRACE_SECONDS,
    })
}
