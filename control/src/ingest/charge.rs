//! What a request costs: decided once, when it is stored, by the price that was in
//! force when it began.

use chrono::NaiveDate;
use proto::{
    line,
    price::{Answered, Cost, GLOBAL, PriceList, prompt},
    sync::{Price, Provider, Tokens},
};

use crate::{
    money::Usd,
    store::usage::{Charge, NewUsage, Snapshot},
};

/// In characters. Sums are kept in an index, which takes no longer texts; names
/// come from outside, and no usage is lost for one.
const MAX_MODEL_ID: usize = 256;

/// The charge for a request.
pub(super) fn charge(usage: &NewUsage, prices: &PriceList) -> Charge {
    let answered = Answered {
        provider: usage
            .provider
            .and_then(Provider::from_label)
            .unwrap_or_default(),
        upstream_model: &usage.upstream_model,
        bedrock_model: &usage.bedrock_model,
        bedrock_region: &usage.bedrock_region,
        model: &usage.model,
    };
    let tokens = tokens(usage);
    let price = prices.find(&answered, usage.started_at);
    let cost = price.map(|price| price.cost(&tokens)).unwrap_or_default();
    let bedrock_cost = match answered.provider {
        Provider::Bedrock => cost,
        _ => on_bedrock(&answered, usage, prices, &tokens),
    };
    Charge {
        pricing_model_id: answered.model_id().chars().take(MAX_MODEL_ID).collect(),
        priced: price.is_some() || tokens == Tokens::default(),
        estimated_cost_usd: cost.total().into(),
        input_cost_usd: cost.input.into(),
        output_cost_usd: cost.output.into(),
        cache_read_cost_usd: cost.cache_read.into(),
        cache_write_cost_usd: cost.cache_write.into(),
        bedrock_cost_usd: bedrock_cost.total().into(),
        price: price.map(|price| snapshot(price, &tokens)),
    }
}

/// What the same tokens cost with Bedrock's global profile.
fn on_bedrock(
    answered: &Answered<'_>,
    usage: &NewUsage,
    prices: &PriceList,
    tokens: &Tokens,
) -> Cost {
    let there = Answered {
        provider: Provider::Bedrock,
        bedrock_model: "global.",
        bedrock_region: GLOBAL,
        ..*answered
    };
    let price = prices.find(&there, usage.started_at);
    price.map(|price| price.cost(tokens)).unwrap_or_default()
}

fn tokens(usage: &NewUsage) -> Tokens {
    Tokens {
        input_tokens: usage.input_tokens.unsigned_abs(),
        output_tokens: usage.output_tokens.unsigned_abs(),
        cache_read_tokens: usage.cache_read_tokens.unsigned_abs(),
        cache_write_5m_tokens: usage.cache_write_5m_tokens.unsigned_abs(),
        cache_write_1h_tokens: usage.cache_write_1h_tokens.unsigned_abs(),
    }
}

/// The rates that were applied: those of a long prompt, where it was one.
fn snapshot(price: &Price, tokens: &Tokens) -> Snapshot {
    let rates = price.rates_for(prompt(tokens));
    Snapshot {
        pricing_region: price.region.clone(),
        pricing_effective_date: effective_date(price),
        pricing_input_price: Usd::from(rates.input),
        pricing_output_price: Usd::from(rates.output),
        pricing_cache_read_price: Usd::from(rates.cache_read),
        pricing_cache_write_5m_price: Usd::from(rates.cache_write_5m),
        pricing_cache_write_1h_price: Usd::from(rates.cache_write_1h),
    }
}

fn effective_date(price: &Price) -> Option<NaiveDate> {
    let from = line::time(price.effective_from.as_ref()?)?;
    Some(from.date_naive())
}
