//! What a user may still spend on Bedrock: decided here, from values alone.
//! [`budgets`] remembers what was spent.
//!
//! Control decides whether a budget is exhausted, from the usage of all proxies.
//! That takes a second or two, in which many requests may begin; so a proxy holds
//! an estimate of what its running requests cost, and lets no other one begin
//! when that may be all there is left.

pub mod budgets;
pub mod warning;

use chrono::{DateTime, Utc};
use proto::{
    price::prompt,
    sync::{Price, Tokens},
};

use crate::{index::Budget, usage};

/// How much of an answer is expected at most. Claude Code asks for room for 32 000
/// tokens and more, and hardly ever uses a tenth of it: with all of it, few
/// requests could run side by side near the end of a budget.
const TYPICAL_OUTPUT_TOKENS: u64 = 8_192;

/// How a user stands within the month, in micro-dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// What control has counted.
    pub spent: u64,
    /// What control had counted when the first of what is settling ended: nothing of
    /// that is in it.
    pub spent_before: u64,
    /// What has ended here, and control has not said yet that it is counted.
    pub settling: u64,
    /// What is running here may cost.
    pub held: u64,
}

/// Why a request may not go to Bedrock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is left until then.
    Exhausted { until: DateTime<Utc> },
    /// What is left may be used up by what is running: later.
    Reserved,
    /// Nobody knows what the model costs.
    Unpriced,
}

impl Standing {
    /// What is surely spent. Control may have counted what is settling a moment before
    /// it says so; then the sum of both would be too much.
    pub fn known(self) -> u64 {
        let with_settling = self.spent_before.saturating_add(self.settling);
        self.spent.max(with_settling)
    }

    /// What may be spent when all has ended.
    fn expected(self) -> u64 {
        let settled = self.spent.saturating_add(self.settling);
        settled.saturating_add(self.held)
    }
}

/// Whether another request may begin. The first one always may while something
/// is left, however little: what it will cost nobody knows.
///
/// # Errors
///
/// Why not.
pub fn admit(
    budget: &Budget,
    standing: Standing,
    price: Option<&Price>,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let until = budget.period_end;
    if is_exhausted(budget, now) {
        return Err(Refusal::Exhausted { until });
    }
    if price.is_none() {
        return Err(Refusal::Unpriced);
    }
    if standing.known() >= budget.limit && now < until {
        // The verdict is on its way, or control is away.
        return Err(Refusal::Exhausted { until });
    }
    if standing.expected() >= budget.limit {
        return Err(Refusal::Reserved);
    }
    Ok(())
}

/// With the month the verdict ends, also when control is away.
pub fn is_exhausted(budget: &Budget, now: DateTime<Utc>) -> bool {
    budget.is_exhausted && now < budget.period_end
}

/// US dollars with six decimals.
pub fn usd(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// What a request of so many bytes may cost that asks for so many tokens at most.
pub fn estimate(price: &Price, body_bytes: usize, max_tokens: Option<u64>) -> u64 {
    let tokens = Tokens {
        input_tokens: usage::estimate::prompt(body_bytes),
        output_tokens: max_tokens.map_or(TYPICAL_OUTPUT_TOKENS, |it| it.min(TYPICAL_OUTPUT_TOKENS)),
        ..Tokens::default()
    };
    price.rates_for(prompt(&tokens)).cost(&tokens).total()
}

#[cfg(test)]
mod tests {
    use proto::sync::Rates;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    const LIMIT: u64 = 100;

    fn budget(is_exhausted: bool) -> Budget {
        Budget {
            limit: LIMIT,
            is_exhausted,
            period_start: at(0),
            period_end: at(1_000),
        }
    }

    fn price() -> Price {
        Price {
            rates: Some(Rates {
                input: 3_000_000,
                output: 15_000_000,
                ..Rates::default()
            }),
            ..Price::default()
        }
    }

    #[test]
    fn what_is_left_decides() {
        let exhausted = Err(Refusal::Exhausted { until: at(1_000) });
        let standing = |spent, settling, held| Standing {
            spent,
            spent_before: spent,
            settling,
            held,
        };
        // Control has counted what is settling, and not said so yet.
        let overlapping = Standing {
            spent_before: 10,
            ..standing(60, 50, 0)
        };
        for (is_exhausted, standing, has_price, now, expected) in [
            (false, standing(0, 0, 0), true, 1, Ok(())),
            (false, standing(99, 0, 0), true, 1, Ok(())),
            // The verdict is on its way.
            (false, standing(100, 0, 0), true, 1, exhausted),
            (false, standing(50, 50, 0), true, 999, exhausted),
            // Of the month that is over; the next one has not come yet.
            (
                false,
                standing(100, 0, 0),
                true,
                1_000,
                Err(Refusal::Reserved),
            ),
            (false, standing(50, 25, 24), true, 1, Ok(())),
            (false, standing(50, 25, 25), true, 1, Err(Refusal::Reserved)),
            (false, overlapping, true, 1, Err(Refusal::Reserved)),
            (false, standing(0, 0, 0), false, 1, Err(Refusal::Unpriced)),
            // Raised: control's word goes before what was spent.
            (true, standing(0, 0, 0), true, 1, exhausted),
            (true, standing(200, 0, 0), false, 999, exhausted),
            // The month is over.
            (true, standing(0, 0, 0), true, 1_000, Ok(())),
            (
                false,
                standing(0, 0, u64::MAX),
                true,
                1,
                Err(Refusal::Reserved),
            ),
            (false, standing(u64::MAX, u64::MAX, 1), true, 1, exhausted),
        ] {
            let price = has_price.then(price);
            let found = admit(&budget(is_exhausted), standing, price.as_ref(), at(now));
            assert_eq!(
                found, expected,
                "{is_exhausted} {standing:?} {has_price} {now}"
            );
        }
    }

    #[test]
    fn a_request_is_estimated_by_its_size_and_its_room() {
        for (bytes, max_tokens, expected) in [
            (3_000, Some(100), 1_000 * 3 + 100 * 15),
            (3_000, Some(64_000), 1_000 * 3 + 8_192 * 15),
            (0, None, 8_192 * 15),
            (usize::MAX, Some(0), 3_000_000),
        ] {
            assert_eq!(estimate(&price(), bytes, max_tokens), expected, "{bytes}");
        }
    }
}
