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
    store::reports::{self, BucketType, OrderBy, UserBucket, UserSums},
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
    /// What they cost is in no sum.
    unpriced_requests: i64,
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
    /// What they cost is in no sum.
    unpriced_requests: i64,
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
    let users = reports::top_users(&mut connection, &filter, order_by, limit).await?;
    let users: Vec<TopUser> = users.into_iter().map(TopUser::from).collect();
    Ok(HttpResponse::Ok().json(users))
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
    let series =
        reports::top_users_series(&mut connection, &filter, bucket_type, order_by, limit).await?;
    let series: Vec<TopUserSeries> = series.into_iter().map(TopUserSeries::from).collect();
    Ok(HttpResponse::Ok().json(series))
}

fn limit(asked: Option<i64>, default: i64, max: i64) -> Result<i64, Error> {
    let limit = asked.unwrap_or(default);
    if (1..=max).contains(&limit) {
        return Ok(limit);
    }
    let message = format!("limit must be 1 to {max}.");
    Err(Error::with_message(Code::InvalidQuery, message))
}

impl From<UserSums> for TopUser {
    fn from(sums: UserSums) -> Self {
        Self {
            user_id: sums.user_id,
            name: sums.name,
            total_tokens: sums.tokens,
            total_requests: sums.requests,
            unpriced_requests: sums.unpriced_requests,
            estimated_cost_usd: sums.estimated_cost_usd,
        }
    }
}

impl From<(UserSums, Vec<UserBucket>)> for TopUserSeries {
    fn from((user, buckets): (UserSums, Vec<UserBucket>)) -> Self {
        Self {
            user_id: user.user_id,
            name: user.name,
            buckets: buckets.into_iter().map(TopUserBucket::from).collect(),
        }
    }
}

impl From<UserBucket> for TopUserBucket {
    fn from(bucket: UserBucket) -> Self {
        Self {
            bucket_start: bucket.bucket_start,
            total_tokens: bucket.tokens,
            total_requests: bucket.requests,
            unpriced_requests: bucket.unpriced_requests,
            estimated_cost_usd: bucket.estimated_cost_usd,
        }
    }
}
