//! The `prices` table.

use std::collections::HashMap;

use chrono::NaiveDate;
use diesel::{ExpressionMethods, QueryDsl, SelectableHelper, dsl::max, prelude::*};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use proto::price::{GLOBAL, REGIONAL};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Result, schema::prices, text_enum};
use crate::money::Usd;

text_enum! {
    /// Whose price it is.
    #[derive(Hash)]
    pub enum PriceSource {
        BuiltIn = "built_in",
        /// From `PROXY_MODEL_PRICING`.
        Operator = "operator",
    }
}

text_enum! {
    /// Who answers.
    #[derive(Hash)]
    pub enum PriceProvider {
        Plan = "plan",
        Bedrock = "bedrock",
    }
}

/// What a model costs from a day on, in USD for a million tokens.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, Serialize, ToSchema)]
#[diesel(table_name = prices)]
pub struct Price {
    pub provider: PriceProvider,
    /// `global`, `regional`, or an AWS region, whose own price goes first.
    pub region: String,
    /// Without vendor, geography, version and date.
    pub model_id: String,
    /// In force from the beginning of this day, UTC.
    pub effective_date: NaiveDate,
    pub input_price: Usd,
    pub output_price: Usd,
    pub cache_read_price: Usd,
    pub cache_write_5m_price: Usd,
    pub cache_write_1h_price: Usd,
    /// Prompts of more tokens than this, cached ones included, are charged the
    /// prices below; null when there are none.
    pub long_context_threshold: Option<i64>,
    pub long_context_input_price: Option<Usd>,
    pub long_context_output_price: Option<Usd>,
    pub long_context_cache_read_price: Option<Usd>,
    pub long_context_cache_write_5m_price: Option<Usd>,
    pub long_context_cache_write_1h_price: Option<Usd>,
    pub source: PriceSource,
}

/// What tells one price from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Article {
    pub provider: PriceProvider,
    pub region: String,
    pub model_id: String,
    pub effective_date: NaiveDate,
}

impl Price {
    pub fn article(&self) -> Article {
        Article {
            provider: self.provider,
            region: self.region.clone(),
            model_id: self.model_id.clone(),
            effective_date: self.effective_date,
        }
    }

    /// Whether it may be in force in a region: it is its own, or that of a class.
    pub fn may_hold_in(&self, region: &str) -> bool {
        let is_class = |region: &str| [GLOBAL, REGIONAL].contains(&region);
        self.region == region || (is_class(&self.region) && !is_class(region))
    }
}

/// The state of the table in a few numbers: another state has others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    newest: Option<i64>,
    count: i64,
}

/// By provider, model and region, the newest first.
pub async fn list(connection: &mut AsyncPgConnection) -> Result<Vec<Price>> {
    let prices = prices::table
        .order((
            prices::provider,
            prices::model_id,
            prices::region,
            prices::effective_date.desc(),
        ))
        .select(Price::as_select())
        .load(connection)
        .await?;
    Ok(prices)
}

pub async fn version(connection: &mut AsyncPgConnection) -> Result<Version> {
    let (newest, count) = prices::table
        .select((max(prices::revision), diesel::dsl::count_star()))
        .first(connection)
        .await?;
    Ok(Version { newest, count })
}

/// Makes the table hold exactly this list; what is there already stays
/// untouched. Returns how many rows changed. Call it in a transaction.
pub async fn replace(connection: &mut AsyncPgConnection, list: &[Price]) -> Result<usize> {
    // Two replicas that start together write one after the other.
    super::lock(connection, "prices").await?;
    let stored: Vec<(Uuid, Price)> = prices::table
        .select((prices::id, Price::as_select()))
        .load(connection)
        .await?;
    let mut stored: HashMap<Article, (Uuid, Price)> = stored
        .into_iter()
        .map(|(id, price)| (price.article(), (id, price)))
        .collect();
    let mut changed = 0;
    let mut missing = Vec::new();
    for price in list {
        match stored.remove(&price.article()) {
            Some((_, old)) if old == *price => {}
            Some((id, _)) => {
                diesel::delete(prices::table.find(id))
                    .execute(connection)
                    .await?;
                missing.push(price);
            }
            None => missing.push(price),
        }
    }
    let gone: Vec<Uuid> = stored.into_values().map(|(id, _)| id).collect();
    changed += diesel::delete(prices::table.filter(prices::id.eq_any(gone)))
        .execute(connection)
        .await?;
    changed += diesel::insert_into(prices::table)
        .values(missing)
        .execute(connection)
        .await?;
    Ok(changed)
}
