//! `/admin/usage`.

use proto::sync::{Outcome, Provider, UsageEvent};
use serde_json::{Value, json};

use crate::support::{
    TestApp,
    proxy::{Push, event},
};

#[tokio::test(flavor = "multi_thread")]
async fn no_usage_is_a_report_of_zeros() {
    let app = TestApp::start().await;
    let report = app.get("/admin/usage").await;
    assert_eq!(report.status, 200);
    assert_eq!(report.body["totals"]["requests"], 0);
    assert_eq!(report.body["totals"]["input_tokens"], 0);
    assert_eq!(report.body["by_model"], json!([]));
    assert_eq!(report.body["recent"], json!([]));
    assert_eq!(report.body["next_cursor"], Value::Null);
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
            ..fresh(&of_user)
        },
        UsageEvent {
            provider: Provider::Unspecified.into(),
            outcome: Outcome::Refused.into(),
            model: "claude-opus".to_owned(),
            tokens: None,
            ..event()
        },
    ])
    .await
    .unwrap();

    let report = app.get("/admin/usage").await.body;
    let sums = |requests: i64, with_tokens: i64| {
        json!({
            "requests": requests,
            "input_tokens": with_tokens,
            "output_tokens": 10 * with_tokens,
            "cache_read_tokens": 100 * with_tokens,
            "cache_write_5m_tokens": 1_000 * with_tokens,
            "cache_write_1h_tokens": 10_000 * with_tokens,
        })
    };
    let labelled = |label: &str, value: &str, mut sums: Value| {
        sums[label] = json!(value);
        sums
    };
    assert_eq!(report["totals"], sums(4, 3));
    assert_eq!(
        report["by_model"],
        json!([
            labelled("model", "claude-sonnet-4-5", sums(3, 3)),
            labelled("model", "claude-opus", sums(1, 0)),
        ])
    );
    assert_eq!(
        report["by_provider"],
        json!([
            labelled("provider", "plan", sums(2, 2)),
            labelled("provider", "bedrock", sums(1, 1)),
            labelled("provider", "none", sums(1, 0)),
        ])
    );
    assert_eq!(
        report["by_outcome"],
        json!([
            labelled("outcome", "complete", sums(3, 3)),
            labelled("outcome", "refused", sums(1, 0)),
        ])
    );

    let requests = async |query: &str| {
        let report = app.get(&format!("/admin/usage?{query}")).await.body;
        let count = report["recent"].as_array().unwrap().len();
        assert_eq!(report["totals"]["requests"], count, "{query}");
        count
    };
    assert_eq!(requests(&format!("user_id={user}")).await, 3);
    let key_id = key["id"].as_str().unwrap();
    assert_eq!(requests(&format!("access_key_id={key_id}")).await, 3);
    assert_eq!(requests(&format!("user_id={}", uuid::Uuid::nil())).await, 0);
    assert_eq!(requests("to=2020-01-01T00:00:00Z").await, 0);
    assert_eq!(requests("from=2020-01-01T00:00:00Z").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_models_the_most_used_are_listed_and_all_are_counted() {
    let app = TestApp::start().await;
    let of_model = |model: String| UsageEvent { model, ..event() };
    let rare = (0..150).map(|number| of_model(format!("rare-{number:03}")));
    let often = (0..3).map(|_| of_model("used-often".to_owned()));
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(rare.chain(often).collect()).await.unwrap();

    let report = app.get("/admin/usage").await.body;
    assert_eq!(report["totals"]["requests"], 153);
    assert_eq!(report["by_provider"][0]["requests"], 153);
    let models = report["by_model"].as_array().unwrap();
    assert_eq!(models.len(), 100);
    assert_eq!(models[0]["model"], "used-often");
    assert_eq!(models[0]["requests"], 3);
    assert_eq!(models[99]["model"], "rare-098");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_request_once_newest_first() {
    let app = TestApp::start().await;
    let now = chrono::Utc::now();
    // Several at the same moment: only their ids tell them apart.
    let events: Vec<UsageEvent> = (0..9)
        .map(|number| UsageEvent {
            started_at: Some(proto::line::timestamp(
                now - chrono::TimeDelta::minutes(number / 3),
            )),
            ..event()
        })
        .collect();
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(events).await.unwrap();

    let to =
        (now + chrono::TimeDelta::seconds(1)).to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let mut seen = Vec::new();
    let mut path = format!("/admin/usage?to={to}&limit=2");
    loop {
        let page = app.get(&path).await.body;
        assert_eq!(page["totals"]["requests"], 9);
        for row in page["recent"].as_array().unwrap() {
            let key = (row["started_at"].clone(), row["event_id"].clone());
            seen.push((
                key.0.as_str().unwrap().to_owned(),
                key.1.as_str().unwrap().to_owned(),
            ));
        }
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/admin/usage?to={to}&limit=2&cursor={cursor}");
    }
    assert_eq!(seen.len(), 9);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_range_is_refused() {
    let app = TestApp::start().await;
    for query in [
        "from=yesterday",
        "from=2026-11-20T00:00:00Z&to=2026-11-19T00:00:00Z",
        "from=-100000-01-01T00:00:00Z",
        "to=%2B100000-01-01T00:00:00Z",
        "user_id=7",
        "limit=0",
        "cursor=x",
        "team_id=7",
    ] {
        app.get(&format!("/admin/usage?{query}"))
            .await
            .assert_error(400, "invalid_query");
    }
}
