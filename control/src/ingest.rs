//! A batch of usage: looked at, stored in one transaction, acknowledged by the
//! caller afterwards. An event is counted once however often it comes.

pub mod validate;

use proto::sync::{RejectedEvent, UsageEvent};
use tokio::time::Instant;

use crate::{
    store::{self, Store, usage},
    telemetry::metrics,
};

/// Stores the events that are fit and new; returns those that never will be.
///
/// # Errors
/// When the database fails; nothing of the batch is stored then.
pub async fn ingest(
    store: &Store,
    events: Vec<UsageEvent>,
) -> Result<Vec<RejectedEvent>, store::Error> {
    let began = Instant::now();
    let count = events.len();
    let mut fit = Vec::with_capacity(count);
    let mut rejected = Vec::new();
    for event in events {
        match validate::validate(&event) {
            Ok(row) => fit.push(row),
            Err(reason) => rejected.push(RejectedEvent {
                event_id: event.event_id.to_vec(),
                reason: reason.to_string(),
            }),
        }
    }

    // One statement is one transaction, and cheaper than asking for one.
    let new = if fit.is_empty() {
        0
    } else {
        let mut connection = store.connection().await?;
        usage::insert(&mut connection, &fit).await?.len()
    };

    for event in &rejected {
        tracing::warn!(
            event_id = hex::encode(&event.event_id),
            reason = event.reason,
            "ingest.rejected"
        );
    }
    metrics::ingested(
        as_u64(new),
        as_u64(fit.len().saturating_sub(new)),
        as_u64(rejected.len()),
        began.elapsed(),
    );
    Ok(rejected)
}

fn as_u64(count: usize) -> u64 {
    count.try_into().unwrap_or(u64::MAX)
}
