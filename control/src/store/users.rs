//! The `users` table.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, OptionalExtension, PgTextExpressionMethods, QueryDsl, SelectableHelper,
    dsl::{exists, sql},
    pg::Pg,
    prelude::*,
    sql_types::{Array, BigInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Result, escape_like,
    schema::{live_access_keys, live_users, users},
    text_enum,
};
use crate::{
    money::Usd,
    page::{Cursor, Page},
};

text_enum! {
    /// Whether a user may use access keys. Deleted users are not shown at all.
    pub enum UserStatus {
        Active = "active",
        Inactive = "inactive",
    }
}

text_enum! {
    /// Where a user's requests go.
    pub enum RoutingStrategy {
        PlanFirst = "plan_first",
        BedrockOnly = "bedrock_only",
    }
}

/// A user who is not deleted.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = live_users)]
pub struct User {
    pub id: Uuid,
    pub name: String,
    pub description: Option<String>,
    pub status: UserStatus,
    /// The Anthropic API first and Bedrock when that cannot answer, or Bedrock
    /// only.
    pub routing_strategy: RoutingStrategy,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// What may be spent on Bedrock in a month; null: no limit.
    pub monthly_budget_usd: Option<Usd>,
    /// Keys that work or would work if the user were active.
    pub active_access_keys: i64,
    /// What Bedrock has cost in this month, in PROXY_TIMEZONE.
    pub current_usage_usd: Usd,
    /// Per cent of the budget, with two decimals; null without a limit.
    pub usage_percentage: Option<f64>,
    /// Requests to Bedrock are refused until the month ends.
    pub is_exhausted: bool,
    /// When the newest request with one of the user's keys began, whatever became of
    /// it; null when there was none.
    pub last_seen_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = users)]
pub struct NewUser<'a> {
    pub id: Uuid,
    pub name: &'a str,
    pub description: Option<&'a str>,
}

/// What to change; the outer `None` leaves a field as it is.
#[derive(Debug, Default, AsChangeset)]
#[diesel(table_name = users)]
pub struct UserPatch<'a> {
    pub name: Option<&'a str>,
    pub description: Option<Option<&'a str>>,
}

/// Which users to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub search: Option<Search>,
    pub status: Option<UserStatus>,
    pub routing_strategy: Option<RoutingStrategy>,
}

/// What somebody knows of a user.
#[derive(Debug, Clone)]
pub enum Search {
    /// The user's own id, or that of an access key.
    Id(Uuid),
    /// How an access key begins.
    KeyPrefix(String),
    /// Part of a name or description, in any case.
    Text(String),
}

text_enum! {
    /// By what users are ordered. Where two are equal, by their ids.
    pub enum UserSort {
        /// In any case.
        Name = "name",
        CreatedAt = "created_at",
        LastSeenAt = "last_seen_at",
        CurrentUsageUsd = "current_usage_usd",
        UsagePercentage = "usage_percentage",
    }
}

text_enum! {
    /// Which end comes first. Users who have no such value come last in both.
    pub enum Order {
        Asc = "asc",
        Desc = "desc",
    }
}

impl Filter {
    fn users(&self) -> live_users::BoxedQuery<'_, Pg> {
        let mut query = live_users::table.into_boxed();
        query = match &self.search {
            None => query,
            Some(Search::Id(id)) => query.filter(
                live_users::id.eq(*id).or(exists(
                    live_access_keys::table
                        .filter(live_access_keys::user_id.eq(live_users::id))
                        .filter(live_access_keys::id.eq(*id)),
                )),
            ),
            Some(Search::KeyPrefix(prefix)) => query.filter(exists(
                live_access_keys::table
                    .filter(live_access_keys::user_id.eq(live_users::id))
                    .filter(live_access_keys::key_prefix.eq(prefix)),
            )),
            Some(Search::Text(text)) => {
                let pattern = format!("%{}%", escape_like(text));
                query.filter(
                    live_users::name
                        .ilike(pattern.clone())
                        .or(live_users::description.ilike(pattern).assume_not_null()),
                )
            }
        };
        if let Some(status) = self.status {
            query = query.filter(live_users::status.eq(status));
        }
        if let Some(routing_strategy) = self.routing_strategy {
            query = query.filter(live_users::routing_strategy.eq(routing_strategy));
        }
        query
    }
}

