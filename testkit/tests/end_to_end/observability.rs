//! What operators get of the real processes: a collector that speaks OTLP, CloudWatch
//! that reads the log, a container that asks its own process.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{Metric, metric, number_data_point},
    trace::v1::{Span, span::SpanKind},
};
use reqwest::Method;
use serde_json::Value;
use testkit::anthropic::{Reply, Rule};

use crate::support::{
    World,
    bedrock::OnBedrock,
    client::{MODEL, OWN, say},
    collector::{Collector, Resource},
    eventually, question, send,
};

/// The client's own trace.
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT_ID: &str = "00f067aa0ba902b7";

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_spans_of_a_request_that_moves_on() -> Result<()> {
    let collector = Collector::start().await?;
    let world = OnBedrock::after_the_plan(|stack| told(&collector, stack)).await?;
    let script = world.simulator.script();
    script.rule(Rule::once(Reply::error(529)));
    let traceparent = format!("00-{TRACE_ID}-{PARENT_ID}-01");
    let headers = [
        ("x-api-key", OWN),
        ("traceparent", traceparent.as_str()),
        ("x-claude-code-session-id", "session-1"),
    ];
    let answer = send(&world.base_url(), &question(MODEL, true), &headers).await?;
    ensure!(answer.status().is_success(), "{answer:?}");
    let heard = answer.text().await?;
    let [row] = &world.usage_of(&world.key.access_key_id, 1).await?[..] else {
        anyhow::bail!("not one row");
    };

    let (resource, spans) = eventually("the spans are there", async || {
        let mut spans = collector.spans();
        spans.retain(|(_, span)| hex::encode(&span.trace_id) == TRACE_ID);
        Ok((spans.len() >= 3).then_some(spans))
    })
    .await?
    .into_iter()
    .fold((None, Vec::new()), |(_, mut spans), (resource, span)| {
        spans.push(span);
        (Some(resource), spans)
    });
    assert_eq!(spans.len(), 3, "{spans:#?}");
    assert_eq!(
        resource.context("no resource")?.text("service.name"),
        Some("claude-code-proxy".to_owned())
    );
    let server = spans
        .iter()
        .find(|it| it.kind == SpanKind::Server as i32)
        .context("no span of ours")?;
    assert_eq!(server.name, "POST /v1/messages");
    assert_eq!(hex::encode(&server.parent_span_id), PARENT_ID);
    assert_eq!(text(server, "session.id").as_deref(), Some("session-1"));
    assert_eq!(
        text(server, "claude_code_proxy.route").as_deref(),
        Some("plan:529, bedrock:200")
    );

    let mut asked: Vec<&Span> = spans
        .iter()
        .filter(|it| it.kind == SpanKind::Client as i32)
        .collect();
    asked.sort_by_key(|it| it.start_time_unix_nano);
    let [plan, bedrock] = asked[..] else {
        anyhow::bail!("not two providers: {asked:#?}");
    };
    for span in [plan, bedrock] {
        assert_eq!(span.parent_span_id, server.span_id);
        assert_eq!(text(span, "gen_ai.operation.name").as_deref(), Some("chat"));
        assert_eq!(text(span, "gen_ai.request.model").as_deref(), Some(MODEL));
        let conversation = text(span, "gen_ai.conversation.id");
        assert_eq!(conversation.as_deref(), Some("session-1"));
        assert_eq!(span.name, format!("chat {MODEL}"));
        assert!(span.start_time_unix_nano >= server.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= server.end_time_unix_nano);
    }
    let provider = |span| text(span, "gen_ai.provider.name");
    assert_eq!(provider(plan).as_deref(), Some("anthropic"));
    assert_eq!(text(plan, "error.type").as_deref(), Some("529"));
    assert!(plan.end_time_unix_nano <= bedrock.start_time_unix_nano);
    assert_eq!(provider(bedrock).as_deref(), Some("aws.bedrock"));
    assert_eq!(text(bedrock, "error.type"), None);
    for (span, url) in [
        (plan, world.simulator.url()),
        (bedrock, world.bedrock.url()),
    ] {
        let address = text(span, "server.address").context("no address")?;
        let port = number(span, "server.port").context("no port")?;
        assert_eq!(url, format!("http://{address}:{port}"));
    }
    let answers = text(bedrock, "gen_ai.response.model").context("no model")?;
    assert_eq!(Some(&*answers), row["upstream_model"].as_str());
    assert_eq!(
        texts(bedrock, "gen_ai.response.finish_reasons"),
        ["end_turn"]
    );
    let counted = |names: &[&str]| names.iter().filter_map(|it| row[it].as_i64()).sum::<i64>();
    let writes = ["cache_write_5m_tokens", "cache_write_1h_tokens"];
    for (name, tokens) in [
        ("output_tokens", counted(&["output_tokens"])),
        (
            "input_tokens",
            counted(&["input_tokens", "cache_read_tokens"]) + counted(&writes),
        ),
        ("cache_read.input_tokens", counted(&["cache_read_tokens"])),
        ("cache_creation.input_tokens", counted(&writes)),
    ] {
        let name = format!("gen_ai.usage.{name}");
        assert_eq!(number(bedrock, &name), Some(tokens), "{name}");
    }

    let everything = format!("{spans:?}");
    let words = heard.lines().filter(|it| it.contains("text_delta")).count();
    assert!(words > 0, "{heard}");
    for secret in [&world.key.raw_key, OWN, "one two three"] {
        assert!(!everything.contains(secret), "{everything}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_what_control_does_as_a_part_of_what_its_callers_do() -> Result<()> {
    let collector = Collector::start().await?;
    let mut world = World::with(|stack| told(&collector, stack)).await?;
    say(&world.base_url(), "one", true, OWN).await;
    world.until_all_is_counted().await?;
    let admin = world.stack.admin();
    let user = format!("/admin/users/{}", world.user_id);
    let asked = admin.request(Method::GET, &user);
    let traceparent = format!("00-{TRACE_ID}-{PARENT_ID}-01");
    let answer = asked.header("traceparent", traceparent).send().await?;
    ensure!(answer.status().is_success(), "{answer:?}");

    let of = |service: &str, name: &str, kind: SpanKind| {
        let spans = collector.spans().into_iter();
        let wanted = spans.filter(|(resource, span)| {
            resource.text("service.name").as_deref() == Some(service)
                && span.name == name
                && span.kind == kind as i32
        });
        wanted.map(|(_, span)| span).collect::<Vec<_>>()
    };
    let request = eventually("an administrator's request is there", async || {
        let spans = of(
            "claude-code-control",
            "GET /admin/users/{user_id}",
            SpanKind::Server,
        );
        let is_ours = |span: &Span| hex::encode(&span.trace_id) == TRACE_ID;
        Ok(spans.into_iter().find(is_ours))
    })
    .await?;
    assert_eq!(hex::encode(&request.parent_span_id), PARENT_ID);
    assert_eq!(number(&request, "http.response.status_code"), Some(200));

    // A stream's span comes when it has ended.
    let proxy = world.stack.remove_proxy().context("no proxy")?;
    proxy.service.process().signal(Signal::SIGTERM)?;
    proxy.service.process().exited().await;
    for (service, method) in [
        ("ConfigService", "Watch"),
        ("ConfigService", "Report"),
        ("UsageService", "Push"),
    ] {
        let name = format!("ccproxy.sync.v1.{service}/{method}");
        let (call, called) = eventually("both sides of a call are there", async || {
            let calls = of("claude-code-proxy", &name, SpanKind::Client);
            let called = of("claude-code-control", &name, SpanKind::Server);
            // Control may have been called before it had its database.
            let is_well = |it: &Span| number(it, "rpc.grpc.status_code") == Some(0);
            Ok(called.into_iter().filter(is_well).find_map(|called| {
                let mut calls = calls.iter();
                let call = calls.find(|it| it.span_id == called.parent_span_id)?;
                Some((call.clone(), called))
            }))
        })
        .await
        .with_context(|| name.clone())?;
        assert_eq!(call.trace_id, called.trace_id, "{name}");
        for span in [&call, &called] {
            assert_eq!(text(span, "rpc.method").as_deref(), Some(method));
        }
    }
    let stored = of(
        "claude-code-control",
        "ccproxy.sync.v1.UsageService/Push",
        SpanKind::Server,
    );
    let new = stored
        .iter()
        .filter_map(|it| number(it, "claude_code_proxy.events.new"));
    assert_eq!(new.sum::<i64>(), 1, "{stored:#?}");
    let everything = format!("{:?}", collector.spans());
    for secret in [&world.key.raw_key, OWN] {
        assert!(!everything.contains(secret), "{everything}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_metrics_of_both_processes() -> Result<()> {
    let collector = Collector::start().await?;
    let world = World::with(|stack| told(&collector, stack)).await?;
    for text in ["one", "two", "three"] {
        say(&world.base_url(), text, true, OWN).await;
    }
    world.until_all_is_counted().await?;
    let output = world.simulator.ledger().tokens.output_tokens;
    eventually("the metrics are there", async || {
        let of = |service: &str, name: &str| {
            let metrics = collector.metrics();
            let mut newest = metrics.into_iter().rev();
            let found = newest.find(|(resource, metric)| {
                resource.text("service.name").as_deref() == Some(service) && metric.name == name
            });
            found.map(|(_, metric)| metric)
        };
        let (Some(requests), Some(tokens), Some(ingested)) = (
            of("claude-code-proxy", "proxy_provider_requests_total"),
            of("claude-code-proxy", "gen_ai.client.token.usage"),
            of("claude-code-control", "control_ingest_events_total"),
        ) else {
            return Ok(None);
        };
        let is_all = sum(&requests, &[("provider", "plan")]) == 3.0
            && sum(&tokens, &[("gen_ai.token.type", "output")]) == output as f64
            && sum(&ingested, &[("result", "new")]) == 3.0;
        Ok(is_all.then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_what_cloudwatch_makes_metrics_of() -> Result<()> {
    let world =
        OnBedrock::after_the_plan(|stack| stack.setting("PROXY_CLOUDWATCH_METRICS", "true"))
            .await?;
    let script = world.simulator.script();
    script.rule(Rule::once(Reply::error(529)));
    for text in ["one", "two"] {
        let heard = say(&world.base_url(), text, true, OWN).await;
        assert!(heard.is_complete(text), "{heard:?}");
    }
    let (mut world, bedrock) = world.into_parts();
    let proxy = world.stack.remove_proxy().context("no proxy")?;
    proxy.service.process().signal(Signal::SIGTERM)?;
    proxy.service.process().exited().await;
    let log = std::fs::read_to_string(proxy.service.log())?;
    let lines: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line.get("_aws").is_some())
        .collect();
    let total = |name: &str, dimension: (&str, &str)| {
        let of = |line: &&Value| line.get(dimension.0).and_then(Value::as_str) == Some(dimension.1);
        let values = lines.iter().filter(of).filter_map(|it| it.get(name));
        values.filter_map(Value::as_f64).sum::<f64>()
    };
    assert_eq!(total("RequestCount", ("Provider", "plan")), 2.0);
    assert_eq!(total("RequestCount", ("Provider", "bedrock")), 1.0);
    assert_eq!(total("ErrorCount", ("Provider", "plan")), 1.0);
    assert_eq!(total("ErrorCount", ("ErrorType", "server_error")), 1.0);
    assert_eq!(total("FallbackCount", ("Service", "proxy")), 1.0);
    assert_eq!(
        total("BedrockTokensUsed", ("TokenType", "output")),
        bedrock.ledger().tokens.output_tokens as f64
    );
    for line in &lines {
        let namespace = &line["_aws"]["CloudWatchMetrics"][0]["Namespace"];
        assert_eq!(namespace, "ClaudeCodeProxy");
    }
    Ok(())
}

/// Tells a collector soon.
fn told<'a>(
    collector: &Collector,
    stack: testkit::stack::Builder<'a>,
) -> testkit::stack::Builder<'a> {
    stack
        .setting("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .setting("OTEL_BSP_SCHEDULE_DELAY", "50")
        .setting("OTEL_METRIC_EXPORT_INTERVAL", "200")
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a any_value::Value> {
    let found = attributes.iter().find(|it| it.key == name)?;
    let AnyValue { value } = found.value.as_ref()?;
    value.as_ref()
}

fn text(span: &Span, name: &str) -> Option<String> {
    match attribute(&span.attributes, name)? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn number(span: &Span, name: &str) -> Option<i64> {
    match attribute(&span.attributes, name)? {
        any_value::Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

fn texts(span: &Span, name: &str) -> Vec<String> {
    let Some(any_value::Value::ArrayValue(list)) = attribute(&span.attributes, name) else {
        return Vec::new();
    };
    let texts = list.values.iter().filter_map(|it| match &it.value {
        Some(any_value::Value::StringValue(text)) => Some(text.clone()),
        _ => None,
    });
    texts.collect()
}

/// Of all points that have these attributes.
fn sum(metric: &Metric, wanted: &[(&str, &str)]) -> f64 {
    let is_wanted = |attributes: &[KeyValue]| {
        wanted.iter().all(|(name, wanted)| {
            matches!(
                attribute(attributes, name),
                Some(any_value::Value::StringValue(text)) if text == wanted
            )
        })
    };
    match &metric.data {
        Some(metric::Data::Sum(sum)) => {
            let points = sum.data_points.iter();
            let wanted = points.filter(|it| is_wanted(&it.attributes));
            wanted
                .map(|it| match it.value {
                    Some(number_data_point::Value::AsInt(number)) => number as f64,
                    Some(number_data_point::Value::AsDouble(number)) => number,
                    None => 0.0,
                })
                .sum()
        }
        Some(metric::Data::Histogram(histogram)) => {
            let points = histogram.data_points.iter();
            let wanted = points.filter(|it| is_wanted(&it.attributes));
            wanted.filter_map(|it| it.sum).sum()
        }
        _ => 0.0,
    }
}

impl Resource {
    fn text(&self, name: &str) -> Option<String> {
        match attribute(&self.0, name)? {
            any_value::Value::StringValue(text) => Some(text.clone()),
            _ => None,
        }
    }
}
