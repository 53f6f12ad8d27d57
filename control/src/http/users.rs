//! `/admin/users`.

use std::str::FromStr;

use actix_web::{HttpResponse, delete, get, patch, post, put, web};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use proto::access_key::{PREFIX, SHOWN_LEN};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    State,
    author::{Author, Recorded},
    body::{Body, line, present, prose},
    budgets,
    error::{Code, Error, ErrorBody},
    page::page,
    query::{Query, condition},
};
use crate::{
    audit::{self, Entry, Object},
    money::Usd,
    page::Cursor,
    store::{
        access_keys,
        audit_log::AuditAction,
        bedrock_keys,
        users::{
            self, Filter, NewUser, Order, RoutingStrategy, Search, User, UserPatch, UserSort,
            UserStatus,
        },
    },
};

pub(super) const MAX_NAME_CHARS: usize = 255;
const MAX_DESCRIPTION_CHARS: usize = 2_000;
const MAX_OFFSET: i64 = 1_000_000;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListUsers {
    /// Part of a name or description, in any case; or an access key, of which only
    /// what is shown of it is looked at; or the id of a user or an access key.
    search: Option<String>,
    status: Option<UserStatus>,
    #[param(inline)]
    routing_strategy: Option<RoutingStrategy>,
    /// The newest first when not given.
    #[param(inline)]
    sort: Option<UserSort>,
    /// `desc` when not given, but `asc` for names.
    #[param(inline)]
    order: Option<Order>,
    /// How many to leave out at the beginning. Not together with `cursor`.
    #[param(minimum = 0, maximum = 1_000_000)]
    offset: Option<i64>,
    /// How many to answer; 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before. Only without `sort`, `order` and `offset`.
    cursor: Option<String>,
}

impl ListUsers {
    /// What a cursor cannot go on with; none for the newest first.
    fn sorted(&self) -> Result<Option<(UserSort, Order, i64)>, Error> {
        if self.sort.is_none() && self.order.is_none() && self.offset.is_none() {
            return Ok(None);
        }
        let refuse = |message: String| Err(Error::with_message(Code::InvalidQuery, message));
        if self.cursor.is_some() {
            return refuse("cursor cannot be used with sort, order or offset.".to_owned());
        }
        let offset = self.offset.unwrap_or(0);
        if !(0..=MAX_OFFSET).contains(&offset) {
            return refuse(format!("offset must be 0 to {MAX_OFFSET}."));
        }
        let sort = self.sort.unwrap_or(UserSort::CreatedAt);
        let order = self.order.unwrap_or(match sort {
            UserSort::Name => Order::Asc,
            _ => Order::Desc,
        });
        Ok(Some((sort, order, offset)))
    }
}

/// One page of users.
#[derive(Debug, Serialize, ToSchema)]
struct UserPage {
    items: Vec<User>,
    /// Null on the last page, and for any order but the newest first.
    next_cursor: Option<String>,
    /// How many there are on all pages.
    total: i64,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateUser {
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// What the user may spend on Bedrock in a month, as of `PutBudget`; no limit when
    /// absent or null.
    #[schema(value_type = Option<String>)]
    monthly_budget_usd: Option<Usd>,
}

/// Fields that are absent stay as they are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeUser {
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    /// Null takes it away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 2000)]
    description: Option<Option<String>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Route {
    routing_strategy: RoutingStrategy,
}

/// List users
///
/// Newest first, unless another order is asked for; deleted users are left out.
#[utoipa::path(
    operation_id = "list_users",
    tag = "users",
    params(ListUsers),
    responses((status = 200, description = "One page", body = UserPage))
)]
#[get("/users")]
pub(super) async fn list(
    state: web::Data<State>,
    Query(query): Query<ListUsers>,
) -> Result<HttpResponse, Error> {
    let page = page(query.limit, query.cursor.as_deref())?;
    let sorted = query.sorted()?;
    let filter = Filter {
        search: condition("search", query.search)?.map(search),
        status: query.status,
        routing_strategy: query.routing_strategy,
    };
    let mut connection = state.store.connection().await?;
    let total = users::count(&mut connection, &filter).await?;
    let (items, next) = match sorted {
        Some((sort, order, offset)) => {
            let part = (offset, i64::try_from(page.limit).unwrap_or(i64::MAX));
            let items = users::sorted(&mut connection, &filter, (sort, order), part).await?;
            (items, None)
        }
        None => {
            let mut items = users::list(&mut connection, &filter, &page).await?;
            let next = page.cut(&mut items, |user| Cursor {
                at: user.created_at,
                id: user.id,
            });
            (items, next)
        }
    };
    Ok(HttpResponse::Ok().json(UserPage {
        items,
        next_cursor: next.map(|cursor| cursor.encode()),
        total,
    }))
}

/// What kind of thing is looked for.
fn search(text: String) -> Search {
    if let Ok(id) = Uuid::from_str(&text) {
        return Search::Id(id);
    }
    match text.get(..SHOWN_LEN).filter(|it| it.starts_with(PREFIX)) {
        Some(shown) => Search::KeyPrefix(shown.to_owned()),
        None => Search::Text(text),
    }
}

