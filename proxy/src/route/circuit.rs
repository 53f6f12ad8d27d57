//! One access key's circuit: whether the plan is worth asking first.
//!
//! ```text
//!            failures within the window, or a limit
//!   closed ───────────────────────────────────────► open
//!     ▲                                            │    ▲
//!     │ the probe succeeds             time is up, │    │ the probe fails
//!     │                                one request │    │
//!     └─────────────────── half open ◄─────────────┘    │
//!                              └────────────────────────┘
//! ```
//!
//! Pure: every decision is made from values. What was asked before a change says
//! nothing about the time after it, so every request remembers the [`Era`] that
//! it began in, and its end counts in that one only.

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use proto::sync::{CircuitCause, CircuitState};

use crate::settings;

/// A time without a change of state. No two of open or half open circuits are
/// alike.
pub type Era = u64;

/// All times in which a circuit is closed are one.
pub const CLOSED: Era = 0;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    pub era: Era,
    pub state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The plan is asked. When it failed lately, oldest first.
    Closed(VecDeque<DateTime<Utc>>),
    /// The plan is not asked first until [`Opening::until`].
    Open(Opening),
    /// One request is finding out whether the plan answers again.
    HalfOpen(Opening),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    pub cause: CircuitCause,
    pub at: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

/// What a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Ask the plan first.
    Pass,
    /// Ask the plan first, as the only one: its answer decides.
    Probe,
    /// Ask somebody else first.
    Blocked,
}

/// A failure of the plan that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Ordinary {
        /// When the plan wants to be asked again, if it said so.
        until: Option<DateTime<Utc>>,
    },
    /// A limit is used up: no further request will be answered before that.
    Limit { until: Option<DateTime<Utc>> },
}

impl Circuit {
    pub fn closed() -> Self {
        Self {
            era: CLOSED,
            state: State::Closed(VecDeque::new()),
        }
    }

    /// What the next request may do. Once an open circuit's time is up, one
    /// request gets [`Admission::Probe`], in `next` era.
    pub fn admit(&mut self, now: DateTime<Utc>, next: Era) -> Admission {
        match self.state {
            State::Closed(_) => Admission::Pass,
            State::Open(opening) if opening.until <= now => {
                self.enter(State::HalfOpen(opening), next);
                Admission::Probe
            }
            State::Open(_) | State::HalfOpen(_) => Admission::Blocked,
        }
    }

    /// The plan has answered a request of `era`.
    pub fn succeeded(&mut self, era: Era) {
        if era == self.era && !matches!(self.state, State::Closed(_)) {
            *self = Self::closed();
        }
    }

    /// The plan has failed a request of `era`. A change leads into `next` era.
    pub fn failed(
        &mut self,
        era: Era,
        failure: Failure,
        policy: &settings::Circuit,
        now: DateTime<Utc>,
        next: Era,
    ) {
        if era != self.era {
            return;
        }
        let opens = match (&mut self.state, failure) {
            (State::Closed(failures), Failure::Ordinary { .. }) => {
                let oldest = before(now, policy.failure_window);
                failures.push_back(now);
                while failures.front().is_some_and(|it| *it <= oldest) {
                    failures.pop_front();
                }
                failures.len() >= policy.failure_threshold as usize
            }
            (State::Closed(_), Failure::Limit { .. }) | (State::HalfOpen(_), _) => true,
            // Asked as the last resort: it opens nothing that is open.
            (State::Open(_), _) => false,
        };
        if opens {
            self.enter(State::Open(failure.opening(policy, now)), next);
        }
    }

    /// A request of `era` has ended without having found out anything. If it was
    /// the probe, the next request is.
    pub fn abandoned(&mut self, era: Era, next: Era) {
        if let State::HalfOpen(opening) = self.state
            && era == self.era
        {
            self.enter(State::Open(opening), next);
        }
    }

    /// Whether there is nothing to remember.
    pub fn is_quiet(&self, policy: &settings::Circuit, now: DateTime<Utc>) -> bool {
        let oldest = before(now, policy.failure_window);
        match &self.state {
            State::Closed(failures) => failures.back().is_none_or(|it| *it <= oldest),
            State::Open(_) | State::HalfOpen(_) => false,
        }
    }

    fn enter(&mut self, state: State, era: Era) {
        *self = Self { era, state };
    }
}

