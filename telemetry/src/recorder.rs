//! Who gets the metrics.

use anyhow::Context;
use metrics::Recorder;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_opentelemetry::{OpenTelemetryMetrics, OpenTelemetryRecorder};
use metrics_util::layers::FanoutBuilder;

use crate::{
    catalog::{self, Kind, Metric},
    cloudwatch::CloudWatch,
    otlp::Otlp,
    settings::Exports,
};

/// What a process has and how it is called.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// To OpenTelemetry.
    pub name: &'static str,
    /// To CloudWatch.
    pub dimension: &'static str,
    pub catalog: &'static [Metric],
    /// Upper bounds of what is measured in seconds.
    pub seconds: &'static [f64],
}

/// Where the metrics of the process go.
#[derive(Debug, Clone)]
pub struct Recording {
    pub prometheus: PrometheusHandle,
    pub cloudwatch: Option<CloudWatch>,
    pub otlp: Option<Otlp>,
}

/// Records the metrics of the process from now on.
///
/// # Errors
///
/// There is a recorder already, or the collector's address cannot be used.
pub fn install(service: Service, exports: &Exports) -> anyhow::Result<Recording> {
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), service.seconds)?
        .build_recorder();
    let otlp = Otlp::new(exports, service.name)?;
    let cloudwatch = exports
        .cloudwatch_metrics
        .then(|| CloudWatch::new(service.dimension, service.catalog));
    let recording = Recording {
        prometheus: prometheus.handle(),
        cloudwatch,
        otlp,
    };
    match (&recording.otlp, &recording.cloudwatch) {
        // Nothing in between.
        (None, None) => set(prometheus)?,
        (otlp, cloudwatch) => {
            let mut all = FanoutBuilder::default().add_recorder(prometheus);
            if let Some(otlp) = otlp {
                all = all.add_recorder(opentelemetry(otlp, service));
            }
            if let Some(cloudwatch) = cloudwatch {
                all = all.add_recorder(cloudwatch.clone());
            }
            set(all.build())?;
        }
    }
    catalog::describe(service.catalog);
    Ok(recording)
}

fn set(recorder: impl Recorder + Sync + 'static) -> anyhow::Result<()> {
    metrics::set_global_recorder(recorder)
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("install the recorder of metrics")
}

fn opentelemetry(otlp: &Otlp, service: Service) -> OpenTelemetryRecorder {
    let mut recorder = OpenTelemetryRecorder::new(OpenTelemetryMetrics::new(otlp.meter()));
    let all = service.catalog.iter();
    let histograms = all.filter(|it| it.kind == Kind::Histogram);
    recorder.set_histogram_bounds_mut(histograms.map(|it| it.name), service.seconds);
    recorder
}
