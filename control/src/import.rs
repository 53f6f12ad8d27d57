//! `usage import`: puts back what a killed proxy had not delivered, from its log.
//!
//! Every canonical line carries its event, and an event is counted once however it
//! comes. So whole logs can be given: exactly what is missing is stored. What may be
//! a request's and is not counted is told, with its file and line.

pub mod lines;
pub mod reading;
pub mod summary;

use std::{collections::HashSet, path::PathBuf, thread};

use anyhow::Context;
use chrono_tz::Tz;
use proto::{MAX_BATCH_EVENTS, sync::UsageEvent};
use tokio::sync::mpsc;
use uuid::Uuid;

pub use self::summary::Summary;
use self::{
    lines::Found,
    reading::{Heard, Position},
};
use crate::{
    alerts::Alerts,
    ingest::Ledger,
    pricing::Pricing,
    settings,
    store::{Store, aggregates},
};

/// Reads logs into the ledger.
#[derive(Debug)]
pub struct Import {
    ledger: Ledger,
    batch: Vec<(Position, UsageEvent)>,
    /// What a dry run would have stored by now; none: it is stored.
    foreseen: Option<HashSet<Uuid>>,
    summary: Summary,
}

impl Import {
    /// Prices and time zone are those that control has put into the database. A dry
    /// run says what would be put back, and changes nothing.
    ///
    /// # Errors
    /// When the database cannot be used, or control has never served it.
    pub async fn into(store: Store, is_dry_run: bool) -> anyhow::Result<Self> {
        let timezone = aggregates::timezone(&mut *store.connection().await?)
            .await
            .context(
                "read from the database; `claude-code-control migrate` brings it to this version",
            )?
            .context(
                "control has never served this database: start `claude-code-control serve` once",
            )?;
        let timezone: Tz = timezone
            .parse()
            .map_err(|_unknown| anyhow::anyhow!("{timezone} is no time zone of this version"))?;
        let pricing = Pricing::new(store.clone(), None);
        pricing.refresh().await?;
        Ok(Self {
            ledger: Ledger {
                // A running control tells of what is crossed.
                alerts: Alerts::new(store.clone(), &settings::Webhook::default())?,
                store,
                pricing,
                timezone,
            },
            batch: Vec::new(),
            foreseen: is_dry_run.then(HashSet::new),
            summary: Summary::new(is_dry_run),
        })
    }

    /// What was read so far, and what came of it.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Reads these files one after the other; `-` is standard input. Of one that
    /// cannot be read to its end the rest is told and counted as such.
    ///
    /// # Errors
    /// When something cannot be stored. What was stored before stays; it does no
    /// harm to give everything again.
    pub async fn files(&mut self, paths: Vec<PathBuf>) -> anyhow::Result<()> {
        let (news, mut heard) = mpsc::channel(MAX_BATCH_EVENTS);
        // Not a task: nobody waits for standard input when storing has failed.
        let reading = thread::spawn(move || {
            reading::read(&paths, |it| news.blocking_send(it).is_ok());
        });
        while let Some(it) = heard.recv().await {
            self.hear(it).await?;
        }
        self.flush().await?;
        reading
            .join()
            .map_err(|_panic| anyhow::anyhow!("reading has ended too early"))
    }

    async fn hear(&mut self, heard: Heard) -> anyhow::Result<()> {
        match heard {
            Heard::Line { has_requests } => self.summary.line(has_requests),
            Heard::Found(at, Found::Request(event)) => {
                self.summary.requests += 1;
                self.batch.extend(event.map(|event| (at, *event)));
            }
            Heard::Found(at, Found::PassedOver(why, reason)) => {
                self.summary.passed_over(why);
                eprintln!("{at}: {reason}");
            }
            Heard::Failed(at, error) => {
                self.summary.unread_files += 1;
                eprintln!("{at}: the rest cannot be read: {error}");
            }
        }
        if self.batch.len() >= MAX_BATCH_EVENTS {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        let (places, events): (Vec<Position>, Vec<UsageEvent>) =
            std::mem::take(&mut self.batch).into_iter().unzip();
        if events.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = events.iter().map(|event| event.event_id.clone()).collect();
        let ingested = match &mut self.foreseen {
            None => self.ledger.ingest(&events).await.context("store usage")?,
            Some(foreseen) => self
                .ledger
                .foresee(&events, foreseen)
                .await
                .context("look for usage")?,
        };
        for rejected in &ingested.rejected {
            let of_it = ids.iter().zip(&places);
            for (_, at) in of_it.filter(|(id, _)| **id == rejected.event_id) {
                eprintln!("{at}: {}", rejected.reason);
            }
        }
        self.summary.add(&ingested);
        Ok(())
    }
}
