//! Reads the settings, runs the proxy until a signal, stops it in order.

use std::process::ExitCode;

use proxy::{
    app::App,
    settings::{Settings, Unusable},
    telemetry::{log::Log, metrics},
};
use tokio::signal::unix::{SignalKind, signal};

/// Bodies of all sizes come and go on every request; this allocator gives their
/// memory back and forth more cheaply than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A setting that cannot be used: `EX_CONFIG` of sysexits(3).
const BAD_SETTING: u8 = 78;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match Settings::read().await {
        Ok(settings) => settings,
        Err(Unusable::Asked(help)) => {
            let _closed = help.print();
            return ExitCode::SUCCESS;
        }
        Err(Unusable::Invalid(line)) => {
            eprintln!("claude-code-proxy: {line}");
            return ExitCode::from(BAD_SETTING);
        }
    };
    match run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("claude-code-proxy: {error:#}");
            ExitCode::from(BAD_SETTING)
        }
    }
}

async fn run(mut settings: Settings) -> anyhow::Result<()> {
    // Two per stream; the usual soft limit of 1024 would end at 500 streams.
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    settings.limits.fit(files);
    let (log, _guard) = Log::start(&settings.log)?;
    let metrics = metrics::install()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tracing::info!(files, ?settings, "starting");
    for variable in settings.retired.variables() {
        tracing::warn!(
            variable,
            "has no effect: changes are pushed, nothing expires"
        );
    }
    let app = App::start(settings, log, metrics).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    app.stop().await;
    Ok(())
}