/// Create a user
///
/// With a budget, if one is given.
#[utoipa::path(
    operation_id = "create_user",
    tag = "users",
    request_body = CreateUser,
    responses((status = 201, description = "Created", body = User))
)]
#[post("/users")]
pub(super) async fn create(
    state: web::Data<State>,
    author: Author,
    Body(new): Body<CreateUser>,
) -> Result<HttpResponse, Error> {
    let name = line("name", &new.name, MAX_NAME_CHARS)?;
    let description = description(new.description.as_deref())?;
    let budget = new.monthly_budget_usd.map(budgets::amount).transpose()?;
    let timezone = state.timezone;
    let id = Uuid::now_v7();
    let mut connection = state.store.connection().await?;
    let (user, recorded) = connection
        .transaction(async |connection| {
            let new = NewUser {
                id,
                name: &name,
                description: description.as_deref(),
            };
            users::insert(connection, &new).await?;
            let mut user = found(connection, id).await?;
            let action = AuditAction::UserCreated;
            let entry = Entry::made(action, Object::user(&user), audit::user(&user));
            author.note(connection, &entry).await?;
            if let Some(amount) = budget {
                let entry = budgets::changed(&user, budget);
                budgets::limit(connection, id, amount, timezone).await?;
                author.note(connection, &entry).await?;
                user = found(connection, id).await?;
            }
            let recorded = Recorded::all(connection).await?;
            Ok::<_, Error>((user, recorded))
        })
        .await?;
    tracing::info!(
        user_id = %id,
        monthly_budget_usd = budget.map(tracing::field::display),
        "user.created"
    );
    Ok(recorded.on(HttpResponse::Created()).json(user))
}

/// Read a user
#[utoipa::path(
    operation_id = "read_user",
    tag = "users",
    responses(
        (status = 200, description = "The user", body = User),
        (status = 404, description = "No such user", body = ErrorBody),
    )
)]
#[get("/users/{user_id}")]
pub(super) async fn read(
    state: web::Data<State>,
    user_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let mut connection = state.store.connection().await?;
    Ok(HttpResponse::Ok().json(found(&mut connection, *user_id).await?))
}

/// Change a user's name or description
#[utoipa::path(
    operation_id = "change_user",
    tag = "users",
    request_body = ChangeUser,
    responses(
        (status = 200, description = "The changed user", body = User),
        (status = 404, description = "No such user", body = ErrorBody),
    )
)]
#[patch("/users/{user_id}")]
pub(super) async fn change(
    state: web::Data<State>,
    author: Author,
    user_id: web::Path<Uuid>,
    Body(change): Body<ChangeUser>,
) -> Result<HttpResponse, Error> {
    let user_id = *user_id;
    let name = change
        .name
        .map(|name| line("name", &name, MAX_NAME_CHARS))
        .transpose()?;
    let new_description = match &change.description {
        None => None,
        Some(text) => Some(description(text.as_deref())?),
    };
    let patch = UserPatch {
        name: name.as_deref(),
        description: new_description.as_ref().map(Option::as_deref),
    };
    let mut connection = state.store.connection().await?;
    let (user, recorded) = connection
        .transaction(async |connection| {
            let before = held(connection, user_id).await?;
            users::patch(connection, user_id, &patch).await?;
            let user = found(connection, user_id).await?;
            let recorded = record(
                connection,
                &author,
                AuditAction::UserChanged,
                &before,
                &user,
            );
            let recorded = recorded.await?;
            Ok::<_, Error>((user, recorded))
        })
        .await?;
    tracing::info!(%user_id, "user.changed");
    Ok(recorded.on(HttpResponse::Ok()).json(user))
}

/// Choose where a user's requests go
///
/// Bedrock only needs a credential for Bedrock at each working access key,
/// unless the proxies may use their own role.
#[utoipa::path(
    operation_id = "route_user",
    tag = "users",
    request_body = Route,
    responses(
        (status = 200, description = "The changed user", body = User),
        (status = 400, description = "Access keys or credentials are missing", body = ErrorBody),
        (status = 404, description = "No such user", body = ErrorBody),
    )
)]
#[put("/users/{user_id}/routing-strategy")]
pub(super) async fn route(
    state: web::Data<State>,
    author: Author,
    user_id: web::Path<Uuid>,
    Body(Route { routing_strategy }): Body<Route>,
) -> Result<HttpResponse, Error> {
    let user_id = *user_id;
    let mut connection = state.store.connection().await?;
    let (user, recorded) = connection
        .transaction(async |connection| {
            let before = held(connection, user_id).await?;
            if routing_strategy == RoutingStrategy::BedrockOnly {
                let (working, equipped) = access_keys::working_of_user(connection, user_id).await?;
                if working == 0 {
                    return Err(Code::NoAccessKeys.into());
                }
                if equipped < working && !state.bedrock.bedrock_use_role {
                    return Err(Code::MissingBedrockKeys.into());
                }
            }
            users::set_routing_strategy(connection, user_id, routing_strategy).await?;
            let user = found(connection, user_id).await?;
            let recorded = record(connection, &author, AuditAction::UserRouted, &before, &user);
            let recorded = recorded.await?;
            Ok::<_, Error>((user, recorded))
        })
        .await?;
    tracing::info!(%user_id, routing_strategy = routing_strategy.name(), "user.routed");
    Ok(recorded.on(HttpResponse::Ok()).json(user))
}

