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
//! Pure: every decision is made from values. Requests are numbered, and so are
//! the changes of a circuit, in one order: what a request finds out counts only
//! in the state that it began in. Half open, only the probe's word counts.

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use proto::sync::{CircuitCause, CircuitState};

use crate::settings;

/// The place of a request, or of a change, in the order of all of them.
pub type Number = u64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    /// When it came into its state. Half open: the number of the probe.
    since: Number,
    pub state: State,
}

/// No request is under way for longer, so that none from before a change can
/// still be heard of.
const LONGEST: TimeDelta = TimeDelta::hours(1);

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
    pub fn closed(since: Number) -> Self {
        Self {
            since,
            state: State::Closed(VecDeque::new()),
        }
    }

    /// What the request of this number may do. Once an open circuit's time is up,
    /// one gets [`Admission::Probe`].
    pub fn admit(&mut self, number: Number, now: DateTime<Utc>) -> Admission {
        match self.state {
            State::Closed(_) => Admission::Pass,
            State::Open(opening) if opening.until <= now => {
                self.enter(State::HalfOpen(opening), number);
                Admission::Probe
            }
            State::Open(_) | State::HalfOpen(_) => Admission::Blocked,
        }
    }

    /// The plan has answered a request. A change gets the number `next`.
    pub fn succeeded(&mut self, number: Number, next: Number) {
        let closes = match self.state {
            State::Closed(_) => false,
            // Asked as the last resort, and it has answered.
            State::Open(_) => number >= self.since,
            State::HalfOpen(_) => number == self.since,
        };
        if closes {
            *self = Self::closed(next);
        }
    }

    /// The plan has failed a request. A change gets the number `next`.
    pub fn failed(
        &mut self,
        number: Number,
        failure: Failure,
        policy: &settings::Circuit,
        now: DateTime<Utc>,
        next: Number,
    ) {
        let opening = failure.opening(policy, now);
        let opens = match (&mut self.state, failure) {
            // The plan's own word about what comes: it counts whenever it is heard.
            (State::Closed(_), Failure::Limit { .. }) => true,
            (State::Open(before), Failure::Limit { .. }) => {
                if opening.until > before.until {
                    before.until = opening.until;
                    before.cause = opening.cause;
                }
                false
            }
            (State::Closed(failures), Failure::Ordinary { .. }) => {
                if number < self.since {
                    return;
                }
                let oldest = before(now, policy.failure_window);
                failures.push_back(now);
                while failures.front().is_some_and(|it| *it <= oldest) {
                    failures.pop_front();
                }
                failures.len() >= policy.failure_threshold as usize
            }
            (State::Open(_), Failure::Ordinary { .. }) => false,
            (State::HalfOpen(_), _) => number == self.since,
        };
        if opens {
            self.enter(State::Open(opening), next);
        }
    }

    /// A request has ended without having found out anything. If it was the probe,
    /// the next request is.
    pub fn abandoned(&mut self, number: Number, next: Number) {
        if let State::HalfOpen(opening) = self.state
            && number == self.since
        {
            self.enter(State::Open(opening), next);
        }
    }

    /// Whether there is nothing to remember, for a circuit that has been in its
    /// state since `changed_at`.
    pub fn is_quiet(
        &self,
        policy: &settings::Circuit,
        changed_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> bool {
        let oldest = before(now, policy.failure_window);
        match &self.state {
            State::Closed(failures) => {
                let has_no_past = self.since == 0 || now - changed_at > LONGEST;
                has_no_past && failures.back().is_none_or(|it| *it <= oldest)
            }
            State::Open(_) | State::HalfOpen(_) => false,
        }
    }

    fn enter(&mut self, state: State, since: Number) {
        *self = Self { since, state };
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
        circuit.failed(1, failure, &POLICY, at(seconds), 2);
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
            let mut circuit = Circuit::closed(0);
            for seconds in &times {
                fail(&mut circuit, *seconds, PLAIN);
            }
            let is_blocked = circuit.admit(99, at(200)) == Admission::Blocked;
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
            let mut circuit = Circuit::closed(0);
            fail(&mut circuit, 0, failure);
            let opening = circuit.state.opening().unwrap();
            assert_eq!(opening.until, at(until), "{failure:?}");
            assert_eq!(opening.cause, CircuitCause::UsageLimit);
        }
        let mut circuit = Circuit::closed(0);
        for _ in 0..2 {
            fail(&mut circuit, 0, PLAIN);
        }
        let named = Failure::Ordinary { until: Some(at(7)) };
        fail(&mut circuit, 0, named);
        assert_eq!(circuit.state.opening().unwrap().until, at(7));
    }

    /// The same rules, written down as plainly as possible: everything that ever
    /// happened is kept, and every question is answered by going through all of it.
    #[derive(Default)]
    struct Model {
        /// When ordinary failures of requests were heard that began after the
        /// circuit had closed.
        failures: Vec<i64>,
        open_until: Option<i64>,
        /// Which request is finding out.
        probe: Option<usize>,
        /// How many requests had begun when the state changed last.
        begun_before: usize,
        begun: usize,
    }

    impl Model {
        fn admit(&mut self, now: i64) -> (usize, Admission) {
            let request = self.begun;
            self.begun += 1;
            let admission = match (self.open_until, self.probe) {
                (None, _) => Admission::Pass,
                (Some(until), None) if until <= now => {
                    self.probe = Some(request);
                    Admission::Probe
                }
                (Some(_), _) => Admission::Blocked,
            };
            (request, admission)
        }

        fn close(&mut self) {
            self.open_until = None;
            self.probe = None;
            self.failures.clear();
            self.begun_before = self.begun;
        }

        fn open(&mut self, until: i64) {
            self.close();
            self.open_until = Some(until);
        }

        fn succeeded(&mut self, request: usize) {
            let is_asked_while_open = self.open_until.is_some() && request >= self.begun_before;
            match self.probe {
                Some(probe) if probe == request => self.close(),
                None if is_asked_while_open => self.close(),
                _ => {}
            }
        }

        fn failed(&mut self, request: usize, now: i64, is_limit: bool, named: Option<i64>) {
            let latest = now + 1800;
            let until = named.map_or(latest, |it| it.clamp(now, latest));
            match (self.open_until, self.probe) {
                (Some(_), Some(probe)) if probe == request => self.open(until),
                (Some(_), Some(_)) => {}
                (Some(before), None) if is_limit => self.open_until = Some(before.max(until)),
                (Some(_), None) => {}
                (None, _) if is_limit => self.open(until),
                (None, _) if request >= self.begun_before => {
                    self.failures.push(now);
                    let recent = self.failures.iter().filter(|it| now - **it < 60);
                    if recent.count() >= 3 {
                        self.open(until);
                    }
                }
                (None, _) => {}
            }
        }

        fn abandoned(&mut self, request: usize) {
            if self.probe == Some(request) {
                let until = self.open_until;
                self.close();
                self.open_until = until;
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
        let fail = (
            place.clone(),
            proptest::bool::weighted(0.2),
            proptest::option::of(-10..4000_i64),
        );
        prop_oneof![
            2 => prop_oneof![0..5_i64, 0..70_i64, 0..2000_i64].prop_map(Step::Wait),
            6 => Just(Step::Ask),
            2 => place.clone().prop_map(Step::Succeed),
            5 => fail.prop_map(|(place, is_limit, named)| Step::Fail(place, is_limit, named)),
            1 => place.prop_map(Step::Abandon),
            1 => Just(Step::Reset),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_the_model_does(steps in vec(step(), 1..200)) {
            let mut circuit = Circuit::closed(0);
            let mut model = Model::default();
            let mut running: Vec<(Number, usize)> = Vec::new();
            let (mut now, mut number) = (0, 0);
            for step in steps {
                number += 1;
                let take = |running: &mut Vec<(Number, usize)>, place: usize| {
                    (!running.is_empty()).then(|| running.remove(place % running.len()))
                };
                match step {
                    Step::Wait(seconds) => now += seconds,
                    Step::Ask => {
                        let (request, admission) = model.admit(now);
                        prop_assert_eq!(circuit.admit(number, at(now)), admission);
                        running.push((number, request));
                    }
                    Step::Succeed(place) => {
                        if let Some((began, request)) = take(&mut running, place) {
                            circuit.succeeded(began, number);
                            model.succeeded(request);
                        }
                    }
                    Step::Fail(place, is_limit, named) => {
                        if let Some((began, request)) = take(&mut running, place) {
                            let until = named.map(|it| at(now + it));
                            let failure = if is_limit {
                                Failure::Limit { until }
                            } else {
                                Failure::Ordinary { until }
                            };
                            circuit.failed(began, failure, &POLICY, at(now), number);
                            model.failed(request, now, is_limit, named.map(|it| now + it));
                        }
                    }
                    Step::Abandon(place) => {
                        if let Some((began, request)) = take(&mut running, place) {
                            circuit.abandoned(began, number);
                            model.abandoned(request);
                        }
                    }
                    Step::Reset => {
                        circuit = Circuit::closed(number);
                        model.close();
                    }
                }
                let until = circuit.state.opening().map(|it| it.until);
                prop_assert_eq!(until, model.open_until.map(at), "after {} s", now);
                let is_probing = matches!(circuit.state, State::HalfOpen(_));
                prop_assert_eq!(is_probing, model.probe.is_some());
            }
        }
    }
}
