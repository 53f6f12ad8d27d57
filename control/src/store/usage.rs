//! The `token_usage` table: one row per request, one partition per month.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use diesel::{
    ExpressionMethods, QueryDsl, QueryableByName, SelectableHelper,
    pg::Pg,
    prelude::*,
    query_builder::{BoxedSqlQuery, SqlQuery},
    sql_types::{
        Array, BigInt, Bool, Date, Integer, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid,
    },
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Result, aggregates, schema::token_usage, text_enum};
use crate::{
    money::Usd,
    page::{Cursor, Page},
};

/// Partitions are made this many months before they are needed.
const MONTHS_AHEAD: u32 = 3;

/// An event that is fit to be stored.
#[derive(Debug, Clone, PartialEq)]
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
    pub bedrock_model: String,
    pub bedrock_region: String,
    pub charge: Charge,
}

/// What a request costs, and by which price.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Charge {
    /// The model under which it is priced and summed up.
    pub pricing_model_id: String,
    /// False: tokens were used, and there was no price for them.
    pub priced: bool,
    pub estimated_cost_usd: Usd,
    pub input_cost_usd: Usd,
    pub output_cost_usd: Usd,
    pub cache_read_cost_usd: Usd,
    pub cache_write_cost_usd: Usd,
    /// What the same tokens cost on Bedrock, whoever answered.
    pub bedrock_cost_usd: Usd,
    pub price: Option<Snapshot>,
}

/// The price that was in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub pricing_region: String,
    pub pricing_effective_date: Option<NaiveDate>,
    pub pricing_input_price: Usd,
    pub pricing_output_price: Usd,
    pub pricing_cache_read_price: Usd,
    pub pricing_cache_write_5m_price: Usd,
    pub pricing_cache_write_1h_price: Usd,
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
    /// What Bedrock was asked for; empty when it was not.
    pub bedrock_model: String,
    pub bedrock_region: String,
    /// The model under which it is priced and summed up.
    pub pricing_model_id: String,
    /// False: tokens were used, and there was no price for them.
    pub priced: bool,
    pub estimated_cost_usd: Usd,
    /// What the same tokens cost on Bedrock, whoever answered.
    pub bedrock_cost_usd: Usd,
}

/// Which requests to look at.
#[derive(Debug, Clone)]
pub struct Filter {
    pub from_inclusive: DateTime<Utc>,
    pub to_exclusive: DateTime<Utc>,
    pub user_id: Option<Uuid>,
    pub access_key_id: Option<Uuid>,
    /// The model under which requests are priced.
    pub model: Option<String>,
    pub provider: Option<Answerer>,
}

text_enum! {
    /// Who answered.
    pub enum Answerer {
        Plan = "plan",
        Bedrock = "bedrock",
        /// No upstream was asked.
        None = "none",
    }
}

impl Filter {
    /// The condition for rows of `token_usage` under this name. It takes the
    /// parameters `$1` to `$6` of [`Self::bind`].
    pub(super) fn matches(table: &str) -> String {
        format!(
            "{table}.started_at >= $1 and {table}.started_at < $2
            and ($3 is null or {table}.user_id = $3)
            and ($4 is null or {table}.access_key_id = $4)
            and ($5 is null or {table}.pricing_model_id = $5)
            and ($6 is null or coalesce({table}.provider, 'none') = $6)"
        )
    }

    pub(super) fn bind(&self, statement: String) -> BoxedSqlQuery<'_, Pg, SqlQuery> {
        diesel::sql_query(statement)
            .into_boxed()
            .bind::<Timestamptz, _>(self.from_inclusive)
            .bind::<Timestamptz, _>(self.to_exclusive)
            .bind::<Nullable<SqlUuid>, _>(self.user_id)
            .bind::<Nullable<SqlUuid>, _>(self.access_key_id)
            .bind::<Nullable<Text>, _>(self.model.as_deref())
            .bind::<Nullable<Text>, _>(self.provider.map(Answerer::name))
    }
}

