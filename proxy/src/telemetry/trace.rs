//! A request as OpenTelemetry gets it: one span of ours, below whatever the client
//! says that it belongs to, and one span for each provider that was asked. At the
//! end of a request, from what its line says.
//!
//! Source: OpenTelemetry's semantic conventions for HTTP and for generative AI, with
//! the names of version 1.37.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Uri};
use opentelemetry::{
    Array, Context, KeyValue, StringValue, Value,
    metrics::Histogram,
    trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::SdkTracer;
use proto::{
    line::Line,
    sync::{Outcome, Provider},
};
use telemetry::{otlp::Otlp, trace};

use crate::endpoint::Endpoint;

/// Bounds that the conventions give for durations, in seconds, and for tokens.
const SECONDS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
const TOKENS: [f64; 14] = [
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0,
    16777216.0, 67108864.0,
];

/// A model that nobody has answered for: its name is the client's alone, and there
/// is no end of names.
const OTHER_MODEL: &str = "_OTHER";

/// The way to a collector.
#[derive(Debug)]
pub struct Tracing {
    tracer: SdkTracer,
    duration: Histogram<f64>,
    tokens: Histogram<u64>,
}

/// One request, while it runs.
#[derive(Debug)]
pub struct Trace {
    tracing: Arc<Tracing>,
    parent: Context,
    attempts: Vec<Attempt>,
}

/// One provider that is asked, in times since the request began.
#[derive(Debug)]
struct Attempt {
    provider: Provider,
    began: Duration,
    /// Where it is, when it has come to that.
    origin: Option<Uri>,
    /// When it had failed, and of what.
    failed: Option<(Duration, String)>,
}

/// How a request has ended.
#[derive(Debug)]
pub struct End<'a> {
    pub endpoint: Endpoint,
    pub line: &'a Line<'a>,
    pub outcome: Outcome,
    /// Why the model stopped, when it has said so.
    pub stop_reason: Option<&'a str>,
    /// The time since it began.
    pub after: Duration,
}

impl Tracing {
    pub fn new(otlp: &Otlp) -> Arc<Self> {
        let meter = otlp.meter();
        Arc::new(Self {
            tracer: otlp.tracer(),
            duration: meter
                .f64_histogram("gen_ai.client.operation.duration")
                .with_unit("s")
                .with_description("from asking a provider to the end of its answer")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            tokens: meter
                .u64_histogram("gen_ai.client.token.usage")
                .with_unit("{token}")
                .with_description("tokens of a request")
                .with_boundaries(TOKENS.to_vec())
                .build(),
        })
    }

    /// A request with these headers begins.
    pub fn begin(self: &Arc<Self>, headers: &HeaderMap) -> Trace {
        Trace {
            tracing: self.clone(),
            parent: trace::parent(|name| headers.get(name)?.to_str().ok()),
            attempts: Vec::new(),
        }
    }
}

impl Trace {
    pub fn asks(&mut self, provider: Provider, began: Duration) {
        self.attempts.push(Attempt {
            provider,
            began,
            origin: None,
            failed: None,
        });
    }

    /// Who is asked is there.
    pub fn asks_at(&mut self, origin: &Uri) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.origin = Some(origin.clone());
        }
    }

    /// Who was asked last has failed.
    pub fn fails(&mut self, at: Duration, of: String) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.failed = Some((at, of));
        }
    }

    /// The request has ended.
    pub fn end(self, end: &End<'_>) {
        let End {
            endpoint,
            line,
            outcome,
            ..
        } = *end;
        let started = SystemTime::from(line.started_at);
        let builder = SpanBuilder::from_name(endpoint.route())
            .with_kind(SpanKind::Server)
            .with_start_time(started)
            .with_attributes(request(endpoint, line));
        let mut span = self
            .tracing
            .tracer
            .build_with_context(builder, &self.parent);
        if outcome == Outcome::UpstreamFailed || line.status >= 500 {
            span.set_status(Status::error(outcome.label()));
            span.set_attribute(KeyValue::new("error.type", outcome.label()));
        }
        let context = self.parent.with_span(span);
        for attempt in &self.attempts {
            self.tracing.attempt(attempt, end, &context);
        }
        context.span().end_with_timestamp(started + end.after);
    }
}

impl Tracing {
    fn attempt(&self, attempt: &Attempt, end: &End<'_>, context: &Context) {
        let End {
            endpoint,
            line,
            outcome,
            stop_reason,
            after,
        } = *end;
        let started = SystemTime::from(line.started_at);
        let (ended, error) = match &attempt.failed {
            Some((at, of)) => (*at, Some(of.as_str())),
            None if outcome == Outcome::Complete => (after, None),
            None => (after, Some(outcome.label())),
        };
        let has_answered = attempt.failed.is_none();
        let operation = operation(endpoint);
        let server = attempt.origin.as_ref().map(server).unwrap_or_default();
        let mut attributes = asked(attempt.provider, operation, line);
        attributes.extend(server.iter().cloned());
        if has_answered {
            attributes.extend(answered(attempt.provider, line));
            attributes.extend(stop_reason.map(finished));
        }
        attributes.extend(error.map(|it| KeyValue::new("error.type", it.to_owned())));
        let builder = SpanBuilder::from_name(format!("{operation} {}", line.model))
            .with_kind(SpanKind::Client)
            .with_start_time(started + attempt.began)
            .with_attributes(attributes);
        let mut span = self.tracer.build_with_context(builder, context);
        if let Some(error) = error {
            span.set_status(Status::error(error.to_owned()));
        }
        span.end_with_timestamp(started + ended);

        let mut labels = vec![
            KeyValue::new("gen_ai.operation.name", operation),
            KeyValue::new("gen_ai.provider.name", provider(attempt.provider)),
            KeyValue::new("gen_ai.request.model", known_model(line).to_owned()),
        ];
        labels.extend(server);
        if has_answered && endpoint.is_metered() {
            for (kind, count) in [("input", input(line)), ("output", line.output_tokens)] {
                let mut labels = labels.clone();
                labels.push(KeyValue::new("gen_ai.token.type", kind));
                self.tokens.record(count, &labels);
            }
        }
        labels.extend(error.map(|it| KeyValue::new("error.type", it.to_owned())));
        let took = ended.saturating_sub(attempt.began);
        self.duration.record(took.as_secs_f64(), &labels);
    }
}

