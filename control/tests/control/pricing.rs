//! `/api/pricing`: the list in force, and how it is made anew.

use std::{fs, path::PathBuf};

use control::app::App;
use proto::sync::{Provider, Tokens, UsageEvent};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    TestApp, eventually,
    proxy::{Copy, Push, event},
    settings,
};

struct Prices {
    _folder: TempDir,
    path: PathBuf,
}

impl Prices {
    fn new(content: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prices.json");
        fs::write(&path, content).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    fn setting(&self) -> Option<String> {
        Some(format!("@{}", self.path.display()))
    }

    fn write(&self, content: &str) {
        fs::write(&self.path, content).unwrap();
    }
}

fn opus(input: u32) -> String {
    json!({"global": {"claude-opus-5-5": {
        "input_price_per_million": input, "output_price_per_million": 99}}})
    .to_string()
}

async fn price(app: &TestApp, model: &str) -> Value {
    let list = app
        .get("/api/pricing/models?region=global&provider=bedrock")
        .await;
    assert_eq!(list.status, 200, "{list:?}");
    let models = list.body["models"].as_array().unwrap();
    let found = models.iter().find(|it| it["model_id"] == model);
    found.cloned().unwrap_or_default()
}

/// What a million input tokens cost now.
async fn charged(app: &TestApp) -> String {
    let event = UsageEvent {
        provider: Provider::Bedrock.into(),
        upstream_model: "claude-opus-5-5".to_owned(),
        bedrock_model: "global.anthropic.claude-opus-5-5".to_owned(),
        tokens: Some(Tokens {
            input_tokens: 1_000_000,
            ..Tokens::default()
        }),
        ..event()
    };
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![event]).await.unwrap();
    let newest = app.get("/admin/usage/requests?limit=1").await.body;
    newest["items"][0]["estimated_cost_usd"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_list_is_in_force_from_the_beginning() {
    let app = TestApp::start().await;
    let price = price(&app, "claude-opus-5-5").await;
    assert_eq!(price["input_price"], "4.000000");
    assert_eq!(price["cache_write_price"], "5.000000");
    assert_eq!(price["cache_write_1h_price"], "8.000000");
    assert_eq!(price["source"], "built_in");
    assert_eq!(charged(&app).await, "4.000000");
    let all = app.get("/api/pricing/models").await.body;
    let models = all["models"].as_array().unwrap();
    assert!(models.iter().any(|it| it["provider"] == "plan"));
    assert!(
        models
            .iter()
            .any(|it| it["long_context"]["threshold_tokens"] == 100_000)
    );
    let seoul = app
        .get("/api/pricing/models?region=ap-northeast-2")
        .await
        .body;
    assert_eq!(seoul["models"], all["models"], "the classes hold there");
    app.anonymous(reqwest::Method::GET, "/api/pricing/models")
        .send()
        .await
        .map(|it| assert_eq!(it.status(), 401))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_changed_is_in_force_after_a_reload() {
    let prices = Prices::new(&opus(10));
    let setting = prices.setting();
    let app = TestApp::start_with(|it| it.money.model_pricing = setting).await;
    assert_eq!(charged(&app).await, "10.000000");
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;

    prices.write(&opus(12));
    let reloaded = app.post("/api/pricing/reload", json!({})).await;
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    assert_eq!(reloaded.body["changed"], 1);
    copy.advance().await;
    assert_eq!(price(&app, "claude-opus-5-5").await["source"], "operator");
    assert_eq!(charged(&app).await, "12.000000");
    let again = app.post("/api/pricing/reload", json!({})).await;
    assert_eq!(again.body["changed"], 0);

    // What was charged stays as it was.
    let report = app.get("/admin/usage").await.body;
    assert_eq!(report["estimated_cost_usd"], "22.000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_refused_with_its_place_and_the_old_list_stays() {
    let prices = Prices::new(&opus(10));
    let setting = prices.setting();
    let app = TestApp::start_with(|it| it.money.model_pricing = setting).await;
    for (content, place) in [
        ("{\n  \"global\": [", "line 2 column"),
        (
            r#"{"global": {"m": {"input_price_per_million": "x"}}}"#,
            "line 1 column",
        ),
        (
            r#"{"mars": {"m": {"input_price_per_million": 1, "output_price_per_million": 2}}}"#,
            "mars: m",
        ),
    ] {
        prices.write(content);
        let refused = app.post("/api/pricing/reload", json!({})).await;
        refused.assert_error(422, "invalid_pricing");
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(place), "{message}");
    }
    drop(prices);
    let refused = app.post("/api/pricing/reload", json!({})).await;
    refused.assert_error(422, "invalid_pricing");
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("No such file"), "{message}");
    assert_eq!(charged(&app).await, "10.000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_follows() {
    let prices = Prices::new(&opus(10));
    let setting = prices.setting();
    let app = TestApp::start_with(|it| it.money.model_pricing = setting.clone()).await;
    let mut other = settings(app.database.url());
    other.money.model_pricing = setting;
    let other = App::start(other).await.unwrap();
    eventually(other.ready()).await;
    let mut copy = Copy::new(other.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    prices.write(&opus(12));
    app.post("/api/pricing/reload", json!({})).await;
    // The other replica knows of the change when it tells its proxies.
    copy.advance().await;
    let event = || UsageEvent {
        provider: Provider::Bedrock.into(),
        upstream_model: "claude-opus-5-5".to_owned(),
        bedrock_model: "global.x".to_owned(),
        tokens: Some(Tokens {
            input_tokens: 1_000_000,
            ..Tokens::default()
        }),
        ..event()
    };
    let mut push = Push::open(other.grpc_addr).await;
    eventually(async {
        loop {
            push.deliver(vec![event()]).await.unwrap();
            let newest = app.get("/admin/usage/requests?limit=1").await.body;
            if newest["items"][0]["estimated_cost_usd"] == "12.000000" {
                break;
            }
        }
    })
    .await;
    assert!(other.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_without_a_price_are_visible() {
    let app = TestApp::start().await;
    let of = |model: &str, output_tokens| UsageEvent {
        provider: Provider::Bedrock.into(),
        upstream_model: model.to_owned(),
        tokens: Some(Tokens {
            output_tokens,
            ..Tokens::default()
        }),
        ..event()
    };
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![
        of("us.amazon.nova-pro-v1:0", 1),
        of("us.amazon.nova-pro-v1:0", 1),
        of("made-up", 1),
        // Nothing was used: nothing is missing.
        of("never-used", 0),
    ])
    .await
    .unwrap();
    let list = app.get("/api/pricing/models").await.body;
    let unpriced = list["unpriced"].as_array().unwrap();
    assert_eq!(unpriced.len(), 2);
    assert_eq!(unpriced[0]["model_id"], "amazon.nova-pro");
    assert_eq!(unpriced[0]["requests"], 2);
    assert_eq!(unpriced[1]["model_id"], "made-up");
    assert!(unpriced[0]["last_used_at"].is_string());
    assert_eq!(unpriced[0]["first_used_at"], unpriced[0]["last_used_at"]);
    assert!(unpriced[0]["tokens"].as_i64().unwrap() > 0);
}

/// The row says by which price it was charged.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_keeps_the_price_that_was_in_force_when_its_request_began() {
    let app = TestApp::start().await;
    let at = |time: &str| UsageEvent {
        started_at: Some(proto::line::timestamp(time.parse().unwrap())),
        upstream_model: "claude-sonnet-5-5".to_owned(),
        tokens: Some(Tokens {
            cache_read_tokens: 1_000_000,
            ..Tokens::default()
        }),
        ..event()
    };
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![
        at("2026-10-06T23:59:59.9Z"),
        at("2026-10-07T00:00:00Z"),
    ])
    .await
    .unwrap();
    let rows = app
        .sql()
        .await
        .query(
            "select estimated_cost_usd::text, pricing_cache_read_price::text,
                pricing_effective_date::text, pricing_region
            from token_usage order by started_at",
            &[],
        )
        .await
        .unwrap();
    let rows: Vec<[String; 4]> = rows
        .iter()
        .map(|row| [row.get(0), row.get(1), row.get(2), row.get(3)])
        .collect();
    assert_eq!(
        rows,
        [
            ["0.200000", "0.200000", "1970-01-01", "global"],
            ["0.100000", "0.100000", "2026-10-07", "global"],
        ]
    );
}
