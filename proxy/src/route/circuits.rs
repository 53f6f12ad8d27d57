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
use metrics::counter;
use proto::{line::timestamp, sync};
use tokio::sync::Notify;

use super::circuit::{Admission, CLOSED, Circuit, Era, Failure, State};
use crate::{
    index::{AccessKey, Index},
    settings,
};

/// What a report may carry; the protocol says so.
const MAX_REPORTED: usize = 10_000;

pub struct Circuits {
    policy: settings::Circuit,
    /// By the id of the access key.
    kept: DashMap<Arc<str>, Kept>,
    last_era: AtomicU64,
    changed: Notify,
}

struct Kept {
    circuit: Circuit,
    /// The access key's own count: when it has grown, this is forgotten.
    circuit_resets: u32,
}

/// One request's place in the circuit of its access key. What it finds out it
/// says once; dropped without a word, it has found out nothing.
pub struct Permit {
    circuits: Arc<Circuits>,
    access_key: Arc<AccessKey>,
    pub admission: Admission,
    era: Era,
}

impl Circuits {
    pub fn new(policy: settings::Circuit) -> Self {
        Self {
            policy,
            kept: DashMap::new(),
            last_era: AtomicU64::new(CLOSED),
            changed: Notify::new(),
        }
    }

    /// What the next request of an access key may do. Its end has to be told to
    /// the permit.
    pub fn admit(self: &Arc<Self>, access_key: &Arc<AccessKey>, now: DateTime<Utc>) -> Permit {
        let (admission, era) = if self.kept.contains_key(&access_key.id) {
            self.change(access_key, |circuit, next| {
                let admission = circuit.admit(now, next);
                (admission, circuit.era)
            })
        } else {
            (Admission::Pass, CLOSED)
        };
        Permit {
            circuits: self.clone(),
            access_key: access_key.clone(),
            admission,
            era,
        }
    }

    /// Whether an access key is to ask somebody else first. Asking changes
    /// nothing.
    pub fn is_open(&self, access_key: &AccessKey) -> bool {
        let kept = self.kept.get(&access_key.id);
        kept.is_some_and(|it| it.circuit.state.opening().is_some())
    }

    /// Forgets what nobody needs any more: of keys that are gone or were reset,
    /// and failures that no longer count.
    pub fn settle(&self, index: &Index, now: DateTime<Utc>) {
        self.kept.retain(|id, kept| {
            let is_known = index
                .access_key_by_id(id)
                .is_some_and(|it| it.circuit_resets == kept.circuit_resets);
            if !is_known && kept.circuit.state.opening().is_some() {
                self.tell(id, &kept.circuit.state, &Circuit::closed().state);
            }
            is_known && !kept.circuit.is_quiet(&self.policy, now)
        });
    }

    /// Those that are not closed, for a report; the ones opened last, if they are
    /// too many.
    pub fn reported(&self, now: DateTime<Utc>) -> Vec<sync::Circuit> {
        let mut open: Vec<_> = self
            .kept
            .iter()
            .filter_map(|kept| {
                let (state, opening) = kept.circuit.state.reported(now)?;
                Some((*opening, state, kept.key().clone()))
            })
            .collect();
        open.sort_unstable_by(|a, b| (b.0.at, &a.2).cmp(&(a.0.at, &b.2)));
        open.truncate(MAX_REPORTED);
        let circuits = open.into_iter().map(|(opening, state, id)| sync::Circuit {
            access_key_id: id.to_string(),
            state: state.into(),
            cause: opening.cause.into(),
            opened_at: Some(timestamp(opening.at)),
            open_until: Some(timestamp(opening.until)),
        });
        circuits.collect()
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
    fn change<T>(&self, access_key: &AccessKey, decide: impl FnOnce(&mut Circuit, Era) -> T) -> T {
        let next = self.last_era.fetch_add(1, Ordering::Relaxed) + 1;
        let mut kept = self
            .kept
            .entry(access_key.id.clone())
            .or_insert_with(|| Kept {
                circuit: Circuit::closed(),
                circuit_resets: access_key.circuit_resets,
            });
        let before = kept.circuit.state.clone();
        let decided = decide(&mut kept.circuit, next);
        if kept.circuit.state.label() != before.label() {
            self.tell(&access_key.id, &before, &kept.circuit.state);
        }
        decided
    }

    /// Nothing under the map's lock waits.
    fn tell(&self, access_key_id: &str, from: &State, to: &State) {
        counter!("proxy_circuit_changes_total", "to" => to.label()).increment(1);
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
    /// The plan has answered. What it fails from now on counts as ordinary.
    pub fn succeeded(&mut self) {
        if self.admission == Admission::Pass {
            return;
        }
        let (era, access_key) = (self.era, &self.access_key);
        self.circuits.change(access_key, |it, _| it.succeeded(era));
        self.admission = Admission::Pass;
        self.era = CLOSED;
    }

    /// The plan has failed.
    pub fn failed(mut self, failure: Failure, now: DateTime<Utc>) {
        let (era, policy) = (self.era, &self.circuits.policy);
        self.circuits.change(&self.access_key, |it, next| {
            it.failed(era, failure, policy, now, next);
        });
        self.admission = Admission::Pass;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.admission == Admission::Probe {
            let (era, access_key) = (self.era, &self.access_key);
            self.circuits
                .change(access_key, |it, next| it.abandoned(era, next));
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
