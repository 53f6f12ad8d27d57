//! `/admin/usage` and what is below it.

mod export;
mod ledger;
mod lists;
mod rebuilding;
mod zones;

use proto::sync::{Outcome, Provider, UsageEvent};
use serde_json::{Value, json};

use crate::support::{
    TestApp,
    proxy::{Push, event},
};

/// A text from outside, as it goes into a query.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_usage_is_a_report_of_zeros() {
    let app = TestApp::start().await;
    let report = app.get("/admin/usage").await;
    assert_eq!(report.status, 200);
    assert_eq!(report.body["totals"]["requests"], 0);
    assert_eq!(report.body["total_requests"], 0);
    assert_eq!(report.body["estimated_cost_usd"], "0.000000");
    assert_eq!(report.body["fallback_rate"], Value::Null);
    for list in [
        "buckets",
        "series",
        "by_access_key",
        "by_model",
        "by_provider",
        "by_outcome",
        "cost_breakdown",
    ] {
        assert_eq!(report.body[list], json!([]), "{list}");
    }
    let requests = app.get("/admin/usage/requests").await;
    assert_eq!(requests.body["items"], json!([]));
    assert_eq!(requests.body["next_cursor"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_summed_by_model_provider_and_outcome() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await;
    let of_user = UsageEvent {
        user_id: user.clone(),
        access_key_id: key["id"].as_str().unwrap().to_owned(),
        ..event()
    };
    let fresh = |base: &UsageEvent| UsageEvent {
        event_id: event().event_id,
        ..base.clone()
    };
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![
        fresh(&of_user),
        fresh(&of_user),
        UsageEvent {
            provider: Provider::Bedrock.into(),
            bedrock_model: "global.anthropic.claude-sonnet-4-5-20250929-v1:0".to_owned(),
            bedrock_region: "us-east-1".to_owned(),
            is_fallback: true,
            ..fresh(&of_user)
        },
        UsageEvent {
            provider: Provider::Unspecified.into(),
            outcome: Outcome::Refused.into(),
            model: "claude-unknown".to_owned(),
            upstream_model: String::new(),
            tokens: None,
            ..event()
        },
    ])
    .await
    .unwrap();

    let report = app.get("/admin/usage").await.body;
    let cost = |micros: i64| control::money::Usd::from_micros(micros).to_string();
    let sums = |requests: i64, fallbacks: i64, used: i64| {
        json!({
            "requests": requests,
            "fallback_requests": fallbacks,
            "estimate_requests": 0,
            "unpriced_requests": 0,
            "input_tokens": used,
            "output_tokens": 10 * used,
            "total_tokens": 11 * used,
            "cache_read_tokens": 100 * used,
            "cache_write_tokens": 11_000 * used,
            "cache_write_5m_tokens": 1_000 * used,
            "cache_write_1h_tokens": 10_000 * used,
            // For a million tokens: 3, 15, 0.3, 3.75 and 6 dollars.
            "input_cost_usd": cost(3 * used),
            "output_cost_usd": cost(150 * used),
            "cache_write_cost_usd": cost(63_750 * used),
            "cache_read_cost_usd": cost(30 * used),
            "estimated_cost_usd": cost(63_933 * used),
            "bedrock_cost_usd": cost(63_933 * used),
        })
    };
    let labelled = |label: &str, value: &str, mut sums: Value| {
        sums[label] = json!(value);
        sums
    };
    assert_eq!(report["totals"], sums(4, 1, 3));
    assert_eq!(
        report["by_model"],
        json!([
            labelled("model_id", "claude-sonnet-4-5", sums(3, 1, 3)),
            labelled("model_id", "claude-unknown", sums(1, 0, 0)),
        ])
    );
    assert_eq!(
        report["by_provider"],
        json!([
            labelled("provider", "plan", sums(2, 0, 2)),
            labelled("provider", "bedrock", sums(1, 1, 1)),
            labelled("provider", "none", sums(1, 0, 0)),
        ])
    );
    assert_eq!(
        report["by_outcome"],
        json!([
            {"outcome": "complete", "requests": 3},
            {"outcome": "refused", "requests": 1},
        ])
    );
    assert_eq!(report["total_tokens"], 33);
    assert_eq!(report["total_cache_write_cost_usd"], cost(191_250));
    assert_eq!(report["estimated_cost_usd"], cost(191_799));
    assert_eq!(report["plan_cost_on_bedrock_usd"], cost(127_866));
    assert_eq!(report["fallback_rate"], 0.25);
    // 100 of 11 101.
    assert_eq!(report["cache_hit_ratio"], 0.009);
    assert_eq!(report["timezone"], "UTC");
    assert_eq!(
        report["cost_breakdown"][0],
        json!({
            "model_id": "claude-sonnet-4-5",
            "total_cost_usd": cost(191_799),
            "input_cost_usd": cost(9),
            "output_cost_usd": cost(450),
            "cache_write_cost_usd": cost(191_250),
            "cache_read_cost_usd": cost(90),
        })
    );

    let requests = async |query: &str| {
        let report = app.get(&format!("/admin/usage?{query}")).await.body;
        let listed = app.get(&format!("/admin/usage/requests?{query}")).await;
        let count = listed.body["items"].as_array().map(Vec::len);
        if let Some(count) = count {
            assert_eq!(report["total_requests"], count, "{query}");
        }
        report["total_requests"].as_i64().unwrap()
    };
    let key_id = key["id"].as_str().unwrap();
    assert_eq!(requests(&format!("user_id={user}")).await, 3);
    assert_eq!(requests(&format!("access_key_id={key_id}")).await, 3);
    assert_eq!(requests(&format!("user_id={}", uuid::Uuid::nil())).await, 0);
    assert_eq!(requests("model=claude-sonnet-4-5").await, 3);
    assert_eq!(requests("provider=bedrock").await, 1);
    assert_eq!(requests("provider=none").await, 1);
    assert_eq!(requests("to=2020-01-01T00:00:00Z").await, 0);
    let long = "from=2020-01-01T00:00:00Z&bucket_type=month";
    assert_eq!(requests(long).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_models_the_most_used_are_listed_and_all_are_counted() {
    let app = TestApp::start().await;
    let of_model = |upstream_model: String| UsageEvent {
        upstream_model,
        ..event()
    };
    let rare = (0..150).map(|number| of_model(format!("rare-{number:03}")));
    let often = (0..3).map(|_| of_model("used-often".to_owned()));
    let costly = (0..1).map(|_| of_model("claude-sonnet-4-5".to_owned()));
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(rare.chain(often).chain(costly).collect())
        .await
        .unwrap();

    let report = app.get("/admin/usage").await.body;
    assert_eq!(report["total_requests"], 154);
    assert_eq!(report["unpriced_requests"], 153);
    assert_eq!(report["by_provider"][0]["requests"], 154);
    let models = report["by_model"].as_array().unwrap();
    assert_eq!(models.len(), 100);
    assert_eq!(models[0]["model_id"], "claude-sonnet-4-5");
    assert_eq!(models[1]["model_id"], "used-often");
    assert_eq!(models[1]["requests"], 3);
    assert_eq!(models[99]["model_id"], "rare-097");

    // More than seven are no picture.
    let report = app.get("/admin/usage?stack_by=model").await.body;
    let series = report["series"].as_array().unwrap();
    let labels: Vec<_> = series
        .iter()
        .map(|it| it["label"].as_str().unwrap())
        .collect();
    let [costly, often, rare @ ..] = labels.as_slice() else {
        panic!("{labels:?}");
    };
    assert_eq!((*costly, *often), ("claude-sonnet-4-5", "used-often"));
    assert_eq!(
        rare,
        ["rare-000", "rare-001", "rare-002", "rare-003", "rare-004"]
    );
    assert_eq!(series[1]["buckets"][0]["requests"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_range_is_refused() {
    let app = TestApp::start().await;
    for (query, code) in [
        ("from=yesterday", "invalid_query"),
        (
            "from=2026-11-20T00:00:00Z&to=2026-11-19T00:00:00Z",
            "invalid_query",
        ),
        ("from=-100000-01-01T00:00:00Z", "invalid_query"),
        ("to=%2B100000-01-01T00:00:00Z", "invalid_query"),
        ("start_date=2026-11-01", "invalid_query"),
        ("period=year", "invalid_query"),
        ("user_id=7", "invalid_query"),
        ("provider=azure", "invalid_query"),
        ("bucket_type=second", "invalid_query"),
        ("stack_by=user", "invalid_query"),
        (
            "stack_by=model&from=2026-01-01T00:00:00Z&to=2026-02-28T00:00:00Z",
            "too_many_buckets",
        ),
        ("team_id=7", "invalid_query"),
        ("from=2020-01-01T00:00:00Z", "too_many_buckets"),
    ] {
        app.get(&format!("/admin/usage?{query}"))
            .await
            .assert_error(400, code);
    }
    for path in [
        "requests?limit=0",
        "requests?cursor=x",
        "sessions?limit=201",
        "top-users?limit=0",
        "top-users/series?limit=21",
        "top-users?order_by=name",
        "export?format=xls",
    ] {
        app.get(&format!("/admin/usage/{path}"))
            .await
            .assert_error(400, "invalid_query");
    }
    app.get("/admin/usage/sessions?from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z")
        .await
        .assert_error(400, "range_too_long");
}
