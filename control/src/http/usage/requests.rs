//! `/admin/usage/requests`: one by one.

use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::range::usage_query;
use crate::{
    http::{State, error::Error, page::page, query::Query},
    page::Cursor,
    store::{
        access_keys,
        usage::{self, Usage},
        users,
    },
};

usage_query! {
    struct ListRequests {
        /// How many to answer; 50 when not given.
        #[param(minimum = 1, maximum = 200)]
        limit: Option<usize>,
        /// The `next_cursor` of the page before. Give its `from` and `to` with it.
        cursor: Option<String>,
    }
}

/// Requests, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct RequestList {
    /// The range begins then.
    from: DateTime<Utc>,
    /// And ends before then.
    to: DateTime<Utc>,
    items: Vec<NamedUsage>,
    /// Leads to the requests before these; null when there are none.
    next_cursor: Option<String>,
}

/// One request, and whose it was.
#[derive(Debug, Serialize, ToSchema)]
struct NamedUsage {
    #[serde(flatten)]
    usage: Usage,
    /// As the user is called now; null where there never was such a user.
    user_name: Option<String>,
    /// What is shown of the access key; null where there is no such key.
    key_prefix: Option<String>,
}

/// List requests
#[utoipa::path(
    operation_id = "list_requests",
    tag = "usage",
    params(ListRequests),
    responses((status = 200, description = "A page of requests", body = RequestList))
)]
#[get("/usage/requests")]
pub(in crate::http) async fn list(
    state: web::Data<State>,
    Query(query): Query<ListRequests>,
) -> Result<HttpResponse, Error> {
    let page = page(query.limit, query.cursor.as_deref())?;
    let filter = query.filter(state.timezone)?;
    let mut connection = state.store.connection().await?;
    let mut items = usage::list(&mut connection, &filter, &page).await?;
    let next = page.cut(&mut items, |usage| Cursor {
        at: usage.started_at,
        id: usage.event_id,
    });
    Ok(HttpResponse::Ok().json(RequestList {
        from: filter.from_inclusive,
        to: filter.to_exclusive,
        items: named(&mut connection, items).await?,
        next_cursor: next.map(|cursor| cursor.encode()),
    }))
}

async fn named(
    connection: &mut AsyncPgConnection,
    items: Vec<Usage>,
) -> Result<Vec<NamedUsage>, Error> {
    let users: Vec<Uuid> = items.iter().filter_map(|usage| usage.user_id).collect();
    let keys: Vec<Uuid> = items
        .iter()
        .filter_map(|usage| usage.access_key_id)
        .collect();
    let names = users::names(connection, &users).await?;
    let prefixes = access_keys::prefixes(connection, &keys).await?;
    let named = items.into_iter().map(|usage| NamedUsage {
        user_name: usage.user_id.and_then(|id| names.get(&id).cloned()),
        key_prefix: usage
            .access_key_id
            .and_then(|id| prefixes.get(&id).cloned()),
        usage,
    });
    Ok(named.collect())
}
