//! The `token_usage` table: one row per request, one partition per month.

use chrono::{DateTime, Datelike, Months, NaiveDate, TimeDelta, Utc};
use diesel::{
    ExpressionMethods, QueryDsl, QueryableByName, SelectableHelper,
    prelude::*,
    sql_types::{BigInt, Bool, Date, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Result, schema::token_usage};
use crate::page::{Cursor, Page};

/// Partitions are made this many months before they are needed.
const MONTHS_AHEAD: u32 = 3;

/// Clients choose the names of models; a list of them must end somewhere.
const MAX_SUMS: i64 = 100;

/// An event that is fit to be stored; its fields are the table's columns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewUsage {
    pub event_id: Uuid,
    pub request_id: String,
    pub upstream_request_id: String,
    pub access_key_id: Option<Uuid>,
    pub user_id: Option<Uuid>,
    pub started_at: DateTime<Utc>,
    pub duration_ms: i64,
    pub first_byte_ms: Option<i64>,
    pub provider: Option<&'static str>,
    pub is_fallback: bool,
    pub model: String,
    pub upstream_model: String,
    pub outcome: &'static str,
    pub status: i32,
    pub is_streaming: bool,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_5m_tokens: i64,
    pub cache_write_1h_tokens: i64,
    pub is_estimate: bool,
    pub session_id: String,
    pub agent_id: String,
}

/// One request, as it is shown.
#[derive(Debug, Clone, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = token_usage)]
pub struct Usage {
    pub event_id: Uuid,
    pub request_id: String,
    pub upstream_request_id: String,
    pub access_key_id: Option<Uuid>,
    pub user_id: Option<Uuid>,
    pub started_at: DateTime<Utc>,
    pub duration_ms: i64,
    pub first_byte_ms: Option<i64>,
    pub provider: Option<String>,
    pub is_fallback: bool,
    pub model: String,
    pub upstream_model: String,
    pub outcome: String,
    pub status: i32,
    pub is_streaming: bool,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_5m_tokens: i64,
    pub cache_write_1h_tokens: i64,
    pub is_estimate: bool,
    pub session_id: String,
    pub agent_id: String,
}

/// Which requests to look at.
#[derive(Debug, Clone)]
pub struct Filter {
    pub from_inclusive: DateTime<Utc>,
    pub to_exclusive: DateTime<Utc>,
    pub user_id: Option<Uuid>,
    pub access_key_id: Option<Uuid>,
}

/// Sums over the requests that one label names; which label is told by the one
/// that is present, none for all requests.
#[derive(Debug, Clone, QueryableByName)]
pub struct Sums {
    #[diesel(sql_type = Nullable<Text>)]
    pub model: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub provider: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub outcome: Option<String>,
    #[diesel(sql_type = BigInt)]
    pub requests: i64,
    #[diesel(sql_type = BigInt)]
    pub input_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub output_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub cache_read_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub cache_write_5m_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub cache_write_1h_tokens: i64,
}

#[derive(QueryableByName)]
struct EventId {
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
}

/// Stores the events that are not stored yet and returns their ids.
///
/// The rows go in in one order, so that two batches with the same events wait
/// for each other instead of locking each other out. A key that does not exist
/// becomes null; the others are held until the end of the transaction.
pub async fn insert(connection: &mut AsyncPgConnection, batch: &[NewUsage]) -> Result<Vec<Uuid>> {
    let batch = serde_json::to_string(batch)
        .map_err(|error| diesel::result::Error::SerializationError(error.into()))?;
    let inserted: Vec<EventId> = diesel::sql_query(
        "with batch as (
            select * from json_populate_recordset(null::token_usage, $1::json)
        ), known as (
            select id from access_keys
            where id in (select access_key_id from batch)
            order by id
            for key share
        )
        insert into token_usage (
            event_id, request_id, upstream_request_id, access_key_id, user_id, started_at,
            duration_ms, first_byte_ms, provider, is_fallback, model, upstream_model, outcome,
            status, is_streaming, input_tokens, output_tokens, cache_read_tokens,
            cache_write_5m_tokens, cache_write_1h_tokens, is_estimate, session_id, agent_id
        )
        select
            event_id, request_id, upstream_request_id, known.id, user_id, started_at,
            duration_ms, first_byte_ms, provider, is_fallback, model, upstream_model, outcome,
            status, is_streaming, input_tokens, output_tokens, cache_read_tokens,
            cache_write_5m_tokens, cache_write_1h_tokens, is_estimate, session_id, agent_id
        from batch left join known on known.id = batch.access_key_id
        order by started_at, event_id
        on conflict do nothing
        returning event_id",
    )
    .bind::<Text, _>(batch)
    .load(connection)
    .await?;
    Ok(inserted.into_iter().map(|row| row.event_id).collect())
}

