//! The list that is in force without a setting: Anthropic's models of today.
//!
//! Sources: "Pricing" at platform.claude.com (model prices, cache multipliers, long
//! prompts), "Regional endpoints" there (Bedrock's premium of a tenth from the models
//! of 4.5 on); as of November 2026. Fast mode, batches and server tools are not in
//! it.

use chrono::NaiveDate;
use proto::price::{GLOBAL, REGIONAL};

use crate::{
    money::Usd,
    store::prices::{Price, PriceProvider, PriceSource},
};

/// A model's price.
struct Row {
    model_id: &'static str,
    /// Year, month, day. None: from the beginning.
    from: Option<(i32, u32, u32)>,
    rates: Rates,
    /// For prompts of more tokens than this.
    long: Option<(i64, Rates)>,
    /// What Bedrock charges more, in per cent, within a region or a geography.
    premium: i64,
}

/// In ten-thousandths of a dollar for a million tokens.
#[derive(Clone, Copy)]
struct Rates {
    input: i64,
    output: i64,
    cache_read: i64,
    cache_write_5m: i64,
    cache_write_1h: i64,
}

/// Cache reads cost a tenth of the input, writes 1.25 times and twice as much.
const fn rates(input: i64, output: i64) -> Rates {
    Rates {
        input,
        output,
        cache_read: input / 10,
        cache_write_5m: input * 5 / 4,
        cache_write_1h: input * 2,
    }
}

impl Rates {
    const fn reading(mut self, cache_read: i64) -> Self {
        self.cache_read = cache_read;
        self
    }
}

impl Row {
    const fn new(model_id: &'static str, rates: Rates) -> Self {
        Self {
            model_id,
            from: None,
            rates,
            long: None,
            premium: 10,
        }
    }

    const fn from(mut self, year: i32, month: u32, day: u32) -> Self {
        self.from = Some((year, month, day));
        self
    }

    const fn beyond(mut self, tokens: i64, rates: Rates) -> Self {
        self.long = Some((tokens, rates));
        self
    }

    const fn same_everywhere(mut self) -> Self {
        self.premium = 0;
        self
    }
}

const ROWS: [Row; 28] = [
    Row::new("claude-fable-5-2", rates(80_000, 400_000).reading(2_000)),
    Row::new("claude-mythos-5-2", rates(80_000, 400_000).reading(2_000)),
    Row::new("claude-fable-5-1", rates(100_000, 500_000).reading(2_500)),
    Row::new("claude-mythos-5-1", rates(100_000, 500_000).reading(2_500)),
    Row::new("claude-fable-5", rates(100_000, 500_000)),
    Row::new("claude-mythos-5", rates(100_000, 500_000)),
    Row::new("claude-opus-5-5", rates(40_000, 200_000).reading(2_000)),
    Row::new("claude-opus-5", rates(50_000, 250_000)),
    Row::new("claude-opus-4-8", rates(50_000, 250_000)),
    Row::new("claude-opus-4-7", rates(50_000, 250_000)),
    Row::new("claude-opus-4-6", rates(50_000, 250_000)),
    Row::new("claude-opus-4-5", rates(50_000, 250_000)),
    Row::new("claude-opus-4-1", rates(150_000, 750_000)).same_everywhere(),
    Row::new("claude-opus-4", rates(150_000, 750_000)).same_everywhere(),
    Row::new("claude-sonnet-5-5", rates(20_000, 100_000)),
    Row::new("claude-sonnet-5-5", rates(20_000, 100_000).reading(1_000)).from(2026, 10, 7),
    Row::new("claude-sonnet-5", rates(20_000, 100_000)),
    Row::new("claude-sonnet-4-6", rates(30_000, 150_000)),
    Row::new("claude-sonnet-4-5", rates(30_000, 150_000)).beyond(200_000, rates(60_000, 225_000)),
    // The band for long prompts has ended.
    Row::new("claude-sonnet-4-5", rates(30_000, 150_000)).from(2026, 5, 1),
    Row::new("claude-sonnet-4", rates(30_000, 150_000))
        .beyond(200_000, rates(60_000, 225_000))
        .same_everywhere(),
    Row::new("claude-3-7-sonnet", rates(30_000, 150_000)).same_everywhere(),
    Row::new("claude-3-5-sonnet", rates(30_000, 150_000)).same_everywhere(),
    Row::new("claude-haiku-5-5", rates(1_000, 5_000)).beyond(100_000, rates(5_000, 25_000)),
    Row::new("claude-haiku-4-5", rates(10_000, 50_000)),
    Row::new("claude-3-5-haiku", rates(8_000, 40_000)).same_everywhere(),
    Row::new("claude-3-opus", rates(150_000, 750_000)).same_everywhere(),
    Row::new(
        "claude-3-haiku",
        Rates {
            input: 2_500,
            output: 12_500,
            cache_read: 300,
            cache_write_5m: 3_000,
            cache_write_1h: 5_000,
        },
    )
    .same_everywhere(),
];

