//! Sums of usage over a range.
//!
//! Whatever the buckets that are asked for, the same requests are summed: whole
//! days from the days that are kept, the rest at both ends from hours, and what is
//! less than an hour from `token_usage` itself. So totals never depend on the
//! buckets, and a bucket that the range cuts holds what is in the range.

use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    QueryableByName,
    pg::Pg,
    query_builder::{BoxedSqlQuery, SqlQuery},
    sql_types::{BigInt, Bool, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{Result, text_enum, usage::Filter};
use crate::money::Usd;

text_enum! {
    /// How wide a bucket is. Weeks begin on Sunday.
    pub enum BucketType {
        Minute = "minute",
        Hour = "hour",
        Day = "day",
        Week = "week",
        Month = "month",
    }
}

text_enum! {
    /// What puts a user at the top.
    pub enum OrderBy {
        Tokens = "tokens",
        Cost = "cost",
    }
}

text_enum! {
    /// What a report is split by over time.
    pub enum StackBy {
        Provider = "provider",
        Model = "model",
        AccessKey = "access_key",
    }
}

impl StackBy {
    fn column(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Model => "model_id",
            Self::AccessKey => "access_key_id",
        }
    }
}

/// Clients choose the names of models; a list of them must end somewhere.
const MAX_LABELS: i64 = 100;

/// More cannot be told apart in a chart.
pub const MAX_SERIES: i64 = 7;

/// What is counted, as the columns of kept sums; of a request beside it.
const COUNTED: [(&str, &str); 20] = [
    ("requests", "1"),
    ("fallback_requests", "is_fallback::int"),
    ("complete_requests", "(outcome = 'complete')::int"),
    (
        "client_cancelled_requests",
        "(outcome = 'client_cancelled')::int",
    ),
    (
        "upstream_failed_requests",
        "(outcome = 'upstream_failed')::int",
    ),
    ("refused_requests", "(outcome = 'refused')::int"),
    ("terminated_requests", "(outcome = 'terminated')::int"),
    ("estimate_requests", "is_estimate::int"),
    ("unpriced_requests", "(not priced)::int"),
    ("input_tokens", "input_tokens"),
    ("output_tokens", "output_tokens"),
    ("cache_read_tokens", "cache_read_tokens"),
    ("cache_write_5m_tokens", "cache_write_5m_tokens"),
    ("cache_write_1h_tokens", "cache_write_1h_tokens"),
    ("estimated_cost_usd", "estimated_cost_usd"),
    ("input_cost_usd", "input_cost_usd"),
    ("output_cost_usd", "output_cost_usd"),
    ("cache_read_cost_usd", "cache_read_cost_usd"),
    ("cache_write_cost_usd", "cache_write_cost_usd"),
    ("bedrock_cost_usd", "bedrock_cost_usd"),
];

/// What lists of users say.
const OF_USERS: [(&str, &str); 5] = [
    ("requests", "1"),
    ("unpriced_requests", "(not priced)::int"),
    ("input_tokens", "input_tokens"),
    ("output_tokens", "output_tokens"),
    ("estimated_cost_usd", "estimated_cost_usd"),
];

/// Sums over requests that have something in common: the bucket and the label that
/// are present. All requests of the range have none.
#[derive(Debug, Clone, Default, QueryableByName)]
pub struct Sums {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub bucket_start: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub provider: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub model_id: Option<String>,
    /// Nil of requests without one.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub access_key_id: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    pub requests: i64,
    #[diesel(sql_type = BigInt)]
    pub fallback_requests: i64,
    #[diesel(sql_type = BigInt)]
    pub complete_requests: i64,
    #[diesel(sql_type = BigInt)]
    pub client_cancelled_requests: i64,
    #[diesel(sql_type = BigInt)]
    pub upstream_failed_requests: i64,
    #[diesel(sql_type = BigInt)]
    pub refused_requests: i64,
    #[diesel(sql_type = BigInt)]
    pub terminated_requests: i64,
    #[diesel(sql_type = BigInt)]
    pub estimate_requests: i64,
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
    #[diesel(sql_type = Numeric)]
    pub input_cost_usd: Usd,
    #[diesel(sql_type = Numeric)]
    pub output_cost_usd: Usd,
    #[diesel(sql_type = Numeric)]
    pub cache_read_cost_usd: Usd,
    #[diesel(sql_type = Numeric)]
    pub cache_write_cost_usd: Usd,
    #[diesel(sql_type = Numeric)]
    pub bedrock_cost_usd: Usd,
}

