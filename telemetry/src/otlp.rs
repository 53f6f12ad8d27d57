//! Traces and metrics for an OpenTelemetry collector, over OTLP and gRPC.
//!
//! The SDK reads the other standard `OTEL_…` variables itself: headers, timeouts,
//! the sampler, intervals, sizes of queues, resource attributes.

use std::{fs, thread, time::Duration};

use anyhow::Context;
use opentelemetry::{
    Key, KeyValue,
    metrics::{Meter, MeterProvider},
    trace::TracerProvider,
};
use opentelemetry_otlp::{
    MetricExporter, SpanExporter, WithExportConfig, WithTonicConfig,
    tonic_types::transport::{Certificate, ClientTlsConfig},
};
use opentelemetry_sdk::{
    Resource,
    metrics::SdkMeterProvider,
    trace::{SdkTracer, SdkTracerProvider},
};
use uuid::Uuid;

use crate::settings::Exports;

/// Our instrumentation scope.
const SCOPE: &str = "claude-code-proxy";

/// What the SDK says when nobody has named the service.
const UNKNOWN: &str = "unknown_service";

/// A collector that takes longer at the end gets no more.
const FAREWELL: Duration = Duration::from_secs(5);

/// The way to a collector. Queues are bounded; what does not fit is dropped.
#[derive(Debug, Clone)]
pub struct Otlp {
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
}

impl Otlp {
    /// Connects when there is something to send; none: nobody wants anything.
    /// `service` is the name unless `OTEL_SERVICE_NAME` gives another one. Call it
    /// within a tokio runtime that lives on: connections are driven there.
    ///
    /// # Errors
    ///
    /// The endpoint is no URL, or another variable cannot be used.
    pub fn new(exports: &Exports, service: &'static str) -> anyhow::Result<Option<Self>> {
        if !exports.wants_otlp() {
            return Ok(None);
        }
        let resource = resource(service);
        let mut tracers = SdkTracerProvider::builder().with_resource(resource.clone());
        if let Some(endpoint) = exports.traces_endpoint() {
            let exporter = to(SpanExporter::builder().with_tonic(), endpoint, exports)?.build();
            let exporter = exporter.with_context(|| format!("OTLP: traces to {endpoint}"))?;
            tracers = tracers.with_batch_exporter(exporter);
        }
        let mut meters = SdkMeterProvider::builder().with_resource(resource);
        if let Some(endpoint) = exports.metrics_endpoint() {
            let exporter = to(MetricExporter::builder().with_tonic(), endpoint, exports)?.build();
            let exporter = exporter.with_context(|| format!("OTLP: metrics to {endpoint}"))?;
            meters = meters.with_periodic_exporter(exporter);
        }
        Ok(Some(Self {
            tracers: tracers.build(),
            meters: meters.build(),
        }))
    }

    pub fn meter(&self) -> Meter {
        self.meters.meter(SCOPE)
    }

    pub fn tracer(&self) -> SdkTracer {
        self.tracers.tracer(SCOPE)
    }

    /// Sends what waits, and stops. It waits for the collector, so not in a task.
    pub fn stop(&self) {
        let stopped = thread::scope(|scope| {
            let tracers = scope.spawn(|| self.tracers.shutdown_with_timeout(FAREWELL));
            let meters = self.meters.shutdown_with_timeout(FAREWELL);
            [tracers.join().unwrap_or(Ok(())), meters]
        });
        for error in stopped.into_iter().filter_map(Result::err) {
            eprintln!("the OpenTelemetry collector did not take everything: {error}");
        }
    }
}

/// What is exported goes there, with TLS if the address says so.
fn to<Builder: WithExportConfig + WithTonicConfig>(
    builder: Builder,
    endpoint: &str,
    exports: &Exports,
) -> anyhow::Result<Builder> {
    let builder = builder.with_endpoint(endpoint);
    Ok(match tls(exports, endpoint)? {
        Some(tls) => builder.with_tls_config(tls),
        None => builder,
    })
}

/// Who may have signed the collector's certificate: besides the public authorities,
/// those of the file.
fn tls(exports: &Exports, endpoint: &str) -> anyhow::Result<Option<ClientTlsConfig>> {
    if !endpoint.starts_with("https://") {
        return Ok(None);
    }
    let tls = ClientTlsConfig::new().with_webpki_roots();
    let Some(file) = &exports.otlp_certificate else {
        return Ok(Some(tls));
    };
    let pem = fs::read(file).with_context(|| {
        let file = file.display();
        format!("OTEL_EXPORTER_OTLP_CERTIFICATE: cannot read {file}")
    })?;
    Ok(Some(tls.ca_certificate(Certificate::from_pem(pem))))
}

fn resource(service: &'static str) -> Resource {
    let given = Resource::builder().build();
    let name = given.get(&Key::from_static_str("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with(UNKNOWN));
    let resource = Resource::builder().with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", Uuid::new_v4().to_string()),
    ]);
    match is_named {
        true => resource.build(),
        false => resource.with_service_name(service).build(),
    }
}
