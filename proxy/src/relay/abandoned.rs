//! Answers whose client has left: read on for a while, so that they can be
//! billed exactly.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{decode::Decoder, tap::Tap};
use crate::{tasks::Tasks, upstream::Flow};

/// Answers that are read on at one time. Further ones are cancelled at once, and
/// marked as estimates.
const MAX_ABANDONED: usize = 1_000;

#[derive(Debug)]
pub struct Abandoned {
    patience: Duration,
    places: Arc<Semaphore>,
    tasks: Tasks,
    stopping: CancellationToken,
}

impl Abandoned {
    /// `tasks` are waited for when the process stops; they end early when it is
    /// `stopping`.
    pub fn new(patience: Duration, tasks: Tasks, stopping: CancellationToken) -> Self {
        Self {
            patience,
            places: Arc::new(Semaphore::new(MAX_ABANDONED)),
            tasks,
            stopping,
        }
    }

    /// Lets `work` go on for a while, although nobody waits for it.
    pub fn go_on(&self, work: impl Future<Output = ()> + Send + 'static) {
        if self.patience.is_zero() || self.stopping.is_cancelled() {
            return;
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return;
        };
        let (patience, stopping) = (self.patience, self.stopping.clone());
        self.tasks.spawn(async move {
            let _place = place;
            tokio::select! {
                _in_time = timeout(patience, work) => {}
                () = stopping.cancelled() => {}
            }
        });
    }
}

/// Reads an answer to its end, through a decoder if the tap is to see what the
/// client would have seen. Dropped before that, the upstream is cancelled
/// and what is known by then is booked.
pub async fn read_on(mut flow: Flow, mut decoder: Option<Decoder>, mut tap: Tap) {
    while !flow.is_end() {
        match poll_fn(|cx| flow.poll_piece(cx)).await {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                match &mut decoder {
                    Some(decoder) => match decoder.push(&data) {
                        Ok(decoded) => tap.see(&decoded.into()),
                        Err(_) => return,
                    },
                    None => tap.see(&data),
                }
            }
            Some(Err(_)) => return,
            None => break,
        }
    }
    tap.read_to_its_end();
}