/// Sums, and the time zone of their buckets.
#[derive(Debug, Clone)]
pub struct Report {
    pub timezone: String,
    /// Of each bucket and of what it is split into; of all requests, of each provider,
    /// and of the models and access keys that cost the most. Buckets are in order, and
    /// so are labels, by what they cost.
    pub sums: Vec<Sums>,
}

/// Where sums are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// In `usage_totals`, everybody's together: the same range has far fewer.
    InTotal,
    /// In `usage_aggregates`. There are no minutes.
    ByAccessKey,
}

impl Kept {
    /// The fewest that know what is asked for.
    fn fewest(filter: &Filter, stack_by: Option<StackBy>) -> Self {
        let is_everybody = filter.user_id.is_none() && filter.access_key_id.is_none();
        if is_everybody && stack_by != Some(StackBy::AccessKey) {
            Self::InTotal
        } else {
            Self::ByAccessKey
        }
    }

    fn table(self) -> &'static str {
        match self {
            Self::InTotal => "usage_totals",
            Self::ByAccessKey => "usage_aggregates",
        }
    }

    /// Whose sums they are.
    fn owner(self) -> &'static str {
        match self {
            Self::InTotal => "null::uuid as user_id, null::uuid as access_key_id",
            Self::ByAccessKey => {
                "user_id, coalesce(access_key_id, '00000000-0000-0000-0000-000000000000')
                    as access_key_id"
            }
        }
    }

    /// The condition for whose sums they are. It takes `$3` and `$4` of [`over`].
    fn matches(self) -> &'static str {
        match self {
            Self::InTotal => "true",
            Self::ByAccessKey => {
                "($3 is null or user_id = $3) and ($4 is null or access_key_id = $4)"
            }
        }
    }
}

/// A user's part.
#[derive(Debug, Clone, QueryableByName)]
pub struct UserSums {
    #[diesel(sql_type = SqlUuid)]
    pub user_id: Uuid,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = BigInt)]
    pub requests: i64,
    #[diesel(sql_type = BigInt)]
    pub unpriced_requests: i64,
    #[diesel(sql_type = BigInt)]
    pub tokens: i64,
    #[diesel(sql_type = Numeric)]
    pub estimated_cost_usd: Usd,
}

/// A user's part in a bucket.
#[derive(Debug, Clone, QueryableByName)]
pub struct UserBucket {
    #[diesel(sql_type = Timestamptz)]
    pub bucket_start: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    pub requests: i64,
    #[diesel(sql_type = BigInt)]
    pub unpriced_requests: i64,
    #[diesel(sql_type = BigInt)]
    pub tokens: i64,
    #[diesel(sql_type = Numeric)]
    pub estimated_cost_usd: Usd,
}

/// Sums of a range, by bucket and by label; of each bucket by label as well, if it is
/// to be split.
pub async fn report(
    connection: &mut AsyncPgConnection,
    filter: &Filter,
    bucket_type: BucketType,
    stack_by: Option<StackBy>,
) -> Result<Report> {
    let kept = Kept::fewest(filter, stack_by);
    let statement = report_statement(kept, stack_by);
    // Aggregates and rows must be of the same moment.
    let mut transaction = connection.build_transaction().repeatable_read().read_only();
    transaction
        .run(async |connection| {
            let (parts, timezone) = parts(connection, filter, kept, bucket_type).await?;
            let query = over(statement.clone(), filter, &parts, bucket_type, &timezone);
            let sums = query.load(connection).await?;
            Ok(Report { timezone, sums })
        })
        .await
}

