//! The only place that spawns, so that a stopping process waits for all it has
//! started.

use std::{future::Future, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Running tasks, and the word that they shall end.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs a task that ends by itself soon after [`Self::stopping`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Runs a task that may be dropped at any await when we stop.
    pub fn spawn_until_stop(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    /// Resolves when the process is to stop.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        self.stop.clone().cancelled_owned()
    }

    pub fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
    }

    /// Waits for all tasks; false when some were still running at the deadline.
    pub async fn finished_within(&self, deadline: Duration) -> bool {
        tokio::time::timeout(deadline, self.tracker.wait())
            .await
            .is_ok()
    }
}
