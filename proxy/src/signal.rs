//! What a process tells everything that is under way.

use std::{
    fmt,
    future::poll_fn,
    task::{Context, Poll, ready},
};

use futures_util::{
    StreamExt,
    stream::{FusedStream, FuturesUnordered},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Comes once. Whoever waits for it does so with every step that it makes, and
/// looking at a token takes a lock that all share: here the token is looked at
/// only when there is something to see.
pub struct Signal(FuturesUnordered<WaitForCancellationFutureOwned>);

impl Signal {
    pub fn of(token: &CancellationToken) -> Self {
        Self([token.clone().cancelled_owned()].into_iter().collect())
    }

    /// Ends when it comes.
    pub async fn comes(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    /// Ready once, then never again.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.0.poll_next_unpin(cx)) {
            Some(()) => Poll::Ready(()),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal")
            .field("is_over", &self.0.is_terminated())
            .finish()
    }
}