impl State {
    /// None: closed.
    pub fn opening(&self) -> Option<&Opening> {
        match self {
            Self::Closed(_) => None,
            Self::Open(opening) | Self::HalfOpen(opening) => Some(opening),
        }
    }

    /// As it is reported. Once its time is up, an open circuit waits for a probe.
    pub fn reported(&self, now: DateTime<Utc>) -> Option<(CircuitState, &Opening)> {
        let opening = self.opening()?;
        let is_open = matches!(self, Self::Open(_)) && now < opening.until;
        let state = if is_open {
            CircuitState::Open
        } else {
            CircuitState::HalfOpen
        };
        Some((state, opening))
    }

    /// The name in logs and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Closed(_) => "closed",
            Self::Open(_) => CircuitState::Open.label(),
            Self::HalfOpen(_) => CircuitState::HalfOpen.label(),
        }
    }
}

impl Failure {
    /// Until the time that the plan has named, but never for longer than it would
    /// be otherwise.
    fn opening(self, policy: &settings::Circuit, now: DateTime<Utc>) -> Opening {
        let (cause, named) = match self {
            Self::Ordinary { until } => (CircuitCause::Failures, until),
            Self::Limit { until } => (CircuitCause::UsageLimit, until),
        };
        let latest = after(now, policy.reset_timeout);
        Opening {
            cause,
            at: now,
            until: named.unwrap_or(latest).clamp(now, latest),
        }
    }
}