#[derive(QueryableByName)]
struct EventId {
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
}

/// Stores the events that are not stored yet and returns their ids.
///
/// Batches with the same events wait for each other. A key that does not exist
/// becomes null; the others are held until the end of the transaction. Triggers
/// add the new rows to the sums.
pub async fn insert(connection: &mut AsyncPgConnection, batch: &[NewUsage]) -> Result<Vec<Uuid>> {
    let inserted: Vec<EventId> = adding(batch).load(connection).await?;
    Ok(inserted.into_iter().map(|row| row.event_id).collect())
}

/// A statement with a parameter for each of these columns: an array of what every row
/// has there, which Postgres reads in a fraction of the time that it takes for JSON.
macro_rules! with_columns {
    ($statement:ident of $rows:expr, $row:ident { $($column:ident: $kind:ty = $value:expr,)* }) => {{
        let query = diesel::sql_query($statement(&[$(stringify!($column)),*])).into_boxed();
        $(
            let values: Vec<_> = $rows.iter().map(|$row| $value).collect();
            let query = query.bind::<Array<$kind>, _>(values);
        )*
        query
    }};
}

fn adding(batch: &[NewUsage]) -> BoxedSqlQuery<'_, Pg, SqlQuery> {
    with_columns!(adding_of of batch, row {
        event_id: SqlUuid = row.event_id,
        request_id: Text = &*row.request_id,
        upstream_request_id: Text = &*row.upstream_request_id,
        access_key_id: Nullable<SqlUuid> = row.access_key_id,
        user_id: Nullable<SqlUuid> = row.user_id,
        started_at: Timestamptz = row.started_at,
        duration_ms: BigInt = row.duration_ms,
        first_byte_ms: Nullable<BigInt> = row.first_byte_ms,
        provider: Nullable<Text> = row.provider,
        is_fallback: Bool = row.is_fallback,
        model: Text = &*row.model,
        upstream_model: Text = &*row.upstream_model,
        outcome: Text = row.outcome,
        status: Integer = row.status,
        is_streaming: Bool = row.is_streaming,
        input_tokens: BigInt = row.input_tokens,
        output_tokens: BigInt = row.output_tokens,
        cache_read_tokens: BigInt = row.cache_read_tokens,
        cache_write_5m_tokens: BigInt = row.cache_write_5m_tokens,
        cache_write_1h_tokens: BigInt = row.cache_write_1h_tokens,
        is_estimate: Bool = row.is_estimate,
        session_id: Text = &*row.session_id,
        agent_id: Text = &*row.agent_id,
        bedrock_model: Text = &*row.bedrock_model,
        bedrock_region: Text = &*row.bedrock_region,
        pricing_model_id: Text = &*row.charge.pricing_model_id,
        priced: Bool = row.charge.priced,
        estimated_cost_usd: Numeric = row.charge.estimated_cost_usd,
        input_cost_usd: Numeric = row.charge.input_cost_usd,
        output_cost_usd: Numeric = row.charge.output_cost_usd,
        cache_read_cost_usd: Numeric = row.charge.cache_read_cost_usd,
        cache_write_cost_usd: Numeric = row.charge.cache_write_cost_usd,
        bedrock_cost_usd: Numeric = row.charge.bedrock_cost_usd,
        pricing_region: Nullable<Text> = row.price(|it| &*it.pricing_region),
        pricing_effective_date: Nullable<Date> =
            row.charge.price.as_ref().and_then(|it| it.pricing_effective_date),
        pricing_input_price: Nullable<Numeric> = row.price(|it| it.pricing_input_price),
        pricing_output_price: Nullable<Numeric> = row.price(|it| it.pricing_output_price),
        pricing_cache_read_price: Nullable<Numeric> = row.price(|it| it.pricing_cache_read_price),
        pricing_cache_write_5m_price: Nullable<Numeric> =
            row.price(|it| it.pricing_cache_write_5m_price),
        pricing_cache_write_1h_price: Nullable<Numeric> =
            row.price(|it| it.pricing_cache_write_1h_price),
    })
}

