//! Who gets metrics and traces, as operators set it.

use clap::{ArgAction, Args};

/// Beside Prometheus, which asks.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct Exports {
    /// OpenTelemetry collector that gets metrics and traces, by OTLP over gRPC, for
    /// instance `http://collector:4317`. The SDK's other `OTEL_…` variables hold too:
    /// headers, sampler, intervals, the service's name.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// Metrics for CloudWatch on standard output, in its embedded metric format and
    /// the namespace `ClaudeCodeProxy`, once a minute.
    #[arg(long, env = "PROXY_CLOUDWATCH_METRICS", default_value = "false", num_args = 0..=1,
          default_missing_value = "true", action = ArgAction::Set)]
    pub cloudwatch_metrics: bool,
}

impl Exports {
    /// A variable that is set to nothing is not set.
    ///
    /// Source: OpenTelemetry's specification of environment variables.
    pub fn otlp_endpoint(&self) -> Option<&str> {
        self.otlp_endpoint.as_deref().filter(|it| !it.is_empty())
    }
}
