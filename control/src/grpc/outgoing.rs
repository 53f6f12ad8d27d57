//! The answers of one stream, on their way to a proxy that may be slow.

use std::time::Duration;

use tokio::{sync::mpsc, time};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::Status;

/// Where a handler puts its answers: the proxy takes one while the next waits.
/// The place for the final word is kept, so that a proxy that is too slow can be
/// told so.
#[derive(Debug)]
pub(super) struct Outgoing<T> {
    messages: mpsc::Sender<Result<T, Status>>,
    last: mpsc::OwnedPermit<Result<T, Status>>,
    timeout: Duration,
}

/// The stream of answers has ended from the other side.
#[derive(Debug)]
pub(super) enum Undelivered {
    /// The proxy went away.
    Gone,
    /// It has not taken a message in time.
    TooSlow,
}

impl<T> Outgoing<T> {
    pub(super) fn new(
        timeout: Duration,
    ) -> Result<(Self, impl Stream<Item = Result<T, Status>>), Status> {
        let (messages, receiver) = mpsc::channel(2);
        let last = messages
            .clone()
            .try_reserve_owned()
            .map_err(|_full| Status::internal("a new channel has room"))?;
        let outgoing = Self {
            messages,
            last,
            timeout,
        };
        Ok((outgoing, ReceiverStream::new(receiver)))
    }

    pub(super) async fn send(&self, message: T) -> Result<(), Undelivered> {
        match time::timeout(self.timeout, self.messages.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => Err(Undelivered::Gone),
            Err(_elapsed) => Err(Undelivered::TooSlow),
        }
    }

    /// Resolves when the proxy has gone away.
    pub(super) async fn gone(&self) {
        self.messages.closed().await;
    }

    /// Ends the stream with an error; dropping ends it well.
    pub(super) fn fail(self, status: Status) {
        self.last.send(Err(status));
    }
}
