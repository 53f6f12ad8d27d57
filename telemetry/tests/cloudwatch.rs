//! What is recorded through the facade comes out as CloudWatch's lines.

#![cfg(test)]

use std::time::{Duration, SystemTime};

use metrics::{counter, gauge, histogram, with_local_recorder};
use serde_json::{Value, json};
use telemetry::{catalog::Metric, cloudwatch::CloudWatch};

const CATALOG: &[Metric] = &[
    Metric::counter("asked_total", "")
        .by(&["provider", "result"])
        .on_cloudwatch("RequestCount", &[("provider", "Provider")]),
    Metric::counter("failures_total", "")
        .by(&["provider", "kind"])
        .on_cloudwatch(
            "ErrorCount",
            &[("provider", "Provider"), ("kind", "ErrorType")],
        ),
    Metric::gauge("circuits", "")
        .by(&["state"])
        .on_cloudwatch("CircuitOpen", &[])
        .only("state", "open"),
    Metric::duration("first_byte_seconds", "")
        .on_cloudwatch("RequestLatency", &[("provider", "Provider")]),
    Metric::counter("private_total", ""),
];

fn lines(cloudwatch: &CloudWatch) -> Vec<Value> {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let text = String::from_utf8(cloudwatch.lines(at)).unwrap();
    text.lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect()
}

fn named<'a>(lines: &'a [Value], name: &str) -> Vec<&'a Value> {
    lines.iter().filter(|it| it.get(name).is_some()).collect()
}

#[test]
fn lines_have_names_dimensions_units_and_values() {
    let cloudwatch = CloudWatch::new("proxy", CATALOG);
    with_local_recorder(&cloudwatch, || {
        counter!("asked_total", "provider" => "plan", "result" => "ok").increment(2);
        counter!("asked_total", "provider" => "plan", "result" => "timeout").increment(1);
        counter!("failures_total", "provider" => "plan", "kind" => "timeout").increment(1);
        gauge!("circuits", "state" => "open").set(3.0);
        gauge!("circuits", "state" => "half_open").set(1.0);
        histogram!("first_byte_seconds", "provider" => "bedrock").record(0.25);
        counter!("private_total").increment(1);
    });
    let lines = lines(&cloudwatch);
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert_eq!(
        named(&lines, "RequestCount"),
        [&json!({
            "_aws": {
                "Timestamp": 1_700_000_000_123_u64,
                "CloudWatchMetrics": [{
                    "Namespace": "ClaudeCodeProxy",
                    "Dimensions": [["Provider"]],
                    "Metrics": [{"Name": "RequestCount", "Unit": "Count"}],
                }],
            },
            "Provider": "plan",
            "RequestCount": 3.0,
        })]
    );
    let error = named(&lines, "ErrorCount")[0];
    let sets = &error["_aws"]["CloudWatchMetrics"][0]["Dimensions"];
    assert_eq!(*sets, json!([["Provider"], ["Provider", "ErrorType"]]));
    assert_eq!(error["ErrorType"], "timeout");
    let circuits = named(&lines, "CircuitOpen");
    assert_eq!(circuits[0]["CircuitOpen"], 3.0);
    assert_eq!(circuits[0]["Service"], "proxy");
    let latency = named(&lines, "RequestLatency")[0];
    assert_eq!(latency["RequestLatency"], 0.25);
    let metric = &latency["_aws"]["CloudWatchMetrics"][0]["Metrics"][0];
    assert_eq!(metric["Unit"], "Seconds");
}

#[test]
fn counters_and_samples_are_told_once_and_gauges_again() {
    let cloudwatch = CloudWatch::new("proxy", CATALOG);
    with_local_recorder(&cloudwatch, || {
        counter!("asked_total", "provider" => "plan", "result" => "ok").increment(2);
        gauge!("circuits", "state" => "open").set(3.0);
        histogram!("first_byte_seconds", "provider" => "plan").record(1.0);
    });
    assert_eq!(lines(&cloudwatch).len(), 3);
    let again = lines(&cloudwatch);
    assert_eq!(again.len(), 1, "{again:#?}");
    assert_eq!(again[0]["CircuitOpen"], 3.0);
}

#[test]
fn many_samples_are_thinned_and_spread_over_lines() {
    let cloudwatch = CloudWatch::new("proxy", CATALOG);
    with_local_recorder(&cloudwatch, || {
        let histogram = histogram!("first_byte_seconds", "provider" => "plan");
        for number in 0..10_000 {
            histogram.record(f64::from(number));
        }
    });
    let lines = lines(&cloudwatch);
    let mut values: Vec<f64> = lines
        .iter()
        .flat_map(|it| it["RequestLatency"].as_array().unwrap().clone())
        .map(|it| it.as_f64().unwrap())
        .collect();
    assert_eq!((lines.len(), values.len()), (10, 1_000));
    values.sort_by(f64::total_cmp);
    let p95 = values[values.len() * 95 / 100];
    assert!((9_490.0..9_510.0).contains(&p95), "{p95}");
}
