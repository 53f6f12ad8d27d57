//! The tables `sync_head` and `change_log`, and the view of what proxies hold.
//! Triggers write them; `changes` reads them.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, QueryDsl, QueryableByName, SelectableHelper,
    prelude::*,
    sql_types::{BigInt, Nullable},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::{Stream, TryStreamExt};
use uuid::Uuid;

use super::{
    Error, Result,
    model_mappings::BedrockApi,
    prices::PriceProvider,
    schema::{change_log, sync_head, synced_resources},
    users::RoutingStrategy,
};

/// Where the history stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = sync_head)]
pub struct Head {
    pub epoch: Uuid,
    pub revision: i64,
    /// Changes up to here are no longer in the log.
    pub floor: i64,
}

/// A resource that changed.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = change_log)]
pub struct Change {
    pub kind: String,
    pub id: Uuid,
}

/// A row that proxies hold a copy of.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = synced_resources)]
pub struct SyncedResource {
    pub kind: String,
    pub id: Uuid,
    pub revision: i64,
    pub user_id: Option<Uuid>,
    pub key_hash: Option<Vec<u8>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub circuit_resets: Option<i32>,
    pub routing_strategy: Option<RoutingStrategy>,
    pub access_key_id: Option<Uuid>,
    pub region: Option<String>,
    pub sealed: Option<Vec<u8>>,
    pub sealed_for: Option<Uuid>,
    pub claude_model: Option<String>,
    /// Of a mapping, a capability or a price.
    pub bedrock_model: Option<String>,
    pub bedrock_api: Option<BedrockApi>,
    pub feature: Option<String>,
    pub provider: Option<PriceProvider>,
    pub effective_from: Option<DateTime<Utc>>,
    /// Input, output, cache read, cache write 5 min and 1 h.
    pub rates: Option<Vec<i64>>,
    pub long_context_threshold: Option<i64>,
    pub long_context_rates: Option<Vec<i64>>,
    pub limit_micro_usd: Option<i64>,
    pub is_exhausted: Option<bool>,
    pub period_start: Option<DateTime<Utc>>,
    pub period_end: Option<DateTime<Utc>>,
}

#[derive(QueryableByName)]
struct Digest {
    #[diesel(sql_type = BigInt)]
    digest: i64,
}

pub async fn head(connection: &mut AsyncPgConnection) -> Result<Head> {
    let head = sync_head::table
        .select(Head::as_select())
        .first(connection)
        .await?;
    Ok(head)
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = Nullable<BigInt>)]
    revision: Option<i64>,
}

/// The revision of what the transaction has changed, at its end: the counter is
/// held from now on, as by the commit itself. None when proxies hold nothing of it.
pub async fn take_revision(connection: &mut AsyncPgConnection) -> Result<Option<i64>> {
    connection
        .batch_execute("set constraints all immediate")
        .await?;
    let taken: Taken = diesel::sql_query(
        "select nullif(current_setting('control.revision', true), '')::bigint as revision",
    )
    .get_result(connection)
    .await?;
    Ok(taken.revision)
}

/// What changed after a revision, each resource once, at most so many.
pub async fn since(
    connection: &mut AsyncPgConnection,
    revision: i64,
    limit: usize,
) -> Result<Vec<Change>> {
    let changes = change_log::table
        .filter(change_log::revision.gt(revision))
        .select(Change::as_select())
        .distinct()
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .load(connection)
        .await?;
    Ok(changes)
}

/// Those of the named resources that proxies see.
pub async fn resources(
    connection: &mut AsyncPgConnection,
    kind: &str,
    ids: &[Uuid],
) -> Result<Vec<SyncedResource>> {
    let resources = synced_resources::table
        .filter(synced_resources::kind.eq(kind))
        .filter(synced_resources::id.eq_any(ids))
        .select(SyncedResource::as_select())
        .load(connection)
        .await?;
    Ok(resources)
}

/// All that proxies see, row by row.
pub async fn all_resources(
    connection: &mut AsyncPgConnection,
) -> Result<impl Stream<Item = Result<SyncedResource>>> {
    let rows = synced_resources::table
        .select(SyncedResource::as_select())
        .load_stream(connection)
        .await?;
    Ok(rows.map_err(Error::from))
}

/// `proto::digest` over all that proxies see.
pub async fn digest(connection: &mut AsyncPgConnection) -> Result<u64> {
    let row: Digest = diesel::sql_query(
        "select coalesce(bit_xor(
            ('x' || encode(substr(
                sha256(convert_to(kind_number || '/' || id || '@' || revision, 'UTF8')), 1, 8
            ), 'hex'))::bit(64)::bigint
        ), 0) as digest
        from synced_resources",
    )
    .get_result(connection)
    .await?;
    Ok(row.digest.cast_unsigned())
}

/// Forgets changes that are older than the given time, except the newest ones;
/// returns how many.
pub async fn compact(
    connection: &mut AsyncPgConnection,
    older_than: DateTime<Utc>,
    keep: i64,
) -> Result<usize> {
    let kept_by_count = head(connection).await?.revision.saturating_sub(keep);
    let floor = change_log::table
        .filter(change_log::at.lt(older_than))
        .filter(change_log::revision.le(kept_by_count))
        .select(diesel::dsl::max(change_log::revision))
        .first::<Option<i64>>(connection)
        .await?;
    let Some(floor) = floor else {
        return Ok(0);
    };
    let forgotten = diesel::delete(change_log::table.filter(change_log::revision.le(floor)))
        .execute(connection)
        .await?;
    diesel::update(sync_head::table.filter(sync_head::floor.lt(floor)))
        .set(sync_head::floor.eq(floor))
        .execute(connection)
        .await?;
    Ok(forgotten)
}

/// Begins a new history; wakes every listener.
pub async fn new_epoch(connection: &mut AsyncPgConnection) -> Result<Uuid> {
    let epoch = Uuid::new_v4();
    diesel::update(sync_head::table)
        .set(sync_head::epoch.eq(epoch))
        .execute(connection)
        .await?;
    diesel::sql_query("notify config_changed")
        .execute(connection)
        .await?;
    Ok(epoch)
}
