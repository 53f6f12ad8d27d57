//! Reads the settings, runs the proxy until a signal, stops it in order.

use std::process::ExitCode;

use proxy::{
    app::App,
    settings::{Health, Invocation, Settings, Unusable},
    telemetry::{log::Log, metrics::SERVICE},
};
use telemetry::{health, recorder};
use tokio::signal::unix::{SignalKind, signal};

/// Bodies of all sizes come and go on every request; this allocator gives their
/// memory back and forth more cheaply than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A setting that cannot be used: `EX_CONFIG` of sysexits(3).
const BAD_SETTING: u8 = 78;

#[tokio::main]
async fn main() -> ExitCode {
    let invocation = match Invocation::read().await {
        Ok(invocation) => invocation,
        Err(Unusable::Asked(help)) => {
            let _closed = help.print();
            return ExitCode::SUCCESS;
        }
        Err(Unusable::Invalid(line)) => {
            eprintln!("claude-code-proxy: {line}");
            return ExitCode::from(BAD_SETTING);
        }
    };
    let (result, failure) = match invocation {
        Invocation::Serve(settings) => (run(*settings).await, ExitCode::from(BAD_SETTING)),
        Invocation::Health(Health { ops_addr, ready }) => {
            (health::ask(ops_addr, ready).await, ExitCode::FAILURE)
        }
    };
    if let Err(error) = result {
        eprintln!("claude-code-proxy: {error:#}");
        return failure;
    }
    ExitCode::SUCCESS
}

async fn run(mut settings: Settings) -> anyhow::Result<()> {
    // Two per stream; the usual soft limit of 1024 would end at 500 streams.
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    settings.limits.fit(files);
    let (log, _guard) = Log::start(&settings.log)?;
    let recording = recorder::install(SERVICE, &settings.exports)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tracing::info!(files, ?settings, "starting");
    for variable in settings.retired.variables() {
        tracing::warn!(
            variable,
            "has no effect: changes are pushed, nothing expires"
        );
    }
    let app = App::start(settings, log, recording).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    app.stop().await;
    Ok(())
}
