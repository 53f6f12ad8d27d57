//! The load generator as a process of its own.

use std::{io::Write, time::Duration};

use clap::Parser;
use testkit::load::{Load, Provider, Request, Shape, raise_file_limit};

/// Puts load on a gateway in front of `simulator --bench` and prints a report as
/// JSON.
#[derive(Debug, Parser)]
struct Options {
    /// The base URL, with the path of the access key if there is one.
    #[arg(long)]
    url: String,

    /// A header to send, such as "x-api-key: sk-ant-x".
    #[arg(long = "header")]
    headers: Vec<String>,

    /// Who answers.
    #[arg(long, value_enum, default_value = "plan")]
    provider: Provider,

    /// What the upstream shall answer.
    #[arg(long, value_enum, default_value = "json")]
    shape: Shape,

    /// The size of a request's body.
    #[arg(long, default_value_t = 200)]
    body_bytes: usize,

    #[arg(long, default_value_t = 64)]
    connections: usize,

    /// Requests per second, arriving at random; without it, each connection
    /// sends the next request when the last one is answered.
    #[arg(long)]
    rate: Option<f64>,

    #[arg(long, default_value_t = 3.0)]
    seconds: f64,

    #[arg(long, default_value_t = 1.0)]
    warm_up_seconds: f64,

    /// A process whose CPU time and memory to measure.
    #[arg(long = "pid")]
    pids: Vec<u32>,
}

// One thread: what the generator does not use is left for what it measures.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    raise_file_limit()?;
    let request = Request::new(
        &options.url,
        options.provider,
        options.shape,
        options.body_bytes,
        &options.headers,
    )
    .await?;
    let load = Load {
        request,
        connections: options.connections,
        rate: options.rate,
        warm_up: Duration::try_from_secs_f64(options.warm_up_seconds)?,
        duration: Duration::try_from_secs_f64(options.seconds)?,
        pids: options.pids,
    };
    let report = if options.shape == Shape::Held {
        load.hold().await?
    } else {
        load.run().await?
    };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?;
    Ok(())
}