/// Delete a user
///
/// Its access keys are revoked; its usage stays.
#[utoipa::path(
    operation_id = "delete_user",
    tag = "users",
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "No such user", body = ErrorBody),
    )
)]
#[delete("/users/{user_id}")]
pub(super) async fn delete(
    state: web::Data<State>,
    author: Author,
    user_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let user_id = *user_id;
    let mut connection = state.store.connection().await?;
    let (revoked, recorded) = connection
        .transaction(async |connection| {
            let user = held(connection, user_id).await?;
            let erased = bedrock_keys::count_of_user(connection, user_id).await?;
            let revoked = access_keys::revoke_all_of_user(connection, user_id).await?;
            users::delete(connection, user_id).await?;
            let action = AuditAction::UserDeleted;
            let entry = Entry::ended(action, Object::user(&user), audit::user_with(&user, erased));
            let recorded = author.record(connection, &entry).await?;
            Ok::<_, Error>((revoked, recorded))
        })
        .await?;
    tracing::info!(%user_id, revoked_access_keys = revoked, "user.deleted");
    Ok(recorded.no_content())
}

/// Deactivate a user
///
/// Its access keys are refused until it is reactivated; their credentials for
/// Bedrock are erased.
#[utoipa::path(
    operation_id = "deactivate_user",
    tag = "users",
    responses(
        (status = 200, description = "The deactivated user", body = User),
        (status = 404, description = "No such user", body = ErrorBody),
        (status = 409, description = "It is not active", body = ErrorBody),
    )
)]
#[post("/users/{user_id}/deactivate")]
pub(super) async fn deactivate(
    state: web::Data<State>,
    author: Author,
    user_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let (user, recorded) = switch(&state, &author, *user_id, UserStatus::Inactive).await?;
    tracing::info!(%user_id, "user.deactivated");
    Ok(recorded.on(HttpResponse::Ok()).json(user))
}

/// Reactivate a user
///
/// Its access keys work again, as far as they were not revoked.
#[utoipa::path(
    operation_id = "reactivate_user",
    tag = "users",
    responses(
        (status = 200, description = "The reactivated user", body = User),
        (status = 404, description = "No such user", body = ErrorBody),
        (status = 409, description = "It is active", body = ErrorBody),
    )
)]
#[post("/users/{user_id}/reactivate")]
pub(super) async fn reactivate(
    state: web::Data<State>,
    author: Author,
    user_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let (user, recorded) = switch(&state, &author, *user_id, UserStatus::Active).await?;
    tracing::info!(%user_id, "user.reactivated");
    Ok(recorded.on(HttpResponse::Ok()).json(user))
}

/// Gives a user another status; it is a conflict if it has it already.
async fn switch(
    state: &State,
    author: &Author,
    id: Uuid,
    status: UserStatus,
) -> Result<(User, Recorded), Error> {
    let (conflict, action) = match status {
        UserStatus::Active => (Code::UserAlreadyActive, AuditAction::UserReactivated),
        UserStatus::Inactive => (Code::UserNotActive, AuditAction::UserDeactivated),
    };
    let mut connection = state.store.connection().await?;
    connection
        .transaction(async |connection| {
            let before = held(connection, id).await?;
            if before.status == status {
                return Err(conflict.into());
            }
            let erased = bedrock_keys::count_of_user(connection, id).await?;
            users::set_status(connection, id, status).await?;
            let user = found(connection, id).await?;
            let left = bedrock_keys::count_of_user(connection, id).await?;
            let (old, new) = (
                audit::user_with(&before, erased),
                audit::user_with(&user, left),
            );
            let entry = Entry::changed(action, Object::user(&user), old, new);
            let recorded = author.record(connection, &entry).await?;
            Ok((user, recorded))
        })
        .await
}

/// A user as it is until the end of the transaction, unless that changes it.
pub(super) async fn held(connection: &mut AsyncPgConnection, id: Uuid) -> Result<User, Error> {
    users::lock(connection, id)
        .await?
        .ok_or(Code::UserNotFound)?;
    found(connection, id).await
}

async fn record(
    connection: &mut AsyncPgConnection,
    author: &Author,
    action: AuditAction,
    before: &User,
    after: &User,
) -> Result<Recorded, Error> {
    let (old, new) = (audit::user(before), audit::user(after));
    let entry = Entry::changed(action, Object::user(after), old, new);
    author.record(connection, &entry).await
}

pub(super) async fn found(connection: &mut AsyncPgConnection, id: Uuid) -> Result<User, Error> {
    users::find(connection, id)
        .await?
        .ok_or_else(|| Code::UserNotFound.into())
}

/// An empty description is none.
fn description(text: Option<&str>) -> Result<Option<String>, Error> {
    match text {
        None => Ok(None),
        Some(text) => prose("description", text, MAX_DESCRIPTION_CHARS),
    }
}
