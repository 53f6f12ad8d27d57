//! Whether this process can do its work now.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::changes::HeadWatch;

/// Ready: the tables are there, and the database has answered just now.
#[derive(Debug, Clone)]
pub struct Readiness {
    migrated: Arc<AtomicBool>,
    head: HeadWatch,
}

impl Readiness {
    pub fn new(head: HeadWatch) -> Self {
        Self {
            migrated: Arc::default(),
            head,
        }
    }

    /// The tables have this version's shape; they keep it.
    pub fn set_migrated(&self) {
        self.migrated.store(true, Ordering::Release);
    }

    pub fn is_migrated(&self) -> bool {
        self.migrated.load(Ordering::Acquire)
    }

    pub fn is_ready(&self) -> bool {
        self.is_migrated() && self.head.borrow().is_some()
    }

    /// Waits until it is.
    pub async fn ready(&mut self) {
        // The listener starts after the migration, so a head means both.
        let _stopped = self.head.wait_for(Option::is_some).await;
    }
}
