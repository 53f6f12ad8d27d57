//! Whole rows of `token_usage`, to be taken elsewhere.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::{
    QueryableByName,
    sql_types::{
        BigInt, Bool, Date, Integer, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid,
    },
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Result, usage::Filter};
use crate::{money::Usd, page::Cursor};

/// One request with all that is known about it, its cost and the price that was
/// applied.
#[derive(Debug, Clone, QueryableByName, Serialize, ToSchema)]
pub struct Row {
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// Ours.
    #[diesel(sql_type = Text)]
    pub request_id: String,
    /// The upstream's.
    #[diesel(sql_type = Text)]
    pub upstream_request_id: String,
    #[diesel(sql_type = Timestamptz)]
    pub started_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    pub duration_ms: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub first_byte_ms: Option<i64>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub user_id: Option<Uuid>,
    /// As the user is called now; null where there is no such user any more.
    #[diesel(sql_type = Nullable<Text>)]
    pub user_name: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub access_key_id: Option<Uuid>,
    /// As the client has sent it.
    #[diesel(sql_type = Text)]
    pub session_id: String,
    /// As the client has sent it.
    #[diesel(sql_type = Text)]
    pub agent_id: String,
    /// `plan` or `bedrock`; null when no upstream was asked.
    #[diesel(sql_type = Nullable<Text>)]
    pub provider: Option<String>,
    /// Bedrock has answered for the plan.
    #[diesel(sql_type = Bool)]
    pub is_fallback: bool,
    /// The model asked for.
    #[diesel(sql_type = Text)]
    pub model: String,
    /// The model that answered, as the answer names it.
    #[diesel(sql_type = Text)]
    pub upstream_model: String,
    /// What Bedrock was asked for; empty when it was not.
    #[diesel(sql_type = Text)]
    pub bedrock_model: String,
    #[diesel(sql_type = Text)]
    pub bedrock_region: String,
    #[diesel(sql_type = Text)]
    pub outcome: String,
    #[diesel(sql_type = Integer)]
    pub status: i32,
    #[diesel(sql_type = Bool)]
    pub is_streaming: bool,
    /// The upstream has not said how many tokens it were.
    #[diesel(sql_type = Bool)]
    pub is_estimate: bool,
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
    /// The model under which it is priced and summed up.
    #[diesel(sql_type = Text)]
    pub pricing_model_id: String,
    /// False: tokens were used, and there was no price for them.
    #[diesel(sql_type = Bool)]
    pub priced: bool,
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
    /// What the same tokens cost on Bedrock, whoever answered.
    #[diesel(sql_type = Numeric)]
    pub bedrock_cost_usd: Usd,
    /// Where the price stands in the list; null, like all below, when there was
    /// none.
    #[diesel(sql_type = Nullable<Text>)]
    pub pricing_region: Option<String>,
    /// Since when it was in force.
    #[diesel(sql_type = Nullable<Date>)]
    pub pricing_effective_date: Option<NaiveDate>,
    /// In USD for a million tokens.
    #[diesel(sql_type = Nullable<Numeric>)]
    pub pricing_input_price: Option<Usd>,
    #[diesel(sql_type = Nullable<Numeric>)]
    pub pricing_output_price: Option<Usd>,
    #[diesel(sql_type = Nullable<Numeric>)]
    pub pricing_cache_read_price: Option<Usd>,
    #[diesel(sql_type = Nullable<Numeric>)]
    pub pricing_cache_write_5m_price: Option<Usd>,
    #[diesel(sql_type = Nullable<Numeric>)]
    pub pricing_cache_write_1h_price: Option<Usd>,
    /// When control was told about it.
    #[diesel(sql_type = Timestamptz)]
    pub received_at: DateTime<Utc>,
}

impl Row {
    pub fn cursor(&self) -> Cursor {
        Cursor {
            at: self.started_at,
            id: self.event_id,
        }
    }
}

/// The next rows after the cursor, oldest first.
pub async fn after(
    connection: &mut AsyncPgConnection,
    filter: &Filter,
    cursor: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Row>> {
    let statement = format!(
        "select token_usage.*, users.name as user_name
        from token_usage left join users on users.id = token_usage.user_id
        where {matches}
            and ($7 is null or (started_at, event_id) > ($7, $8))
        order by started_at, event_id
        limit $9",
        matches = Filter::matches("token_usage"),
    );
    // Months before the cursor need not be looked into.
    let rest = Filter {
        from_inclusive: cursor.map_or(filter.from_inclusive, |cursor| cursor.at),
        ..filter.clone()
    };
    let rows = rest
        .bind(statement)
        .bind::<Nullable<Timestamptz>, _>(cursor.map(|cursor| cursor.at))
        .bind::<Nullable<SqlUuid>, _>(cursor.map(|cursor| cursor.id))
        .bind::<BigInt, _>(limit)
        .load(connection)
        .await?;
    Ok(rows)
}
