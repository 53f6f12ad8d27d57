//! The tables `usage_aggregates`, sums of each access key's usage by hour and day, and
//! `usage_totals`, sums of everybody's by minute, hour and day. Triggers keep them;
//! here they are made anew and tidied.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::{
    QueryableByName,
    prelude::*,
    sql_types::{BigInt, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde::Serialize;
use utoipa::ToSchema;

use super::Result;

#[derive(QueryableByName)]
struct Zone {
    #[diesel(sql_type = Text)]
    timezone: String,
}

/// The time zone in which the buckets are; none before they were ever made.
pub async fn timezone(connection: &mut AsyncPgConnection) -> Result<Option<String>> {
    let zone: Option<Zone> = diesel::sql_query("select timezone from usage_aggregation")
        .get_result(connection)
        .await
        .optional()?;
    Ok(zone.map(|zone| zone.timezone))
}

/// Makes all buckets anew from the rows, in this time zone, however long that
/// takes; in a transaction. Ingest waits meanwhile.
pub async fn rebuild(connection: &mut AsyncPgConnection, timezone: Tz) -> Result<()> {
    connection
        .batch_execute("set local statement_timeout = 0")
        .await?;
    diesel::sql_query("select rebuild_usage_aggregates($1)")
        .bind::<Text, _>(timezone.name())
        .execute(connection)
        .await?;
    Ok(())
}

/// A model that was used and has no price.
#[derive(Debug, Clone, QueryableByName, Serialize, ToSchema)]
pub struct UnpricedModel {
    #[diesel(sql_type = Text)]
    pub model_id: String,
    #[diesel(sql_type = Text)]
    pub provider: String,
    /// Requests with tokens that nobody could price.
    #[diesel(sql_type = BigInt)]
    pub requests: i64,
    /// Its tokens of all kinds in the hours in which there were such requests.
    #[diesel(sql_type = BigInt)]
    pub tokens: i64,
    /// The beginning of the first hour in which it was used so, of those that were
    /// looked at.
    #[diesel(sql_type = Timestamptz)]
    pub first_used_at: DateTime<Utc>,
    /// The beginning of the last hour in which it was used so.
    #[diesel(sql_type = Timestamptz)]
    pub last_used_at: DateTime<Utc>,
}

/// The most used models without a price, a hundred at most.
pub async fn unpriced(
    connection: &mut AsyncPgConnection,
    since: DateTime<Utc>,
) -> Result<Vec<UnpricedModel>> {
    let models = diesel::sql_query(
        "select model_id, provider, sum(unpriced_requests)::bigint as requests,
            sum(
                input_tokens + output_tokens + cache_read_tokens
                + cache_write_5m_tokens + cache_write_1h_tokens
            )::bigint as tokens,
            min(bucket_start) as first_used_at,
            max(bucket_start) as last_used_at
        from usage_totals
        where bucket_type = 'hour' and bucket_start >= $1 and unpriced_requests > 0
        group by model_id, provider
        order by requests desc, model_id, provider
        limit 100",
    )
    .bind::<Timestamptz, _>(since)
    .load(connection)
    .await?;
    Ok(models)
}

/// Drops minutes that nobody looks at any more; returns how many buckets.
pub async fn drop_minutes(connection: &mut AsyncPgConnection) -> Result<usize> {
    let mut dropped = 0;
    // An older version has kept minutes of each access key.
    for table in ["usage_totals", "usage_aggregates"] {
        let statement = format!(
            "delete from {table} where bucket_type = 'minute' and bucket_start < first_minute()"
        );
        dropped += diesel::sql_query(statement).execute(connection).await?;
    }
    Ok(dropped)
}

#[derive(QueryableByName)]
struct RowsFrom {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    rows_from: Option<DateTime<Utc>>,
}

/// Rows before that were dropped; none: nothing was.
pub async fn rows_from(connection: &mut AsyncPgConnection) -> Result<Option<DateTime<Utc>>> {
    let rows: Vec<RowsFrom> = diesel::sql_query("select rows_from from usage_aggregation")
        .load(connection)
        .await?;
    Ok(rows.into_iter().find_map(|it| it.rows_from))
}

/// Remembers that rows before this time are gone, so that their buckets are kept
/// when the others are made anew.
pub async fn dropped_before(
    connection: &mut AsyncPgConnection,
    time: Option<DateTime<Utc>>,
) -> Result<()> {
    diesel::sql_query(
        "update usage_aggregation set rows_from = greatest(rows_from, $1) where $1 is not null",
    )
    .bind::<Nullable<Timestamptz>, _>(time)
    .execute(connection)
    .await?;
    Ok(())
}
