//! `UsageService`: usage up, acknowledged when it is committed.

use std::{pin::Pin, slice};

use ::telemetry::trace::{self, Spans, TRACEPARENT};
use futures_util::FutureExt;
use opentelemetry::Context;
use proto::{
    MAX_BATCH_EVENTS,
    line::timestamp,
    sync::{
        Ack, PushRequest, PushResponse, Spent, UsageBatch, push_request, push_response,
        usage_service_server::{SERVICE_NAME, UsageService},
    },
};
use tokio::time;
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    Outgoing, Undelivered,
    caller::{self, Caller},
    ended, jittered,
};
use crate::{
    ingest::{Ingested, Ledger},
    settings::Pace,
    store::{self, budgets::Budget},
    tasks::Tasks,
};

/// Batches in one transaction, at most: as many as a proxy has under way.
const MAX_BATCHES: usize = 4;

#[derive(Debug, Clone)]
pub struct Service {
    pub ledger: Ledger,
    pub tasks: Tasks,
    pub pace: Pace,
    pub spans: Spans,
}

/// A message, the end, or what has broken the stream.
type Incoming = Result<Option<PushRequest>, Status>;

/// One proxy's stream.
struct Push {
    service: Service,
    incoming: Streaming<PushRequest>,
    outgoing: Outgoing<PushResponse>,
}

#[tonic::async_trait]
impl UsageService for Service {
    type PushStream = Pin<Box<dyn Stream<Item = Result<PushResponse, Status>> + Send>>;

    /// Answers before it reads: the proxy may be waiting for our headers.
    async fn push(
        &self,
        request: Request<Streaming<PushRequest>>,
    ) -> Result<Response<Self::PushStream>, Status> {
        let address = caller::address(&request);
        let (outgoing, stream) = Outgoing::new(self.pace.send_timeout)?;
        let push = Push {
            service: self.clone(),
            incoming: request.into_inner(),
            outgoing,
        };
        self.tasks.spawn(push.run(address));
        Ok(Response::new(Box::pin(stream)))
    }
}

impl Push {
    async fn run(mut self, address: String) {
        let stopping = self.service.tasks.stopping();
        let age = time::sleep(jittered(self.service.pace.connection_age));
        // A batch that is being stored is finished and acknowledged; the end
        // comes between two of them.
        let end = async {
            tokio::select! {
                () = stopping => {}
                () = age => {}
            }
        };
        match self.follow(&address, end).await {
            Ok(()) => tracing::debug!(address, "push.ended"),
            Err(status) => {
                tracing::warn!(address, code = ?status.code(), reason = status.message(), "push.failed");
                self.outgoing.fail(status);
            }
        }
    }

    async fn follow(&mut self, address: &str, end: impl Future<Output = ()>) -> Result<(), Status> {
        let mut end = std::pin::pin!(end);
        let mut is_greeted = false;
        // What has come while batches were taken, and is none that goes with them.
        let mut next = None;
        loop {
            let request = match next.take() {
                Some(request) => request,
                None => tokio::select! {
                    biased;
                    () = &mut end => return Ok(()),
                    request = self.incoming.message() => request,
                },
            };
            let Some(request) = request? else {
                return Ok(());
            };
            match request.message {
                Some(push_request::Message::Hello(hello)) => {
                    let caller = Caller::new(hello.node.as_ref())?;
                    tracing::info!(
                        instance_id = %caller.instance_id,
                        version = caller.version,
                        address,
                        "push.started"
                    );
                    is_greeted = true;
                }
                Some(push_request::Message::Batch(_)) if !is_greeted => {
                    return Err(Status::invalid_argument("hello must come first"));
                }
                Some(push_request::Message::Batch(batch)) => {
                    check(&batch)?;
                    let mut batches = vec![batch];
                    next = self.take_waiting(&mut batches);
                    if !self.take(&batches).await? {
                        return Ok(());
                    }
                }
                // A kind of message that a newer proxy may have.
                None => {}
            }
        }
    }

