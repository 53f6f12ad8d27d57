//! The `users` table.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, OptionalExtension, PgTextExpressionMethods, QueryDsl, SelectableHelper,
    prelude::*,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Result,
    schema::{live_users, users},
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
    /// Part of a name or description, in any case.
    pub search: Option<String>,
    pub status: Option<UserStatus>,
}

impl Filter {
    fn users(&self) -> live_users::BoxedQuery<'_, diesel::pg::Pg> {
        let mut query = live_users::table.into_boxed();
        if let Some(search) = &self.search {
            let pattern = format!("%{}%", escape_like(search));
            query = query.filter(
                live_users::name
                    .ilike(pattern.clone())
                    .or(live_users::description.ilike(pattern).assume_not_null()),
            );
        }
        if let Some(status) = self.status {
            query = query.filter(live_users::status.eq(status));
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

/// False when there is no such user.
pub async fn patch(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    patch: &UserPatch<'_>,
) -> Result<bool> {
    let changed = diesel::update(users::table)
        .filter(users::id.eq(id).and(users::deleted_at.is_null()))
        .set((patch, users::updated_at.eq(diesel::dsl::now)))
        .execute(connection)
        .await?;
    Ok(changed == 1)
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

/// Searching for `50%` finds `50%`.
fn escape_like(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('%', r"\%")
        .replace('_', r"\_")
}
