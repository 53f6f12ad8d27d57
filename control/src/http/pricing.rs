//! `/api/pricing`: what models cost.

use actix_web::{HttpResponse, get, post, web};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use diesel_async::AsyncConnection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{
    State,
    author::Author,
    error::{Code, Error, ErrorBody},
    query::Query,
};
use crate::{
    audit::{Entry, Object},
    money::Usd,
    store::{
        aggregates::{self, UnpricedModel},
        audit_log::{AuditAction, AuditObjectKind},
        prices::{self, Price, PriceProvider, PriceSource},
    },
};

/// How far back models without a price are looked for.
const UNPRICED_SINCE: TimeDelta = TimeDelta::days(31);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListPrices {
    /// `global`, `regional` or an AWS region. Without it all prices are listed; with
    /// an AWS region those that may be in force there.
    region: Option<String>,
    #[param(inline)]
    provider: Option<PriceProvider>,
}

/// Prices in US dollars for a million tokens.
#[derive(Debug, Serialize, ToSchema)]
struct PriceListing {
    /// By provider, model and region, the newest first.
    models: Vec<ModelPrice>,
    region: Option<String>,
    /// Models that were used in the last 31 days and have no price; most used
    /// first, a hundred at most.
    unpriced: Vec<UnpricedModel>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ModelPrice {
    model_id: String,
    provider: PriceProvider,
    region: String,
    input_price: Usd,
    output_price: Usd,
    /// Of the cache that lives for five minutes; the same as
    /// `cache_write_5m_price`.
    cache_write_price: Usd,
    cache_write_5m_price: Usd,
    cache_write_1h_price: Usd,
    cache_read_price: Usd,
    /// In force from the beginning of this day, UTC.
    effective_date: NaiveDate,
    /// Null: the price is the same for every prompt.
    long_context: Option<LongContextPrice>,
    source: PriceSource,
}

/// What prompts cost that are longer than a number of tokens.
#[derive(Debug, Serialize, ToSchema)]
struct LongContextPrice {
    threshold_tokens: i64,
    input_price: Usd,
    output_price: Usd,
    cache_write_5m_price: Usd,
    cache_write_1h_price: Usd,
    cache_read_price: Usd,
}

#[derive(Debug, Serialize, ToSchema)]
struct Reloaded {
    /// How many prices are new, other than before, or gone.
    changed: usize,
    /// How many there are.
    prices: usize,
    at: DateTime<Utc>,
}

/// List prices
#[utoipa::path(
    operation_id = "list_prices",
    tag = "pricing",
    params(ListPrices),
    responses((status = 200, description = "The list in force", body = PriceListing))
)]
#[get("/models")]
pub(super) async fn list(
    state: web::Data<State>,
    Query(query): Query<ListPrices>,
) -> Result<HttpResponse, Error> {
    let mut connection = state.store.connection().await?;
    let prices = prices::list(&mut connection).await?;
    let since = Utc::now() - UNPRICED_SINCE;
    let unpriced = aggregates::unpriced(&mut connection, since).await?;
    let is_wanted = |price: &Price| {
        query.provider.is_none_or(|it| it == price.provider)
            && query
                .region
                .as_deref()
                .is_none_or(|it| price.may_hold_in(it))
    };
    Ok(HttpResponse::Ok().json(PriceListing {
        models: prices
            .into_iter()
            .filter(is_wanted)
            .map(Into::into)
            .collect(),
        region: query.region,
        unpriced,
    }))
}

/// Reload prices
///
/// Reads `PROXY_MODEL_PRICING` again, if it names a file, and puts the list in force
/// everywhere. What was charged before stays as it is.
#[utoipa::path(
    operation_id = "reload_prices",
    tag = "pricing",
    responses(
        (status = 200, description = "The new list is in force", body = Reloaded),
        (status = 422, description = "The file is no price list", body = ErrorBody),
    )
)]
#[post("/reload")]
pub(super) async fn reload(state: web::Data<State>, author: Author) -> Result<HttpResponse, Error> {
    let prices = state.pricing.read().map_err(|error| {
        let message = format!("PROXY_MODEL_PRICING: {error}.");
        Error::with_message(Code::InvalidPricing, message)
    })?;
    let mut connection = state.store.connection().await?;
    let (changed, recorded) = connection
        .transaction(async |connection| {
            let changed = prices::replace(connection, &prices).await?;
            let entry = Entry::made(
                AuditAction::PricingReloaded,
                Object::named(AuditObjectKind::Pricing, "prices"),
                json!({ "changed": changed, "prices": prices.len() }),
            );
            let recorded = author.record(connection, &entry).await?;
            Ok::<_, Error>((changed, recorded))
        })
        .await?;
    drop(connection);
    state.pricing.refresh().await?;
    tracing::info!(changed, prices = prices.len(), "pricing.reloaded");
    Ok(recorded.on(HttpResponse::Ok()).json(Reloaded {
        changed,
        prices: prices.len(),
        at: Utc::now(),
    }))
}

impl From<Price> for ModelPrice {
    fn from(price: Price) -> Self {
        let long_context = price
            .long_context_threshold
            .map(|threshold_tokens| LongContextPrice {
                threshold_tokens,
                input_price: price.long_context_input_price.unwrap_or_default(),
                output_price: price.long_context_output_price.unwrap_or_default(),
                cache_write_5m_price: price.long_context_cache_write_5m_price.unwrap_or_default(),
                cache_write_1h_price: price.long_context_cache_write_1h_price.unwrap_or_default(),
                cache_read_price: price.long_context_cache_read_price.unwrap_or_default(),
            });
        Self {
            model_id: price.model_id,
            provider: price.provider,
            region: price.region,
            input_price: price.input_price,
            output_price: price.output_price,
            cache_write_price: price.cache_write_5m_price,
            cache_write_5m_price: price.cache_write_5m_price,
            cache_write_1h_price: price.cache_write_1h_price,
            cache_read_price: price.cache_read_price,
            effective_date: price.effective_date,
            long_context,
            source: price.source,
        }
    }
}
