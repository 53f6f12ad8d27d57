//! Which access keys go to Bedrock first, as the proxies report it:
//! `/admin/circuits` and `/admin/access-keys/{access_key_id}/circuit…`.

use actix_web::{HttpResponse, get, post, web};
use chrono::Utc;
use diesel_async::AsyncConnection;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    State,
    access_keys::{found as found_access_key, working},
    author::Author,
    error::{Error, ErrorBody},
    page::page,
    query::Query,
};
use crate::{
    audit::{Entry, Object},
    fleet,
    page::Cursor,
    store::{
        access_keys,
        audit_log::AuditAction,
        circuits::{self, AccessKeyCircuit, CircuitOnProxy},
    },
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListCircuits {
    /// 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CircuitPage {
    items: Vec<AccessKeyCircuit>,
    /// Null on the last page.
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CircuitOnProxyList {
    items: Vec<CircuitOnProxy>,
}

/// List circuits
///
/// The access keys that go to Bedrock first on some connected proxy. Those that
/// stay so for longest come first.
#[utoipa::path(
    operation_id = "list_circuits",
    tag = "circuits",
    params(ListCircuits),
    responses((status = 200, description = "One page", body = CircuitPage))
)]
#[get("/circuits")]
pub(super) async fn list(
    state: web::Data<State>,
    Query(query): Query<ListCircuits>,
) -> Result<HttpResponse, Error> {
    let page = page(query.limit, query.cursor.as_deref())?;
    let connected_since = fleet::connected_since(Utc::now());
    let mut connection = state.store.connection().await?;
    let mut items = circuits::list(&mut connection, connected_since, &page).await?;
    let next = page.cut(&mut items, |item| Cursor {
        at: item.circuit.open_until,
        id: item.access_key_id,
    });
    Ok(HttpResponse::Ok().json(CircuitPage {
        items,
        next_cursor: next.map(|cursor| cursor.encode()),
    }))
}

/// List an access key's circuits
///
/// Of the connected proxies on which it is not closed; the one that opened last
/// comes first.
#[utoipa::path(
    operation_id = "list_access_key_circuits",
    tag = "circuits",
    responses(
        (status = 200, description = "All circuits", body = CircuitOnProxyList),
        (status = 404, description = "No such key", body = ErrorBody),
    )
)]
#[get("/access-keys/{access_key_id}/circuits")]
pub(super) async fn of_access_key(
    state: web::Data<State>,
    access_key_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let connected_since = fleet::connected_since(Utc::now());
    let mut connection = state.store.connection().await?;
    found_access_key(&mut connection, *access_key_id).await?;
    let items = circuits::of_access_key(&mut connection, *access_key_id, connected_since).await?;
    Ok(HttpResponse::Ok().json(CircuitOnProxyList { items }))
}

/// Reset an access key's circuit
///
/// Every connected proxy tries the plan again for the key's next request, within
/// a second. The key's circuits are shown until the proxies have reported it.
#[utoipa::path(
    operation_id = "reset_circuit",
    tag = "circuits",
    responses(
        (status = 204, description = "Reset"),
        (status = 404, description = "No such key", body = ErrorBody),
        (status = 409, description = "It is revoked", body = ErrorBody),
    )
)]
#[post("/access-keys/{access_key_id}/circuit/reset")]
pub(super) async fn reset(
    state: web::Data<State>,
    author: Author,
    access_key_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let access_key_id = *access_key_id;
    let mut connection = state.store.connection().await?;
    let recorded = connection
        .transaction(async |connection| {
            let key = working(connection, access_key_id).await?;
            access_keys::reset_circuit(connection, access_key_id).await?;
            let entry = Entry::done(AuditAction::CircuitReset, Object::circuit(&key));
            author.record(connection, &entry).await
        })
        .await?;
    tracing::info!(%access_key_id, "access_key.circuit_reset");
    Ok(recorded.no_content())
}
