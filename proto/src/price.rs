//! What tokens cost: which price is meant, and the one rule by which it is
//! applied and rounded.
//!
//! Control prices usage with it, for good; a proxy estimates with it what a
//! request may cost at most. Money is counted in whole micro-dollars.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::{
    line,
    region::geography,
    sync::{Price, Provider, Rates, Tokens},
};

/// The price class of Bedrock's global inference profiles, and the region under
/// which the Anthropic API's own prices stand.
pub const GLOBAL: &str = "global";

/// The price class of Bedrock's models within one region or geography.
///
/// Source: "Regional endpoints", Anthropic's price list: from the models of 4.5
/// on they cost a tenth more than the global ones.
pub const REGIONAL: &str = "regional";

/// A price is for this many tokens.
const PER: u128 = 1_000_000;

/// Who answered, as far as prices depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered<'a> {
    pub provider: Provider,
    /// As the answer names it; may be empty.
    pub upstream_model: &'a str,
    /// As Bedrock was asked; empty for the plan.
    pub bedrock_model: &'a str,
    pub bedrock_region: &'a str,
    /// As the client asked.
    pub model: &'a str,
}

/// What tokens cost, in micro-dollars. Each part is rounded by itself, half up,
/// so that sums of parts and sums of wholes are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
}

impl Cost {
    pub fn total(self) -> u64 {
        [self.output, self.cache_read, self.cache_write]
            .into_iter()
            .fold(self.input, u64::saturating_add)
    }
}

/// All prices that are known.
#[derive(Debug, Clone, Default)]
pub struct PriceList {
    /// The newest first.
    prices: HashMap<Article, Vec<Entry>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Article {
    provider: i32,
    region: String,
    model_id: String,
}

#[derive(Debug, Clone)]
struct Entry {
    effective_from: DateTime<Utc>,
    price: Price,
}

impl PriceList {
    /// Prices without a time are in force from the beginning.
    pub fn new(prices: impl IntoIterator<Item = Price>) -> Self {
        let mut list = Self::default();
        for price in prices {
            let article = Article {
                provider: price.provider,
                region: price.region.clone(),
                model_id: price.model_id.clone(),
            };
            let effective_from = price.effective_from.as_ref().and_then(line::time);
            list.prices.entry(article).or_default().push(Entry {
                effective_from: effective_from.unwrap_or(DateTime::<Utc>::MIN_UTC),
                price,
            });
        }
        for entries in list.prices.values_mut() {
            entries.sort_by_key(|entry| std::cmp::Reverse(entry.effective_from));
        }
        list
    }

    /// The price of an answer that was asked for at `at`; none when the model that
    /// answered has no price.
    pub fn find(&self, answered: &Answered<'_>, at: DateTime<Utc>) -> Option<&Price> {
        let model_id = answered.model_id();
        answered
            .regions()
            .into_iter()
            .find_map(|region| self.of(answered.provider, region, &model_id, at))
    }

    fn of(
        &self,
        provider: Provider,
        region: &str,
        model_id: &str,
        at: DateTime<Utc>,
    ) -> Option<&Price> {
        let article = Article {
            provider: provider.into(),
            region: region.to_owned(),
            model_id: model_id.to_owned(),
        };
        let entries = self.prices.get(&article)?;
        let entry = entries.iter().find(|entry| entry.effective_from <= at)?;
        Some(&entry.price)
    }
}

impl Answered<'_> {
    /// The model under which the answer is priced: the one that has answered, else
    /// the one that Bedrock was asked for, else the client's. Empty when nobody
    /// named one.
    pub fn model_id(&self) -> String {
        [self.upstream_model, self.bedrock_model, self.model]
            .into_iter()
            .map(model_id)
            .find(|id| !id.is_empty())
            .unwrap_or_default()
    }

    /// Where the price may stand: an operator's own price for the region goes
    /// before that of its class.
    fn regions(&self) -> Vec<&str> {
        match self.provider {
            Provider::Bedrock => vec![self.bedrock_region, class(self.bedrock_model)],
            Provider::Plan | Provider::Unspecified => vec![GLOBAL],
        }
    }
}

/// The price class of what Bedrock was asked for.
pub fn class(bedrock_model: &str) -> &'static str {
    match geography(resource(bedrock_model)).0 {
        Some(GLOBAL) => GLOBAL,
        _ => REGIONAL,
    }
}

/// A model's name in price lists: without vendor (Anthropic), geography, version
/// and date. `us.anthropic.claude-opus-4-5-20251101-v1:0` and
/// `claude-opus-4-5` are one model. Empty for what names none, such as the ARN of
/// an application's inference profile.
pub fn model_id(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    let (_, name) = geography(resource(&name));
    let name = name.strip_prefix("anthropic.").unwrap_or(name);
    let name = name.strip_suffix("[1m]").unwrap_or(name);
    let name = without_version(name);
    without_date(name).to_owned()
}