    /// Adds the batches that have come already: they share a transaction, and most of
    /// what it costs to add to sums. Returns the first message that is something else.
    fn take_waiting(&mut self, batches: &mut Vec<UsageBatch>) -> Option<Incoming> {
        while batches.len() < MAX_BATCHES {
            match self.incoming.message().now_or_never()? {
                Ok(Some(PushRequest {
                    message: Some(push_request::Message::Batch(batch)),
                })) if check(&batch).is_ok() => batches.push(batch),
                other => return Some(other),
            }
        }
        None
    }

    /// Stores these batches and acknowledges each; false: the proxy has gone.
    ///
    /// A batch that the database refuses must not hold up those before it, so each is
    /// tried alone when it has refused all of them.
    async fn take(&mut self, batches: &[UsageBatch]) -> Result<bool, Status> {
        match self.ingest(batches).await {
            Ok(ingested) => self.acknowledge(batches, &ingested).await,
            Err(store::Error::Refused(_)) if batches.len() > 1 => {
                for batch in batches {
                    let batch = slice::from_ref(batch);
                    let ingested = self.ingest(batch).await?;
                    if !self.acknowledge(batch, &ingested).await? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Stores batches in one transaction, which is a part of the delivery of each.
    async fn ingest(&self, batches: &[UsageBatch]) -> Result<Ingested, store::Error> {
        let mut deliveries = batches.iter().map(delivery);
        let mut span = self.service.spans.called(SERVICE_NAME, "Push", || {
            deliveries.next().unwrap_or_default()
        });
        for other in deliveries {
            span.link(&other);
        }
        let events = batches.iter().flat_map(|batch| &batch.events);
        let ingested = self.service.ledger.ingest(events).await;
        match &ingested {
            Ok(ingested) => {
                for (name, count) in [
                    ("claude_code_proxy.events.new", ingested.new),
                    ("claude_code_proxy.events.duplicate", ingested.duplicates),
                    ("claude_code_proxy.events.rejected", ingested.rejected.len()),
                ] {
                    span.set(name, i64::try_from(count).unwrap_or(i64::MAX));
                }
                ended(&mut span, Code::Ok);
            }
            Err(_) => ended(&mut span, Code::Unavailable),
        }
        ingested
    }

    async fn acknowledge(
        &mut self,
        batches: &[UsageBatch],
        ingested: &Ingested,
    ) -> Result<bool, Status> {
        for batch in batches {
            match self.outgoing.send(ack(batch, ingested)).await {
                Ok(()) => {}
                Err(Undelivered::Gone) => return Ok(false),
                Err(Undelivered::TooSlow) => {
                    return Err(Status::resource_exhausted(
                        "an acknowledgement was not taken in time",
                    ));
                }
            }
        }
        Ok(true)
    }
}

fn check(batch: &UsageBatch) -> Result<(), Status> {
    let count = batch.events.len();
    if count > MAX_BATCH_EVENTS {
        return Err(Status::invalid_argument(format!(
            "a batch has at most {MAX_BATCH_EVENTS} events, this one has {count}"
        )));
    }
    Ok(())
}

/// What a proxy says that a batch is a part of.
fn delivery(batch: &UsageBatch) -> Context {
    trace::parent(|name| (name == TRACEPARENT).then_some(&*batch.traceparent))
}

/// What is spent is told with each: it must be known before any of its events is no
/// longer waited for.
fn ack(batch: &UsageBatch, ingested: &Ingested) -> PushResponse {
    let is_of_it = |id: &[u8]| batch.events.iter().any(|event| event.event_id == id);
    let rejected = ingested.rejected.iter();
    PushResponse {
        message: Some(push_response::Message::Ack(Ack {
            sequence: batch.sequence,
            rejected: rejected
                .filter(|it| is_of_it(&it.event_id))
                .cloned()
                .collect(),
            spent: ingested.budgets.iter().map(Spent::from).collect(),
        })),
    }
}

impl From<&Budget> for Spent {
    fn from(budget: &Budget) -> Self {
        Self {
            user_id: budget.user_id.to_string(),
            spent_micro_usd: budget.spent_usd.unsigned_micros(),
            period_start: Some(timestamp(budget.period_start)),
        }
    }
}
