//! The `proxies` table: what each proxy process reported last.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{ExpressionMethods, QueryDsl, SelectableHelper, dsl::now, prelude::*};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{Result, schema::proxies};

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = proxies)]
pub struct Proxy {
    pub instance_id: Uuid,
    pub version: String,
    pub started_at: Option<DateTime<Utc>>,
    pub address: String,
    pub applied_epoch: Option<Uuid>,
    pub applied_revision: Option<i64>,
    pub rejected: serde_json::Value,
    pub usage_pending: i64,
    pub usage_dropped: i64,
    pub active_streams: i64,
    pub reported_at: DateTime<Utc>,
}

#[derive(Debug, Insertable, AsChangeset)]
#[diesel(table_name = proxies, treat_none_as_null = true)]
pub struct Report {
    pub instance_id: Uuid,
    pub version: String,
    pub started_at: Option<DateTime<Utc>>,
    pub address: String,
    pub applied_epoch: Option<Uuid>,
    pub applied_revision: Option<i64>,
    pub rejected: serde_json::Value,
    pub usage_pending: i64,
    pub usage_dropped: i64,
    pub active_streams: i64,
}

/// Replaces the report before.
pub async fn upsert(connection: &mut AsyncPgConnection, report: &Report) -> Result<()> {
    diesel::insert_into(proxies::table)
        .values((report, proxies::reported_at.eq(now)))
        .on_conflict(proxies::instance_id)
        .do_update()
        .set((report, proxies::reported_at.eq(now)))
        .execute(connection)
        .await?;
    Ok(())
}

/// The one that reported last comes first.
pub async fn list(connection: &mut AsyncPgConnection) -> Result<Vec<Proxy>> {
    let proxies = proxies::table
        .order((proxies::reported_at.desc(), proxies::instance_id))
        .select(Proxy::as_select())
        .load(connection)
        .await?;
    Ok(proxies)
}

/// Forgets the processes that have not reported for so long.
pub async fn forget(connection: &mut AsyncPgConnection, silence: TimeDelta) -> Result<usize> {
    let forgotten =
        diesel::delete(proxies::table.filter(proxies::reported_at.lt(Utc::now() - silence)))
            .execute(connection)
            .await?;
    Ok(forgotten)
}