/// It takes the parameters of [`over`].
fn report_statement(kept: Kept, stack_by: Option<StackBy>) -> String {
    let (key, of_keys) = match kept {
        Kept::InTotal => ("null::uuid", ""),
        Kept::ByAccessKey => ("access_key_id", ", (access_key_id)"),
    };
    let (split, place, ranked) = match stack_by.map(StackBy::column) {
        None => (String::new(), "0", String::new()),
        Some(label) => (
            format!("(bucket, {label}), "),
            "coalesce(place, 0)",
            format!(
                "left join (select place, {label} as label from labels) as ranked on label = {label}"
            ),
        ),
    };
    // What all, each provider, model and access key have is summed up from what they
    // have in common, of which there is little.
    format!(
        "with usage as (
            select usage_bucket($12, at, $13) as bucket, slice.* from ({slices}) as slice
        ), sums as (
            select bucket, provider, model_id, access_key_id, {sums}
            from usage
            group by grouping sets ((bucket), {split}(provider, model_id, access_key_id))
        ), labels as (
            select
                row_number() over (
                    partition by provider is null, model_id is null, {key} is null
                    order by coalesce(sum(estimated_cost_usd), 0) desc, sum(requests) desc,
                        provider, model_id, {key}
                ) as place,
                provider, model_id, {key} as access_key_id, {sums}
            from sums
            where bucket is null
            group by grouping sets ((), (provider), (model_id){of_keys})
        )
        select * from (
            select
                {place} as place, bucket as bucket_start, provider, model_id, access_key_id,
                {columns}
            from sums {ranked}
            where bucket is not null
        ) as bucket
        where place <= {MAX_SERIES}
    union all
        select place, null, provider, model_id, access_key_id, {columns}
        from labels
        where place <= {MAX_LABELS}
        order by place, bucket_start",
        sums = sums(),
        columns = COUNTED.map(|(name, _)| name).join(", "),
        slices = slices(kept, &COUNTED),
    )
}

/// The users with the most in a range, in order. Deleted users are left out.
pub async fn top_users(
    connection: &mut AsyncPgConnection,
    filter: &Filter,
    order_by: OrderBy,
    limit: i64,
) -> Result<Vec<UserSums>> {
    // Aggregates and rows must be of the same moment.
    let mut transaction = connection.build_transaction().repeatable_read().read_only();
    transaction
        .run(async |connection| top(connection, filter, order_by, limit).await)
        .await
}

/// The same, and what each has in each bucket: users in order, and their buckets in
/// order.
pub async fn top_users_series(
    connection: &mut AsyncPgConnection,
    filter: &Filter,
    bucket_type: BucketType,
    order_by: OrderBy,
    limit: i64,
) -> Result<Vec<(UserSums, Vec<UserBucket>)>> {
    let mut transaction = connection.build_transaction().repeatable_read().read_only();
    transaction
        .run(async |connection| {
            let mut series = Vec::new();
            for user in top(connection, filter, order_by, limit).await? {
                let filter = Filter {
                    user_id: Some(user.user_id),
                    ..filter.clone()
                };
                let buckets = buckets_of_user(connection, &filter, bucket_type).await?;
                series.push((user, buckets));
            }
            Ok(series)
        })
        .await
}

async fn top(
    connection: &mut AsyncPgConnection,
    filter: &Filter,
    order_by: OrderBy,
    limit: i64,
) -> Result<Vec<UserSums>> {
    let measure = match order_by {
        OrderBy::Tokens => "tokens",
        OrderBy::Cost => "estimated_cost_usd",
    };
    let statement = format!(
        "select user_id, name, requests, unpriced_requests, tokens, sums.estimated_cost_usd
        from (
            select
                user_id,
                sum(requests)::bigint as requests,
                sum(unpriced_requests)::bigint as unpriced_requests,
                sum(input_tokens + output_tokens)::bigint as tokens,
                sum(estimated_cost_usd) as estimated_cost_usd
            from ({slices}) as slice
            group by user_id
        ) as sums
        join live_users on live_users.id = user_id
        order by {measure} desc, requests desc, user_id
        limit $14",
        slices = slices(Kept::ByAccessKey, &OF_USERS),
    );
    // Few buckets are the least work.
    let months = BucketType::Month;
    let (parts, timezone) = parts(connection, filter, Kept::ByAccessKey, months).await?;
    let query = over(statement, filter, &parts, months, &timezone);
    let users = query.bind::<BigInt, _>(limit).load(connection).await?;
    Ok(users)
}

