//! The simulator of the Anthropic API as a process of its own.

use std::{io::Write, net::SocketAddr};

use clap::Parser;
use testkit::anthropic::{Pace, Simulator};

/// Answers like the Anthropic API, from a small model that costs nothing.
///
/// Prints its base URL on standard output once it listens. What it answers can
/// be scripted over HTTP: see the module `testkit::anthropic::control`.
#[derive(Debug, Parser)]
struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Thinks and types as slowly as a model does.
    #[arg(long)]
    demo: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
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
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", simulator.url())?;
    stdout.flush()?;
    terminated().await?;
    simulator.stop().await;
    Ok(())
}

/// Waits for Ctrl-C or SIGTERM.
async fn terminated() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
