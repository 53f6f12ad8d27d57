//! Slows down who guesses passwords.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(60);
const MAX_FAILURES: u32 = 10;

/// More addresses than this at once are an attack, and remembering them all
/// would be its success.
const MAX_ADDRESSES: usize = 1_000;

/// Failed logins by address, in this process.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    // Held for a look-up only, never across an await.
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Throttle {
    /// Whether this address may try.
    pub(super) fn ask(&self, address: IpAddr, now: Instant) -> Result<(), Throttled> {
        match self.failures().get(&address) {
            Some(of_address) => of_address.check(now),
            None => Ok(()),
        }
    }

    /// Begins an attempt. It counts as failed until [`Throttle::succeeded`], so
    /// that many at once do not get past the limit together.
    pub(super) fn begin(&self, address: IpAddr, now: Instant) -> Result<(), Throttled> {
        let mut failures = self.failures();
        if failures.len() >= MAX_ADDRESSES {
            failures.retain(|_, failures| failures.left(now).is_some());
        }
        if failures.len() >= MAX_ADDRESSES {
            failures.clear();
        }
        let fresh = Failures {
            since: now,
            count: 0,
        };
        let of_address = failures.entry(address).or_insert(fresh);
        if of_address.left(now).is_none() {
            *of_address = fresh;
        }
        of_address.check(now)?;
        of_address.count = of_address.count.saturating_add(1);
        Ok(())
    }

    /// Takes back that an attempt has counted as failed.
    pub(super) fn succeeded(&self, address: IpAddr) {
        if let Some(of_address) = self.failures().get_mut(&address) {
            of_address.count = of_address.count.saturating_sub(1);
        }
    }

    /// Nothing under this lock panics.
    fn failures(&self) -> MutexGuard<'_, HashMap<IpAddr, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has to wait this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Throttled(pub(super) Duration);

impl Failures {
    fn check(&self, now: Instant) -> Result<(), Throttled> {
        match self.left(now) {
            Some(wait) if self.count >= MAX_FAILURES => Err(Throttled(wait)),
            _ => Ok(()),
        }
    }

    /// What is left of the window in which they count.
    fn left(&self, now: Instant) -> Option<Duration> {
        WINDOW
            .checked_sub(now.saturating_duration_since(self.since))
            .filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn too_many_failures_make_that_address_wait_a_minute() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..MAX_FAILURES {
            assert_eq!(throttle.begin(SOMEBODY, now), Ok(()));
        }
        assert_eq!(throttle.ask(SOMEBODY, now), Err(Throttled(WINDOW)));
        assert_eq!(throttle.begin(SOMEBODY, now), Err(Throttled(WINDOW)));
        assert_eq!(throttle.ask(OTHER, now), Ok(()));
        let later = now + WINDOW;
        assert_eq!(throttle.begin(SOMEBODY, later), Ok(()));
        assert_eq!(throttle.ask(SOMEBODY, later), Ok(()));
    }

    #[test]
    fn success_does_not_count() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..2 * MAX_FAILURES {
            assert_eq!(throttle.begin(SOMEBODY, now), Ok(()));
            throttle.succeeded(SOMEBODY);
        }
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for number in 0..3_000_u32 {
            assert_eq!(throttle.begin(IpAddr::V4(number.into()), now), Ok(()));
        }
        assert!(throttle.failures().len() <= MAX_ADDRESSES);
    }
}
