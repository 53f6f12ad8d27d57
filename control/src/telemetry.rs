//! Logs and metrics.

pub mod metrics;

use std::sync::OnceLock;

use ::telemetry::{
    recorder::{self, Recording},
    settings::Exports,
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::settings::{Log, LogFormat, LogLevel};

/// Starts writing logs there: to standard output, or beside what a command says on it
/// to standard error.
///
/// # Errors
/// When logging was started before.
pub fn start_logs(
    log: &Log,
    to: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let registry = tracing_subscriber::registry().with(filter(log.log_level));
    let layer = fmt::layer().with_writer(to);
    match log.log_format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init()?,
        LogFormat::Pretty => registry.with(layer).try_init()?,
    }
    Ok(())
}

/// The level holds for our own crate; libraries warn at most.
fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("control", level)
}

/// Where the process's metrics go. There is one recorder per process, so that several
/// apps in one test share it, and the first one's `exports`.
///
/// # Errors
/// When something else in the process has installed a recorder, or `exports` cannot
/// be used.
pub fn recording(exports: &Exports) -> anyhow::Result<&'static Recording> {
    static RECORDING: OnceLock<Result<Recording, String>> = OnceLock::new();
    RECORDING
        .get_or_init(|| {
            let installed = recorder::install(metrics::SERVICE, exports);
            metrics::register();
            installed.map_err(|error| format!("{error:#}"))
        })
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error}"))
}