fn after(now: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    let delta = TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
    now.checked_add_signed(delta)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn before(now: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    let delta = TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
    now.checked_sub_signed(delta)
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const POLICY: settings::Circuit = settings::Circuit {
        failure_threshold: 3,
        failure_window: Duration::from_secs(60),
        reset_timeout: Duration::from_secs(1800),
    };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000 + seconds, 0).unwrap()
    }

    fn fail(circuit: &mut Circuit, seconds: i64, failure: Failure) {
        let (era, next) = (circuit.era, circuit.era + 1);
        circuit.failed(era, failure, &POLICY, at(seconds), next);
    }

    const PLAIN: Failure = Failure::Ordinary { until: None };

    #[test]
    fn failures_within_the_window_open_it_and_older_ones_do_not() {
        for (times, is_open) in [
            (vec![0, 1], false),
            (vec![0, 1, 2], true),
            (vec![0, 0, 0], true),
            (vec![0, 30, 59], true),
            (vec![0, 30, 60], false),
            (vec![0, 30, 60, 61], true),
            (vec![0, 61, 122, 183], false),
        ] {
            let mut circuit = Circuit::closed();
            for seconds in &times {
                fail(&mut circuit, *seconds, PLAIN);
            }
            let is_blocked = circuit.admit(at(200), 99) == Admission::Blocked;
            assert_eq!(is_blocked, is_open, "{times:?}");
        }
    }

    #[test]
    fn it_stays_open_until_the_time_that_the_plan_names_at_most_the_timeout() {
        for (failure, until) in [
            (Failure::Limit { until: None }, 1800),
            (
                Failure::Limit {
                    until: Some(at(20)),
                },
                20,
            ),
            (
                Failure::Limit {
                    until: Some(at(9000)),
                },
                1800,
            ),
            (
                Failure::Limit {
                    until: Some(at(-5)),
                },
                0,
            ),
        ] {
            let mut circuit = Circuit::closed();
            fail(&mut circuit, 0, failure);
            let opening = circuit.state.opening().unwrap();
            assert_eq!(opening.until, at(until), "{failure:?}");
            assert_eq!(opening.cause, CircuitCause::UsageLimit);
        }
        let mut circuit = Circuit::closed();
        for _ in 0..2 {
            fail(&mut circuit, 0, PLAIN);
        }
        let named = Failure::Ordinary { until: Some(at(7)) };
        fail(&mut circuit, 0, named);
        assert_eq!(circuit.state.opening().unwrap().until, at(7));
    }

    /// What a request remembers while it is under way.
    #[derive(Debug, Clone, Copy)]
    struct Asked {
        admission: Admission,
        /// None: it was closed.
        change: Option<u32>,
    }

    /// The same rules, written down as slowly and plainly as possible: every
    /// failure is kept for ever, and every question is answered by going through
    /// all of them.
    #[derive(Default)]
    struct Model {
        failures: Vec<i64>,
        open_until: Option<i64>,
        is_probing: bool,
        changes: u32,
    }

    impl Model {
        fn turn(&mut self) {
            self.changes += 1;
            self.failures.clear();
            self.is_probing = false;
        }

        fn change(&self) -> Option<u32> {
            self.open_until.map(|_| self.changes)
        }

        fn admit(&mut self, now: i64) -> Asked {
            let admission = match self.open_until {
                None => Admission::Pass,
                Some(until) if until <= now && !self.is_probing => {
                    self.turn();
                    self.is_probing = true;
                    Admission::Probe
                }
                Some(_) => Admission::Blocked,
            };
            let change = self.change();
            Asked { admission, change }
        }

        fn succeeded(&mut self, asked: Asked) {
            if asked.change == self.change() && self.open_until.is_some() {
                self.turn();
                self.open_until = None;
            }
        }

        fn failed(&mut self, asked: Asked, now: i64, failure: (bool, Option<i64>)) {
            let (is_limit, named) = failure;
            if asked.change != self.change() || (self.open_until.is_some() && !self.is_probing) {
                return;
            }
            self.failures.push(now);
            let recent = self.failures.iter().filter(|it| now - **it < 60).count();
            if is_limit || self.is_probing || recent >= 3 {
                self.turn();
                let latest = now + 1800;
                self.open_until = Some(named.map_or(latest, |it| it.clamp(now, latest)));
            }
        }

        fn abandoned(&mut self, asked: Asked) {
            if asked.change == self.change() && self.is_probing {
                self.turn();
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Wait(i64),
        Ask,
        /// The request at this place of those under way ends.
        Succeed(usize),
        Fail(usize, bool, Option<i64>),
        Abandon(usize),
        Reset,
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = 0..8_usize;
        prop_oneof![
            2 => prop_oneof![0..5_i64, 0..70_i64, 0..2000_i64].prop_map(Step::Wait),
            6 => Just(Step::Ask),
            2 => place.clone().prop_map(Step::Succeed),
            5 => (place.clone(), proptest::bool::weighted(0.2), proptest::option::of(-10..4000_i64))
                .prop_map(|(place, is_limit, named)| Step::Fail(place, is_limit, named)),
            1 => place.prop_map(Step::Abandon),
            1 => Just(Step::Reset),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_the_model_does(steps in vec(step(), 1..200)) {
            let mut circuit = Circuit::closed();
            let mut model = Model::default();
            let mut running: Vec<(Era, Asked)> = Vec::new();
            let (mut now, mut next) = (0, CLOSED);
            for step in steps {
                next += 1;
                let take = |running: &mut Vec<(Era, Asked)>, place: usize| {
                    (!running.is_empty()).then(|| running.remove(place % running.len()))
                };
                match step {
                    Step::Wait(seconds) => now += seconds,
                    Step::Ask => {
                        let admission = circuit.admit(at(now), next);
                        let asked = model.admit(now);
                        prop_assert_eq!(admission, asked.admission);
                        running.push((circuit.era, asked));
                    }
                    Step::Succeed(place) => {
                        if let Some((era, asked)) = take(&mut running, place) {
                            circuit.succeeded(era);
                            model.succeeded(asked);
                        }
                    }
                    Step::Fail(place, is_limit, named) => {
                        if let Some((era, asked)) = take(&mut running, place) {
                            let until = named.map(|it| at(now + it));
                            let failure = if is_limit {
                                Failure::Limit { until }
                            } else {
                                Failure::Ordinary { until }
                            };
                            circuit.failed(era, failure, &POLICY, at(now), next);
                            let named = named.map(|it| now + it);
                            model.failed(asked, now, (is_limit, named));
                        }
                    }
                    Step::Abandon(place) => {
                        if let Some((era, asked)) = take(&mut running, place) {
                            circuit.abandoned(era, next);
                            model.abandoned(asked);
                        }
                    }
                    Step::Reset => {
                        circuit = Circuit::closed();
                        model.turn();
                        model.open_until = None;
                    }
                }
                let is_open = circuit.state.opening().is_some();
                prop_assert_eq!(is_open, model.open_until.is_some(), "after {} s", now);
                let probing = matches!(circuit.state, State::HalfOpen(_));
                prop_assert_eq!(probing, model.is_probing);
                if let Some(opening) = circuit.state.opening() {
                    prop_assert_eq!(opening.until, at(model.open_until.unwrap_or(0)));
                }
            }
        }
    }
}
