//! One metric, one span and one debug line per request. Paths are recorded as routes,
//! so that no id becomes a label.

use ::telemetry::trace::{self, Span, Spans};
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
use opentelemetry::trace::SpanKind;
use tokio::time::Instant;
use uuid::Uuid;

use super::{State, origin::Origin};
use crate::telemetry::metrics;

const HEALTH: &str = "/health";

/// The route of what is no route: the console's files, and what is not found.
const UNMATCHED: &str = "none";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn observe(
    state: web::Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let began = Instant::now();
    let method = label(request.method());
    let origin = Origin::note(&request, state.load_balancers);
    let mut span = span(&state.spans, &request, method);
    let mut response = next.call(request).await?;
    if let Ok(id) = HeaderValue::from_str(&origin.request_id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let route = response
        .request()
        .match_pattern()
        .unwrap_or_else(|| UNMATCHED.to_owned());
    let status = response.status().as_u16();
    let duration = began.elapsed();
    let request_id = origin.request_id;
    tell(&mut span, method, &route, status, request_id);
    tracing::debug!(%request_id, method, route, status, ?duration, "http.answered");
    metrics::http(method, route, status, duration);
    Ok(response)
}

/// The load balancer asks for health all the time; nobody wants to see that.
fn span(spans: &Spans, request: &ServiceRequest, method: &'static str) -> Span {
    if request.path() == HEALTH {
        return Span::default();
    }
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    spans.begin(SpanKind::Server, method, || trace::parent(header))
}

/// Without the path: somebody may ask us for what has an access key in it.
fn tell(span: &mut Span, method: &'static str, route: &str, status: u16, request_id: Uuid) {
    span.set("http.request.method", method);
    span.set("url.scheme", "http");
    span.set("http.response.status_code", i64::from(status));
    span.set("claude_code_proxy.request_id", request_id.to_string());
    if route != UNMATCHED {
        span.rename(format!("{method} {route}"));
        span.set("http.route", route.to_owned());
        span.set("url.path", route.to_owned());
    }
    if status >= 500 {
        span.fail(status.to_string());
    }
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
