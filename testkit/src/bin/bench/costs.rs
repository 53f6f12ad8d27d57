//! What usage takes: to be stored, to be seen, to be reported, and to stop a budget.

use anyhow::Result;
use serde::Serialize;

use crate::system::System;

mod budgets;
mod database;
mod delay;
mod export;
mod ingest;
mod reports;

/// How much of it is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Settings {
    /// Requests of three months, which reports are about.
    #[arg(long, env = "BENCH_ROWS", default_value_t = 10_000_000)]
    pub(crate) rows: u64,

    /// Usage events that are stored, with each number of writers.
    #[arg(long, env = "BENCH_EVENTS", default_value_t = 100_000)]
    events: usize,

    /// Requests whose rows are waited for.
    #[arg(long, env = "BENCH_DELAYS", default_value_t = 2_000)]
    delays: usize,

    /// How often each report is asked for.
    #[arg(long, env = "BENCH_REPORTS", default_value_t = 200)]
    reports: usize,

    /// Budgets that are used up, one after the other.
    #[arg(long, env = "BENCH_VERDICTS", default_value_t = 30)]
    verdicts: usize,

    /// Requests that begin together when a budget is nearly used up.
    #[arg(long, env = "BENCH_PARALLEL", default_value_t = 500)]
    parallel: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) ingest: Vec<ingest::Results>,
    /// From the end of a request to its row, sorted.
    pub(crate) delays_ms: Vec<f64>,
    pub(crate) reports: reports::Results,
    pub(crate) budgets: budgets::Results,
}

pub(crate) async fn measure(system: &System, settings: &Settings) -> Result<Results> {
    Ok(Results {
        ingest: ingest::measure(system, settings.events).await?,
        delays_ms: delay::measure(system, settings.delays).await?,
        budgets: budgets::measure(system, settings.verdicts, settings.parallel).await?,
        reports: reports::measure(system, settings.rows, settings.reports).await?,
    })
}

impl Results {
    /// All that was sent is stored and summed up, once.
    pub(crate) fn is_sound(&self) -> bool {
        self.ingest.iter().all(ingest::Results::is_sound)
    }
}
