//! Tells control what is in force here.

use std::time::Duration;

use proto::sync::ReportRequest;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{Sync, backoff::Backoff};
use crate::tasks::Tasks;

/// Also when nothing changes, so that control sees who is there.
const INTERVAL: Duration = Duration::from_secs(15);

/// A burst of changes is one report.
const SHORTEST: Duration = Duration::from_millis(200);

const DEADLINE: Duration = Duration::from_secs(5);

/// Reports until the tasks are told to stop.
pub async fn run(sync: Sync, tasks: Tasks) {
    let mut changed = sync.index.subscribe();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut backoff = Backoff::new();
    loop {
        tokio::select! {
            () = tasks.stopping() => return,
            _ = ticks.tick() => {}
            Ok(()) = changed.changed() => {}
            () = sync.lessons.learned() => {}
        }
        changed.mark_unchanged();
        let report = report(&sync);
        let lessons = report.lessons.len();
        let pause = match timeout(DEADLINE, sync.config().report(report)).await {
            Ok(Ok(_)) => {
                backoff.reset();
                sync.lessons.reported(lessons);
                SHORTEST
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "control does not take reports");
                changed.mark_changed();
                backoff.wait()
            }
            Err(error) => {
                tracing::debug!(%error, "control does not take reports");
                changed.mark_changed();
                backoff.wait()
            }
        };
        tokio::select! {
            () = tasks.stopping() => return,
            () = sleep(pause) => {}
        }
    }
}

fn report(sync: &Sync) -> ReportRequest {
    let index = sync.index.load();
    let backlog = sync.outbox().backlog();
    ReportRequest {
        node: Some(sync.node.clone()),
        applied: index.position().cloned(),
        rejected: index.rejected().cloned().collect(),
        usage_pending: backlog.pending as u64,
        usage_dropped: backlog.dropped,
        active_streams: sync.journal.active(),
        lessons: sync.lessons.unreported(),
        circuits: None,
    }
}
