//! Slows down who guesses passwords.

use std::{collections::HashMap, net::IpAddr, sync::Mutex, time::Duration};

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
    /// How long this address has to wait.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.failures.lock().ok()?;
        let of_address = failures.get(&address)?;
        let wait = of_address.left(now)?;
        (of_address.count >= MAX_FAILURES).then_some(wait)
    }

    pub(super) fn failed(&self, address: IpAddr, now: Instant) {
        let Ok(mut failures) = self.failures.lock() else {
            return;
        };
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
        of_address.count = of_address.count.saturating_add(1);
    }
}

impl Failures {
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
            assert_eq!(throttle.wait(SOMEBODY, now), None);
            throttle.failed(SOMEBODY, now);
        }
        assert_eq!(throttle.wait(SOMEBODY, now), Some(WINDOW));
        assert_eq!(throttle.wait(OTHER, now), None);
        let later = now + WINDOW;
        assert_eq!(throttle.wait(SOMEBODY, later), None);
        throttle.failed(SOMEBODY, later);
        assert_eq!(throttle.wait(SOMEBODY, later), None);
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for number in 0..3_000_u32 {
            throttle.failed(IpAddr::V4(number.into()), now);
        }
        assert!(throttle.failures.lock().unwrap().len() <= MAX_ADDRESSES);
    }
}
