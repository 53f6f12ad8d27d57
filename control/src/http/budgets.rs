//! `/admin/users/{user_id}/budget` and `/admin/budget-alerts`: what users may
//! spend on Bedrock in a month, and who is close to it.

use actix_web::{HttpResponse, get, put, web};
use chrono::{DateTime, FixedOffset, Utc};
use chrono_tz::Tz;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    State,
    author::Author,
    body::{Body, present},
    error::{Code, Error, ErrorBody},
    page::page,
    query::Query,
    users::held,
};
use crate::{
    audit::{self, Entry, Object},
    money::Usd,
    page::Cursor,
    store::{
        audit_log::AuditAction,
        budget_alerts::{self, BudgetAlert, Crossed},
        budgets::{self, Spending},
        users::{self, User},
    },
};

/// The column has room for no more.
const MAX_BUDGET: Usd = Usd::from_micros(999_999_990_000);
const CENT: i64 = 10_000;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PutBudget {
    /// US dollars for a calendar month, from 0.01 to 999999.99 with two decimals at
    /// most, as a number or a text. Null takes the limit away.
    #[serde(default, deserialize_with = "present")]
    #[schema(required, value_type = Option<String>)]
    monthly_budget_usd: Option<Option<Usd>>,
}

/// How a user's budget stands. Only what Bedrock costs is held against it.
#[derive(Debug, Serialize, ToSchema)]
struct UserBudget {
    user_id: Uuid,
    /// Null: no limit.
    monthly_budget_usd: Option<Usd>,
    /// What Bedrock has cost in this month.
    current_usage_usd: Usd,
    /// Of Bedrock in this month; what they cost is in no sum.
    unpriced_requests: i64,
    /// Less than nothing when more was spent; null without a limit.
    remaining_usd: Option<Usd>,
    /// Per cent of the budget, with two decimals; null without a limit.
    usage_percentage: Option<f64>,
    /// Requests to Bedrock are refused until `period_end`.
    is_exhausted: bool,
    /// The calendar month in `timezone`.
    #[schema(value_type = String, format = DateTime)]
    period_start: DateTime<FixedOffset>,
    /// Excluded: the next month begins then.
    #[schema(value_type = String, format = DateTime)]
    period_end: DateTime<FixedOffset>,
    /// An IANA name.
    timezone: String,
    /// What was crossed in this month; again when the budget was changed.
    thresholds: Vec<Crossed>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListAlerts {
    user_id: Option<Uuid>,
    /// 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AlertPage {
    items: Vec<BudgetAlert>,
    /// Null on the last page.
    next_cursor: Option<String>,
}

/// Read a user's budget
#[utoipa::path(
    operation_id = "read_budget",
    tag = "budgets",
    responses(
        (status = 200, description = "How it stands", body = UserBudget),
        (status = 404, description = "No such user", body = ErrorBody),
    )
)]
#[get("/users/{user_id}/budget")]
pub(super) async fn read(
    state: web::Data<State>,
    user_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let mut connection = state.store.connection().await?;
    users::find(&mut connection, *user_id)
        .await?
        .ok_or(Code::UserNotFound)?;
    let budget = standing(&mut connection, *user_id, state.timezone).await?;
    Ok(HttpResponse::Ok().json(budget))
}

/// Set a user's budget
///
/// In force on all proxies within a second: a larger one lets requests through
/// again, a smaller one may stop them.
#[utoipa::path(
    operation_id = "put_budget",
    tag = "budgets",
    request_body = PutBudget,
    responses(
        (status = 200, description = "How it stands now", body = UserBudget),
        (status = 400, description = "No such amount", body = ErrorBody),
        (status = 404, description = "No such user", body = ErrorBody),
    )
)]
#[put("/users/{user_id}/budget")]
pub(super) async fn put(
    state: web::Data<State>,
    author: Author,
    user_id: web::Path<Uuid>,
    Body(PutBudget { monthly_budget_usd }): Body<PutBudget>,
) -> Result<HttpResponse, Error> {
    let user_id = *user_id;
    // What is not said does not take a limit away.
    let given = monthly_budget_usd.ok_or_else(|| {
        let message = "monthly_budget_usd must be given; null is no limit.";
        Error::with_message(Code::InvalidBody, message)
    })?;
    let amount = given.map(amount).transpose()?;
    let timezone = state.timezone;
    let mut connection = state.store.connection().await?;
    let (budget, recorded) = connection
        .transaction(async |connection| {
            let user = held(connection, user_id).await?;
            match amount {
                Some(amount) => limit(connection, user_id, amount, timezone).await?,
                None => {
                    budgets::delete(connection, user_id).await?;
                }
            }
            let budget = standing(connection, user_id, timezone).await?;
            let entry = changed(&user, amount);
            let recorded = author.record(connection, &entry).await?;
            Ok::<_, Error>((budget, recorded))
        })
        .await?;
    state.alerts.notify();
    tracing::info!(
        %user_id,
        monthly_budget_usd = amount.map(tracing::field::display),
        is_exhausted = budget.is_exhausted,
        "user.budgeted"
    );
    Ok(recorded.on(HttpResponse::Ok()).json(budget))
}

