//! Logs and metrics.

pub mod metrics;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::settings::{Log, LogFormat};

/// Starts writing logs to standard output.
///
/// # Errors
/// When logging was started before.
pub fn start_logs(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.log_level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let started = match log.log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Pretty => builder.try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("start the logs: {error}"))
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