/// Newest first.
pub async fn list(
    connection: &mut AsyncPgConnection,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<User>> {
    let mut query = filter.users();
    if let Some(Cursor { at, id }) = page.after {
        query = query.filter(
            live_users::created_at
                .lt(at)
                .or(live_users::created_at.eq(at).and(live_users::id.lt(id))),
        );
    }
    let users = query
        .order((live_users::created_at.desc(), live_users::id.desc()))
        .limit(page.fetch())
        .select(User::as_select())
        .load(connection)
        .await?;
    Ok(users)
}

/// In any order, from so many on.
pub async fn sorted(
    connection: &mut AsyncPgConnection,
    filter: &Filter,
    (sort, order): (UserSort, Order),
    part: (i64, i64),
) -> Result<Vec<User>> {
    // The ids first: the rest is not looked up for users who are passed over.
    let ids = match sort {
        UserSort::CurrentUsageUsd | UserSort::UsagePercentage => {
            let all = filter
                .users()
                .select(live_users::id)
                .load(connection)
                .await?;
            ids_by_usage(connection, &all, (sort, order), part).await?
        }
        UserSort::Name | UserSort::CreatedAt | UserSort::LastSeenAt => {
            ids_by_row(connection, filter, (sort, order), part).await?
        }
    };
    let users: Vec<User> = live_users::table
        .filter(live_users::id.eq_any(&ids))
        .select(User::as_select())
        .load(connection)
        .await?;
    let mut users: HashMap<Uuid, User> = users.into_iter().map(|user| (user.id, user)).collect();
    Ok(ids.iter().filter_map(|id| users.remove(id)).collect())
}

async fn ids_by_row(
    connection: &mut AsyncPgConnection,
    filter: &Filter,
    (sort, order): (UserSort, Order),
    (offset, limit): (i64, i64),
) -> Result<Vec<Uuid>> {
    /// The same expression from both ends.
    macro_rules! by {
        ($value:expr) => {
            match order {
                Order::Asc => filter
                    .users()
                    .order(($value.asc().nulls_last(), live_users::id.asc())),
                Order::Desc => filter
                    .users()
                    .order(($value.desc().nulls_last(), live_users::id.desc())),
            }
        };
    }
    let query = match sort {
        UserSort::Name => by!(sql::<Text>("lower(live_users.name)")),
        UserSort::LastSeenAt => by!(live_users::last_seen_at),
        _ => by!(live_users::created_at),
    };
    let ids = query
        .offset(offset)
        .limit(limit)
        .select(live_users::id)
        .load(connection)
        .await?;
    Ok(ids)
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// What budgets have of this month is there already; otherwise everybody's month is
/// summed up at once, which takes a fraction of one by one.
async fn ids_by_usage(
    connection: &mut AsyncPgConnection,
    all: &[Uuid],
    (sort, order): (UserSort, Order),
    (offset, limit): (i64, i64),
) -> Result<Vec<Uuid>> {
    let (value, spending) = match sort {
        UserSort::UsagePercentage => (
            "coalesce(spent, 0) / monthly_budget_usd",
            "select user_id as id, spent_usd as spent from budgets where period_end > now()",
        ),
        _ => (
            "coalesce(spent, 0)",
            "select user_id as id, sum(estimated_cost_usd) as spent
            from usage_aggregates
            where bucket_type = 'day' and provider = 'bedrock'
              and bucket_start >= (select start from this_month())
              and bucket_start < (select stop from this_month())
            group by user_id",
        ),
    };
    let order = order.name();
    let ids: Vec<Id> = diesel::sql_query(format!(
        "select id
        from unnest($1) as listed (id)
        left join ({spending}) as spending using (id)
        left join (select user_id as id, monthly_budget_usd from budgets) as budget using (id)
        order by {value} {order} nulls last, id {order}
        offset $2 limit $3"
    ))
    .bind::<Array<SqlUuid>, _>(all)
    .bind::<BigInt, _>(offset)
    .bind::<BigInt, _>(limit)
    .load(connection)
    .await?;
    Ok(ids.into_iter().map(|row| row.id).collect())
}

pub async fn count(connection: &mut AsyncPgConnection, filter: &Filter) -> Result<i64> {
    let total = filter.users().count().get_result(connection).await?;
    Ok(total)
}

pub async fn find(connection: &mut AsyncPgConnection, id: Uuid) -> Result<Option<User>> {
    let user = live_users::table
        .find(id)
        .select(User::as_select())
        .first(connection)
        .await
        .optional()?;
    Ok(user)
}

/// What these users are called, deleted ones too.
pub async fn names(
    connection: &mut AsyncPgConnection,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, String>> {
    let names: Vec<(Uuid, String)> = users::table
        .filter(users::id.eq_any(ids))
        .select((users::id, users::name))
        .load(connection)
        .await?;
    Ok(names.into_iter().collect())
}

/// Locks a user until the end of the transaction, so that its status holds while
/// something is decided by it.
pub async fn lock(connection: &mut AsyncPgConnection, id: Uuid) -> Result<Option<UserStatus>> {
    let status = users::table
        .filter(users::id.eq(id).and(users::deleted_at.is_null()))
        .select(users::status)
        .for_no_key_update()
        .first(connection)
        .await
        .optional()?;
    Ok(status)
}

pub async fn insert(connection: &mut AsyncPgConnection, user: &NewUser<'_>) -> Result<()> {
    diesel::insert_into(users::table)
        .values(user)
        .execute(connection)
        .await?;
    Ok(())
}

pub async fn patch(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    patch: &UserPatch<'_>,
) -> Result<()> {
    diesel::update(users::table.find(id))
        .set((patch, users::updated_at.eq(diesel::dsl::now)))
        .execute(connection)
        .await?;
    Ok(())
}

pub async fn set_status(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    status: UserStatus,
) -> Result<()> {
    diesel::update(users::table.find(id))
        .set((
            users::status.eq(status),
            users::updated_at.eq(diesel::dsl::now),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

pub async fn set_routing_strategy(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    routing_strategy: RoutingStrategy,
) -> Result<()> {
    diesel::update(users::table.find(id))
        .set((
            users::routing_strategy.eq(routing_strategy),
            users::updated_at.eq(diesel::dsl::now),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

/// Marks a user as deleted; the row stays, because usage names it.
pub async fn delete(connection: &mut AsyncPgConnection, id: Uuid) -> Result<()> {
    diesel::update(users::table.find(id))
        .set((
            users::status.eq("deleted"),
            users::updated_at.eq(diesel::dsl::now),
            users::deleted_at.eq(diesel::dsl::now),
        ))
        .execute(connection)
        .await?;
    Ok(())
}
