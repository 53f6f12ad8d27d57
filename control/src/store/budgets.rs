//! The `budgets` table: what users may spend on Bedrock in a month, and have.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, QueryableByName, SelectableHelper,
    dsl::now,
    prelude::*,
    sql_types::{Array, BigInt, Numeric, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{Result, schema::budgets};
use crate::money::Usd;

/// One user's budget and how it stands.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, QueryableByName)]
#[diesel(table_name = budgets)]
pub struct Budget {
    pub user_id: Uuid,
    pub monthly_budget_usd: Usd,
    /// The month for which the rest was decided.
    pub period_start: DateTime<Utc>,
    pub period_end: DateTime<Utc>,
    pub spent_usd: Usd,
    pub is_exhausted: bool,
    /// When `spent_usd` changed last.
    pub spent_at: DateTime<Utc>,
}

/// Decides for these users, those without a budget left out, how much is spent in
/// the month of `at` and whether that is all; also notes which thresholds are
/// crossed. Their rows are locked until the end of the transaction.
pub async fn settle(
    connection: &mut AsyncPgConnection,
    users: &[Uuid],
    at: DateTime<Utc>,
    timezone: Tz,
) -> Result<Vec<Budget>> {
    let settled = diesel::sql_query("select * from settle_budgets($1, $2, $3)")
        .bind::<Array<SqlUuid>, _>(users)
        .bind::<Timestamptz, _>(at)
        .bind::<Text, _>(timezone.name())
        .load(connection)
        .await?;
    Ok(settled)
}

pub async fn find(connection: &mut AsyncPgConnection, user_id: Uuid) -> Result<Option<Budget>> {
    let budget = budgets::table
        .filter(budgets::user_id.eq(user_id))
        .select(Budget::as_select())
        .first(connection)
        .await
        .optional()?;
    Ok(budget)
}

/// Gives a user this budget, or another one; [`settle`] it afterwards. Nobody else
/// settles any until the end of the transaction.
pub async fn put(
    connection: &mut AsyncPgConnection,
    user_id: Uuid,
    monthly_budget_usd: Usd,
    period: (DateTime<Utc>, DateTime<Utc>),
) -> Result<()> {
    // A batch that was settled while there was no budget has to be committed first.
    super::lock(connection, "budgets").await?;
    diesel::insert_into(budgets::table)
        .values((
            budgets::user_id.eq(user_id),
            budgets::monthly_budget_usd.eq(monthly_budget_usd),
            budgets::period_start.eq(period.0),
            budgets::period_end.eq(period.1),
        ))
        .on_conflict(budgets::user_id)
        .do_update()
        .set((
            budgets::monthly_budget_usd.eq(monthly_budget_usd),
            budgets::updated_at.eq(now),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Month {
    #[diesel(sql_type = Timestamptz)]
    start: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    stop: DateTime<Utc>,
}

/// Decides for everybody who has a budget, in the month of `at`.
pub async fn settle_all(
    connection: &mut AsyncPgConnection,
    at: DateTime<Utc>,
    timezone: Tz,
) -> Result<()> {
    let users: Vec<Uuid> = budgets::table
        .select(budgets::user_id)
        .order(budgets::user_id)
        .load(connection)
        .await?;
    settle(connection, &users, at, timezone).await?;
    Ok(())
}

/// The calendar month of a moment in the time zone of the sums, in this one before
/// there were any; its end is excluded.
pub async fn month(
    connection: &mut AsyncPgConnection,
    at: DateTime<Utc>,
    timezone: Tz,
) -> Result<(DateTime<Utc>, DateTime<Utc>)> {
    let month: Month = diesel::sql_query("select start, stop from summed_month_of($1, $2)")
        .bind::<Timestamptz, _>(at)
        .bind::<Text, _>(timezone.name())
        .get_result(connection)
        .await?;
    Ok((month.start, month.stop))
}

/// What a user has used of Bedrock in a month.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct Spending {
    #[diesel(sql_type = Numeric)]
    pub spent_usd: Usd,
    /// Nobody knows what they cost.
    #[diesel(sql_type = BigInt)]
    pub unpriced_requests: i64,
}

/// With a budget or without.
pub async fn spent(
    connection: &mut AsyncPgConnection,
    user_id: Uuid,
    period: (DateTime<Utc>, DateTime<Utc>),
) -> Result<Spending> {
    let statement = "select
        spent_on_bedrock($1, $2, $3) as spent_usd,
        (
            select coalesce(sum(unpriced_requests), 0)::bigint
            from usage_aggregates
            where user_id = $1 and bucket_type = 'day' and provider = 'bedrock'
              and bucket_start >= $2 and bucket_start < $3
        ) as unpriced_requests";
    let spending = diesel::sql_query(statement)
        .bind::<SqlUuid, _>(user_id)
        .bind::<Timestamptz, _>(period.0)
        .bind::<Timestamptz, _>(period.1)
        .get_result(connection)
        .await?;
    Ok(spending)
}

/// False when there was none.
pub async fn delete(connection: &mut AsyncPgConnection, user_id: Uuid) -> Result<bool> {
    let deleted = diesel::delete(budgets::table.filter(budgets::user_id.eq(user_id)))
        .execute(connection)
        .await?;
    Ok(deleted == 1)
}

/// Users whose month is over, at most so many.
pub async fn ended(
    connection: &mut AsyncPgConnection,
    at: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Uuid>> {
    let users = budgets::table
        .filter(budgets::period_end.le(at))
        .order(budgets::period_end)
        .select(budgets::user_id)
        .limit(limit)
        .load(connection)
        .await?;
    Ok(users)
}

pub async fn count(connection: &mut AsyncPgConnection) -> Result<i64> {
    Ok(budgets::table.count().get_result(connection).await?)
}

/// Those of which something was spent since then, `since` included.
pub async fn spent_since(
    connection: &mut AsyncPgConnection,
    since: DateTime<Utc>,
) -> Result<Vec<Budget>> {
    let budgets = budgets::table
        .filter(budgets::spent_at.ge(since))
        .order(budgets::spent_at)
        .select(Budget::as_select())
        .load(connection)
        .await?;
    Ok(budgets)
}
