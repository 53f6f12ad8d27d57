//! `/admin/usage/sessions`: what belongs together, as clients say.

use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::range::usage_query;
use crate::{
    http::{
        State,
        error::{Code, Error},
        page::page,
        query::Query,
    },
    page::Cursor,
    store::sessions::{self, Session},
};

/// Sessions are summed from their requests.
const MAX_DAYS: i64 = 31;

usage_query! {
    struct ListSessions {
        /// How many to answer; 50 when not given.
        #[param(minimum = 1, maximum = 200)]
        limit: Option<usize>,
        /// The `next_cursor` of the page before. Give its `from` and `to` with it.
        cursor: Option<String>,
    }
}

/// Sessions, the one with the newest request first. Requests that name none are in
/// none.
#[derive(Debug, Serialize, ToSchema)]
struct SessionList {
    /// The range begins then.
    from: DateTime<Utc>,
    /// And ends before then.
    to: DateTime<Utc>,
    items: Vec<Session>,
    /// Leads to the sessions before these; null when there are none.
    next_cursor: Option<String>,
}

/// List sessions
///
/// The range may be 31 days long, at most.
#[utoipa::path(
    operation_id = "list_sessions",
    tag = "usage",
    params(ListSessions),
    responses((status = 200, description = "A page of sessions", body = SessionList))
)]
#[get("/usage/sessions")]
pub(in crate::http) async fn list(
    state: web::Data<State>,
    Query(query): Query<ListSessions>,
) -> Result<HttpResponse, Error> {
    let page = page(query.limit, query.cursor.as_deref())?;
    let filter = query.filter(state.timezone)?;
    // A month may have an hour more where clocks are turned back.
    if filter.to_exclusive - filter.from_inclusive > TimeDelta::days(MAX_DAYS) + TimeDelta::hours(1)
    {
        return Err(Code::RangeTooLong.into());
    }
    let mut connection = state.store.connection().await?;
    let mut items = sessions::list(&mut connection, &filter, &page).await?;
    let next = page.cut(&mut items, |session| Cursor {
        at: session.last_request_at,
        id: session.last_event_id,
    });
    Ok(HttpResponse::Ok().json(SessionList {
        from: filter.from_inclusive,
        to: filter.to_exclusive,
        items,
        next_cursor: next.map(|cursor| cursor.encode()),
    }))
}
