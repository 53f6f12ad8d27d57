//! One command starts it all.
//!
//! `stack run` is behind `make run`, `stack demo` behind `make demo`, and
//! `stack postgres -- COMMAND` gives `make test` one Postgres for everything.

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::{Context, Result};
use clap::Parser;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testkit::postgres::{Server, Storage};

mod interrupt;
mod launch;
mod state;
mod traffic;

use interrupt::Interrupts;
use launch::{Mode, Settings};

/// Starts the whole system on this machine.
#[derive(Debug, Parser)]
enum Arguments {
    /// Postgres, control and a proxy, in front of the real Anthropic API.
    Run(Settings),
    /// The same in front of a simulated API and Bedrock, with some traffic.
    Demo(Settings),
    /// Runs a command beside a scratch Postgres that TEST_POSTGRES_URL names.
    Postgres {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse() {
        Arguments::Run(settings) => launch::launch(Mode::Run, settings).await,
        Arguments::Demo(settings) => launch::launch(Mode::Demo, settings).await,
        Arguments::Postgres { command } => beside_postgres(&command).await,
    };
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

/// Ends as the command ends. A Ctrl-C reaches the command by itself; what is
/// sent to us alone is passed on.
async fn beside_postgres(command: &[OsString]) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let server = Server::start(Storage::Scratch).await?;
    let (program, arguments) = command.split_first().context("no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("TEST_POSTGRES_URL", server.url("postgres"))
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let pid = Pid::from_raw(child.id().try_into()?);
    let mut ended = tokio::task::spawn_blocking(move || child.wait());
    let status = loop {
        tokio::select! {
            status = &mut ended => break status??,
            () = interrupts.next() => {
                let _ = kill(pid, Signal::SIGTERM);
            }
        }
    };
    server.stop().await?;
    Ok(exit_code(status))
}

/// As a shell says it: 128 and the signal's number for a killed command.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}
