//! One metric and one debug line per request. Paths are recorded as routes, so
//! that no id becomes a label.

use actix_web::{
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use tokio::time::Instant;

use super::{State, origin::Origin};
use crate::telemetry::metrics;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn observe(
    state: web::Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let began = Instant::now();
    let method = label(request.method());
    let origin = Origin::note(&request, state.load_balancers);
    let mut response = next.call(request).await?;
    if let Ok(id) = HeaderValue::from_str(&origin.request_id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let route = response
        .request()
        .match_pattern()
        .unwrap_or_else(|| "none".to_owned());
    let status = response.status().as_u16();
    let duration = began.elapsed();
    let request_id = origin.request_id;
    tracing::debug!(%request_id, method, route, status, ?duration, "http.answered");
    metrics::http(method, route, status, duration);
    Ok(response)
}

/// Clients may send any method; labels must be few.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
