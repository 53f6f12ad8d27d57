//! Logs and metrics.

pub mod metrics;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::settings::{Log, LogFormat, LogLevel};

/// Starts writing logs to standard output.
///
/// # Errors
/// When logging was started before.
pub fn start_logs(log: &Log) -> anyhow::Result<()> {
    let registry = tracing_subscriber::registry().with(filter(log.log_level));
    match log.log_format {
        LogFormat::Json => registry
            .with(fmt::layer().json().flatten_event(true))
            .try_init()?,
        LogFormat::Pretty => registry.with(fmt::layer()).try_init()?,
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

/// The process's metrics. There is one recorder per process, so that several
/// apps in one test share it.
///
/// # Errors
/// When something else in the process has installed a recorder.
pub fn recorder() -> anyhow::Result<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let installed = RECORDER.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(
                Matcher::Suffix("_seconds".to_owned()),
                &metrics::SECONDS_BUCKETS,
            )
            .map_err(|error| error.to_string())?
            .build_recorder();
        let handle = recorder.handle();
        ::metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
        metrics::describe();
        Ok(handle)
    });
    installed
        .as_ref()
        .map_err(|error| anyhow::anyhow!("install the metrics recorder: {error}"))
}
