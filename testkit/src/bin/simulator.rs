//! The simulators as a process of their own.

use std::{io::Write, net::SocketAddr};

use clap::Parser;
use testkit::{
    anthropic::{Pace, Simulator},
    bedrock,
    load::{raise_file_limit, upstream::Upstream},
};
use tokio::signal::unix::{SignalKind, signal};

/// Answers like the Anthropic API, from a small model that costs nothing.
///
/// Prints its base URL on standard output once it listens, and then Bedrock's.
/// What it answers can be scripted over HTTP: see
/// `testkit/src/simulator/control.rs`.
#[derive(Debug, Parser)]
struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Where to be Bedrock as well; port 0 takes a free one.
    #[arg(long, conflicts_with = "bench")]
    bedrock: Option<SocketAddr>,

    /// Thinks and types as slowly as a model does.
    #[arg(long, conflicts_with = "bench")]
    demo: bool,

    /// Answers from bytes made beforehand, at the least cost, for `load`.
    #[arg(long)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    raise_file_limit()?;
    let mut runtime = if options.bench {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    runtime.enable_all().build()?.block_on(async {
        // Before the URL is out, so that no signal comes too early.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = serve(&options) => ended,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    })
}

async fn serve(options: &Options) -> anyhow::Result<()> {
    if options.bench {
        let upstream = Upstream::bind(options.listen).await?;
        announce(&upstream.url()?)?;
        upstream.serve().await;
        return Ok(());
    }
    let pace = if options.demo {
        Pace::LIVELY
    } else {
        Pace::default()
    };
    let simulator = Simulator::builder()
        .listen(options.listen)
        .pace(pace)
        .start()
        .await?;
    announce(&simulator.url())?;
    // Held, because dropping it closes its port.
    let _bedrock = match options.bedrock {
        Some(address) => {
            let builder = bedrock::Simulator::builder().lenient();
            let bedrock = builder.listen(address).pace(pace).start().await?;
            if !bedrock.is_strict() {
                writeln!(
                    std::io::stderr(),
                    "AWS's model of Bedrock is not installed: requests are not compared with it."
                )?;
            }
            announce(&bedrock.url())?;
            Some(bedrock)
        }
        None => None,
    };
    std::future::pending().await
}

fn announce(url: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{url}")?;
    stdout.flush()
}
