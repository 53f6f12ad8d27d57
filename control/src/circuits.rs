//! Which access keys go to Bedrock first, from the proxies' reports: looked at,
//! bounded, and kept, so that administrators see it.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Utc};
use diesel_async::AsyncPgConnection;
use proto::{line, sync};
use uuid::Uuid;

use crate::{
    store::{
        self,
        circuits::{self, Circuit, CircuitCause, CircuitState},
    },
    telemetry::metrics,
};

/// What a report may carry; the protocol says so.
const MAX_CIRCUITS: usize = 10_000;

/// Replaces a proxy's list by what can be used of the new one, and counts the
/// rest.
///
/// # Errors
/// When the database fails.
pub async fn replace(
    connection: &mut AsyncPgConnection,
    instance_id: Uuid,
    reported: &[sync::Circuit],
) -> store::Result<()> {
    let usable = usable(reported);
    circuits::replace(connection, instance_id, &usable).await?;
    let ignored = reported.len().saturating_sub(usable.len());
    metrics::circuits_ignored(ignored as u64);
    if ignored > 0 {
        tracing::warn!(%instance_id, ignored, "circuits.ignored");
    }
    Ok(())
}

/// Without what no proxy of ours would report: what is malformed, what names an
/// access key again, what is too many.
fn usable(reported: &[sync::Circuit]) -> Vec<Circuit> {
    let mut circuits = BTreeMap::new();
    for circuit in reported.iter().take(MAX_CIRCUITS).filter_map(understood) {
        circuits.entry(circuit.access_key_id).or_insert(circuit);
    }
    circuits.into_values().collect()
}

/// None for what is malformed. The plan may name a time that is over by our
/// clocks, so the two times may be in any order.
fn understood(circuit: &sync::Circuit) -> Option<Circuit> {
    Some(Circuit {
        access_key_id: circuit.access_key_id.parse().ok()?,
        state: match circuit.state() {
            sync::CircuitState::Unspecified => return None,
            sync::CircuitState::Open => CircuitState::Open,
            sync::CircuitState::HalfOpen => CircuitState::HalfOpen,
        },
        cause: match circuit.cause() {
            sync::CircuitCause::Unspecified => return None,
            sync::CircuitCause::Failures => CircuitCause::Failures,
            sync::CircuitCause::UsageLimit => CircuitCause::UsageLimit,
        },
        opened_at: time(circuit.opened_at.as_ref()?)?,
        open_until: time(circuit.open_until.as_ref()?)?,
    })
}

/// None for a time that no circuit can have, or that Postgres could not hold.
fn time(timestamp: &prost_types::Timestamp) -> Option<DateTime<Utc>> {
    line::time(timestamp).filter(|time| (2000..=9999).contains(&time.year()))
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    fn reported(number: u128) -> sync::Circuit {
        sync::Circuit {
            access_key_id: Uuid::from_u128(number).to_string(),
            state: sync::CircuitState::Open.into(),
            cause: sync::CircuitCause::UsageLimit.into(),
            opened_at: Some(at(1_790_000_000)),
            open_until: Some(at(1_790_001_800)),
        }
    }

    #[test]
    fn a_circuit_is_kept_as_it_was_reported() {
        let circuit = sync::Circuit {
            state: sync::CircuitState::HalfOpen.into(),
            cause: sync::CircuitCause::Failures.into(),
            ..reported(1)
        };
        assert_eq!(
            usable(&[reported(2), circuit]),
            [
                Circuit {
                    access_key_id: Uuid::from_u128(1),
                    state: CircuitState::HalfOpen,
                    cause: CircuitCause::Failures,
                    opened_at: "2026-09-21T14:13:20Z".parse().unwrap(),
                    open_until: "2026-09-21T14:43:20Z".parse().unwrap(),
                },
                Circuit {
                    access_key_id: Uuid::from_u128(2),
                    state: CircuitState::Open,
                    cause: CircuitCause::UsageLimit,
                    opened_at: "2026-09-21T14:13:20Z".parse().unwrap(),
                    open_until: "2026-09-21T14:43:20Z".parse().unwrap(),
                },
            ]
        );
    }

    #[test]
    fn what_is_malformed_is_left_out_and_the_rest_is_kept() {
        type Change = fn(&mut sync::Circuit);
        let table: &[(&str, Change, bool)] = &[
            ("nothing", |_| {}, true),
            ("no id", |it| it.access_key_id.clear(), false),
            ("no uuid", |it| it.access_key_id = "7".to_owned(), false),
            ("no state", |it| it.state = 0, false),
            ("another state", |it| it.state = 99, false),
            ("no cause", |it| it.cause = 0, false),
            ("another cause", |it| it.cause = -1, false),
            ("no start", |it| it.opened_at = None, false),
            ("no end", |it| it.open_until = None, false),
            ("the epoch", |it| it.opened_at = Some(at(0)), false),
            ("far back", |it| it.opened_at = Some(at(i64::MIN)), false),
            ("far ahead", |it| it.open_until = Some(at(i64::MAX)), false),
            // Which chrono can say and Postgres cannot.
            (
                "the year 250000",
                |it| it.open_until = Some(at(7_800_000_000_000)),
                false,
            ),
            (
                "an odd fraction",
                |it| {
                    it.open_until = Some(Timestamp {
                        nanos: -1,
                        ..at(1_790_001_800)
                    });
                },
                false,
            ),
            (
                "over at once",
                |it| it.open_until = Some(at(1_789_999_999)),
                true,
            ),
        ];
        for (what, change, expected) in table {
            let mut changed = reported(1);
            change(&mut changed);
            let kept = usable(&[changed, reported(2)]);
            assert_eq!(kept.len(), 1 + usize::from(*expected), "{what}");
            assert_eq!(
                kept.last().unwrap().access_key_id,
                Uuid::from_u128(2),
                "{what}"
            );
        }
    }

    #[test]
    fn an_access_key_has_one_circuit_the_one_named_first() {
        let again = sync::Circuit {
            state: sync::CircuitState::HalfOpen.into(),
            ..reported(1)
        };
        let kept = usable(&[reported(1), again]);
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].state, CircuitState::Open);
    }

    #[test]
    fn a_report_has_a_bound() {
        let all: Vec<_> = (0..10_001).map(reported).collect();
        let kept = usable(&all);
        assert_eq!(kept.len(), 10_000);
        assert!(
            kept.iter()
                .all(|it| it.access_key_id != Uuid::from_u128(10_000))
        );
    }
}
