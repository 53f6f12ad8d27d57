//! `/admin/users`.

use actix_web::{HttpResponse, delete, get, patch, post, put, web};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    State,
    body::{Body, line, present, prose},
    error::{Code, Error, ErrorBody},
    page::page,
    query::Query,
};
use crate::{
    page::Cursor,
    store::{
        access_keys,
        users::{self, Filter, NewUser, RoutingStrategy, User, UserPatch, UserStatus},
    },
};

pub(super) const MAX_NAME_CHARS: usize = 255;
const MAX_DESCRIPTION_CHARS: usize = 2_000;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListUsers {
    /// Part of a name or description, in any case.
    search: Option<String>,
    status: Option<UserStatus>,
    /// How many to answer; 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// One page of users.
#[derive(Debug, Serialize, ToSchema)]
struct UserPage {
    items: Vec<User>,
    /// Null on the last page.
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
/// Newest first; deleted users are left out.
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
    let search = query.search.filter(|search| !search.is_empty());
    if search
        .as_deref()
        .is_some_and(|search| search.contains('\0'))
    {
        return Err(Error::with_message(
            Code::InvalidQuery,
            "search must not have the character NUL.",
        ));
    }
    let filter = Filter {
        search,
        status: query.status,
    };
    let mut connection = state.store.connection().await?;
    let mut items = users::list(&mut connection, &filter, &page).await?;
    let total = users::count(&mut connection, &filter).await?;
    let next = page.cut(&mut items, |user| Cursor {
        at: user.created_at,
        id: user.id,
    });
    Ok(HttpResponse::Ok().json(UserPage {
        items,
        next_cursor: next.map(|cursor| cursor.encode()),
        total,
    }))
}

/// Create a user
#[utoipa::path(
    operation_id = "create_user",
    tag = "users",
    request_body = CreateUser,
    responses((status = 201, description = "Created", body = User))
)]
#[post("/users")]
pub(super) async fn create(
    state: web::Data<State>,
    Body(new): Body<CreateUser>,
) -> Result<HttpResponse, Error> {
    let name = line("name", &new.name, MAX_NAME_CHARS)?;
    let description = description(new.description.as_deref())?;
    let id = Uuid::now_v7();
    let mut connection = state.store.connection().await?;
    let user = NewUser {
        id,
        name: &name,
        description: description.as_deref(),
    };
    users::insert(&mut connection, &user).await?;
    tracing::info!(user_id = %id, "user.created");
    Ok(HttpResponse::Created().json(found(&mut connection, id).await?))
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
    user_id: web::Path<Uuid>,
    Body(change): Body<ChangeUser>,
) -> Result<HttpResponse, Error> {
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
    if !users::patch(&mut connection, *user_id, &patch).await? {
        return Err(Code::UserNotFound.into());
    }
    tracing::info!(%user_id, "user.changed");
    Ok(HttpResponse::Ok().json(found(&mut connection, *user_id).await?))
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
    user_id: web::Path<Uuid>,
    Body(Route { routing_strategy }): Body<Route>,
) -> Result<HttpResponse, Error> {
    let user_id = *user_id;
    let mut connection = state.store.connection().await?;
    let user = connection
        .transaction(async |connection| {
            users::lock(connection, user_id)
                .await?
                .ok_or(Code::UserNotFound)?;
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
            found(connection, user_id).await
        })
        .await?;
    tracing::info!(%user_id, routing_strategy = routing_strategy.name(), "user.routed");
    Ok(HttpResponse::Ok().json(user))
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
    user_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let user_id = *user_id;
    let mut connection = state.store.connection().await?;
    let revoked = connection
        .transaction(async |connection| {
            users::lock(connection, user_id)
                .await?
                .ok_or(Code::UserNotFound)?;
            let revoked = access_keys::revoke_all_of_user(connection, user_id).await?;
            users::delete(connection, user_id).await?;
            Ok::<_, Error>(revoked)
        })
        .await?;
    tracing::info!(%user_id, revoked_access_keys = revoked, "user.deleted");
    Ok(HttpResponse::NoContent().finish())
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
    user_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let user = switch(&state, *user_id, UserStatus::Inactive, Code::UserNotActive).await?;
    tracing::info!(%user_id, "user.deactivated");
    Ok(HttpResponse::Ok().json(user))
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
    user_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let user = switch(
        &state,
        *user_id,
        UserStatus::Active,
        Code::UserAlreadyActive,
    )
    .await?;
    tracing::info!(%user_id, "user.reactivated");
    Ok(HttpResponse::Ok().json(user))
}

/// Gives a user another status; it is a conflict if it has it already.
async fn switch(
    state: &State,
    id: Uuid,
    status: UserStatus,
    conflict: Code,
) -> Result<User, Error> {
    let mut connection = state.store.connection().await?;
    connection
        .transaction(async |connection| {
            let current = users::lock(connection, id)
                .await?
                .ok_or(Code::UserNotFound)?;
            if current == status {
                return Err(conflict.into());
            }
            users::set_status(connection, id, status).await?;
            found(connection, id).await
        })
        .await
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
