//! How long nothing has come.

use std::{future::Future, pin::Pin, task::Context, time::Duration};

use tokio::time::{Instant, Sleep, sleep_until};

/// Notices that nothing has come for too long.
#[derive(Debug)]
pub struct Silence {
    limit: Duration,
    /// When there was nothing for the first time after there was something.
    since: Option<Instant>,
    /// Not moved with every piece, which would cost more than the piece: when it
    /// fires early it is set anew.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: None,
            alarm: None,
        }
    }

    /// Something has come.
    pub fn broken(&mut self) {
        self.since = None;
    }

    /// Whether nothing has come for the whole limit; wakes when that is so.
    pub fn poll_too_long(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = *self.since.get_or_insert_with(Instant::now) + self.limit;
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        while alarm.as_mut().poll(cx).is_ready() {
            if deadline <= Instant::now() {
                return true;
            }
            alarm.as_mut().reset(deadline);
        }
        false
    }
}
