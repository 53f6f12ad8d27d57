//! The `budget_alerts` table: parts of budgets that were used up, each once for a
//! month and an amount.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, QueryableByName, SelectableHelper,
    dsl::now,
    prelude::*,
    sql_types::{Integer, Interval, Numeric, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Result,
    schema::{budget_alerts, users},
};
use crate::{
    money::Usd,
    page::{Cursor, Page},
};

/// A threshold that was crossed.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = budget_alerts)]
pub struct BudgetAlert {
    pub id: Uuid,
    pub user_id: Uuid,
    #[diesel(select_expression = users::name)]
    pub user_name: String,
    pub period_start: DateTime<Utc>,
    pub monthly_budget_usd: Usd,
    /// Per cent of the budget: 50, 80 or 100.
    pub threshold: i32,
    /// What was spent when it was noticed.
    pub spent_usd: Usd,
    pub crossed_at: DateTime<Utc>,
    /// When the webhook has taken it; null: not yet, or there is no webhook.
    pub delivered_at: Option<DateTime<Utc>>,
    /// How often delivery was tried.
    pub attempts: i32,
}

/// A threshold of one user's current month.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = budget_alerts)]
pub struct Crossed {
    /// Per cent of the budget.
    pub threshold: i32,
    pub monthly_budget_usd: Usd,
    pub crossed_at: DateTime<Utc>,
    pub delivered_at: Option<DateTime<Utc>>,
}

/// An alert that is to be delivered now.
#[derive(Debug, Clone, QueryableByName, Serialize)]
pub struct Waiting {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub user_id: Uuid,
    #[diesel(sql_type = Text)]
    pub user_name: String,
    #[diesel(sql_type = Timestamptz)]
    pub period_start: DateTime<Utc>,
    #[diesel(sql_type = Numeric)]
    pub monthly_budget_usd: Usd,
    #[diesel(sql_type = Integer)]
    pub threshold: i32,
    #[diesel(sql_type = Numeric)]
    pub spent_usd: Usd,
    #[diesel(sql_type = Timestamptz)]
    pub crossed_at: DateTime<Utc>,
    #[diesel(sql_type = Integer)]
    #[serde(skip)]
    pub attempts: i32,
}

/// Newest first; of one user or of all.
pub async fn list(
    connection: &mut AsyncPgConnection,
    user_id: Option<Uuid>,
    page: &Page,
) -> Result<Vec<BudgetAlert>> {
    let mut query = budget_alerts::table.inner_join(users::table).into_boxed();
    if let Some(user_id) = user_id {
        query = query.filter(budget_alerts::user_id.eq(user_id));
    }
    if let Some(Cursor { at, id }) = page.after {
        query = query.filter(
            budget_alerts::crossed_at
                .lt(at)
                .or(budget_alerts::crossed_at
                    .eq(at)
                    .and(budget_alerts::id.lt(id))),
        );
    }
    let alerts = query
        .order((budget_alerts::crossed_at.desc(), budget_alerts::id.desc()))
        .limit(page.fetch())
        .select(BudgetAlert::as_select())
        .load(connection)
        .await?;
    Ok(alerts)
}

/// What a user has crossed in a month, the lowest first.
pub async fn of_month(
    connection: &mut AsyncPgConnection,
    user_id: Uuid,
    period_start: DateTime<Utc>,
) -> Result<Vec<Crossed>> {
    let crossed = budget_alerts::table
        .filter(budget_alerts::user_id.eq(user_id))
        .filter(budget_alerts::period_start.eq(period_start))
        .order((budget_alerts::crossed_at, budget_alerts::threshold))
        .select(Crossed::as_select())
        .load(connection)
        .await?;
    Ok(crossed)
}

/// Takes an alert that is due, so that no other replica tries it for so long.
pub async fn claim(
    connection: &mut AsyncPgConnection,
    claimed_for: TimeDelta,
    max_attempts: i32,
) -> Result<Option<Waiting>> {
    let claimed = diesel::sql_query(
        "update budget_alerts
        set attempts = attempts + 1, next_attempt_at = clock_timestamp() + $1
        from users
        where budget_alerts.id = (
            select id from budget_alerts
            where delivered_at is null and next_attempt_at <= clock_timestamp() and attempts < $2
            order by next_attempt_at
            limit 1
            for update skip locked
        ) and users.id = budget_alerts.user_id
        returning budget_alerts.id, user_id, users.name::text as user_name, period_start,
            monthly_budget_usd, threshold, spent_usd, crossed_at, attempts",
    )
    .bind::<Interval, _>(claimed_for)
    .bind::<Integer, _>(max_attempts)
    .get_result(connection)
    .await
    .optional()?;
    Ok(claimed)
}

/// Nobody will be told of alerts that nobody was told of for so long, unless they
/// are of a budget's current month. Returns how many these are.
pub async fn pass_over(connection: &mut AsyncPgConnection, old: TimeDelta) -> Result<usize> {
    let passed_over = diesel::sql_query(
        "update budget_alerts
        set next_attempt_at = 'infinity'
        where delivered_at is null and next_attempt_at < 'infinity'
          and crossed_at < clock_timestamp() - $1
          and not exists (
              select from budgets
              where budgets.user_id = budget_alerts.user_id
                and budgets.period_start = budget_alerts.period_start
                and budgets.monthly_budget_usd = budget_alerts.monthly_budget_usd
          )",
    )
    .bind::<Interval, _>(old)
    .execute(connection)
    .await?;
    Ok(passed_over)
}

pub async fn delivered(connection: &mut AsyncPgConnection, id: Uuid) -> Result<()> {
    diesel::update(budget_alerts::table.find(id))
        .set(budget_alerts::delivered_at.eq(now))
        .execute(connection)
        .await?;
    Ok(())
}

/// Delivery has failed and is tried again after this time.
pub async fn retry_after(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    delay: TimeDelta,
) -> Result<()> {
    // By the same clock that says when it is due.
    let statement =
        "update budget_alerts set next_attempt_at = clock_timestamp() + $2 where id = $1";
    diesel::sql_query(statement)
        .bind::<SqlUuid, _>(id)
        .bind::<Interval, _>(delay)
        .execute(connection)
        .await?;
    Ok(())
}
