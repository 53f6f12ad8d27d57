//! Who gets metrics and traces, as operators set it.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

/// Beside Prometheus, which asks.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct Exports {
    /// OpenTelemetry collector that gets metrics and traces, by OTLP over gRPC, for
    /// instance `http://collector:4317`. The SDK's other `OTEL_…` variables hold too:
    /// headers, timeouts, sampler, intervals, the service's name.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// Another one for traces.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")]
    pub otlp_traces_endpoint: Option<String>,

    /// Another one for metrics.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")]
    pub otlp_metrics_endpoint: Option<String>,

    /// How the collector is spoken to.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL", default_value = "grpc")]
    pub otlp_protocol: Protocol,

    /// PEM file with certificate authorities to trust besides the public ones.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    pub otlp_certificate: Option<PathBuf>,

    /// Whether traces are sent.
    #[arg(long, env = "OTEL_TRACES_EXPORTER", default_value = "otlp")]
    pub traces_exporter: Exporter,

    /// Whether metrics are sent.
    #[arg(long, env = "OTEL_METRICS_EXPORTER", default_value = "otlp")]
    pub metrics_exporter: Exporter,

    /// Sends neither, if it is `true`.
    #[arg(long, env = "OTEL_SDK_DISABLED", default_value = "false", num_args = 0..=1,
          default_missing_value = "true", action = ArgAction::Set, value_parser = boolean)]
    pub otel_sdk_disabled: bool,

    /// Metrics for CloudWatch on standard output, in its embedded metric format and
    /// the namespace `ClaudeCodeProxy`, once a minute.
    #[arg(long, env = "PROXY_CLOUDWATCH_METRICS", default_value = "false", num_args = 0..=1,
          default_missing_value = "true", action = ArgAction::Set)]
    pub cloudwatch_metrics: bool,
}

/// Others are refused rather than not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Protocol {
    #[default]
    #[value(alias = "")]
    Grpc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Exporter {
    #[default]
    #[value(alias = "")]
    Otlp,
    None,
}

/// In any case; nothing is false.
///
/// Source: OpenTelemetry's specification of environment variables. It takes everything
/// else for false, too, which would hide a mistake.
fn boolean(text: &str) -> Result<bool, String> {
    match &*text.to_ascii_lowercase() {
        "true" => Ok(true),
        "false" | "" => Ok(false),
        _ => Err("it must be true or false".to_owned()),
    }
}

impl Exports {
    pub(crate) fn wants_otlp(&self) -> bool {
        self.traces_endpoint().is_some() || self.metrics_endpoint().is_some()
    }

    /// None: nobody wants traces.
    pub(crate) fn traces_endpoint(&self) -> Option<&str> {
        self.endpoint(self.traces_exporter, self.otlp_traces_endpoint.as_deref())
    }

    /// None: nobody wants metrics in this way.
    pub(crate) fn metrics_endpoint(&self) -> Option<&str> {
        self.endpoint(self.metrics_exporter, self.otlp_metrics_endpoint.as_deref())
    }

    /// A variable that is set to nothing is not set.
    ///
    /// Source: OpenTelemetry's specification of environment variables.
    fn endpoint<'a>(&'a self, exporter: Exporter, own: Option<&'a str>) -> Option<&'a str> {
        let is_wanted = exporter == Exporter::Otlp && !self.otel_sdk_disabled;
        let given = [own, self.otlp_endpoint.as_deref()];
        let mut given = given.into_iter().flatten().filter(|it| !it.is_empty());
        given.next().filter(|_| is_wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        exports: Exports,
    }

    #[test]
    fn what_is_set_to_nothing_is_not_set() {
        let read = |arguments: &[&str]| {
            let arguments = [&["program"], arguments].concat();
            <Cli as clap::Parser>::try_parse_from(arguments).map(|it| it.exports)
        };
        let exports = read(&[
            "--traces-exporter=",
            "--metrics-exporter=",
            "--otlp-protocol=",
            "--otel-sdk-disabled=",
        ]);
        let exports = exports.unwrap();
        assert_eq!(exports.traces_exporter, Exporter::Otlp);
        assert_eq!(exports.metrics_exporter, Exporter::Otlp);
        assert!(!exports.otel_sdk_disabled);
        assert!(
            read(&["--otel-sdk-disabled=TRUE"])
                .unwrap()
                .otel_sdk_disabled
        );
        assert!(read(&["--otel-sdk-disabled=yes"]).is_err());
    }

    #[test]
    fn each_signal_has_its_own_endpoint_or_the_common_one() {
        let common = || Exports {
            otlp_endpoint: Some("http://common".to_owned()),
            ..Exports::default()
        };
        let own = Some("http://own".to_owned());
        let table = [
            (Exports::default(), None, None),
            (common(), Some("http://common"), Some("http://common")),
            (
                Exports {
                    otlp_traces_endpoint: own.clone(),
                    ..common()
                },
                Some("http://own"),
                Some("http://common"),
            ),
            (
                Exports {
                    otlp_metrics_endpoint: own,
                    ..Exports::default()
                },
                None,
                Some("http://own"),
            ),
            (
                Exports {
                    otlp_metrics_endpoint: Some(String::new()),
                    ..common()
                },
                Some("http://common"),
                Some("http://common"),
            ),
            (
                Exports {
                    traces_exporter: Exporter::None,
                    ..common()
                },
                None,
                Some("http://common"),
            ),
            (
                Exports {
                    otel_sdk_disabled: true,
                    ..common()
                },
                None,
                None,
            ),
        ];
        for (exports, traces, metrics) in table {
            let found = (exports.traces_endpoint(), exports.metrics_endpoint());
            assert_eq!(found, (traces, metrics), "{exports:?}");
        }
    }
}