/// What the user of the filter has in each bucket, in order.
async fn buckets_of_user(
    connection: &mut AsyncPgConnection,
    filter: &Filter,
    bucket_type: BucketType,
) -> Result<Vec<UserBucket>> {
    let statement = format!(
        "select
            usage_bucket($12, at, $13) as bucket_start,
            sum(requests)::bigint as requests,
            sum(unpriced_requests)::bigint as unpriced_requests,
            sum(input_tokens + output_tokens)::bigint as tokens,
            sum(estimated_cost_usd) as estimated_cost_usd
        from ({slices}) as slice
        group by 1
        order by 1",
        slices = slices(Kept::ByAccessKey, &OF_USERS),
    );
    let (parts, timezone) = parts(connection, filter, Kept::ByAccessKey, bucket_type).await?;
    let query = over(statement, filter, &parts, bucket_type, &timezone);
    let buckets = query.load(connection).await?;
    Ok(buckets)
}

/// Where a range is cut: none of these times is before the one above it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    /// The buckets between rows and days.
    fine: BucketType,
    /// Rows until then.
    fine_from: DateTime<Utc>,
    /// Fine buckets until then.
    days_from: DateTime<Utc>,
    /// Days until then.
    days_to: DateTime<Utc>,
    /// Fine buckets until then, and rows to the end.
    fine_to: DateTime<Utc>,
}

/// The first and the last moment in a range that divide its buckets.
type Edges = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

impl Parts {
    /// All from rows where there is no whole bucket, or none at all.
    fn new(fine: BucketType, to: DateTime<Utc>, of_fine: Edges, of_days: Edges) -> Self {
        let (fine_from, fine_to) = within(of_fine).unwrap_or((to, to));
        let (days_from, days_to) = within(of_days).unwrap_or((fine_to, fine_to));
        Self {
            fine,
            fine_from,
            days_from,
            days_to,
            fine_to,
        }
    }
}

fn within((from, to): Edges) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    from.zip(to).filter(|(from, to)| from < to)
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    timezone: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    fine_from: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    fine_to: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    days_from: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    days_to: Option<DateTime<Utc>>,
    #[diesel(sql_type = Bool)]
    has_minutes: bool,
}

/// How the range is cut for these buckets, and in which time zone.
async fn parts(
    connection: &mut AsyncPgConnection,
    filter: &Filter,
    kept: Kept,
    bucket_type: BucketType,
) -> Result<(Parts, String)> {
    let fine = match bucket_type {
        BucketType::Minute => BucketType::Minute,
        _ => BucketType::Hour,
    };
    let found: Found = diesel::sql_query(
        "select
            zone as timezone,
            usage_edge($3, $1, zone, 1) as fine_from,
            usage_edge($3, $2, zone, -1) as fine_to,
            usage_edge('day', $1, zone, 1) as days_from,
            usage_edge('day', $2, zone, -1) as days_to,
            -- A while later, because they are being dropped.
            $1 > first_minute() + interval '1 hour' as has_minutes
        from (select coalesce((select timezone from usage_aggregation), 'UTC') as zone) as setting",
    )
    .bind::<Timestamptz, _>(filter.from_inclusive)
    .bind::<Timestamptz, _>(filter.to_exclusive)
    .bind::<Text, _>(fine.name())
    .get_result(connection)
    .await?;
    let none = (None, None);
    let of_fine = (found.fine_from, found.fine_to);
    let of_days = (found.days_from, found.days_to);
    let (of_fine, of_days) = match bucket_type {
        BucketType::Minute if found.has_minutes && kept == Kept::InTotal => (of_fine, none),
        // Such minutes were dropped, or never kept: only the rows know.
        BucketType::Minute => (none, none),
        BucketType::Hour => (of_fine, none),
        BucketType::Day | BucketType::Week | BucketType::Month => (of_fine, of_days),
    };
    let parts = Parts::new(fine, filter.to_exclusive, of_fine, of_days);
    Ok((parts, found.timezone))
}