/// The model id or profile id within an ARN.
fn resource(name: &str) -> &str {
    if !name.starts_with("arn:") {
        return name;
    }
    match name.rsplit_once('/') {
        Some((kind, _)) if kind.ends_with(":application-inference-profile") => "",
        Some((_, id)) => id,
        None => "",
    }
}

/// `…-v1:0` and `…-v1`.
fn without_version(name: &str) -> &str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    match name.rsplit_once("-v") {
        Some((rest, version)) if version.split(':').all(is_number) => rest,
        _ => name,
    }
}

/// `…-20251101`.
fn without_date(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((rest, date)) if date.len() == 8 && date.bytes().all(|it| it.is_ascii_digit()) => rest,
        _ => name,
    }
}

impl Price {
    /// The rates for a prompt of so many tokens, cached ones included.
    pub fn rates_for(&self, prompt_tokens: u64) -> Rates {
        let is_long =
            self.long_context_threshold > 0 && prompt_tokens > self.long_context_threshold;
        let long = self.long_context_rates.filter(|_| is_long);
        long.or(self.rates).unwrap_or_default()
    }

    /// What an answer cost that used these tokens.
    pub fn cost(&self, tokens: &Tokens) -> Cost {
        self.rates_for(prompt(tokens)).cost(tokens)
    }
}

/// How long the prompt was, cached or not.
pub fn prompt(tokens: &Tokens) -> u64 {
    [
        tokens.cache_read_tokens,
        tokens.cache_write_5m_tokens,
        tokens.cache_write_1h_tokens,
    ]
    .into_iter()
    .fold(tokens.input_tokens, u64::saturating_add)
}

impl Rates {
    pub fn cost(&self, tokens: &Tokens) -> Cost {
        let write_5m = charge(tokens.cache_write_5m_tokens, self.cache_write_5m);
        let write_1h = charge(tokens.cache_write_1h_tokens, self.cache_write_1h);
        Cost {
            input: charge(tokens.input_tokens, self.input),
            output: charge(tokens.output_tokens, self.output),
            cache_read: charge(tokens.cache_read_tokens, self.cache_read),
            cache_write: write_5m.saturating_add(write_1h),
        }
    }
}