/// The rows go in in one order, so that two batches with the same events wait for each
/// other instead of locking each other out; so do the keys. What is older than the rows
/// that are kept may have been counted, and nobody can tell any more.
fn adding_of(columns: &[&str]) -> String {
    let names = columns.join(", ");
    let arrays: Vec<String> = (1..=columns.len()).map(|it| format!("${it}")).collect();
    let values: Vec<String> = columns
        .iter()
        .map(|column| match *column {
            "access_key_id" => "known.id".to_owned(),
            column => format!("batch.{column}"),
        })
        .collect();
    format!(
        "with batch ({names}) as (
            select * from unnest({arrays})
        ), known as (
            select id from access_keys
            where id in (select access_key_id from batch)
            order by id
            for key share
        )
        insert into token_usage ({names})
        select {values}
        from batch left join known on known.id = batch.access_key_id
        where batch.started_at >= coalesce((select rows_from from usage_aggregation), '-infinity')
        order by batch.started_at, batch.event_id
        on conflict do nothing
        returning event_id",
        arrays = arrays.join(", "),
        values = values.join(", "),
    )
}

impl NewUsage {
    /// Something of the price, if there is one.
    fn price<'a, T>(&'a self, of: impl FnOnce(&'a Snapshot) -> T) -> Option<T> {
        self.charge.price.as_ref().map(of)
    }
}

/// The ids of those events of a batch that are stored, or older than what is kept.
pub async fn stored(connection: &mut AsyncPgConnection, batch: &[NewUsage]) -> Result<Vec<Uuid>> {
    let times = || batch.iter().map(|row| row.started_at);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return Ok(Vec::new());
    };
    let ids = batch.iter().map(|row| row.event_id);
    let mut stored: Vec<Uuid> = token_usage::table
        .filter(token_usage::event_id.eq_any(ids))
        // Only the partitions in which they may be.
        .filter(token_usage::started_at.between(first, last))
        .select(token_usage::event_id)
        .load(connection)
        .await?;
    let rows_from = aggregates::rows_from(connection).await?;
    let is_gone = |row: &&NewUsage| rows_from.is_some_and(|from| row.started_at < from);
    stored.extend(batch.iter().filter(is_gone).map(|row| row.event_id));
    Ok(stored)
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
    if let Some(model) = &filter.model {
        query = query.filter(token_usage::pricing_model_id.eq(model));
    }
    query = match filter.provider {
        None => query,
        Some(Answerer::None) => query.filter(token_usage::provider.is_null()),
        Some(provider) => query.filter(token_usage::provider.eq(provider.name())),
    };
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
    let names = partitions.into_iter().map(|it| it.name);
    let ended = names.filter(|it| month_of(it).is_some_and(|month| ends_before(month, oldest)));
    let ended: Vec<String> = ended.collect();
    let last = ended.iter().filter_map(|name| month_of(name)).max();
    let rows_from = last.and_then(|month| month.checked_add_months(Months::new(1)));
    let rows_from = rows_from.map(|day| day.and_time(NaiveTime::MIN).and_utc());
    // Whoever makes the sums anew must know which rows are gone, whatever happens here.
    connection
        .transaction(async |connection| {
            let deleted =
                diesel::sql_query("delete from token_usage_default where started_at < $1")
                    .bind::<Timestamptz, _>(oldest)
                    .execute(connection)
                    .await?;
            let rows_from = rows_from.max((deleted > 0).then_some(oldest));
            aggregates::dropped_before(connection, rows_from).await?;
            for name in &ended {
                // The name has the shape that we have given it: safe to write out.
                let statement = format!("drop table if exists {name}");
                connection.batch_execute(&statement).await?;
            }
            Ok::<_, super::Error>(())
        })
        .await?;
    Ok(ended)
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
