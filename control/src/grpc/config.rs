//! `ConfigService`: configuration down, reports up.

use std::{
    convert::Infallible,
    future,
    pin::{Pin, pin},
};

use ::telemetry::trace::{Span, Spans};
use diesel_async::AsyncConnection;
use proto::sync::{
    Heartbeat, Rejection, ReportRequest, ReportResponse, Spending, WatchRequest, WatchResponse,
    config_service_server::{ConfigService, SERVICE_NAME},
    watch_response::Event,
};
use serde_json::json;
use tokio::time::{self, Instant};
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status};

use super::{
    INSTANCE_ID, Outgoing, Undelivered,
    caller::{self, Caller, printable},
    ended, jittered, unavailable,
};
use crate::{
    changes::{
        Head, HeadWatch, Position,
        reader::{self, Next, Reader},
    },
    circuits, lessons,
    settings::Pace,
    spending::{AmountsWatch, Told},
    store::{self, Store, proxies},
    tasks::Tasks,
    telemetry::metrics,
};

/// A report names resources to look at, not all of them.
const MAX_REJECTIONS: usize = 100;
const MAX_REASON_CHARS: usize = 500;

#[derive(Debug, Clone)]
pub struct Service {
    pub store: Store,
    pub reader: Reader,
    pub head: HeadWatch,
    pub amounts: AmountsWatch,
    pub tasks: Tasks,
    pub pace: Pace,
    pub spans: Spans,
}

/// One proxy's stream.
struct Watch {
    service: Service,
    outgoing: Outgoing<WatchResponse>,
    /// What the proxy holds when it comes.
    resume_from: Option<Position>,
    takes_spending: bool,
}

/// Why a stream ended. Most are routine: the proxy watches again from where it
/// is.
#[derive(Debug)]
enum End {
    Stopping,
    Aged,
    /// The proxy has to begin with a snapshot, and a stream does that only at
    /// its start.
    CannotContinue,
    Gone,
    TooSlow,
    Failed(Status),
}

