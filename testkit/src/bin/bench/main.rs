//! What the proxy costs, beside nginx and beside nothing.
//!
//! `make bench` runs this; `docs/benchmarks.md` says how to read it. The numbers
//! are never a test: a slow machine is not a failure.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::{Parser, Subcommand};
use serde::Serialize;
use testkit::{history::History, load::raise_file_limit};
use tokio::signal::unix::{SignalKind, signal};

mod circuits;
mod costs;
mod failover;
mod keys;
mod memory;
mod nginx;
mod rescue;
mod rounds;
mod spread;
mod system;
mod table;
mod turns;

use system::System;

/// Measures a proxy with everything on, in front of an upstream that costs
/// little.
#[derive(Debug, Clone, Parser)]
struct Options {
    /// How often everything is measured, targets in turns.
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 5)]
    rounds: usize,

    /// How long a target is under load.
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 2.0)]
    seconds: f64,

    /// Streams that are open together.
    #[arg(long, env = "BENCH_STREAMS", default_value_t = 2_000)]
    streams: usize,

    /// How often a failover is measured, and an answer that is held.
    #[arg(long, env = "BENCH_PAIRS", default_value_t = 2_000)]
    pairs: usize,

    /// Access keys whose circuits are open.
    #[arg(long, env = "BENCH_CIRCUITS", default_value_t = 10_000)]
    circuits: usize,

    /// Access keys in the index.
    #[arg(long, env = "BENCH_KEYS", default_value_t = 100_000)]
    keys: usize,

    /// Keys that are revoked, one after the other.
    #[arg(long, env = "BENCH_REVOCATIONS", default_value_t = 50)]
    revocations: usize,

    /// The nginx to compare with.
    #[arg(long, env = "BENCH_NGINX")]
    nginx: Option<PathBuf>,

    /// Where the results and the logs go.
    #[arg(long, default_value = ".state/bench")]
    state: PathBuf,

    #[command(flatten)]
    costs: costs::Settings,

    #[command(subcommand)]
    part: Option<Part>,
}

/// What to do in place of measuring everything.
#[derive(Debug, Clone, Subcommand)]
enum Part {
    /// Measures what usage takes, and nothing else.
    Costs,
    /// Writes a company's usage of three months into a database that control has set
    /// up.
    Data {
        /// A superuser's address of it.
        #[arg(long, env = "PROXY_DATABASE_URL", hide_env_values = true)]
        database_url: String,

        /// Another one makes another history.
        #[arg(long, default_value_t = 5)]
        seed: u32,

        /// The last request was within the hour before it; now when not given.
        #[arg(long)]
        until: Option<DateTime<Utc>>,
    },
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Results {
    machine: system::Machine,
    memory: Vec<memory::Held>,
    samples: Vec<rounds::Sample>,
    failover: Vec<failover::Results>,
    rescue: rescue::Results,
    circuits: circuits::Results,
    costs: costs::Results,
    keys: keys::Results,
}

/// The same of what usage takes, alone.
#[derive(Debug, Serialize)]
struct CostsAlone {
    machine: system::Machine,
    costs: costs::Results,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Until it is done, or until we are asked to stop: what runs ends with us.
async fn run(options: Options) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = perform(&options) => done,
        _ = interrupt.recv() => Ok(ExitCode::FAILURE),
        _ = terminate.recv() => Ok(ExitCode::FAILURE),
    }
}

async fn perform(options: &Options) -> Result<ExitCode> {
    match &options.part {
        None => {
            let results = measure(options).await?;
            let path = options.state.join("latest.json");
            report(&path, &results, &table::table(&results), results.is_sound())
        }
        Some(Part::Costs) => {
            let results = measure_costs(options).await?;
            let path = options.state.join("costs.json");
            let table = table::costs(&results.machine, &results.costs);
            report(&path, &results, &table, results.costs.is_sound())
        }
        Some(Part::Data {
            database_url,
            seed,
            until,
        }) => {
            let rows = options.costs.rows;
            let history = History::of(rows, *seed, until.unwrap_or_else(Utc::now));
            let told = |written| eprintln!("{written} of {rows} rows");
            history.write(database_url, told).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn report(path: &Path, results: &impl Serialize, table: &str, is_sound: bool) -> Result<ExitCode> {
    fs::write(path, serde_json::to_string_pretty(results)?)?;
    print!("{table}");
    println!("\nRaw numbers: {}", path.display());
    Ok(if is_sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn measure_costs(options: &Options) -> Result<CostsAlone> {
    let system = start(options).await?;
    let costs = costs::measure(&system, &options.costs).await?;
    Ok(CostsAlone {
        machine: system.machine.clone(),
        costs,
    })
}

async fn start(options: &Options) -> Result<System> {
    raise_file_limit()?;
    fresh_folder(&options.state)?;
    eprintln!("Starting …");
    System::start(options).await
}

async fn measure(options: &Options) -> Result<Results> {
    let system = start(options).await?;
    // First, because memory that a load has left behind hides what a stream takes.
    let memory = memory::measure(&system, options.streams).await?;
    let length = Duration::try_from_secs_f64(options.seconds)?;
    let samples = rounds::measure(&system, options.rounds, length).await?;
    let failover = failover::measure(&system, options.pairs).await?;
    let rescue = rescue::measure(&system, options.pairs).await?;
    let circuits = circuits::measure(&system, options.circuits).await?;
    let costs = costs::measure(&system, &options.costs).await?;
    let machine = system.machine.clone();
    let keys = keys::measure(system, options.keys, options.revocations).await?;
    Ok(Results {
        machine,
        memory,
        samples,
        failover,
        rescue,
        circuits,
        costs,
        keys,
    })
}

fn fresh_folder(path: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(path.join("logs"));
    fs::create_dir_all(path.join("logs"))?;
    Ok(())
}

impl Results {
    /// Nothing broke; whether it was fast is another question.
    fn is_sound(&self) -> bool {
        self.samples.iter().all(rounds::Sample::is_valid)
            && self.memory.iter().all(|held| held.report.errors == 0)
            && self.circuits.is_sound()
            && self.costs.is_sound()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_two_options_have_one_name() {
        Options::command().debug_assert();
    }
}
