//! The circuits of all access keys.
//!
//! A key whose circuit is closed and quiet takes no place here. So there are at
//! most as many as there are access keys, and what belongs to one that was
//! revoked or reset is forgotten with the next configuration.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use dashmap::DashMap;
use proto::{
    line::timestamp,
    sync::{self, RoutingStrategy},
};
use tokio::sync::Notify;

use super::circuit::{Admission, Circuit, Failure, Number, State};
use crate::{
    index::{AccessKey, Index},
    settings,
    telemetry::metrics,
};

/// What a report may carry; the protocol says so.
const MAX_REPORTED: usize = 10_000;

pub struct Circuits {
    policy: settings::Circuit,
    /// By the id of the access key.
    kept: DashMap<Arc<str>, Kept>,
    /// The number of the last request, or change.
    last: AtomicU64,
    /// Keys without a credential for Bedrock use the process's role.
    uses_role: bool,
    changed: Notify,
}

struct Kept {
    circuit: Circuit,
    changed_at: DateTime<Utc>,
    /// The access key's own count: when it has grown, this is forgotten.
    circuit_resets: u32,
}

/// One request's place in the circuit of its access key. What it finds out it
/// says once; dropped without a word, it has found out nothing.
pub struct Permit {
    circuits: Arc<Circuits>,
    access_key: Arc<AccessKey>,
    pub admission: Admission,
    number: Number,
}

impl Kept {
    /// As a report carries it; none when it is closed.
    fn reported(&self, id: &str, now: DateTime<Utc>) -> Option<sync::Circuit> {
        let (state, opening) = self.circuit.state.reported(now)?;
        Some(sync::Circuit {
            access_key_id: id.to_owned(),
            state: state.into(),
            cause: opening.cause.into(),
            opened_at: Some(timestamp(opening.at)),
            open_until: Some(timestamp(opening.until)),
        })
    }
}

impl Circuits {
    /// A circuit is of use only with somebody else to ask: with a credential for
    /// Bedrock, or when the process `uses_role`.
    pub fn new(policy: settings::Circuit, uses_role: bool) -> Self {
        Self {
            policy,
            kept: DashMap::new(),
            last: AtomicU64::new(0),
            uses_role,
            changed: Notify::new(),
        }
    }

    /// What the next request of an access key may do. Its end has to be told to
    /// the permit.
    pub fn admit(self: &Arc<Self>, access_key: &Arc<AccessKey>, now: DateTime<Utc>) -> Permit {
        let number = self.next();
        let admission = if self.kept.contains_key(&access_key.id) {
            self.change(access_key, now, |circuit| circuit.admit(number, now))
        } else {
            Admission::Pass
        };
        Permit {
            circuits: self.clone(),
            access_key: access_key.clone(),
            admission,
            number,
        }
    }

