//! Usage that control has not acknowledged yet.
//!
//! Memory is bounded: when the outbox is full the newest event is given up and
//! counted, because an older one may already be on its way. Its canonical log
//! line still carries it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use proto::{MAX_BATCH_EVENTS, sync::UsageEvent};
use tokio::sync::Notify;

/// About half an hour of fifty requests a second; some 50 MiB when full.
pub const CAPACITY: usize = 100_000;

/// Events in the order in which their requests ended.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    /// A whole batch waits.
    filled: Notify,
    /// Nothing waits and nothing is unacknowledged.
    emptied: Notify,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<UsageEvent>,
    sent: VecDeque<Batch>,
    next_sequence: u64,
    pending: usize,
    capacity: usize,
    dropped: u64,
}

/// Events sent together and not yet acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    pub sequence: u64,
    pub events: Vec<UsageEvent>,
}

/// How the outbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Events without an acknowledgement, sent or not.
    pub pending: usize,
    /// Events given up since the process started.
    pub dropped: u64,
}

/// The outbox had no room for the event, which comes back.
#[derive(Debug, thiserror::Error)]
#[error("the outbox is full; the usage event is in the log only")]
pub struct Full(pub Box<UsageEvent>);

impl Outbox {
    pub fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                sent: VecDeque::new(),
                next_sequence: 1,
                pending: 0,
                capacity,
                dropped: 0,
            }),
            filled: Notify::new(),
            emptied: Notify::new(),
        }
    }

    /// Keeps an event until it is acknowledged.
    ///
    /// # Errors
    ///
    /// The outbox is full: the event comes back and is counted as dropped.
    pub fn push(&self, event: UsageEvent) -> Result<(), Full> {
        let mut state = self.state();
        if state.pending >= state.capacity {
            state.dropped += 1;
            return Err(Full(Box::new(event)));
        }
        state.pending += 1;
        state.waiting.push_back(event);
        // Waking the other thread costs more than all else here, so it is done
        // once a batch; a lone event goes with the next tick.
        if state.waiting.len() == MAX_BATCH_EVENTS {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Takes the next batch to send. It stays here until it is acknowledged.
    pub fn next_batch(&self) -> Option<Batch> {
        let mut state = self.state();
        if state.waiting.is_empty() {
            return None;
        }
        let count = state.waiting.len().min(MAX_BATCH_EVENTS);
        let batch = Batch {
            sequence: state.next_sequence,
            events: state.waiting.drain(..count).collect(),
        };
        state.next_sequence += 1;
        state.sent.push_back(batch.clone());
        Some(batch)
    }

    /// Batches sent and not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.state().sent.len()
    }

    /// Forgets a batch that is committed and gives it back; empty when there was
    /// none. Batches are acknowledged in order, so those before it go with it.
    pub fn acknowledge(&self, sequence: u64) -> Vec<Batch> {
        let mut state = self.state();
        let known = state.sent.iter().any(|batch| batch.sequence == sequence);
        let mut acknowledged = Vec::new();
        while let Some(batch) = state.sent.front()
            && known
            && batch.sequence <= sequence
        {
            state.pending -= batch.events.len();
            acknowledged.extend(state.sent.pop_front());
        }
        if state.pending == 0 {
            self.emptied.notify_waiters();
        }
        acknowledged
    }

    /// The stream has ended: all that was sent and not acknowledged goes to the
    /// front again, and sequences start anew.
    pub fn rewind(&self) {
        let mut state = self.state();
        while let Some(batch) = state.sent.pop_back() {
            for event in batch.events.into_iter().rev() {
                state.waiting.push_front(event);
            }
        }
        state.next_sequence = 1;
    }

    /// Ends when a whole batch waits.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Ends when every event is acknowledged.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.state().pending == 0 {
                return;
            }
            emptied.await;
        }
    }

    pub fn backlog(&self) -> Backlog {
        let state = self.state();
        Backlog {
            pending: state.pending,
            dropped: state.dropped,
        }
    }

    /// Takes everything out, for the log of a process that has to end.
    pub fn give_up(&self) -> Vec<UsageEvent> {
        self.rewind();
        let mut state = self.state();
        state.dropped += state.pending as u64;
        state.pending = 0;
        state.waiting.drain(..).collect()
    }

    /// Nothing under this lock waits or panics.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(number: u64) -> UsageEvent {
        UsageEvent {
            duration_ms: number,
            ..UsageEvent::default()
        }
    }

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.events.iter().map(|event| event.duration_ms).collect()
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_in_order() {
        let outbox = Outbox::new(10_000);
        for number in 0..1200 {
            outbox.push(event(number)).unwrap();
        }
        let first = outbox.next_batch().unwrap();
        assert_eq!((first.sequence, first.events.len()), (1, MAX_BATCH_EVENTS));
        outbox.next_batch().unwrap();
        assert_eq!(outbox.acknowledge(1).len(), 1);
        assert_eq!(outbox.in_flight(), 1);
        outbox.rewind();
        let again = outbox.next_batch().unwrap();
        assert_eq!((again.sequence, numbers(&again)[0]), (1, 500));
        assert_eq!(outbox.backlog().pending, 700);
    }

    #[test]
    fn an_acknowledgement_of_nothing_changes_nothing() {
        let outbox = Outbox::new(10);
        outbox.push(event(1)).unwrap();
        outbox.next_batch().unwrap();
        assert_eq!(outbox.acknowledge(7), []);
        assert_eq!(outbox.backlog().pending, 1);
    }

    #[test]
    fn a_full_outbox_gives_the_newest_back_and_counts_it() {
        let outbox = Outbox::new(2);
        outbox.push(event(1)).unwrap();
        outbox.next_batch().unwrap();
        outbox.push(event(2)).unwrap();
        let Full(back) = outbox.push(event(3)).unwrap_err();
        assert_eq!(back.duration_ms, 3);
        assert_eq!(
            outbox.backlog(),
            Backlog {
                pending: 2,
                dropped: 1
            }
        );
    }

    #[test]
    fn giving_up_hands_everything_over() {
        let outbox = Outbox::new(10);
        outbox.push(event(1)).unwrap();
        outbox.next_batch().unwrap();
        outbox.push(event(2)).unwrap();
        let left: Vec<_> = outbox.give_up().iter().map(|it| it.duration_ms).collect();
        assert_eq!(left, [1, 2]);
        assert_eq!(
            outbox.backlog(),
            Backlog {
                pending: 0,
                dropped: 2
            }
        );
    }

    proptest! {
        /// Whatever is pushed, sent, acknowledged and cut, nothing is lost and
        /// nothing that was acknowledged comes again.
        #[test]
        fn nothing_is_lost_or_doubled(steps in prop::collection::vec(0u8..4, 0..300)) {
            let outbox = Outbox::new(100_000);
            let mut pushed = 0;
            let mut acknowledged = Vec::new();
            let mut sent: VecDeque<Batch> = VecDeque::new();
            for step in steps {
                match step {
                    0 => for _ in 0..300 {
                        outbox.push(event(pushed)).unwrap();
                        pushed += 1;
                    },
                    1 => sent.extend(outbox.next_batch()),
                    2 => if let Some(batch) = sent.pop_front() {
                        prop_assert!(!outbox.acknowledge(batch.sequence).is_empty());
                        acknowledged.extend(numbers(&batch));
                    },
                    _ => {
                        sent.clear();
                        outbox.rewind();
                    }
                }
            }
            sent.clear();
            outbox.rewind();
            while let Some(batch) = outbox.next_batch() {
                acknowledged.extend(numbers(&batch));
                outbox.acknowledge(batch.sequence);
            }
            prop_assert_eq!(acknowledged, (0..pushed).collect::<Vec<_>>());
            prop_assert_eq!(outbox.backlog().pending, 0);
        }
    }
}