/// List budget alerts
///
/// Who has used up 50, 80 or 100 per cent of a budget; newest first.
#[utoipa::path(
    operation_id = "list_budget_alerts",
    tag = "budgets",
    params(ListAlerts),
    responses((status = 200, description = "One page", body = AlertPage))
)]
#[get("/budget-alerts")]
pub(super) async fn alerts(
    state: web::Data<State>,
    Query(query): Query<ListAlerts>,
) -> Result<HttpResponse, Error> {
    let page = page(query.limit, query.cursor.as_deref())?;
    let mut connection = state.store.connection().await?;
    let mut items = budget_alerts::list(&mut connection, query.user_id, &page).await?;
    let next = page.cut(&mut items, |alert| Cursor {
        at: alert.crossed_at,
        id: alert.id,
    });
    Ok(HttpResponse::Ok().json(AlertPage {
        items,
        next_cursor: next.map(|cursor| cursor.encode()),
    }))
}

/// What can be a budget.
pub(super) fn amount(given: Usd) -> Result<Usd, Error> {
    let bad = |message| Err(Error::with_message(Code::InvalidBody, message));
    if given < Usd::from_micros(CENT) || given > MAX_BUDGET {
        return bad("monthly_budget_usd must be from 0.01 to 999999.99, or null.");
    }
    if given.micros() % CENT != 0 {
        return bad("monthly_budget_usd must have two decimals at most.");
    }
    Ok(given)
}

/// Gives a user a budget, or another one, and the verdict that goes with it.
pub(super) async fn limit(
    connection: &mut AsyncPgConnection,
    user_id: Uuid,
    amount: Usd,
    timezone: Tz,
) -> Result<(), Error> {
    let now = Utc::now();
    let month = budgets::month(connection, now, timezone).await?;
    budgets::put(connection, user_id, amount, month).await?;
    budgets::settle(connection, &[user_id], now, timezone).await?;
    Ok(())
}

/// What is written down of it; `user` is as before.
pub(super) fn changed(user: &User, amount: Option<Usd>) -> Entry {
    Entry::changed(
        AuditAction::BudgetChanged,
        Object::budget(user),
        audit::budget(user.monthly_budget_usd),
        audit::budget(amount),
    )
}

async fn standing(
    connection: &mut AsyncPgConnection,
    user_id: Uuid,
    timezone: Tz,
) -> Result<UserBudget, Error> {
    let (start, end) = budgets::month(connection, Utc::now(), timezone).await?;
    let limit = budgets::find(connection, user_id)
        .await?
        .map(|budget| budget.monthly_budget_usd);
    let Spending {
        spent_usd: spent,
        unpriced_requests,
    } = budgets::spent(connection, user_id, (start, end)).await?;
    let local = |time: DateTime<Utc>| time.with_timezone(&timezone).fixed_offset();
    Ok(UserBudget {
        user_id,
        monthly_budget_usd: limit,
        current_usage_usd: spent,
        unpriced_requests,
        remaining_usd: limit.map(|limit| limit.saturating_sub(spent)),
        usage_percentage: limit.and_then(|limit| spent.percent_of(limit)),
        is_exhausted: limit.is_some_and(|limit| spent >= limit),
        period_start: local(start),
        period_end: local(end),
        timezone: timezone.name().to_owned(),
        thresholds: budget_alerts::of_month(connection, user_id, start).await?,
    })
}