    fn next(&self) -> Number {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether an access key is to ask somebody else first. Asking changes
    /// nothing.
    pub fn is_open(&self, access_key: &AccessKey, now: DateTime<Utc>) -> bool {
        let kept = self.kept.get(&access_key.id);
        kept.is_some_and(|it| match it.circuit.state {
            State::Closed(_) => false,
            State::Open(opening) => now < opening.until,
            State::HalfOpen(_) => true,
        })
    }

    /// Forgets what nobody needs any more: of keys that are gone or have nobody
    /// else to ask, and failures that no longer count. Closes what was reset.
    pub fn settle(&self, index: &Index, now: DateTime<Utc>) {
        self.kept.retain(|id, kept| {
            let closed = Circuit::closed(self.next());
            let Some(access_key) = self.with_a_choice(index, id) else {
                self.tell(id, &kept.circuit.state, &closed.state);
                return false;
            };
            if access_key.circuit_resets != kept.circuit_resets {
                self.tell(id, &kept.circuit.state, &closed.state);
                *kept = Kept {
                    circuit: closed,
                    changed_at: now,
                    circuit_resets: access_key.circuit_resets,
                };
            }
            let Kept {
                circuit,
                changed_at,
                ..
            } = kept;
            !circuit.is_quiet(&self.policy, *changed_at, now)
        });
    }

    /// The access key, if its requests may go to one provider or the other.
    fn with_a_choice<'a>(&self, index: &'a Index, id: &str) -> Option<&'a Arc<AccessKey>> {
        let access_key = index.access_key_by_id(id)?;
        let has_bedrock = self.uses_role || index.bedrock_key(id).is_some();
        let strategy = super::strategy(index.user(&access_key.user_id));
        let has_choice = has_bedrock && strategy != RoutingStrategy::BedrockOnly;
        has_choice.then_some(access_key)
    }

    /// The circuit of an access key, unless it is closed.
    pub fn of(&self, access_key: &AccessKey, now: DateTime<Utc>) -> Option<sync::Circuit> {
        let kept = self.kept.get(&access_key.id)?;
        kept.reported(&access_key.id, now)
    }

    /// Those that are not closed, for a report; the ones opened last, if they are
    /// too many.
    pub fn reported(&self, now: DateTime<Utc>) -> Vec<sync::Circuit> {
        let mut open: Vec<_> = self
            .kept
            .iter()
            .filter_map(|kept| {
                let (_, opening) = kept.circuit.state.reported(now)?;
                Some((opening.at, kept.reported(kept.key(), now)?))
            })
            .collect();
        open.sort_unstable_by(|(at_a, a), (at_b, b)| {
            (at_b, &a.access_key_id).cmp(&(at_a, &b.access_key_id))
        });
        open.truncate(MAX_REPORTED);
        open.into_iter().map(|(_, circuit)| circuit).collect()
    }

    /// How many are open, and how many half open.
    pub fn counts(&self, now: DateTime<Utc>) -> (u64, u64) {
        let states = self.kept.iter().filter_map(|kept| {
            let (state, _) = kept.circuit.state.reported(now)?;
            Some(state)
        });
        states.fold((0, 0), |(open, half_open), state| match state {
            sync::CircuitState::Open => (open + 1, half_open),
            _ => (open, half_open + 1),
        })
    }

    /// Ends when a circuit has changed its state since this was called last.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Lets `decide` change the circuit of an access key.
    fn change<T>(
        &self,
        access_key: &AccessKey,
        now: DateTime<Utc>,
        decide: impl FnOnce(&mut Circuit) -> T,
    ) -> T {
        let mut kept = self
            .kept
            .entry(access_key.id.clone())
            .or_insert_with(|| Kept {
                circuit: Circuit::closed(0),
                changed_at: now,
                circuit_resets: access_key.circuit_resets,
            });
        let before = kept.circuit.state.clone();
        let decided = decide(&mut kept.circuit);
        if kept.circuit.state.label() != before.label() {
            kept.changed_at = now;
            self.tell(&access_key.id, &before, &kept.circuit.state);
        } else if kept.circuit.state.opening() != before.opening() {
            // Open for longer than was reported.
            self.changed.notify_one();
        }
        decided
    }

    /// Nothing under the map's lock waits.
    fn tell(&self, access_key_id: &str, from: &State, to: &State) {
        if from.label() == to.label() {
            return;
        }
        metrics::circuit_changed(to.label());
        tracing::warn!(
            access_key_id,
            from = from.label(),
            to = to.label(),
            cause = to.opening().map(|it| it.cause.label()),
            open_until = to.opening().map(|it| it.until.to_rfc3339()),
            "circuit.changed"
        );
        self.changed.notify_one();
    }
}

impl Permit {
    /// The plan has answered. What it fails from now on is told by the same
    /// permit, as of a request that begins now.
    pub fn succeeded(&mut self) {
        if self.admission != Admission::Pass {
            let (number, next) = (self.number, self.circuits.next());
            self.circuits.change(&self.access_key, Utc::now(), |it| {
                it.succeeded(number, next)
            });
            self.admission = Admission::Pass;
            self.number = next;
        }
    }

    /// The plan has failed.
    pub fn failed(mut self, failure: Failure, now: DateTime<Utc>) {
        let (number, next) = (self.number, self.circuits.next());
        let policy = &self.circuits.policy;
        self.circuits.change(&self.access_key, now, |it| {
            it.failed(number, failure, policy, now, next);
        });
        self.admission = Admission::Pass;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.admission == Admission::Probe {
            let (number, next) = (self.number, self.circuits.next());
            self.circuits.change(&self.access_key, Utc::now(), |it| {
                it.abandoned(number, next)
            });
        }
    }
}

impl fmt::Debug for Circuits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuits")
            .field("kept", &self.kept.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("access_key_id", &self.access_key.id)
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}
