//! The `audit_log` table: who changed what, when and from where.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    ExpressionMethods, PgTextExpressionMethods, QueryDsl, SelectableHelper, prelude::*,
    sql_types::BigInt,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Result, escape_like, schema::audit_log, text_enum};
use crate::page::{Cursor, Page};

text_enum! {
    /// What was done.
    #[derive(Hash)]
    pub enum AuditAction {
        UserCreated = "user.created",
        UserChanged = "user.changed",
        UserRouted = "user.routed",
        UserDeactivated = "user.deactivated",
        UserReactivated = "user.reactivated",
        UserDeleted = "user.deleted",
        AccessKeyIssued = "access_key.issued",
        AccessKeyChanged = "access_key.changed",
        AccessKeyRotated = "access_key.rotated",
        AccessKeyRevoked = "access_key.revoked",
        /// By itself, because its time had come.
        AccessKeyExpired = "access_key.expired",
        BedrockKeyRegistered = "bedrock_key.registered",
        BedrockKeyDeleted = "bedrock_key.deleted",
        CircuitReset = "circuit.reset",
        BudgetChanged = "budget.changed",
        ModelMappingCreated = "model_mapping.created",
        ModelMappingChanged = "model_mapping.changed",
        ModelMappingDeleted = "model_mapping.deleted",
        ModelCapabilityDeleted = "model_capability.deleted",
        /// All of one source.
        ModelCapabilitiesDeleted = "model_capabilities.deleted",
        PricingReloaded = "pricing.reloaded",
        SessionBegun = "session.begun",
        SessionRefused = "session.refused",
        SessionEnded = "session.ended",
    }
}

text_enum! {
    /// What it was done to.
    pub enum AuditObjectKind {
        User = "user",
        AccessKey = "access_key",
        BedrockKey = "bedrock_key",
        Budget = "budget",
        Circuit = "circuit",
        ModelMapping = "model_mapping",
        ModelCapability = "model_capability",
        Pricing = "pricing",
        Session = "session",
    }
}

/// One thing that was done.
#[derive(Debug, Clone, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = audit_log)]
pub struct AuditEntry {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    /// The administrator's name; `system` when it happened by itself, `unknown` when
    /// somebody with another name could not sign in.
    pub actor: String,
    /// Where the request came from; null when there was none.
    pub address: Option<String>,
    /// The `x-request-id` of the answer; null when there was none.
    pub request_id: Option<Uuid>,
    #[schema(value_type = AuditAction)]
    pub action: String,
    #[schema(value_type = AuditObjectKind)]
    pub object_kind: String,
    /// A credential for Bedrock and a circuit have their access key's, a budget its
    /// user's.
    pub object_id: Option<Uuid>,
    /// As it was called then.
    pub object_name: String,
    /// The user whom it concerns.
    pub user_id: Option<Uuid>,
    /// What could be known of it; null when it was not there.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// What can be known of it since; null when it is gone.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = audit_log)]
pub struct NewAuditEntry<'a> {
    pub id: Uuid,
    pub actor: &'a str,
    pub address: Option<String>,
    pub request_id: Option<Uuid>,
    pub action: AuditAction,
    pub object_kind: AuditObjectKind,
    pub object_id: Option<Uuid>,
    pub object_name: &'a str,
    pub user_id: Option<Uuid>,
    pub before: Option<&'a Value>,
    pub after: Option<&'a Value>,
}

/// Which entries to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub from_inclusive: Option<DateTime<Utc>>,
    pub to_exclusive: Option<DateTime<Utc>>,
    pub actor: Option<String>,
    pub action: Option<AuditAction>,
    pub object_kind: Option<AuditObjectKind>,
    pub object_id: Option<Uuid>,
    pub user_id: Option<Uuid>,
    /// Part of the actor's or the object's name, in any case.
    pub search: Option<String>,
}

pub async fn insert(
    connection: &mut AsyncPgConnection,
    entries: &[NewAuditEntry<'_>],
) -> Result<()> {
    diesel::insert_into(audit_log::table)
        .values(entries)
        .execute(connection)
        .await?;
    Ok(())
}

/// Newest first.
pub async fn list(
    connection: &mut AsyncPgConnection,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<AuditEntry>> {
    let mut query = audit_log::table.into_boxed();
    if let Some(from) = filter.from_inclusive {
        query = query.filter(audit_log::at.ge(from));
    }
    if let Some(to) = filter.to_exclusive {
        query = query.filter(audit_log::at.lt(to));
    }
    if let Some(actor) = &filter.actor {
        query = query.filter(audit_log::actor.eq(actor));
    }
    if let Some(action) = filter.action {
        query = query.filter(audit_log::action.eq(action));
    }
    if let Some(kind) = filter.object_kind {
        query = query.filter(audit_log::object_kind.eq(kind));
    }
    if let Some(id) = filter.object_id {
        query = query.filter(audit_log::object_id.eq(id));
    }
    if let Some(id) = filter.user_id {
        query = query.filter(audit_log::user_id.eq(id));
    }
    if let Some(search) = &filter.search {
        let pattern = format!("%{}%", escape_like(search));
        query = query.filter(
            audit_log::object_name
                .ilike(pattern.clone())
                .or(audit_log::actor.ilike(pattern)),
        );
    }
    if let Some(Cursor { at, id }) = page.after {
        query = query.filter(
            audit_log::at
                .lt(at)
                .or(audit_log::at.eq(at).and(audit_log::id.lt(id))),
        );
    }
    let entries = query
        .order((audit_log::at.desc(), audit_log::id.desc()))
        .limit(page.fetch())
        .select(AuditEntry::as_select())
        .load(connection)
        .await?;
    Ok(entries)
}

/// Forgets what is older, and of the sign-ins that were refused all but the newest,
/// because anybody can add to those; returns how many.
pub async fn forget(
    connection: &mut AsyncPgConnection,
    older_than: TimeDelta,
    keep_refused: i64,
) -> Result<usize> {
    let old = diesel::delete(audit_log::table)
        .filter(audit_log::at.lt(Utc::now() - older_than))
        .execute(connection)
        .await?;
    let refused = diesel::sql_query(
        "delete from audit_log
        where action = 'session.refused' and (at, id) < (
            select at, id from audit_log
            where action = 'session.refused'
            order by at desc, id desc
            offset $1 - 1 limit 1
        )",
    )
    .bind::<BigInt, _>(keep_refused)
    .execute(connection)
    .await?;
    Ok(old.saturating_add(refused))
}
