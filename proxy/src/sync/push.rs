//! Delivers usage: batches up, acknowledgements down.

use std::{collections::VecDeque, time::Duration};

use ::telemetry::trace::Span;
use proto::sync::{
    Ack, Hello, PushRequest, UsageBatch, push_request, push_response,
    usage_service_server::SERVICE_NAME,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, error::Elapsed, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use uuid::Uuid;

use super::{Sync, backoff::Backoff, ended};
use crate::{error::chain, tasks::Tasks, usage::outbox::Batch};

/// Batches sent and not acknowledged. The channel behind the stream has room for
/// all of them, so that sending never waits.
const WINDOW: usize = 4;

/// An event waits at most this long for others.
const LINGER: Duration = Duration::from_millis(200);

/// Until the server answers the call.
const FIRST: Duration = Duration::from_secs(10);

/// A batch that is not acknowledged by then is sent again on another stream.
const ACK_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("control ended the stream")]
    Closed,
    #[error("control does not take usage")]
    Broken(#[from] Box<tonic::Status>),
    #[error("control does not answer")]
    Silent(#[from] Elapsed),
    #[error("control has acknowledged nothing for too long")]
    Unacknowledged,
    #[error("control acknowledged batch {0}, which was not sent")]
    UnknownBatch(u64),
}

/// Batches on their way, oldest first, as traces show them.
#[derive(Default)]
struct Sent(VecDeque<(u64, Span)>);

impl Sent {
    fn acknowledged(&mut self, sequence: u64) {
        while let Some((_, mut span)) = self.0.pop_front_if(|(it, _)| *it <= sequence) {
            ended(&mut span, Code::Ok);
        }
    }
}

/// The stream has ended before their acknowledgements.
impl Drop for Sent {
    fn drop(&mut self) {
        for (_, span) in &mut self.0 {
            ended(span, Code::Unavailable);
        }
    }
}

/// Delivers until the tasks are told to stop. What is not acknowledged then is
/// in the outbox.
pub async fn run(sync: Sync, tasks: Tasks) {
    let mut backoff = Backoff::new();
    loop {
        let end = tokio::select! {
            () = tasks.stopping() => return,
            Err(end) = deliver(&sync, &mut backoff) => end,
        };
        sync.outbox().rewind();
        match end {
            End::Closed => tracing::debug!("{end}, pushing again"),
            _ => tracing::warn!(
                error = chain(&end),
                pending = sync.outbox().backlog().pending,
                "usage waits, pushing again"
            ),
        }
        tokio::select! {
            () = tasks.stopping() => return,
            () = sleep(backoff.wait()) => {}
        }
    }
}

/// One stream, from its start to its end.
async fn deliver(sync: &Sync, backoff: &mut Backoff) -> Result<std::convert::Infallible, End> {
    let (requests, outgoing) = mpsc::channel(WINDOW + 1);
    // Before the call: a server may wait for it before it answers.
    send(&requests, hello(sync))?;
    let mut client = sync.usage();
    let mut responses = timeout(FIRST, client.push(ReceiverStream::new(outgoing)))
        .await?
        .map_err(Box::new)?
        .into_inner();
    let mut ticks = interval(LINGER);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut paused_until = Instant::now();
    let mut progress = Instant::now();
    let mut sent = Sent::default();
    loop {
        let outbox = sync.outbox();
        if outbox.in_flight() == 0 {
            progress = Instant::now();
        }
        while outbox.in_flight() < WINDOW && paused_until <= Instant::now() {
            let Some(batch) = outbox.next_batch() else {
                break;
            };
            let span = sync.spans.call(SERVICE_NAME, "Push");
            let traceparent = span.traceparent().unwrap_or_default();
            sent.0.push_back((batch.sequence, span));
            send(&requests, request(batch, traceparent))?;
        }
        tokio::select! {
            response = responses.message() => {
                match response.map_err(Box::new)?.ok_or(End::Closed)?.message {
                    Some(push_response::Message::Ack(ack)) => {
                        acknowledged(sync, &ack)?;
                        sent.acknowledged(ack.sequence);
                        progress = Instant::now();
                        backoff.reset();
                    }
                    Some(push_response::Message::Pause(pause)) => {
                        paused_until = Instant::now() + pause_duration(&pause);
                    }
                    None => {}
                }
            }
            _ = ticks.tick() => {
                if progress.elapsed() > ACK_TIMEOUT {
                    return Err(End::Unacknowledged);
                }
            }
            () = outbox.filled() => {}
        }
    }
}

fn send(requests: &mpsc::Sender<PushRequest>, request: PushRequest) -> Result<(), End> {
    requests.try_send(request).map_err(|_gone| End::Closed)
}

fn hello(sync: &Sync) -> PushRequest {
    PushRequest {
        message: Some(push_request::Message::Hello(Hello {
            node: Some(sync.node.clone()),
        })),
    }
}

fn request(batch: Batch, traceparent: String) -> PushRequest {
    PushRequest {
        message: Some(push_request::Message::Batch(UsageBatch {
            sequence: batch.sequence,
            events: batch.events,
            traceparent,
        })),
    }
}

fn acknowledged(sync: &Sync, ack: &Ack) -> Result<(), End> {
    for rejected in &ack.rejected {
        tracing::error!(
            event_id = %Uuid::from_slice(&rejected.event_id).unwrap_or_default(),
            reason = rejected.reason,
            "control rejected a usage event for good; it is in the log only"
        );
    }
    let settled = sync.outbox().acknowledge(ack.sequence);
    // First what was counted, then what no longer waits for it: never too little.
    sync.budgets.counted(&ack.spent);
    for event in settled.iter().flat_map(|batch| &batch.events) {
        sync.budgets.settled(&event.event_id);
    }
    if settled.is_empty() {
        return Err(End::UnknownBatch(ack.sequence));
    }
    Ok(())
}

fn pause_duration(pause: &proto::sync::Pause) -> Duration {
    pause
        .duration
        .and_then(|duration| Duration::try_from(duration).ok())
        .unwrap_or(LINGER)
}
