//! `UsageService`: usage up, acknowledged when it is committed.

use std::pin::Pin;

use proto::{
    MAX_BATCH_EVENTS,
    line::timestamp,
    sync::{
        Ack, PushRequest, PushResponse, Spent, UsageBatch, push_request, push_response,
        usage_service_server::UsageService,
    },
};
use tokio::time;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Outgoing, Undelivered,
    caller::{self, Caller},
    jittered,
};
use crate::{ingest::Ledger, settings::Pace, store::budgets::Budget, tasks::Tasks};

#[derive(Debug, Clone)]
pub struct Service {
    pub ledger: Ledger,
    pub tasks: Tasks,
    pub pace: Pace,
}

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
        loop {
            let request = tokio::select! {
                biased;
                () = &mut end => return Ok(()),
                request = self.incoming.message() => request?,
            };
            let Some(request) = request else {
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
                    let ack = self.store(batch).await?;
                    match self.outgoing.send(ack).await {
                        Ok(()) => {}
                        Err(Undelivered::Gone) => return Ok(()),
                        Err(Undelivered::TooSlow) => {
                            return Err(Status::resource_exhausted(
                                "an acknowledgement was not taken in time",
                            ));
                        }
                    }
                }
                // A kind of message that a newer proxy may have.
                None => {}
            }
        }
    }

    async fn store(&self, batch: UsageBatch) -> Result<PushResponse, Status> {
        let count = batch.events.len();
        if count > MAX_BATCH_EVENTS {
            return Err(Status::invalid_argument(format!(
                "a batch has at most {MAX_BATCH_EVENTS} events, this one has {count}"
            )));
        }
        let ingested = self.service.ledger.ingest(batch.events).await?;
        Ok(PushResponse {
            message: Some(push_response::Message::Ack(Ack {
                sequence: batch.sequence,
                rejected: ingested.rejected,
                spent: ingested.budgets.iter().map(Spent::from).collect(),
            })),
        })
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
