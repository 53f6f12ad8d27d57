//! How long to wait between attempts: longer each time, up to a bound, and at
//! random, so that a hundred proxies do not come back in the same instant.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(15);

/// The waits of one loop. Progress, not a mere connection, starts it anew.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    pub fn new() -> Self {
        Self(
            ExponentialBuilder::default()
                .with_min_delay(SHORTEST)
                .with_max_delay(LONGEST / 2)
                .with_jitter()
                .without_max_times()
                .build(),
        )
    }

    /// The next wait.
    pub fn wait(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST)
    }

    pub fn reset(&mut self) {
        *self = Self::new();
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_never_end() {
        let mut backoff = Backoff::new();
        let first = backoff.wait();
        assert!(first >= SHORTEST && first <= SHORTEST * 2, "{first:?}");
        let waits: Vec<_> = (0..1000).map(|_| backoff.wait()).collect();
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        assert!(waits.iter().skip(10).all(|wait| *wait >= LONGEST / 2));
        backoff.reset();
        assert!(backoff.wait() <= SHORTEST * 2);
    }
}
