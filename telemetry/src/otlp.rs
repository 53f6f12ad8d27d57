//! Traces and metrics for an OpenTelemetry collector, over OTLP and gRPC.
//!
//! The SDK reads the other standard `OTEL_…` variables itself: headers, timeouts,
//! the sampler, intervals, sizes of queues, resource attributes.

use anyhow::Context;
use opentelemetry::{
    Key, KeyValue,
    metrics::{Meter, MeterProvider},
    trace::TracerProvider,
};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    metrics::SdkMeterProvider,
    trace::{SdkTracer, SdkTracerProvider},
};
use uuid::Uuid;

/// Our instrumentation scope.
const SCOPE: &str = "claude-code-proxy";

/// What the SDK says when nobody has named the service.
const UNKNOWN: &str = "unknown_service";

/// The way to a collector. Queues are bounded; what does not fit is dropped.
#[derive(Debug, Clone)]
pub struct Otlp {
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
}

impl Otlp {
    /// Connects when there is something to send. `service` is the name unless
    /// `OTEL_SERVICE_NAME` gives another one. Call it within a tokio runtime that
    /// lives on: connections are driven there.
    ///
    /// # Errors
    ///
    /// The endpoint is no URL, or another variable cannot be used.
    pub fn new(endpoint: &str, service: &'static str) -> anyhow::Result<Self> {
        let spans = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build();
        let spans = spans.context("OTEL_EXPORTER_OTLP_ENDPOINT: traces")?;
        let metrics = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build();
        let metrics = metrics.context("OTEL_EXPORTER_OTLP_ENDPOINT: metrics")?;
        let resource = resource(service);
        Ok(Self {
            tracers: SdkTracerProvider::builder()
                .with_batch_exporter(spans)
                .with_resource(resource.clone())
                .build(),
            meters: SdkMeterProvider::builder()
                .with_periodic_exporter(metrics)
                .with_resource(resource)
                .build(),
        })
    }

    pub fn meter(&self) -> Meter {
        self.meters.meter(SCOPE)
    }

    pub fn tracer(&self) -> SdkTracer {
        self.tracers.tracer(SCOPE)
    }

    /// Sends what waits, and stops. It waits for the collector, so not in a task.
    pub fn stop(&self) {
        for stopped in [self.tracers.shutdown(), self.meters.shutdown()] {
            if let Err(error) = stopped {
                eprintln!("the OpenTelemetry collector did not take everything: {error}");
            }
        }
    }
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
