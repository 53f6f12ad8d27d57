//! Tells Claude Code how a budget stands, so that it warns by itself.
//!
//! The headers are those with which the API tells users of a plan about the money
//! that they may spend beyond it, which is what comes closest. Claude Code heeds
//! them with a login of the developer's own; with an API key it reads none.
//!
//! Source: measured with the real clients, 2.1.112 and 2.1.328: each reports a
//! `rate_limit_event` with `allowed_warning` from the first threshold on.

use http::{HeaderMap, HeaderValue};

use super::budgets::Status;

/// From these parts of a budget on, in per cent, Claude Code warns.
const THRESHOLDS: [u64; 2] = [95, 75];

/// Adds the headers from which Claude Code tells how much of a limit is used.
pub fn tell(status: &Status, headers: &mut HeaderMap) {
    let surpassed = THRESHOLDS
        .into_iter()
        .find(|threshold| status.used_percent() >= *threshold);
    let verdict = match surpassed {
        Some(_) => "allowed_warning",
        None => "allowed",
    };
    let reset = status.budget.period_end.timestamp().to_string();
    let utilization = fraction(status.spent, status.budget.limit);
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set("anthropic-ratelimit-unified-status", verdict);
    set("anthropic-ratelimit-unified-reset", &reset);
    set(
        "anthropic-ratelimit-unified-representative-claim",
        "overage",
    );
    set("anthropic-ratelimit-unified-overage-status", verdict);
    set("anthropic-ratelimit-unified-overage-reset", &reset);
    set(
        "anthropic-ratelimit-unified-overage-utilization",
        &utilization,
    );
    set("anthropic-ratelimit-unified-overage-period", "monthly");
    set(
        "anthropic-ratelimit-unified-overage-period-monthly-utilization",
        &utilization,
    );
    if let Some(threshold) = surpassed {
        set(
            "anthropic-ratelimit-unified-overage-surpassed-threshold",
            &fraction(threshold, 100),
        );
    }
}

/// With four decimals, rounded down.
fn fraction(part: u64, whole: u64) -> String {
    let parts = u128::from(part) * 10_000 / u128::from(whole.max(1));
    format!("{}.{:04}", parts / 10_000, parts % 10_000)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::index::Budget;

    fn told(spent: u64) -> HeaderMap {
        let budget = Budget {
            limit: 1_000,
            is_exhausted: false,
            period_start: DateTime::UNIX_EPOCH,
            period_end: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
        };
        let status = Status {
            budget,
            spent,
            is_exhausted: false,
        };
        let mut headers = HeaderMap::new();
        tell(&status, &mut headers);
        headers
    }

    #[test]
    fn a_warning_begins_with_its_threshold() {
        for (spent, verdict, utilization, threshold) in [
            (0, "allowed", "0.0000", None),
            (749, "allowed", "0.7490", None),
            (750, "allowed_warning", "0.7500", Some("0.7500")),
            (949, "allowed_warning", "0.9490", Some("0.7500")),
            (950, "allowed_warning", "0.9500", Some("0.9500")),
            (1_234, "allowed_warning", "1.2340", Some("0.9500")),
        ] {
            let headers = told(spent);
            let header = |name: &str| {
                let value = headers.get(format!("anthropic-ratelimit-unified-{name}"));
                value.map(|it| it.to_str().unwrap())
            };
            assert_eq!(header("status"), Some(verdict), "{spent}");
            assert_eq!(header("overage-utilization"), Some(utilization), "{spent}");
            assert_eq!(header("overage-surpassed-threshold"), threshold, "{spent}");
            assert_eq!(header("reset"), Some("1790000000"));
        }
    }
}
