//! Follows the configuration: snapshot, deltas, heartbeats.

use std::time::Duration;

use ::telemetry::trace::Span;
use chrono::Utc;
use proto::sync::{
    Heartbeat, Position, WatchRequest, WatchResponse, config_service_server::SERVICE_NAME,
    watch_response::Event,
};
use tokio::time::{error::Elapsed, sleep, timeout};
use tonic::Code;

use super::{Sync, backoff::Backoff, carrying, ended};
use crate::{
    error::chain,
    index::{
        Index,
        apply::{Gap, Staging},
    },
    tasks::Tasks,
    telemetry::metrics,
};

/// The server answers at once, so a longer wait means that nobody is there.
const FIRST: Duration = Duration::from_secs(10);

/// Heartbeats that may be missing before the stream is taken for dead.
const MISSED_HEARTBEATS: u32 = 3;

/// Until the first heartbeat says how often they come.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A delta names everything that changed while the proxy was away.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum End {
    /// Drain, connection age, another epoch: routine.
    #[error("control ended the stream")]
    Closed,
    #[error("control cannot be watched")]
    Broken(#[from] Box<tonic::Status>),
    #[error("control has been silent for too long")]
    Silent(#[from] Elapsed),
    #[error(transparent)]
    Gap(#[from] Gap),
    #[error("the state has drifted from control's at revision {0}")]
    Drift(u64),
}

/// Watches until the tasks are told to stop.
pub async fn run(sync: Sync, tasks: Tasks) {
    let mut backoff = Backoff::new();
    let mut resume_from = None;
    loop {
        let end = tokio::select! {
            () = tasks.stopping() => return,
            end = follow(&sync, resume_from.take(), &mut backoff) => end,
        };
        metrics::sync_connected(false);
        resume_from = match end {
            End::Gap(_) | End::Drift(_) => None,
            _ => sync.index.load().position().cloned(),
        };
        tell(&end);
        tokio::select! {
            () = tasks.stopping() => return,
            () = sleep(backoff.wait()) => {}
        }
    }
}

fn tell(end: &End) {
    match end {
        End::Closed => tracing::debug!("{end}, watching again"),
        _ => tracing::warn!(error = chain(end), "serving from memory, watching again"),
    }
}

/// One stream, from its start to its end.
async fn follow(sync: &Sync, resume_from: Option<Position>, backoff: &mut Backoff) -> End {
    let mut span = sync.spans.call(SERVICE_NAME, "Watch");
    let end = match try_follow(sync, resume_from, backoff, &span).await {
        Ok(()) => End::Closed,
        Err(end) => end,
    };
    match &end {
        End::Closed => ended(&mut span, Code::Ok),
        End::Broken(status) => ended(&mut span, status.code()),
        End::Silent(_) => ended(&mut span, Code::DeadlineExceeded),
        End::Gap(_) | End::Drift(_) => ended(&mut span, Code::DataLoss),
    }
    end
}

async fn try_follow(
    sync: &Sync,
    resume_from: Option<Position>,
    backoff: &mut Backoff,
    span: &Span,
) -> Result<(), End> {
    let request = WatchRequest {
        node: Some(sync.node.clone()),
        resume_from,
        takes_spending: true,
    };
    let mut client = sync.config().max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut stream = timeout(FIRST, client.watch(carrying(request, span)))
        .await?
        .map_err(Box::new)?
        .into_inner();
    let mut staging = Staging::default();
    let mut silence = FIRST;
    while let Some(message) = timeout(silence, stream.message())
        .await?
        .map_err(Box::new)?
    {
        metrics::sync_connected(true);
        if let Some(interval) = take(sync, &mut staging, message)? {
            silence = interval * MISSED_HEARTBEATS;
        } else {
            silence = silence.max(HEARTBEAT * MISSED_HEARTBEATS);
        }
        backoff.reset();
    }
    Ok(())
}

/// Puts a message in force. A heartbeat gives the interval of the next ones.
fn take(
    sync: &Sync,
    staging: &mut Staging,
    message: WatchResponse,
) -> Result<Option<Duration>, End> {
    let Some(event) = message.event else {
        // Of a kind that a newer control may have.
        return Ok(None);
    };
    match event {
        Event::Snapshot(part) => {
            if let Some(index) = staging.add(part)? {
                metrics::snapshot();
                tracing::info!(?index, "a snapshot is in force");
                put_in_force(sync, index);
            }
            Ok(None)
        }
        Event::Delta(delta) => {
            let next = sync.index.load().after(delta)?;
            put_in_force(sync, next);
            Ok(None)
        }
        Event::Heartbeat(heartbeat) => compare(sync, &heartbeat),
        Event::Spending(spending) => {
            sync.budgets.counted(&spending.spent);
            Ok(None)
        }
    }
}

fn put_in_force(sync: &Sync, index: Index) {
    sync.index.swap(index);
    let index = sync.index.load();
    sync.lessons.settle(&index);
    sync.circuits.settle(&index, Utc::now());
    sync.budgets.settle(&index);
}

/// A heartbeat proves that the state is current, or that it has drifted.
fn compare(sync: &Sync, heartbeat: &Heartbeat) -> Result<Option<Duration>, End> {
    let index = sync.index.load();
    if heartbeat.head.is_some() && index.position() == heartbeat.head.as_ref() {
        if index.digest() != heartbeat.digest {
            let revision = index.position().map_or(0, |position| position.revision);
            return Err(End::Drift(revision));
        }
        sync.index.confirm();
    }
    let interval = heartbeat
        .heartbeat_interval
        .and_then(|interval| Duration::try_from(interval).ok())
        .filter(|interval| !interval.is_zero());
    Ok(interval)
}