#[tonic::async_trait]
impl ConfigService for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::new(request.get_ref().node.as_ref())?;
        let address = caller::address(&request);
        let mut span = self
            .spans
            .called(SERVICE_NAME, "Watch", || caller::trace(&request));
        span.set(INSTANCE_ID, caller.instance_id.to_string());
        let (outgoing, stream) = Outgoing::new(self.pace.send_timeout)?;
        let watch = Watch {
            service: self.clone(),
            outgoing,
            resume_from: request
                .get_ref()
                .resume_from
                .as_ref()
                .and_then(Position::from_wire),
            takes_spending: request.get_ref().takes_spending,
        };
        self.tasks.spawn(async move {
            tracing::info!(
                instance_id = %caller.instance_id,
                version = caller.version,
                address,
                revision = watch.resume_from.map(|position| position.revision),
                "watch.started"
            );
            let reason = watch.run(&mut span).await;
            tracing::info!(instance_id = %caller.instance_id, reason, "watch.ended");
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn report(
        &self,
        request: Request<ReportRequest>,
    ) -> Result<Response<ReportResponse>, Status> {
        let mut span = self
            .spans
            .called(SERVICE_NAME, "Report", || caller::trace(&request));
        let taken = self.take(request, &mut span).await;
        let code = taken.as_ref().map_or_else(Status::code, |_| Code::Ok);
        ended(&mut span, code);
        taken
    }
}

impl Service {
    async fn take(
        &self,
        request: Request<ReportRequest>,
        span: &mut Span,
    ) -> Result<Response<ReportResponse>, Status> {
        let caller = Caller::new(request.get_ref().node.as_ref())?;
        span.set(INSTANCE_ID, caller.instance_id.to_string());
        let address = caller::address(&request);
        let report = request.into_inner();
        // None: as reported before.
        let circuits = report.circuits;
        let mut connection = self.store.connection().await?;
        // First: a proxy that is not answered tells its lessons again.
        lessons::learn(&mut connection, &report.lessons).await?;
        let applied = report.applied.as_ref().and_then(Position::from_wire);
        let report = proxies::Report {
            instance_id: caller.instance_id,
            version: caller.version,
            started_at: caller.started_at,
            address,
            applied_epoch: applied.map(|position| position.epoch),
            applied_revision: applied.map(|position| position.revision),
            rejected: rejections(&report.rejected),
            usage_pending: saturated(report.usage_pending),
            usage_dropped: saturated(report.usage_dropped),
            active_streams: saturated(report.active_streams),
        };
        connection
            .transaction(async |connection| {
                // First: its row keeps another report of this proxy waiting.
                proxies::upsert(connection, &report).await?;
                if let Some(list) = &circuits {
                    circuits::replace(connection, report.instance_id, &list.circuits).await?;
                }
                Ok::<_, store::Error>(())
            })
            .await?;
        Ok(Response::new(ReportResponse {}))
    }
}

impl Watch {
    /// Serves the stream to its end; returns the reason for log and metrics.
    async fn run(self, span: &mut Span) -> &'static str {
        let _counted = metrics::WatchStream::begin();
        let stopping = self.service.tasks.stopping();
        let age = time::sleep(jittered(self.service.pace.connection_age));
        let end = tokio::select! {
            biased;
            () = stopping => End::Stopping,
            () = self.outgoing.gone() => End::Gone,
            () = age => End::Aged,
            Err(end) = self.follow() => end,
        };
        let reason = end.reason();
        metrics::watch_ended(reason);
        span.set("claude_code_proxy.end", reason);
        match end {
            End::TooSlow => {
                let words = "a message was not taken in time; watch again";
                self.end(Status::resource_exhausted(words), span);
            }
            End::Failed(status) => self.end(status, span),
            End::Stopping | End::Aged | End::CannotContinue | End::Gone => {
                ended(span, Code::Ok);
            }
        }
        reason
    }

    fn end(self, status: Status, span: &mut Span) {
        ended(span, status.code());
        self.outgoing.fail(status);
    }

    /// Brings the proxy to the head and keeps it there.
    async fn follow(&self) -> Result<Infallible, End> {
        let mut heads = self.service.head.clone();
        if heads.borrow_and_update().is_none() {
            return Err(End::Failed(Status::unavailable(
                "control is not connected to its database; try again",
            )));
        }
        let mut position = match self.resume_from {
            None => self.start_over().await?,
            Some(position) => match self.advance(position).await {
                Err(End::CannotContinue) => self.start_over().await?,
                advanced => advanced?,
            },
        };
        let mut amounts = self.service.amounts.clone();
        let mut told = Told::default();
        self.tell(&mut amounts, &mut told).await?;
        let mut heartbeat = pin!(time::sleep(self.service.pace.heartbeat));
        loop {
            let is_told = tokio::select! {
                () = news(&mut heads, position) => false,
                () = &mut heartbeat => false,
                Ok(()) = amounts.changed(), if self.takes_spending => true,
            };
            if is_told {
                self.tell(&mut amounts, &mut told).await?;
                continue;
            }
            // What is heard of from here on may be newer than what is read now.
            heads.mark_unchanged();
            position = self.advance(position).await?;
            heartbeat
                .as_mut()
                .reset(Instant::now() + self.service.pace.heartbeat);
        }
    }

    /// Sends the amounts that the proxy has not been told.
    async fn tell(&self, amounts: &mut AmountsWatch, told: &mut Told) -> Result<(), End> {
        if !self.takes_spending {
            return Ok(());
        }
        let news = amounts.borrow_and_update().since(told);
        for spent in news {
            self.send(Event::Spending(Spending { spent })).await?;
        }
        Ok(())
    }

    /// Sends a delta, or a heartbeat when there is nothing new.
    async fn advance(&self, position: Position) -> Result<Position, End> {
        let next = self.service.reader.next(position).await?;
        let (event, position) = match next {
            Next::Heartbeat { digest } => {
                let heartbeat = Heartbeat {
                    head: Some(position.into()),
                    digest,
                    heartbeat_interval: self.service.pace.heartbeat.try_into().ok(),
                };
                (Event::Heartbeat(heartbeat), position)
            }
            Next::Delta(delta, to) => (Event::Delta(delta), to),
            Next::Snapshot => return Err(End::CannotContinue),
        };
        self.send(event).await?;
        Ok(position)
    }

    /// Sends everything.
    async fn start_over(&self) -> Result<Position, End> {
        let everything = self.service.reader.everything().await?;
        metrics::snapshot();
        let at = everything.at;
        // Held until the proxy has taken all of it: it bounds how many of these
        // are in memory.
        let _permit = everything.permit;
        for part in everything.parts {
            self.send(Event::Snapshot(part)).await?;
        }
        Ok(at)
    }

    async fn send(&self, event: Event) -> Result<(), End> {
        let message = WatchResponse { event: Some(event) };
        self.outgoing
            .send(message)
            .await
            .map_err(|undelivered| match undelivered {
                Undelivered::Gone => End::Gone,
                Undelivered::TooSlow => End::TooSlow,
            })
    }
}

