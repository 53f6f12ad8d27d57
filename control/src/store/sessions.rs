//! Usage by session: what a client has called one, of one user.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Result, usage::Filter};
use crate::{money::Usd, page::Page};

/// Agents of a session that are named, at most.
const MAX_AGENTS: i64 = 20;

/// The requests of a session that are in the range.
#[derive(Debug, Clone, QueryableByName, Serialize, ToSchema)]
pub struct Session {
    /// As the client has sent it.
    #[diesel(sql_type = Text)]
    pub session_id: String,
    /// Null where the user is not known.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub user_id: Option<Uuid>,
    /// Null where there is no such user any more.
    #[diesel(sql_type = Nullable<Text>)]
    pub user_name: Option<String>,
    /// The agents that have worked in it, as the client names them; the first
    /// twenty.
    #[diesel(sql_type = Array<Text>)]
    pub agent_ids: Vec<String>,
    #[diesel(sql_type = Timestamptz)]
    pub first_request_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub last_request_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    pub requests: i64,
    /// Requests with tokens for which there was no price.
    #[diesel(sql_type = BigInt)]
    pub unpriced_requests: i64,
    #[diesel(sql_type = BigInt)]
    pub input_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub output_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub cache_read_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub cache_write_5m_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub cache_write_1h_tokens: i64,
    #[diesel(sql_type = Numeric)]
    pub estimated_cost_usd: Usd,
    /// Its last request, which is its place in the list.
    #[serde(skip)]
    #[diesel(sql_type = SqlUuid)]
    pub last_event_id: Uuid,
}

/// The session with the newest request first.
///
/// It walks back through the requests and stops at those that are the last of
/// their session, so that a page costs what is on it.
pub async fn list(
    connection: &mut AsyncPgConnection,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<Session>> {
    let statement = format!(
        "with newest as (
            select session_id, user_id, started_at, event_id
            from token_usage as usage
            where {usage_matches}
                and session_id <> ''
                and ($7 is null or (started_at, event_id) < ($7, $8))
                and not exists (
                    select from token_usage as later
                    where {later_matches}
                        and later.session_id = usage.session_id and later.session_id <> ''
                        and later.user_id is not distinct from usage.user_id
                        and later.started_at >= usage.started_at
                        and (later.started_at, later.event_id) > (usage.started_at, usage.event_id)
                )
            order by started_at desc, event_id desc
            limit $9
        )
        select
            newest.session_id,
            newest.user_id,
            users.name as user_name,
            agent_ids,
            first_request_at,
            newest.started_at as last_request_at,
            requests,
            unpriced_requests,
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_write_5m_tokens,
            cache_write_1h_tokens,
            estimated_cost_usd,
            newest.event_id as last_event_id
        from newest
        left join users on users.id = newest.user_id
        cross join lateral (
            select
                coalesce(
                    (array_agg(distinct agent_id) filter (where agent_id <> ''))[1:{MAX_AGENTS}],
                    '{{}}'
                ) as agent_ids,
                min(started_at) as first_request_at,
                count(*) as requests,
                count(*) filter (where not priced) as unpriced_requests,
                sum(input_tokens)::bigint as input_tokens,
                sum(output_tokens)::bigint as output_tokens,
                sum(cache_read_tokens)::bigint as cache_read_tokens,
                sum(cache_write_5m_tokens)::bigint as cache_write_5m_tokens,
                sum(cache_write_1h_tokens)::bigint as cache_write_1h_tokens,
                sum(estimated_cost_usd) as estimated_cost_usd
            from token_usage as usage
            where {usage_matches}
                and session_id = newest.session_id and session_id <> ''
                and user_id is not distinct from newest.user_id
        ) as session
        order by newest.started_at desc, newest.event_id desc",
        usage_matches = Filter::matches("usage"),
        later_matches = Filter::matches("later"),
    );
    let sessions = filter
        .bind(statement)
        .bind::<Nullable<Timestamptz>, _>(page.after.map(|cursor| cursor.at))
        .bind::<Nullable<SqlUuid>, _>(page.after.map(|cursor| cursor.id))
        .bind::<BigInt, _>(page.fetch())
        .load(connection)
        .await?;
    Ok(sessions)
}
