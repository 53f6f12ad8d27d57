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
use clap::Parser;
use serde::Serialize;
use testkit::load::raise_file_limit;
use tokio::signal::unix::{SignalKind, signal};

mod circuits;
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
    keys: keys::Results,
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
        measured = measure(&options) => {
            let results = measured?;
            let path = options.state.join("latest.json");
            fs::write(&path, serde_json::to_string_pretty(&results)?)?;
            print!("{}", table::table(&results));
            println!("\nRaw numbers: {}", path.display());
            Ok(if results.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ = interrupt.recv() => Ok(ExitCode::FAILURE),
        _ = terminate.recv() => Ok(ExitCode::FAILURE),
    }
}

async fn measure(options: &Options) -> Result<Results> {
    raise_file_limit()?;
    fresh_folder(&options.state)?;
    eprintln!("Starting …");
    let system = System::start(options).await?;
    // First, because memory that a load has left behind hides what a stream takes.
    let memory = memory::measure(&system, options.streams).await?;
    let length = Duration::try_from_secs_f64(options.seconds)?;
    let samples = rounds::measure(&system, options.rounds, length).await?;
    let failover = failover::measure(&system, options.pairs).await?;
    let rescue = rescue::measure(&system, options.pairs).await?;
    let circuits = circuits::measure(&system, options.circuits).await?;
    let machine = system.machine.clone();
    let keys = keys::measure(system, options.keys, options.revocations).await?;
    Ok(Results {
        machine,
        memory,
        samples,
        failover,
        rescue,
        circuits,
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
    }
}
