//! An OpenTelemetry collector: its protocol, and a list of what has come.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::KeyValue,
    metrics::v1::Metric,
    trace::v1::Span,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

#[derive(Debug, Clone)]
pub(crate) struct Collector {
    url: String,
    received: Arc<Mutex<Received>>,
}

#[derive(Debug, Default)]
struct Received {
    spans: Vec<(Resource, Span)>,
    metrics: Vec<(Resource, Metric)>,
}

/// Who has sent something.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resource(pub(crate) Vec<KeyValue>);

impl Collector {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test is its own shutdown: its runtime ends with it"
    )]
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let collector = Self {
            url: format!("http://{}", listener.local_addr()?),
            received: Arc::default(),
        };
        let server = Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .add_service(MetricsServiceServer::new(collector.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        Ok(collector)
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every span, in the order of its coming.
    pub(crate) fn spans(&self) -> Vec<(Resource, Span)> {
        self.received().spans.clone()
    }

    /// Every state of every metric, in the order of its coming.
    pub(crate) fn metrics(&self) -> Vec<(Resource, Metric)> {
        self.received().metrics.clone()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.received();
        for of_resource in request.into_inner().resource_spans {
            let resource = Resource(of_resource.resource.unwrap_or_default().attributes);
            for of_scope in of_resource.scope_spans {
                let spans = of_scope.spans.into_iter();
                received
                    .spans
                    .extend(spans.map(|span| (resource.clone(), span)));
            }
        }
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let mut received = self.received();
        for of_resource in request.into_inner().resource_metrics {
            let resource = Resource(of_resource.resource.unwrap_or_default().attributes);
            for of_scope in of_resource.scope_metrics {
                let metrics = of_scope.metrics.into_iter();
                received
                    .metrics
                    .extend(metrics.map(|metric| (resource.clone(), metric)));
            }
        }
        Ok(Response::new(Default::default()))
    }
}