/// What was counted of these in the parts of a range: by the begin of a bucket (`at`),
/// user, access key, provider and model, each in any number of rows.
///
/// It takes the parameters of [`over`].
fn slices(kept: Kept, counted: &[(&str, &str)]) -> String {
    let mut columns = String::new();
    let mut of_rows = String::new();
    for (name, value) in counted {
        // Writing to a string never fails.
        let _ = write!(columns, ", {name}");
        let _ = write!(of_rows, ", sum({value})::{} as {name}", kind(name));
    }
    format!(
        "select bucket_start as at, {owner}, provider, model_id {columns}
        from {table}
        where (
                bucket_type = $7 and bucket_start >= $8 and bucket_start < $9
                or bucket_type = 'day' and bucket_start >= $9 and bucket_start < $10
                or bucket_type = $7 and bucket_start >= $10 and bucket_start < $11
            )
            and {whose}
            and ($5 is null or model_id = $5)
            and ($6 is null or provider = $6)
    union all
        select
            usage_bucket($12, started_at, $13), {owner}, coalesce(provider, 'none'),
            pricing_model_id {of_rows}
        from token_usage
        where {matches}
            and (started_at < $8 or started_at >= $11)
        group by 1, 2, 3, 4, 5",
        owner = kept.owner(),
        table = kept.table(),
        whose = kept.matches(),
        matches = Filter::matches("token_usage"),
    )
}

/// The sums of what [`slices`] has counted.
fn sums() -> String {
    let sums = COUNTED.map(|(name, _)| {
        let kind = kind(name);
        format!("coalesce(sum({name}), 0)::{kind} as {name}")
    });
    sums.join(", ")
}

/// The type of a column of sums. Sums of integers are wider, and slow to add up again.
fn kind(name: &str) -> &'static str {
    if name.ends_with("_usd") {
        "numeric"
    } else {
        "bigint"
    }
}

/// Gives a statement its range, its filter, its parts and its buckets: `$1` to
/// `$13`.
fn over<'q>(
    statement: String,
    filter: &'q Filter,
    parts: &Parts,
    bucket_type: BucketType,
    timezone: &'q str,
) -> BoxedSqlQuery<'q, Pg, SqlQuery> {
    filter
        .bind(statement)
        .bind::<Text, _>(parts.fine.name())
        .bind::<Timestamptz, _>(parts.fine_from)
        .bind::<Timestamptz, _>(parts.days_from)
        .bind::<Timestamptz, _>(parts.days_to)
        .bind::<Timestamptz, _>(parts.fine_to)
        .bind::<Text, _>(bucket_type.name())
        .bind::<Text, _>(timezone)
}

/// How many buckets a range may have, at most.
pub fn buckets(bucket_type: BucketType, range: TimeDelta) -> i64 {
    let width = match bucket_type {
        BucketType::Minute => TimeDelta::minutes(1),
        BucketType::Hour => TimeDelta::hours(1),
        BucketType::Day => TimeDelta::days(1),
        BucketType::Week => TimeDelta::weeks(1),
        BucketType::Month => TimeDelta::days(28),
    };
    // The range may begin and end within a bucket.
    range.num_seconds() / width.num_seconds() + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn edges(from: &str, to: &str) -> Edges {
        (Some(time(from)), Some(time(to)))
    }

    #[test]
    fn a_range_is_cut_at_whole_buckets() {
        let to = time("2026-11-27T12:34:00Z");
        let parts = Parts::new(
            BucketType::Hour,
            to,
            edges("2026-11-20T08:00:00Z", "2026-11-27T12:00:00Z"),
            edges("2026-11-21T00:00:00Z", "2026-11-27T00:00:00Z"),
        );
        assert_eq!(
            [
                parts.fine_from,
                parts.days_from,
                parts.days_to,
                parts.fine_to
            ],
            [
                "2026-11-20T08:00:00Z",
                "2026-11-21T00:00:00Z",
                "2026-11-27T00:00:00Z",
                "2026-11-27T12:00:00Z"
            ]
            .map(time)
        );
    }

    #[test]
    fn where_there_is_no_whole_bucket_finer_ones_are_taken() {
        let to = time("2026-11-27T12:34:00Z");
        // The last edge is before the first: the range is within one bucket.
        let no_day = edges("2026-11-28T00:00:00Z", "2026-11-27T00:00:00Z");
        let hours = edges("2026-11-27T08:00:00Z", "2026-11-27T12:00:00Z");
        let parts = Parts::new(BucketType::Hour, to, hours, no_day);
        assert_eq!(
            (parts.days_from, parts.days_to),
            (parts.fine_to, parts.fine_to)
        );
        assert_eq!(parts.fine_from, time("2026-11-27T08:00:00Z"));

        let parts = Parts::new(BucketType::Hour, to, (None, None), no_day);
        assert_eq!((parts.fine_from, parts.fine_to), (to, to));
    }
}