/// Sums over all requests, and by model, by provider and by outcome: of each
/// label the values with the most requests, `MAX_SUMS` at most.
pub async fn sums(connection: &mut AsyncPgConnection, filter: &Filter) -> Result<Vec<Sums>> {
    let sums = diesel::sql_query(
        "select * from (select
            row_number() over (
                partition by grouping(model, provider, outcome)
                order by count(*) desc, model, provider, outcome
            ) as place,
            case when grouping(model) = 0 then model end as model,
            case when grouping(provider) = 0 then coalesce(provider, 'none') end as provider,
            case when grouping(outcome) = 0 then outcome end as outcome,
            count(*) as requests,
            coalesce(sum(input_tokens), 0)::bigint as input_tokens,
            coalesce(sum(output_tokens), 0)::bigint as output_tokens,
            coalesce(sum(cache_read_tokens), 0)::bigint as cache_read_tokens,
            coalesce(sum(cache_write_5m_tokens), 0)::bigint as cache_write_5m_tokens,
            coalesce(sum(cache_write_1h_tokens), 0)::bigint as cache_write_1h_tokens
        from token_usage
        where started_at >= $1 and started_at < $2
          and ($3 is null or user_id = $3)
          and ($4 is null or access_key_id = $4)
        group by grouping sets ((), (model), (provider), (outcome))) as sums
        where place <= $5
        order by place",
    )
    .bind::<Timestamptz, _>(filter.from_inclusive)
    .bind::<Timestamptz, _>(filter.to_exclusive)
    .bind::<Nullable<SqlUuid>, _>(filter.user_id)
    .bind::<Nullable<SqlUuid>, _>(filter.access_key_id)
    .bind::<BigInt, _>(MAX_SUMS)
    .load(connection)
    .await?;
    Ok(sums)
}

/// Newest first.
pub async fn list(
    connection: &mut AsyncPgConnection,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<Usage>> {
    let mut query = token_usage::table
        .filter(token_usage::started_at.ge(filter.from_inclusive))
        .filter(token_usage::started_at.lt(filter.to_exclusive))
        .into_boxed();
    if let Some(user_id) = filter.user_id {
        query = query.filter(token_usage::user_id.eq(user_id));
    }
    if let Some(access_key_id) = filter.access_key_id {
        query = query.filter(token_usage::access_key_id.eq(access_key_id));
    }
    if let Some(Cursor { at, id }) = page.after {
        query = query.filter(
            token_usage::started_at.lt(at).or(token_usage::started_at
                .eq(at)
                .and(token_usage::event_id.lt(id))),
        );
    }
    let usage = query
        .order((token_usage::started_at.desc(), token_usage::event_id.desc()))
        .limit(page.fetch())
        .select(Usage::as_select())
        .load(connection)
        .await?;
    Ok(usage)
}

#[derive(QueryableByName)]
struct Made {
    #[diesel(sql_type = Bool)]
    made: bool,
}

/// Makes the partitions of this month and the next ones; returns how many were
/// missing.
pub async fn make_partitions(connection: &mut AsyncPgConnection) -> Result<usize> {
    let mut count = 0;
    for month in months_from(Utc::now().date_naive(), MONTHS_AHEAD) {
        if make_partition(connection, month).await? {
            count += 1;
        }
    }
    Ok(count)
}

/// False when there was one. Rows of the month that the default partition has
/// caught are moved.
pub async fn make_partition(connection: &mut AsyncPgConnection, month: NaiveDate) -> Result<bool> {
    let row: Made = diesel::sql_query("select make_usage_partition($1) as made")
        .bind::<Date, _>(month)
        .get_result(connection)
        .await?;
    Ok(row.made)
}

#[derive(QueryableByName)]
struct Partition {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Drops the months that ended before the retention, and what is that old in
/// the default partition; returns the names of the dropped partitions.
pub async fn drop_old(
    connection: &mut AsyncPgConnection,
    retention: TimeDelta,
) -> Result<Vec<String>> {
    let oldest = Utc::now() - retention;
    let partitions: Vec<Partition> = diesel::sql_query(
        "select relname::text as name
        from pg_inherits join pg_class on pg_class.oid = inhrelid
        where inhparent = 'token_usage'::regclass
        order by relname",
    )
    .load(connection)
    .await?;
    let mut dropped = Vec::new();
    for Partition { name } in partitions {
        if month_of(&name).is_some_and(|month| ends_before(month, oldest)) {
            // The name has the shape that we have given it: safe to write out.
            connection
                .batch_execute(&format!("drop table if exists {name}"))
                .await?;
            dropped.push(name);
        }
    }
    diesel::sql_query("delete from token_usage_default where started_at < $1")
        .bind::<Timestamptz, _>(oldest)
        .execute(connection)
        .await?;
    Ok(dropped)
}

/// The first days of this month and the months after it.
fn months_from(today: NaiveDate, ahead: u32) -> impl Iterator<Item = NaiveDate> {
    let first = today.with_day(1).unwrap_or(today);
    (0..=ahead).filter_map(move |months| first.checked_add_months(Months::new(months)))
}

/// The month whose rows a partition holds, by its name.
fn month_of(partition: &str) -> Option<NaiveDate> {
    let (year, month) = partition.strip_prefix("token_usage_")?.split_once('_')?;
    NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, 1)
}

fn ends_before(month: NaiveDate, time: DateTime<Utc>) -> bool {
    month
        .checked_add_months(Months::new(1))
        .is_some_and(|next| next <= time.date_naive())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn months_go_over_the_end_of_a_year() {
        let months: Vec<_> = months_from(day("2026-11-30"), 3).collect();
        assert_eq!(
            months,
            ["2026-11-01", "2026-12-01", "2027-01-01", "2027-02-01"].map(day)
        );
    }

    #[test]
    fn a_partition_is_known_by_its_name() {
        assert_eq!(month_of("token_usage_2026_11"), Some(day("2026-11-01")));
        for name in [
            "token_usage_default",
            "token_usage",
            "users",
            "token_usage_2026_13",
        ] {
            assert_eq!(month_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_month_is_old_only_when_its_last_day_is() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert!(!ends_before(
            day("2026-11-01"),
            time("2026-11-30T23:59:59Z")
        ));
        assert!(ends_before(day("2026-11-01"), time("2026-12-01T00:00:00Z")));
    }
}