fn request(endpoint: Endpoint, line: &Line<'_>) -> Vec<KeyValue> {
    // Without the access key, which stands in the path that the client asks for.
    let (method, path) = endpoint.route().split_once(' ').unwrap_or(("_OTHER", ""));
    let mut attributes = vec![
        KeyValue::new("http.request.method", method),
        KeyValue::new("http.route", path),
        KeyValue::new("url.path", path),
        KeyValue::new("url.scheme", "http"),
        KeyValue::new("http.response.status_code", i64::from(line.status)),
        KeyValue::new("claude_code_proxy.endpoint", endpoint.label()),
        KeyValue::new("claude_code_proxy.request_id", line.request_id.to_string()),
        KeyValue::new("claude_code_proxy.outcome", line.outcome.to_string()),
        KeyValue::new("claude_code_proxy.is_fallback", line.is_fallback),
    ];
    attributes.extend(known([
        ("claude_code_proxy.access_key_id", &line.access_key_id),
        ("claude_code_proxy.route", &line.route),
        ("user.id", &line.user_id),
        ("session.id", &line.session_id),
    ]));
    attributes
}

fn asked(asked: Provider, operation: &'static str, line: &Line<'_>) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("gen_ai.operation.name", operation),
        KeyValue::new("gen_ai.provider.name", provider(asked)),
        KeyValue::new("gen_ai.request.stream", line.is_streaming),
    ];
    attributes.extend(known([
        ("gen_ai.request.model", &line.model),
        ("gen_ai.conversation.id", &line.session_id),
    ]));
    attributes
}

/// Host and port, also where the port is the scheme's own.
fn server(origin: &Uri) -> Vec<KeyValue> {
    let scheme = origin.scheme_str();
    let port = origin.port_u16();
    let port = port.unwrap_or(if scheme == Some("https") { 443 } else { 80 });
    let host = origin.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    vec![
        KeyValue::new("server.address", host.to_owned()),
        KeyValue::new("server.port", i64::from(port)),
    ]
}

/// There is one answer to each request.
fn finished(stop_reason: &str) -> KeyValue {
    let reasons = Array::from(vec![StringValue::from(stop_reason.to_owned())]);
    KeyValue::new("gen_ai.response.finish_reasons", Value::Array(reasons))
}

fn answered(provider: Provider, line: &Line<'_>) -> Vec<KeyValue> {
    let request_id = match provider {
        Provider::Bedrock => "aws.request_id",
        Provider::Plan | Provider::Unspecified => "claude_code_proxy.upstream_request_id",
    };
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let mut attributes = vec![
        KeyValue::new("gen_ai.usage.input_tokens", count(input(line))),
        KeyValue::new("gen_ai.usage.output_tokens", count(line.output_tokens)),
        KeyValue::new(
            "gen_ai.usage.cache_read.input_tokens",
            count(line.cache_read_tokens),
        ),
        KeyValue::new(
            "gen_ai.usage.cache_creation.input_tokens",
            count(line.cache_write_5m_tokens + line.cache_write_1h_tokens),
        ),
    ];
    attributes.extend(known([
        ("gen_ai.response.model", &line.upstream_model),
        ("claude_code_proxy.bedrock_model", &line.bedrock_model),
        ("cloud.region", &line.bedrock_region),
        (request_id, &line.upstream_request_id),
    ]));
    attributes
}

/// Those that have a value.
fn known<const N: usize>(
    texts: [(&'static str, &Cow<'_, str>); N],
) -> impl Iterator<Item = KeyValue> {
    let known = texts.into_iter().filter(|(_, text)| !text.is_empty());
    known.map(|(name, text)| KeyValue::new(name, text.to_string()))
}

/// All that goes in: the conventions count what comes from a cache too.
fn input(line: &Line<'_>) -> u64 {
    line.input_tokens
        + line.cache_read_tokens
        + line.cache_write_5m_tokens
        + line.cache_write_1h_tokens
}

fn known_model<'a>(line: &'a Line<'_>) -> &'a str {
    match line.upstream_model.is_empty() {
        true => OTHER_MODEL,
        false => &line.model,
    }
}

fn provider(provider: Provider) -> &'static str {
    match provider {
        Provider::Bedrock => "aws.bedrock",
        Provider::Plan | Provider::Unspecified => "anthropic",
    }
}

fn operation(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Messages => "chat",
        other => other.label(),
    }
}
