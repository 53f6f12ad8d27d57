//! Usage: looked at, priced, stored in one transaction together with what follows
//! from it for budgets; acknowledged by the caller afterwards. An event is counted
//! once however often it comes.

mod charge;
pub mod validate;

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use chrono::Utc;
use chrono_tz::Tz;
use diesel_async::AsyncConnection;
use proto::{
    price::PriceList,
    sync::{Provider, RejectedEvent, UsageEvent},
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    alerts::Alerts,
    money::Usd,
    pricing::Pricing,
    store::{
        self, Store,
        budgets::{self, Budget},
        usage::{self, NewUsage},
    },
    telemetry::metrics,
};

/// Where usage becomes rows.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub store: Store,
    pub pricing: Pricing,
    /// Months of budgets begin and end in it.
    pub timezone: Tz,
    pub alerts: Alerts,
}

/// What became of events.
#[derive(Debug, Default)]
pub struct Ingested {
    /// Events that were stored now; the others that were fit were there already.
    pub new: usize,
    pub duplicates: usize,
    /// Tokens of the new events, whatever their kind, and what they cost.
    pub new_tokens: u64,
    pub new_cost: Usd,
    /// Events that never can be stored.
    pub rejected: Vec<RejectedEvent>,
    /// The budgets of the users who have spent something.
    pub budgets: Vec<Budget>,
}

impl Ledger {
    /// Stores the events that are fit and new.
    ///
    /// # Errors
    /// When the database fails; nothing of the batch is stored then.
    pub async fn ingest(
        &self,
        events: impl IntoIterator<Item = &UsageEvent>,
    ) -> Result<Ingested, store::Error> {
        let began = Instant::now();
        let (fit, rejected) = look_at(events, &*self.prices()?);
        let (new, budgets) = if fit.is_empty() {
            (Vec::new(), Vec::new())
        } else {
            self.store(&fit).await?
        };
        if !budgets.is_empty() {
            self.alerts.notify();
        }
        for event in &rejected {
            tracing::warn!(
                event_id = hex::encode(&event.event_id),
                reason = event.reason,
                "ingest.rejected"
            );
        }
        let ingested = Ingested {
            budgets,
            ..Ingested::of(&fit, &new, rejected)
        };
        metrics::ingested(
            as_u64(ingested.new),
            as_u64(ingested.duplicates),
            as_u64(ingested.rejected.len()),
            as_u64(new.iter().filter(|row| !row.charge.priced).count()),
            began.elapsed(),
        );
        Ok(ingested)
    }

    /// Says what would become of a batch, and changes nothing. What was foreseen
    /// before is no longer new.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn foresee(
        &self,
        events: &[UsageEvent],
        foreseen: &mut HashSet<Uuid>,
    ) -> Result<Ingested, store::Error> {
        let (fit, rejected) = look_at(events, &*self.prices()?);
        let mut connection = self.store.connection().await?;
        let stored = HashSet::<Uuid>::from_iter(usage::stored(&mut connection, &fit).await?);
        let new: Vec<&NewUsage> = fit
            .iter()
            .filter(|row| !stored.contains(&row.event_id) && foreseen.insert(row.event_id))
            .collect();
        Ok(Ingested::of(&fit, &new, rejected))
    }

    fn prices(&self) -> Result<Arc<PriceList>, store::Error> {
        self.pricing.newest().ok_or_else(|| {
            store::Error::Unavailable(anyhow::anyhow!("the price list is not read yet"))
        })
    }

    /// Returns the rows that were new, and the budgets that they were held against.
    async fn store<'a>(
        &self,
        rows: &'a [NewUsage],
    ) -> Result<(Vec<&'a NewUsage>, Vec<Budget>), store::Error> {
        let mut connection = self.store.connection().await?;
        connection
            .transaction(async |connection| {
                let mut stored: HashSet<Uuid> =
                    HashSet::from_iter(usage::insert(connection, rows).await?);
                // An event that stands twice in a batch is new once.
                let new: Vec<&NewUsage> = rows
                    .iter()
                    .filter(|row| stored.remove(&row.event_id))
                    .collect();
                let spenders = spenders(&new);
                let budgets = if spenders.is_empty() {
                    Vec::new()
                } else {
                    budgets::settle(connection, &spenders, Utc::now(), self.timezone).await?
                };
                Ok((new, budgets))
            })
            .await
    }
}

impl Ingested {
    fn of(fit: &[NewUsage], new: &[&NewUsage], rejected: Vec<RejectedEvent>) -> Self {
        Self {
            new: new.len(),
            duplicates: fit.len().saturating_sub(new.len()),
            new_tokens: tokens(new),
            new_cost: cost(new),
            rejected,
            budgets: Vec::new(),
        }
    }
}

/// Rows with their charges, and what cannot be a row.
fn look_at<'a>(
    events: impl IntoIterator<Item = &'a UsageEvent>,
    prices: &PriceList,
) -> (Vec<NewUsage>, Vec<RejectedEvent>) {
    let mut fit = Vec::new();
    let mut rejected = Vec::new();
    for event in events {
        match validate::validate(event) {
            Ok(mut row) => {
                row.charge = charge::charge(&row, prices);
                fit.push(row);
            }
            Err(reason) => rejected.push(RejectedEvent {
                event_id: event.event_id.to_vec(),
                reason: reason.to_string(),
            }),
        }
    }
    (fit, rejected)
}

/// Whose budgets new rows touch, in order.
fn spenders(new: &[&NewUsage]) -> Vec<Uuid> {
    let spenders: BTreeSet<Uuid> = new
        .iter()
        .filter(|row| row.provider == Some(Provider::Bedrock.label()))
        .filter_map(|row| row.user_id)
        .collect();
    spenders.into_iter().collect()
}

fn tokens(new: &[&NewUsage]) -> u64 {
    let tokens = new.iter().flat_map(|row| {
        [
            row.input_tokens,
            row.output_tokens,
            row.cache_read_tokens,
            row.cache_write_5m_tokens,
            row.cache_write_1h_tokens,
        ]
    });
    tokens.map(i64::unsigned_abs).sum()
}

fn cost(new: &[&NewUsage]) -> Usd {
    let mut cost = Usd::ZERO;
    for row in new {
        cost += row.charge.estimated_cost_usd;
    }
    cost
}

fn as_u64(count: usize) -> u64 {
    count.try_into().unwrap_or(u64::MAX)
}
