//! The only place that spawns, so that shutdown can wait for everything.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Background work and the signal for it to stop. Clones belong together.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn spawn<F>(&self, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(work);
    }

    /// Asks every task to stop.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Ends when [`Self::stop`] was called.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Ends when every task has ended. No more may be spawned after it.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
