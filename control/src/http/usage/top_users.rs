//! `/admin/usage/top-users`: who used the most, in sum and over time.

use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::range::{check_buckets, usage_query};
use crate::{
    http::{
        State,
        error::{Code, Error},
        query::Query,
    },
    money::Usd,
    store::reports::{self, BucketType, OrderBy, UserSums},
};

const DEFAULT_USERS: i64 = 10;
const MAX_USERS: i64 = 100;

const DEFAULT_SERIES: i64 = 5;
const MAX_SERIES: i64 = 20;

usage_query! {
    struct ListTopUsers {
        /// Has no effect on sums; accepted because the series has it.
        #[param(inline)]
        #[expect(dead_code, reason = "sums are the same with any")]
        bucket_type: Option<BucketType>,
        /// What puts a user at the top; tokens when not given.
        #[param(inline)]
        order_by: Option<OrderBy>,
        /// How many to answer; 10 when not given.
        #[param(minimum = 1, maximum = 100)]
        limit: Option<i64>,
    }
}

usage_query! {
    struct ReadTopUsersSeries {
        /// How wide `buckets` are; an hour when not given.
        #[param(inline)]
        bucket_type: Option<BucketType>,
        /// What puts a user at the top; tokens when not given.
        #[param(inline)]
        order_by: Option<OrderBy>,
        /// How many users to answer; 5 when not given.
        #[param(minimum = 1, maximum = 20)]
        limit: Option<i64>,
    }
}

/// What a user has used. Deleted users are left out.
#[derive(Debug, Serialize, ToSchema)]
struct TopUser {
    user_id: Uuid,
    name: String,
    /// Input and output; without the cache's.
    total_tokens: i64,
    total_requests: i64,
    estimated_cost_usd: Usd,
}

/// What a user has used over time.
#[derive(Debug, Serialize, ToSchema)]
struct TopUserSeries {
    user_id: Uuid,
    name: String,
    /// In order; without those in which nothing was used.
    buckets: Vec<TopUserBucket>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TopUserBucket {
    /// It may be before `from`; what is summed is not.
    bucket_start: DateTime<Utc>,
    /// Input and output; without the cache's.
    total_tokens: i64,
    total_requests: i64,
    estimated_cost_usd: Usd,
}

/// List the users with the most
#[utoipa::path(
    operation_id = "list_top_users",
    tag = "usage",
    params(ListTopUsers),
    responses((status = 200, description = "The one with the most first", body = [TopUser]))
)]
#[get("/usage/top-users")]
pub(in crate::http) async fn list(
    state: web::Data<State>,
    Query(query): Query<ListTopUsers>,
) -> Result<HttpResponse, Error> {
    let limit = limit(query.limit, DEFAULT_USERS, MAX_USERS)?;
    let filter = query.filter(state.timezone)?;
    let order_by = query.order_by.unwrap_or(OrderBy::Tokens);
    let mut connection = state.store.connection().await?;
    // Few buckets are the least work.
    let months = BucketType::Month;
    let sums = reports::top_users(&mut connection, &filter, months, order_by, limit).await?;
    Ok(HttpResponse::Ok().json(in_sum(sums)))
}

/// Read what the users with the most have used over time
#[utoipa::path(
    operation_id = "read_top_users_series",
    tag = "usage",
    params(ReadTopUsersSeries),
    responses((status = 200, description = "The one with the most first", body = [TopUserSeries]))
)]
#[get("/usage/top-users/series")]
pub(in crate::http) async fn series(
    state: web::Data<State>,
    Query(query): Query<ReadTopUsersSeries>,
) -> Result<HttpResponse, Error> {
    let limit = limit(query.limit, DEFAULT_SERIES, MAX_SERIES)?;
    let filter = query.filter(state.timezone)?;
    let bucket_type = query.bucket_type.unwrap_or(BucketType::Hour);
    let range = (filter.from_inclusive, filter.to_exclusive);
    check_buckets(bucket_type, range, limit)?;
    let order_by = query.order_by.unwrap_or(OrderBy::Tokens);
    let mut connection = state.store.connection().await?;
    let sums = reports::top_users(&mut connection, &filter, bucket_type, order_by, limit).await?;
    Ok(HttpResponse::Ok().json(over_time(sums)))
}

fn limit(asked: Option<i64>, default: i64, max: i64) -> Result<i64, Error> {
    let limit = asked.unwrap_or(default);
    if (1..=max).contains(&limit) {
        return Ok(limit);
    }
    let message = format!("limit must be 1 to {max}.");
    Err(Error::with_message(Code::InvalidQuery, message))
}

/// The buckets of each user come one after the other.
fn in_sum(sums: Vec<UserSums>) -> Vec<TopUser> {
    let mut users: Vec<TopUser> = Vec::new();
    for sums in sums {
        match users.last_mut() {
            Some(user) if user.user_id == sums.user_id => {
                user.total_tokens += sums.tokens;
                user.total_requests += sums.requests;
                user.estimated_cost_usd = user
                    .estimated_cost_usd
                    .saturating_add(sums.estimated_cost_usd);
            }
            _ => users.push(TopUser {
                user_id: sums.user_id,
                name: sums.name,
                total_tokens: sums.tokens,
                total_requests: sums.requests,
                estimated_cost_usd: sums.estimated_cost_usd,
            }),
        }
    }
    users
}

/// The buckets of each user come one after the other.
fn over_time(sums: Vec<UserSums>) -> Vec<TopUserSeries> {
    let mut users: Vec<TopUserSeries> = Vec::new();
    for sums in sums {
        let bucket = TopUserBucket {
            bucket_start: sums.bucket_start,
            total_tokens: sums.tokens,
            total_requests: sums.requests,
            estimated_cost_usd: sums.estimated_cost_usd,
        };
        match users.last_mut() {
            Some(user) if user.user_id == sums.user_id => user.buckets.push(bucket),
            _ => users.push(TopUserSeries {
                user_id: sums.user_id,
                name: sums.name,
                buckets: vec![bucket],
            }),
        }
    }
    users
}