/// Rounded half up to a whole micro-dollar. The only place where money is
/// rounded.
fn charge(tokens: u64, rate: u64) -> u64 {
    let exact = u128::from(tokens) * u128::from(rate);
    u64::try_from((exact + PER / 2) / PER).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_names_of_a_model_are_one() {
        for (name, expected) in [
            ("claude-opus-4-5", "claude-opus-4-5"),
            ("claude-opus-4-5-20251101", "claude-opus-4-5"),
            ("Claude-Opus-4-5", "claude-opus-4-5"),
            ("claude-opus-4-7[1m]", "claude-opus-4-7"),
            ("anthropic.claude-opus-4-5-20251101-v1:0", "claude-opus-4-5"),
            (
                "global.anthropic.claude-opus-4-5-20251101-v1:0",
                "claude-opus-4-5",
            ),
            ("us-gov.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
            ("jp.anthropic.claude-sonnet-5-5", "claude-sonnet-5-5"),
            (
                "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-6-v1",
                "claude-opus-4-6",
            ),
            (
                "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0",
                "claude-3-haiku",
            ),
            (
                "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123",
                "",
            ),
            ("us.amazon.nova-pro-v1:0", "amazon.nova-pro"),
            ("claude-v2", "claude"),
            ("made-up", "made-up"),
            ("", ""),
        ] {
            assert_eq!(model_id(name), expected, "{name}");
        }
    }

    #[test]
    fn only_global_profiles_are_of_the_global_class() {
        for (bedrock_model, expected) in [
            ("global.anthropic.claude-opus-5-5", GLOBAL),
            (
                "arn:aws:bedrock:us-east-1:1:inference-profile/global.anthropic.claude-opus-4-6-v1",
                GLOBAL,
            ),
            ("us.anthropic.claude-opus-5-5", REGIONAL),
            ("anthropic.claude-opus-5-5", REGIONAL),
            (
                "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
                REGIONAL,
            ),
            ("", REGIONAL),
        ] {
            assert_eq!(class(bedrock_model), expected, "{bedrock_model}");
        }
    }

    fn price(provider: Provider, region: &str, model_id: &str, from: i64, input: u64) -> Price {
        Price {
            provider: provider.into(),
            region: region.to_owned(),
            model_id: model_id.to_owned(),
            effective_from: Some(prost_types::Timestamp {
                seconds: from,
                nanos: 0,
            }),
            rates: Some(Rates {
                input,
                ..Rates::default()
            }),
            ..Price::default()
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    const ON_BEDROCK: Answered<'_> = Answered {
        provider: Provider::Bedrock,
        upstream_model: "claude-x-20260101",
        bedrock_model: "global.anthropic.claude-x-v1:0",
        bedrock_region: "eu-west-1",
        model: "asked",
    };

    fn found(list: &PriceList, answered: Answered<'_>, seconds: i64) -> Option<u64> {
        let price = list.find(&answered, at(seconds))?;
        Some(price.rates_for(0).input)
    }

    #[test]
    fn the_newest_price_that_is_in_force_counts() {
        let prices = [(10, 1), (30, 3), (20, 2)];
        let list = PriceList::new(
            prices.map(|(from, input)| price(Provider::Bedrock, GLOBAL, "claude-x", from, input)),
        );
        for (seconds, expected) in [
            (9, None),
            (10, Some(1)),
            (29, Some(2)),
            (30, Some(3)),
            (99, Some(3)),
        ] {
            assert_eq!(found(&list, ON_BEDROCK, seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn the_region_goes_before_its_class_and_nobody_else_stands_in() {
        let list = PriceList::new([
            price(Provider::Bedrock, GLOBAL, "claude-x", 0, 1),
            price(Provider::Bedrock, REGIONAL, "claude-x", 0, 2),
            price(Provider::Bedrock, "ap-northeast-2", "claude-x", 0, 3),
            price(Provider::Plan, GLOBAL, "claude-x", 0, 4),
            price(Provider::Bedrock, GLOBAL, "asked", 0, 5),
        ]);
        let seoul = Answered {
            bedrock_region: "ap-northeast-2",
            ..ON_BEDROCK
        };
        let european = Answered {
            bedrock_model: "eu.anthropic.claude-x-v1:0",
            ..ON_BEDROCK
        };
        let plan = Answered {
            provider: Provider::Plan,
            bedrock_model: "",
            bedrock_region: "",
            ..ON_BEDROCK
        };
        let unpriced = Answered {
            upstream_model: "claude-y",
            ..ON_BEDROCK
        };
        let opaque = Answered {
            upstream_model: "",
            bedrock_model: "arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc",
            model: "claude-x",
            ..ON_BEDROCK
        };
        for (answered, expected) in [
            (ON_BEDROCK, Some(1)),
            (european, Some(2)),
            (seoul, Some(3)),
            (plan, Some(4)),
            (unpriced, None),
            (opaque, Some(2)),
        ] {
            assert_eq!(found(&list, answered, 1), expected, "{answered:?}");
        }
    }

    #[test]
    fn a_long_prompt_costs_more_and_what_is_cached_counts_as_prompt() {
        let price = Price {
            rates: Some(Rates {
                input: 1,
                ..Rates::default()
            }),
            long_context_threshold: 200_000,
            long_context_rates: Some(Rates {
                input: 2,
                ..Rates::default()
            }),
            ..Price::default()
        };
        assert_eq!(price.rates_for(200_000).input, 1);
        assert_eq!(price.rates_for(200_001).input, 2);
        let tokens = Tokens {
            input_tokens: 1,
            cache_read_tokens: 100_000,
            cache_write_5m_tokens: 50_000,
            cache_write_1h_tokens: 50_000,
            output_tokens: 9,
        };
        assert_eq!(prompt(&tokens), 200_001);
    }

    #[test]
    fn a_million_tokens_cost_the_rate_and_halves_go_up() {
        assert_eq!(charge(1_000_000, 3_000_000), 3_000_000);
        for (tokens, rate, expected) in [
            (1, 499_999, 0),
            (1, 500_000, 1),
            (1, 1_499_999, 1),
            (1, 1_500_000, 2),
            (0, u64::MAX, 0),
            (u64::MAX, u64::MAX, u64::MAX),
        ] {
            assert_eq!(charge(tokens, rate), expected, "{tokens} {rate}");
        }
    }

    proptest! {
        /// Whatever the tokens: a part is off by half a micro-dollar at most, and
        /// the whole is the sum of its parts.
        #[test]
        fn rounding_is_fair(tokens in 0..1_000_000_000_u64, rate in 0..1_000_000_000_u64) {
            let charged = u128::from(charge(tokens, rate)) * PER;
            let exact = u128::from(tokens) * u128::from(rate);
            prop_assert!(charged.abs_diff(exact) * 2 <= PER);
        }

        /// More tokens never cost less.
        #[test]
        fn more_costs_more(tokens in 0..1_000_000_000_u64, more in 0..1_000_u64, rate in 0..1_000_000_000_u64) {
            prop_assert!(charge(tokens, rate) <= charge(tokens + more, rate));
        }

        #[test]
        fn the_total_is_the_sum_of_its_parts(
            counts in prop::array::uniform5(0..1_000_000_u64),
            rates in prop::array::uniform5(0..100_000_000_u64),
        ) {
            let [input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens] = counts;
            let [input, output, cache_read, cache_write_5m, cache_write_1h] = rates;
            let tokens = Tokens { input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens };
            let rates = Rates { input, output, cache_read, cache_write_5m, cache_write_1h };
            let parts = [
                (input_tokens, input), (output_tokens, output), (cache_read_tokens, cache_read),
                (cache_write_5m_tokens, cache_write_5m), (cache_write_1h_tokens, cache_write_1h),
            ];
            let sum: u64 = parts.iter().map(|(tokens, rate)| charge(*tokens, *rate)).sum();
            prop_assert_eq!(rates.cost(&tokens).total(), sum);
        }
    }
}
