//! `/admin/audit-log`: who changed what, when and from where.

use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    State,
    error::Error,
    page::page,
    query::{Query, condition},
};
use crate::{
    page::Cursor,
    store::audit_log::{self, AuditAction, AuditEntry, AuditObjectKind, Filter},
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListAuditLog {
    /// Entries from then on.
    from: Option<DateTime<Utc>>,
    /// Entries before then.
    to: Option<DateTime<Utc>>,
    /// Who did it.
    actor: Option<String>,
    #[param(inline)]
    action: Option<AuditAction>,
    #[param(inline)]
    object_kind: Option<AuditObjectKind>,
    object_id: Option<Uuid>,
    /// All that concerns one user: itself, its budget, its keys and their credentials.
    user_id: Option<Uuid>,
    /// Part of the name of what it was done to, or of who did it, in any case.
    search: Option<String>,
    /// How many to answer; 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AuditPage {
    items: Vec<AuditEntry>,
    /// Null on the last page.
    next_cursor: Option<String>,
}

/// List what was changed
///
/// Newest first. What has failed, or has changed nothing, is not in it.
#[utoipa::path(
    operation_id = "list_audit_log",
    tag = "audit log",
    params(ListAuditLog),
    responses((status = 200, description = "One page", body = AuditPage))
)]
#[get("/audit-log")]
pub(super) async fn list(
    state: web::Data<State>,
    Query(query): Query<ListAuditLog>,
) -> Result<HttpResponse, Error> {
    let page = page(query.limit, query.cursor.as_deref())?;
    let filter = Filter {
        from_inclusive: query.from,
        to_exclusive: query.to,
        actor: condition("actor", query.actor)?,
        action: query.action,
        object_kind: query.object_kind,
        object_id: query.object_id,
        user_id: query.user_id,
        search: condition("search", query.search)?,
    };
    let mut connection = state.store.connection().await?;
    let mut items = audit_log::list(&mut connection, &filter, &page).await?;
    let next = page.cut(&mut items, |entry| Cursor {
        at: entry.at,
        id: entry.id,
    });
    Ok(HttpResponse::Ok().json(AuditPage {
        items,
        next_cursor: next.map(|cursor| cursor.encode()),
    }))
}