/// Every price, for the Anthropic API and for both classes of Bedrock.
pub(super) fn list() -> Vec<Price> {
    ROWS.iter().flat_map(Row::prices).collect()
}

impl Row {
    fn prices(&self) -> [Price; 3] {
        [
            self.price(PriceProvider::Plan, GLOBAL, 0),
            self.price(PriceProvider::Bedrock, GLOBAL, 0),
            self.price(PriceProvider::Bedrock, REGIONAL, self.premium),
        ]
    }

    fn price(&self, provider: PriceProvider, region: &str, premium: i64) -> Price {
        // Ten-thousandths of a dollar, and per cent of it.
        let usd = |amount: i64| Usd::from_micros(amount * (100 + premium));
        let from = self
            .from
            .and_then(|(year, month, day)| NaiveDate::from_ymd_opt(year, month, day));
        let long = self.long.map(|(_, rates)| rates);
        Price {
            provider,
            region: region.to_owned(),
            model_id: self.model_id.to_owned(),
            effective_date: from.unwrap_or_default(),
            input_price: usd(self.rates.input),
            output_price: usd(self.rates.output),
            cache_read_price: usd(self.rates.cache_read),
            cache_write_5m_price: usd(self.rates.cache_write_5m),
            cache_write_1h_price: usd(self.rates.cache_write_1h),
            long_context_threshold: self.long.map(|(threshold, _)| threshold),
            long_context_input_price: long.map(|it| usd(it.input)),
            long_context_output_price: long.map(|it| usd(it.output)),
            long_context_cache_read_price: long.map(|it| usd(it.cache_read)),
            long_context_cache_write_5m_price: long.map(|it| usd(it.cache_write_5m)),
            long_context_cache_write_1h_price: long.map(|it| usd(it.cache_write_1h)),
            source: PriceSource::BuiltIn,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_model_has_its_price_once_for_each_class() {
        let articles: HashSet<_> = list().iter().map(Price::article).collect();
        assert_eq!(articles.len(), list().len());
        for row in &ROWS {
            assert_eq!(proto::price::model_id(row.model_id), row.model_id);
            for (provider, region) in [
                (PriceProvider::Plan, GLOBAL),
                (PriceProvider::Bedrock, GLOBAL),
                (PriceProvider::Bedrock, REGIONAL),
            ] {
                assert!(list().iter().any(|price| {
                    (price.provider, &*price.region, &*price.model_id)
                        == (provider, region, row.model_id)
                }));
            }
        }
    }

    #[test]
    fn prices_are_ordered_as_prices_are() {
        for price in list() {
            let ordered = [
                Usd::ZERO,
                price.cache_read_price,
                price.input_price,
                price.cache_write_5m_price,
                price.cache_write_1h_price,
                price.output_price,
            ];
            assert!(ordered.is_sorted_by(|a, b| a < b), "{price:?}");
            assert!(
                price
                    .long_context_input_price
                    .is_none_or(|long| long > price.input_price)
            );
        }
    }

    /// Spot checks of figures that people know.
    #[test]
    fn known_prices() {
        let usd = |text: &str| text.parse::<Usd>().unwrap();
        let find = |region: &str, model: &str| {
            list()
                .into_iter()
                .filter(|it| it.provider == PriceProvider::Bedrock)
                .filter(|it| it.region == region && it.model_id == model)
                .max_by_key(|it| it.effective_date)
                .unwrap()
        };
        let opus = find(GLOBAL, "claude-opus-5-5");
        assert_eq!((opus.input_price, opus.output_price), (usd("4"), usd("20")));
        assert_eq!(opus.cache_write_1h_price, usd("8"));
        let sonnet = find(REGIONAL, "claude-sonnet-5-5");
        assert_eq!(sonnet.input_price, usd("2.2"));
        assert_eq!(sonnet.cache_read_price, usd("0.11"));
        let haiku = find(GLOBAL, "claude-haiku-5-5");
        assert_eq!(haiku.cache_write_5m_price, usd("0.125"));
        assert_eq!(haiku.long_context_threshold, Some(100_000));
        assert_eq!(haiku.long_context_cache_read_price, Some(usd("0.05")));
    }
}
