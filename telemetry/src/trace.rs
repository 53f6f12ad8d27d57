//! Spans of both processes, and the W3C context that a call carries from one to the
//! other.

use std::{borrow::Cow, collections::HashMap};

use opentelemetry::{
    Context, KeyValue, Value,
    propagation::{Extractor, TextMapPropagator},
    trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracer};

use crate::otlp::Otlp;

/// The header, and the field of a message, that names whose part something is.
pub const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Makes spans; none: nobody wants traces.
#[derive(Debug, Clone, Default)]
pub struct Spans(Option<SdkTracer>);

/// What takes its time. It ends when it is dropped.
#[derive(Debug, Default)]
pub struct Span(Option<opentelemetry_sdk::trace::Span>);

/// What a call says that it belongs to.
struct Carried<'a> {
    traceparent: Option<&'a str>,
    tracestate: Option<&'a str>,
}

/// What the caller says that its call belongs to, by what it has under these names;
/// nothing when it says nothing that can be read.
pub fn parent<'a>(carried: impl Fn(&str) -> Option<&'a str>) -> Context {
    let carried = Carried {
        traceparent: carried(TRACEPARENT),
        tracestate: carried(TRACESTATE),
    };
    TraceContextPropagator::new().extract_with_context(&Context::new(), &carried)
}

impl Spans {
    pub fn new(otlp: Option<&Otlp>) -> Self {
        Self(otlp.map(Otlp::tracer))
    }

    /// A part of what the caller says, or of nothing.
    pub fn begin(
        &self,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        parent: impl FnOnce() -> Context,
    ) -> Span {
        Span(self.0.as_ref().map(|tracer| {
            let builder = tracer.span_builder(name).with_kind(kind);
            builder.start_with_context(tracer, &parent())
        }))
    }

    /// A call to the other process, as gRPC names it.
    pub fn call(&self, service: &'static str, method: &'static str) -> Span {
        let name = format!("{service}/{method}");
        let span = self.begin(SpanKind::Client, name, Context::new);
        span.of_rpc(service, method)
    }

    /// A call of the other process.
    pub fn called(
        &self,
        service: &'static str,
        method: &'static str,
        parent: impl FnOnce() -> Context,
    ) -> Span {
        let name = format!("{service}/{method}");
        let span = self.begin(SpanKind::Server, name, parent);
        span.of_rpc(service, method)
    }
}

impl Span {
    fn of_rpc(mut self, service: &'static str, method: &'static str) -> Self {
        self.set("rpc.system", "grpc");
        self.set("rpc.service", service);
        self.set("rpc.method", method);
        self
    }

    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    pub fn rename(&mut self, name: String) {
        if let Some(span) = &mut self.0 {
            span.update_name(name);
        }
    }

    /// It has failed, of a kind of which there are few.
    pub fn fail(&mut self, kind: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.0 {
            let kind = kind.into();
            span.set_attribute(KeyValue::new("error.type", kind.clone()));
            span.set_status(Status::error(kind));
        }
    }

    /// How a call has ended, in gRPC's terms: 0 is well.
    pub fn ended(&mut self, code: i32, kind: impl FnOnce() -> String) {
        self.set("rpc.grpc.status_code", i64::from(code));
        if code != 0 {
            self.fail(kind());
        }
    }

    /// It is a part of this, too, if that is something.
    pub fn link(&mut self, other: &Context) {
        let other = other.span().span_context().clone();
        if let Some(span) = self.0.as_mut().filter(|_| other.is_valid()) {
            span.add_link(other, Vec::new());
        }
    }

    /// What a call carries whose receiver is to know that it belongs to this.
    pub fn traceparent(&self) -> Option<String> {
        let context = self.0.as_ref()?.span_context().clone();
        let context = Context::new().with_remote_span_context(context);
        let mut carried = HashMap::new();
        TraceContextPropagator::new().inject_context(&context, &mut carried);
        carried.remove(TRACEPARENT)
    }
}

impl Extractor for Carried<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => self.traceparent,
            TRACESTATE => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_span_tells_its_receiver_is_what_the_receiver_reads() {
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::default();
        let tracer = opentelemetry::trace::TracerProvider::tracer(&provider, "test");
        let span = Spans(Some(tracer)).call("some.Service", "Method");
        let told = span.traceparent().unwrap();
        let heard = parent(|name| (name == TRACEPARENT).then_some(&*told));
        let given = span.0.unwrap().span_context().clone();
        let heard = heard.span().span_context().clone();
        assert_eq!(heard.trace_id(), given.trace_id());
        assert_eq!(heard.span_id(), given.span_id());
        assert!(heard.is_remote());
    }

    #[test]
    fn who_wants_no_traces_tells_nobody_of_any() {
        let mut span = Spans::default().call("some.Service", "Method");
        span.fail("unavailable");
        assert_eq!(span.traceparent(), None);
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        for told in [None, Some(""), Some("00-0-0-00"), Some("nonsense")] {
            let heard = parent(|_| told);
            assert!(!heard.span().span_context().is_valid(), "{told:?}");
        }
    }
}
