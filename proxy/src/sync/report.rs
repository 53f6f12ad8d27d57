//! Tells control what is in force here.

use std::{future::pending, time::Duration};

use chrono::Utc;
use proto::{
    line::time,
    sync::{
        Circuit, CircuitList, CircuitState, ReportRequest, config_service_server::SERVICE_NAME,
    },
};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tonic::{Code, Status};

use super::{Sync, backoff::Backoff, carrying, ended};
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
    // The circuits that control knows of.
    let mut known: Option<Vec<Circuit>> = None;
    loop {
        tokio::select! {
            () = tasks.stopping() => return,
            // All of it from time to time, in case control has lost it.
            _ = ticks.tick() => known = None,
            Ok(()) = changed.changed() => {}
            () = sync.lessons.learned() => {}
            () = sync.circuits.changed() => {}
            () = half_open(known.as_deref().unwrap_or_default()) => {}
        }
        changed.mark_unchanged();
        let circuits = circuits(&sync);
        let report = report(
            &sync,
            (known.as_ref() != Some(&circuits)).then_some(&circuits),
        );
        let lessons = report.lessons.len();
        let pause = match tell(&sync, report).await {
            Ok(()) => {
                backoff.reset();
                sync.lessons.reported(lessons);
                known = Some(circuits);
                SHORTEST
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

async fn tell(sync: &Sync, report: ReportRequest) -> Result<(), Status> {
    let mut span = sync.spans.call(SERVICE_NAME, "Report");
    let told = timeout(DEADLINE, sync.config().report(carrying(report, &span))).await;
    let told = told.unwrap_or_else(|elapsed| Err(Status::deadline_exceeded(elapsed.to_string())));
    ended(
        &mut span,
        told.as_ref().map_or_else(Status::code, |_| Code::Ok),
    );
    told.map(|_| ())
}

/// Those that are not closed.
fn circuits(sync: &Sync) -> Vec<Circuit> {
    let now = Utc::now();
    sync.circuits.settle(&sync.index.load(), now);
    sync.circuits.reported(now)
}

/// Ends when the first of the open ones is no longer so, only because time has
/// passed.
async fn half_open(circuits: &[Circuit]) {
    let open = circuits
        .iter()
        .filter(|it| it.state() == CircuitState::Open);
    let first = open
        .filter_map(|it| it.open_until.as_ref().and_then(time))
        .min();
    match first {
        Some(first) => sleep((first - Utc::now()).to_std().unwrap_or_default()).await,
        None => pending().await,
    }
}

fn report(sync: &Sync, circuits: Option<&Vec<Circuit>>) -> ReportRequest {
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
        circuits: circuits.map(|circuits| CircuitList {
            circuits: circuits.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proto::line::timestamp;
    use tokio::time::Instant;

    use super::*;

    fn open_for(seconds: i64) -> Circuit {
        Circuit {
            state: CircuitState::Open.into(),
            open_until: Some(timestamp(Utc::now() + TimeDelta::seconds(seconds))),
            ..Circuit::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn that_a_circuit_is_half_open_is_told_when_its_time_is_up() {
        let begun = Instant::now();
        let half = Circuit {
            state: CircuitState::HalfOpen.into(),
            ..open_for(-5)
        };
        half_open(&[open_for(3600), half.clone(), open_for(600)]).await;
        let waited = begun.elapsed().as_secs();
        assert!((599..=600).contains(&waited), "{waited} s");
        // It has been told already.
        let again = timeout(Duration::from_secs(86_400), half_open(&[half])).await;
        assert!(again.is_err());
    }
}
