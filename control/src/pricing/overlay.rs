//! `PROXY_MODEL_PRICING`: the operator's own prices, laid over the built-in list
//! model by model.
//!
//! The JSON has models by region, and regions by provider:
//!
//! ```json
//! {"bedrock": {"ap-northeast-2": {"claude-opus-4-5": {
//!     "input_price_per_million": "5", "output_price_per_million": 25}}}}
//! ```
//!
//! Without providers the regions are Bedrock's. What is absent of the three cache
//! prices follows from the input price as it does in Anthropic's list. A model may
//! have a list of prices that begin on different days.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    marker::PhantomData,
};

use chrono::{Datelike, NaiveDate};
use proto::price::{GLOBAL, REGIONAL, model_id};
use serde::{
    Deserialize,
    de::{Error as _, MapAccess},
};

use crate::{
    money::Usd,
    store::prices::{Price, PriceProvider, PriceSource},
};

/// The operator's prices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay(Vec<Price>);

/// A setting that is no price list; says where it is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("cannot read the file {0}: {1}")]
    File(String, std::io::Error),
    /// With line and column.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{place}: {reason}")]
    Price { place: String, reason: String },
}

type Regions = ByName<ByName<OneOrMore>>;

/// Members of an object, each once: of two with the same name one would be lost.
struct ByName<V>(BTreeMap<String, V>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByProvider {
    #[serde(default)]
    bedrock: Regions,
    #[serde(default)]
    plan: Regions,
}

/// Tells the two shapes apart without losing the position of an error, which an
/// untagged enum would.
#[derive(Deserialize)]
struct Shape {
    bedrock: Option<serde::de::IgnoredAny>,
    plan: Option<serde::de::IgnoredAny>,
}

/// One price, or several that begin on different days.
struct OneOrMore(Vec<Entry>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    input_price_per_million: Usd,
    output_price_per_million: Usd,
    cache_read_price_per_million: Option<Usd>,
    /// Of the cache that lives for five minutes.
    cache_write_price_per_million: Option<Usd>,
    cache_write_1h_price_per_million: Option<Usd>,
    effective_date: Option<NaiveDate>,
    long_context: Option<LongContext>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongContext {
    threshold_tokens: i64,
    input_price_per_million: Usd,
    output_price_per_million: Usd,
    cache_read_price_per_million: Option<Usd>,
    cache_write_price_per_million: Option<Usd>,
    cache_write_1h_price_per_million: Option<Usd>,
}

/// Five prices that belong together.
struct Five {
    input: Usd,
    output: Usd,
    cache_read: Usd,
    cache_write_5m: Usd,
    cache_write_1h: Usd,
}

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the prices of a model, or a list of them")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<OneOrMore, A::Error> {
                let access = serde::de::value::MapAccessDeserializer::new(map);
                Ok(OneOrMore(vec![Entry::deserialize(access)?]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                seq: A,
            ) -> Result<OneOrMore, A::Error> {
                let access = serde::de::value::SeqAccessDeserializer::new(seq);
                let prices = Vec::deserialize(access)?;
                if prices.is_empty() {
                    return Err(A::Error::custom("a list without a price"));
                }
                Ok(OneOrMore(prices))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl<V> Default for ByName<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for ByName<V> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<V> {
            type Value = ByName<V>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<ByName<V>, A::Error> {
                let mut members = ByName::default();
                while let Some((name, member)) = access.next_entry::<String, V>()? {
                    if members.0.contains_key(&name) {
                        return Err(A::Error::custom(format!("{name} stands here twice")));
                    }
                    members.0.insert(name, member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

impl Overlay {
    /// Reads the setting: JSON, or `@` and the name of a file that has it.
    ///
    /// # Errors
    /// Says what is wrong and where.
    pub fn read(setting: &str) -> Result<Self, Malformed> {
        match setting.strip_prefix('@') {
            Some(path) => {
                let text = fs::read_to_string(path)
                    .map_err(|error| Malformed::File(path.to_owned(), error))?;
                Self::parse(&text)
            }
            None => Self::parse(setting),
        }
    }

    fn parse(json: &str) -> Result<Self, Malformed> {
        let shape: Shape = serde_json::from_str(json)?;
        let list = if shape.bedrock.is_some() || shape.plan.is_some() {
            serde_json::from_str(json)?
        } else {
            ByProvider {
                bedrock: serde_json::from_str(json)?,
                plan: Regions::default(),
            }
        };
        let mut prices = Vec::new();
        for (provider, regions) in [
            (PriceProvider::Bedrock, list.bedrock),
            (PriceProvider::Plan, list.plan),
        ] {
            for (region, models) in regions.0 {
                for (model, entries) in models.0 {
                    for entry in entries.0 {
                        prices.push(price(provider, &region, &model, entry)?);
                    }
                }
            }
        }
        let mut articles = HashSet::new();
        for price in &prices {
            if !articles.insert(price.article()) {
                return Err(Malformed::Price {
                    place: format!("{}: {}", price.region, price.model_id),
                    reason: format!("has two prices from {} on", price.effective_date),
                });
            }
        }
        Ok(Self(prices))
    }

    /// The whole list. An own price replaces what is built in for the same
    /// provider, region and model from its first day on.
    pub fn over(self, built_in: Vec<Price>) -> Vec<Price> {
        let is_replaced = |price: &Price| {
            self.0.iter().any(|own| {
                (own.provider, &own.region, &own.model_id)
                    == (price.provider, &price.region, &price.model_id)
                    && own.effective_date <= price.effective_date
            })
        };
        let mut list: Vec<Price> = built_in
            .into_iter()
            .filter(|price| !is_replaced(price))
            .collect();
        list.extend(self.0);
        list
    }
}

fn price(
    provider: PriceProvider,
    region: &str,
    model: &str,
    entry: Entry,
) -> Result<Price, Malformed> {
    let bad = |reason: &str| Malformed::Price {
        place: format!("{region}: {model}"),
        reason: reason.to_owned(),
    };
    let is_known_region = match provider {
        PriceProvider::Plan => region == GLOBAL,
        PriceProvider::Bedrock => {
            [GLOBAL, REGIONAL].contains(&region) || proto::region::is_well_formed(region)
        }
    };
    if !is_known_region {
        return Err(bad(match provider {
            PriceProvider::Plan => "the only region of the plan is global",
            PriceProvider::Bedrock => "a region is global, regional, or one of AWS",
        }));
    }
    let model_id = model_id(model);
    if model_id.is_empty() || model_id.chars().count() > 256 || model_id.contains(char::is_control)
    {
        return Err(bad("names no model"));
    }
    let effective_date = entry.effective_date.unwrap_or_default();
    if !(1970..=9999).contains(&effective_date.year()) {
        return Err(bad(
            "effective_date must be between the years 1970 and 9999",
        ));
    }
    let prices = Five::of(
        entry.input_price_per_million,
        entry.output_price_per_million,
        entry.cache_read_price_per_million,
        entry.cache_write_price_per_million,
        entry.cache_write_1h_price_per_million,
    );
    let long = entry.long_context.map(|long| {
        (
            long.threshold_tokens,
            Five::of(
                long.input_price_per_million,
                long.output_price_per_million,
                long.cache_read_price_per_million,
                long.cache_write_price_per_million,
                long.cache_write_1h_price_per_million,
            ),
        )
    });
    let (threshold, long) = long.unzip();
    if threshold.is_some_and(|threshold| threshold <= 0) {
        return Err(bad("threshold_tokens must be more than 0"));
    }
    if !prices.is_sane() || long.as_ref().is_some_and(|long| !long.is_sane()) {
        return Err(bad("a price must be between 0 and 100000"));
    }
    let long = long.as_ref();
    Ok(Price {
        provider,
        region: region.to_owned(),
        model_id,
        effective_date,
        input_price: prices.input,
        output_price: prices.output,
        cache_read_price: prices.cache_read,
        cache_write_5m_price: prices.cache_write_5m,
        cache_write_1h_price: prices.cache_write_1h,
        long_context_threshold: threshold,
        long_context_input_price: long.map(|it| it.input),
        long_context_output_price: long.map(|it| it.output),
        long_context_cache_read_price: long.map(|it| it.cache_read),
        long_context_cache_write_5m_price: long.map(|it| it.cache_write_5m),
        long_context_cache_write_1h_price: long.map(|it| it.cache_write_1h),
        source: PriceSource::Operator,
    })
}

impl Five {
    /// What is not given follows from the input price.
    ///
    /// Source: "Prompt caching", Anthropic's price list: reads cost a tenth,
    /// writes 1.25 times for five minutes and twice for an hour.
    fn of(
        input: Usd,
        output: Usd,
        cache_read: Option<Usd>,
        cache_write_5m: Option<Usd>,
        cache_write_1h: Option<Usd>,
    ) -> Self {
        let share = |hundredths: i64| {
            let exact = input.micros().saturating_mul(hundredths);
            Usd::from_micros(exact.saturating_add(50) / 100)
        };
        Self {
            input,
            output,
            cache_read: cache_read.unwrap_or_else(|| share(10)),
            cache_write_5m: cache_write_5m.unwrap_or_else(|| share(125)),
            cache_write_1h: cache_write_1h.unwrap_or_else(|| share(200)),
        }
    }

    /// The table has room for no more.
    fn is_sane(&self) -> bool {
        [
            self.input,
            self.output,
            self.cache_read,
            self.cache_write_5m,
            self.cache_write_1h,
        ]
        .into_iter()
        .all(|price| (0..=100_000_000_000).contains(&price.micros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Vec<Price> {
        Overlay::read(json).unwrap().0
    }

    fn usd(text: &str) -> Usd {
        text.parse().unwrap()
    }

    #[track_caller]
    fn refused(json: &str, expected: &str) {
        let error = Overlay::read(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn the_seeds_shape_is_bedrocks_by_region() {
        let prices = read(
            r#"{"ap-northeast-2": {"global.anthropic.claude-opus-4-5-20251101-v1:0": {
                "input_price_per_million": "5.00", "output_price_per_million": 25,
                "cache_write_price_per_million": 6.25, "cache_read_price_per_million": "0.50",
                "effective_date": "2025-01-01"}}}"#,
        );
        let [price] = prices.as_slice() else {
            panic!("{prices:?}")
        };
        assert_eq!(price.provider, PriceProvider::Bedrock);
        assert_eq!(price.region, "ap-northeast-2");
        assert_eq!(price.model_id, "claude-opus-4-5");
        assert_eq!(price.output_price, usd("25"));
        assert_eq!(price.cache_write_5m_price, usd("6.25"));
        // Not in the seeds' shape.
        assert_eq!(price.cache_write_1h_price, usd("10"));
        assert_eq!(price.effective_date.to_string(), "2025-01-01");
    }

    #[test]
    fn providers_may_be_named_and_cache_prices_left_out() {
        let prices = read(
            r#"{"plan": {"global": {"m": {"input_price_per_million": 1, "output_price_per_million": 5}}},
                "bedrock": {"regional": {"m": [
                    {"input_price_per_million": 2, "output_price_per_million": 6},
                    {"input_price_per_million": 3, "output_price_per_million": 7,
                     "effective_date": "2026-01-01",
                     "long_context": {"threshold_tokens": 200000,
                        "input_price_per_million": 6, "output_price_per_million": 9}}]}}}"#,
        );
        let shown: Vec<_> = prices
            .iter()
            .map(|it| (it.provider, it.input_price, it.cache_read_price))
            .collect();
        assert_eq!(
            shown,
            [
                (PriceProvider::Bedrock, usd("2"), usd("0.2")),
                (PriceProvider::Bedrock, usd("3"), usd("0.3")),
                (PriceProvider::Plan, usd("1"), usd("0.1")),
            ]
        );
        assert_eq!(prices[1].long_context_cache_write_1h_price, Some(usd("12")));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        refused("{\n  \"global\": {\n", "line 3 column 0");
        refused(
            r#"{"global": {"m": {"input_price_per_million": "x"}}}"#,
            "line 1 column",
        );
        refused(
            r#"{"global": {"m": {"input_price_per_million": 1}}}"#,
            "output_price",
        );
        refused(
            r#"{"global": {"m": {"input_price_per_million": 1, "output_price_per_million": 1, "typo": 1}}}"#,
            "typo",
        );
        refused(
            r#"{"mars": {"m": {"input_price_per_million": 1, "output_price_per_million": 1}}}"#,
            "mars: m: a region is global, regional, or one of AWS",
        );
        refused(
            r#"{"global": {"m": {"input_price_per_million": -1, "output_price_per_million": 1}}}"#,
            "between 0 and 100000",
        );
        refused(
            r#"{"global": {"m-20260101": {"input_price_per_million": 1, "output_price_per_million": 1},
                           "m": {"input_price_per_million": 1, "output_price_per_million": 1}}}"#,
            "has two prices",
        );
        // Of two with the same name one would be lost.
        let price = r#"{"input_price_per_million": 1, "output_price_per_million": 1}"#;
        refused(
            &format!(r#"{{"global": {{"m": {price}, "m": {price}}}}}"#),
            "m stands here twice at line 1 column",
        );
        refused(
            &format!(r#"{{"global": {{"m": {price}}}, "global": {{"n": {price}}}}}"#),
            "global stands here twice",
        );
        refused(r#"{"global": {"m": []}}"#, "a list without a price");
        refused(
            &format!(r#"{{"global": {{"m\u0000": {price}}}}}"#),
            "names no model",
        );
        for date in ["-4800-01-01", "+99999-01-01"] {
            let price = price.replace('}', &format!(r#", "effective_date": "{date}"}}"#));
            refused(
                &format!(r#"{{"global": {{"m": {price}}}}}"#),
                "between the years 1970 and 9999",
            );
        }
        refused("@/nowhere/prices.json", "/nowhere/prices.json");
    }

    #[test]
    fn an_own_price_replaces_the_built_in_one_from_its_first_day_on() {
        let built_in = read(
            r#"{"global": {"m": [
                {"input_price_per_million": 1, "output_price_per_million": 1},
                {"input_price_per_million": 2, "output_price_per_million": 1, "effective_date": "2026-01-01"},
                {"input_price_per_million": 3, "output_price_per_million": 1, "effective_date": "2026-02-01"}],
                "other": {"input_price_per_million": 9, "output_price_per_million": 1}}}"#,
        );
        let own = Overlay::read(
            r#"{"global": {"m": {"input_price_per_million": 7, "output_price_per_million": 1,
                "effective_date": "2026-01-01"}}}"#,
        );
        let mut inputs: Vec<_> = own
            .unwrap()
            .over(built_in)
            .into_iter()
            .map(|it| (it.model_id, it.input_price))
            .collect();
        inputs.sort();
        assert_eq!(
            inputs,
            [
                ("m".to_owned(), usd("1")),
                ("m".to_owned(), usd("7")),
                ("other".to_owned(), usd("9")),
            ]
        );
    }
}
