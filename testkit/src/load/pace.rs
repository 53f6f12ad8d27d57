//! When the requests of an open loop arrive.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};

/// Arrivals that wait for a free connection.
const MAX_WAITING: usize = 100_000;

/// The arrivals of one phase, in order.
#[derive(Debug)]
pub(super) struct Arrivals(mpsc::Receiver<Instant>);

/// Counts arrivals for which there was no place.
#[derive(Debug)]
pub(super) struct Dropped(Arc<AtomicU64>);

impl Arrivals {
    pub(super) async fn next(&mut self) -> Option<Instant> {
        self.0.recv().await
    }
}

impl Dropped {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Starts arrivals at random, `rate` per second in the mean, for `duration`.
///
/// They are timed by a thread, because tokio's timers are only good to a
/// millisecond.
pub(super) fn start(rate: f64, duration: Duration) -> (Arrivals, Dropped) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let dropped = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&dropped);
    std::thread::spawn(move || {
        let end = Instant::now() + duration;
        let mut due = Instant::now();
        loop {
            // Exponential gaps make a Poisson process.
            let uniform: f64 = rand::random();
            due += Duration::from_secs_f64(-(1.0 - uniform).ln() / rate);
            if due >= end {
                return;
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "there is no event: time itself is what this thread waits for"
            )]
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            match sender.try_send(Instant::now()) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    });
    (Arrivals(receiver), Dropped(dropped))
}