/// Resolves when the head is known to be past a position, or has another epoch
/// since it was looked at last. What was known of another epoch by then is no news:
/// the position is read from the database, and may be the newer one.
async fn news(heads: &mut HeadWatch, position: Position) {
    let is_past = |head: &Option<Head>| {
        head.is_some_and(|it| it.epoch == position.epoch && it.revision > position.revision)
    };
    let is_another = |head: &Option<Head>| head.is_some_and(|it| it.epoch != position.epoch);
    if is_past(&heads.borrow()) {
        return;
    }
    loop {
        if heads.changed().await.is_err() {
            // The listener has stopped, and so shall we.
            return future::pending().await;
        }
        let head = *heads.borrow();
        if is_past(&head) || is_another(&head) {
            return;
        }
    }
}

impl End {
    fn reason(&self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::Aged => "aged",
            Self::CannotContinue => "cannot_continue",
            Self::Gone => "gone",
            Self::TooSlow => "too_slow",
            Self::Failed(_) => "failed",
        }
    }
}

impl From<reader::Error> for End {
    fn from(error: reader::Error) -> Self {
        Self::Failed(unavailable(&error))
    }
}

fn rejections(rejected: &[Rejection]) -> serde_json::Value {
    let shown = rejected.iter().take(MAX_REJECTIONS).map(|rejection| {
        let name = rejection.name.clone().unwrap_or_default();
        json!({
            "kind": name.kind,
            "id": printable(&name.id).take(MAX_REASON_CHARS).collect::<String>(),
            "version": rejection.version,
            "reason": printable(&rejection.reason).take(MAX_REASON_CHARS).collect::<String>(),
        })
    });
    shown.collect()
}

fn saturated(count: u64) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::watch;
    use uuid::Uuid;

    use super::*;

    fn head(epoch: u128, revision: i64) -> Option<Head> {
        Some(Head {
            epoch: Uuid::from_u128(epoch),
            revision,
            floor: 0,
        })
    }

    fn is_news(heads: &mut HeadWatch, epoch: u128, revision: i64) -> bool {
        let position = Position {
            epoch: Uuid::from_u128(epoch),
            revision,
        };
        news(heads, position).now_or_never().is_some()
    }

    #[test]
    fn only_a_later_revision_or_another_epoch_is_news() {
        let (sender, mut heads) = watch::channel(head(1, 5));
        heads.mark_unchanged();
        assert!(is_news(&mut heads, 1, 4));
        assert!(!is_news(&mut heads, 1, 5));
        // The position was read after it.
        assert!(!is_news(&mut heads, 1, 6));
        assert!(!is_news(&mut heads, 2, 1));
        sender.send_replace(None);
        assert!(!is_news(&mut heads, 1, 5));
        sender.send_replace(head(1, 6));
        assert!(is_news(&mut heads, 1, 5));
        sender.send_replace(head(2, 1));
        assert!(is_news(&mut heads, 1, 6));
    }

    /// Whoever waits is interrupted to tell amounts, and waits again.
    #[test]
    fn a_new_epoch_is_news_also_when_it_comes_while_something_else_is_told() {
        let (sender, mut heads) = watch::channel(head(1, 5));
        heads.mark_unchanged();
        assert!(!is_news(&mut heads, 1, 5));
        sender.send_replace(head(2, 0));
        assert!(is_news(&mut heads, 1, 5));
    }
}
