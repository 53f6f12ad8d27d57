//! Budgets stop Bedrock in time, and nothing else.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use proto::sync::{Outcome, Provider, Resource};
use serde_json::{Value, json};
use testkit::{
    anthropic::Reply as Plan,
    bedrock::{Exception, Gate, Reply, Rule, Usage},
};

use crate::support::{
    Rig,
    bedrock::{
        BedrockRig, CLAUDE, PROFILE, REGION, api_key, bedrock_key, budget, mapping, month, price,
        spent,
    },
    client::Answer,
    control::user,
    key, question,
};

const DOLLAR: u64 = 1_000_000;

fn messages() -> String {
    format!("/ak/{}/v1/messages?beta=true", key())
}

async fn ask(rig: &Rig, body: &Value) -> Answer {
    rig.client().await.post(&messages(), body).await
}

async fn me(rig: &Rig) -> Value {
    let path = format!("/ak/{}/me", key());
    let request = http::Request::get(path).body(http_body_util::Full::default());
    let answer = rig.client().await.send(request.unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// A user who is answered by Bedrock only, and has this budget.
async fn with(resources: impl IntoIterator<Item = Resource>) -> BedrockRig {
    let mut all = vec![mapping(CLAUDE, PROFILE, None), bedrock_key(&api_key(), 1)];
    all.extend(resources);
    BedrockRig::with(&[], all).await
}

fn this_month(limit: u64, is_exhausted: bool) -> Resource {
    budget(limit, is_exhausted, month(), 1)
}

#[track_caller]
fn assert_exhausted(answer: &Answer, until: DateTime<Utc>) {
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.error_type(), "billing_error");
    assert_eq!(answer.headers["x-should-retry"], "false");
    let seconds: i64 = answer.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let expected = (until - Utc::now()).num_seconds();
    assert!((seconds - expected).abs() < 60, "{seconds} {expected}");
    let message = answer.json()["error"]["message"].to_string();
    let resets = until.format("spend limit reached (monthly; resets %Y-%m-%d %H:%M UTC)");
    assert!(message.contains(&resets.to_string()), "{message}");
}

#[tokio::test]
async fn an_exhausted_budget_is_told_at_once_and_bedrock_is_not_asked() {
    let (start, end) = month();
    let BedrockRig { rig, bedrock } = with([price(1), budget(DOLLAR, true, (start, end), 1)]).await;
    for is_streaming in [true, false] {
        assert_exhausted(&ask(&rig, &question(is_streaming)).await, end);
    }
    assert!(bedrock.received().is_empty());
    assert!(rig.simulator.received().is_empty());
    let event = &rig.control.events(1).await[0];
    assert_eq!(event.outcome(), Outcome::Refused);
    assert_eq!(event.tokens.unwrap(), proto::sync::Tokens::default());
}

#[tokio::test]
async fn counting_tokens_is_free_and_never_stopped() {
    let BedrockRig { rig, bedrock } = with([price(1), this_month(DOLLAR, true)]).await;
    let path = format!("/ak/{}/v1/messages/count_tokens", key());
    let answer = rig.client().await.post(&path, &question(false)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(bedrock.received().len(), 1);
}

#[tokio::test]
async fn the_plan_is_never_stopped_by_a_budget() {
    let resources = vec![
        mapping(CLAUDE, PROFILE, None),
        bedrock_key(&api_key(), 1),
        user(1),
        price(1),
        this_month(DOLLAR, true),
    ];
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first_with(&[], resources).await;
    rig.simulator.script().then(Plan::text("from the plan"));
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, "from the plan")
    );

    // Neither can answer: the plan's own refusal is of more use.
    rig.simulator.script().then(Plan::error(529));
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.status, 529, "{answer:?}");
    assert_eq!(answer.error_type(), "overloaded_error");
    assert!(bedrock.received().is_empty());
}

#[tokio::test]
async fn the_months_end_lifts_the_verdict_without_control() {
    let now = Utc::now();
    let last_month = (now - TimeDelta::days(31), now - TimeDelta::seconds(1));
    let BedrockRig { rig, bedrock } = with([price(1), budget(DOLLAR, true, last_month, 1)]).await;
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(bedrock.received().len(), 1);
}

#[tokio::test]
async fn a_raised_budget_lets_the_next_request_through() {
    let (start, end) = month();
    let BedrockRig { mut rig, bedrock } =
        with([price(1), budget(DOLLAR, true, (start, end), 1)]).await;
    assert_exhausted(&ask(&rig, &question(true)).await, end);
    let raised = budget(2 * DOLLAR, false, (start, end), 2);
    rig.control.watch().delta(1, 2, vec![raised], vec![]).await;
    rig.control.applied(2).await;
    assert_eq!(ask(&rig, &question(true)).await.status, 200);
    assert_eq!(bedrock.received().len(), 1);
}

#[tokio::test]
async fn a_model_without_a_price_cannot_be_used_against_a_budget() {
    let BedrockRig { mut rig, bedrock } = with([this_month(DOLLAR, false)]).await;
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(answer.error_type(), "billing_error");
    assert_eq!(answer.headers["x-should-retry"], "false");
    assert!(bedrock.received().is_empty());

    // A price lifts it at once.
    rig.control
        .watch()
        .delta(1, 2, vec![price(2)], vec![])
        .await;
    rig.control.applied(2).await;
    assert_eq!(ask(&rig, &question(true)).await.status, 200);

    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = with([]).await;
    assert_eq!(
        ask(&rig, &question(true)).await.status,
        200,
        "without a budget"
    );
}

#[tokio::test]
async fn many_requests_at_once_do_not_all_pass_a_budget_that_is_nearly_empty() {
    // An estimate of some 1000 * 20 micro-dollars each.
    let BedrockRig { rig, bedrock } = with([price(1), this_month(30_000, false)]).await;
    let gate = Gate::closed();
    let reply = Reply::text("one two").gate(&gate);
    bedrock.script().rule(Rule::always(reply));
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(rig.client().await);
    }
    let (path, body) = (messages(), question(true));
    let asking = join_all(clients.iter_mut().map(|it| it.post(&path, &body)));
    let opening = async {
        bedrock.until(|it| it.requests == 2).await;
        rig.control.events(98).await;
        gate.open();
    };
    let (answers, ()) = futures_util::future::join(asking, opening).await;
    let passed = answers.iter().filter(|it| it.status == 200).count();
    assert_eq!(passed, 2);
    assert_eq!(bedrock.received().len(), 2);
    for refused in answers.iter().filter(|it| it.status != 200) {
        assert_eq!(refused.status, 429);
        assert_eq!(refused.error_type(), "rate_limit_error");
        assert!(refused.headers.contains_key("retry-after"));
        assert!(!refused.headers.contains_key("x-should-retry"));
    }
}

#[tokio::test]
async fn what_has_ended_counts_before_control_has_counted_it() {
    let (start, end) = month();
    let BedrockRig { mut rig, bedrock } =
        with([price(1), budget(DOLLAR, false, (start, end), 1)]).await;
    rig.control.acknowledge_by_hand();
    rig.control.end_pushes();
    let mut push = rig.control.pushed().await;
    // 100 000 tokens of 20 micro-dollars and 10 of 4.
    let used = Usage {
        input_tokens: 10,
        output_tokens: 100_000,
        ..Usage::default()
    };
    bedrock.script().then(Reply::text("one two").tokens(used));
    assert_eq!(ask(&rig, &question(true)).await.status, 200);
    let batch = push.batch().await;
    let cost = 2 * DOLLAR + 40;
    assert_eq!(me(&rig).await["budget"]["spent_usd"], "2.000040");
    assert_exhausted(&ask(&rig, &question(true)).await, end);

    push.acknowledge_spent(batch.sequence, vec![spent(cost, start)])
        .await;
    let verdict = budget(DOLLAR, true, (start, end), 2);
    rig.control.watch().delta(1, 2, vec![verdict], vec![]).await;
    rig.control.applied(2).await;
    assert_exhausted(&ask(&rig, &question(true)).await, end);
    let status = me(&rig).await;
    assert_eq!(status["budget"]["spent_usd"], "2.000040", "counted once");
    assert_eq!(status["budget"]["used_percent"], 200);
    assert_eq!(bedrock.received().len(), 1);
}

#[tokio::test]
async fn the_event_says_what_bedrock_was_asked_for() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = with([]).await;
    assert_eq!(ask(&rig, &question(true)).await.status, 200);
    let event = rig.control.event().await;
    assert_eq!(event.bedrock_model, PROFILE);
    assert_eq!(event.bedrock_region, REGION);
    let lines = rig.stop().await;
    assert_eq!(lines[0]["bedrock_model"], PROFILE);
    assert_eq!(lines[0]["bedrock_region"], REGION);
}

#[tokio::test]
async fn what_the_plan_answers_in_the_end_is_not_bedrocks() {
    let BedrockRig { rig, bedrock } =
        BedrockRig::plan_first(&["--circuit-failure-threshold=1"]).await;
    rig.simulator.script().then(Plan::error(500));
    assert_eq!(ask(&rig, &question(true)).await.status, 200);
    // The circuit is open: Bedrock first, and the plan as the last resort.
    bedrock
        .script()
        .then(Reply::refusal(Exception::InternalServer));
    assert_eq!(ask(&rig, &question(true)).await.status, 200);
    let events = rig.control.events(2).await;
    assert_eq!(events[1].provider(), Provider::Plan);
    assert_eq!(
        (&*events[1].bedrock_model, &*events[1].bedrock_region),
        ("", "")
    );
}

#[tokio::test]
async fn developers_can_ask_how_they_stand() {
    let (start, end) = month();
    let BedrockRig {
        mut rig,
        bedrock: _bedrock,
    } = with([price(1), budget(10 * DOLLAR, false, (start, end), 1)]).await;
    rig.control
        .watch()
        .spending(vec![spent(7_654_321, start)])
        .await;
    // Later messages come after it.
    rig.control.watch().delta(1, 2, vec![], vec![]).await;
    rig.control.applied(2).await;
    let status = me(&rig).await;
    assert_eq!(status["routing_strategy"], "bedrock_only");
    assert_eq!(status["provider"], "bedrock");
    assert_eq!(
        status["circuit"],
        json!({"state": "closed", "open_until": null})
    );
    assert_eq!(status["budget"]["monthly_budget_usd"], "10.000000");
    assert_eq!(status["budget"]["spent_usd"], "7.654321");
    assert_eq!(status["budget"]["remaining_usd"], "2.345679");
    assert_eq!(status["budget"]["used_percent"], 76);
    assert_eq!(status["budget"]["is_exhausted"], false);
    let resets_at = status["budget"]["resets_at"].as_str().unwrap();
    assert!(resets_at.starts_with(&end.format("%Y-%m-%dT").to_string()));

    // What was spent in another month is not spent in this one.
    let next = (end, end + TimeDelta::days(30));
    let turned = budget(10 * DOLLAR, false, next, 3);
    rig.control.watch().delta(2, 3, vec![turned], vec![]).await;
    rig.control.applied(3).await;
    assert_eq!(me(&rig).await["budget"]["spent_usd"], "0.000000");
}

/// Claude Code warns by these headers.
#[tokio::test]
async fn bedrocks_answers_say_how_much_is_used() {
    let (start, end) = month();
    let BedrockRig {
        mut rig,
        bedrock: _bedrock,
    } = with([price(1), budget(DOLLAR, false, (start, end), 1)]).await;
    rig.control
        .watch()
        .spending(vec![spent(800_000, start)])
        .await;
    rig.control.watch().delta(1, 2, vec![], vec![]).await;
    rig.control.applied(2).await;
    for is_streaming in [true, false] {
        let answer = ask(&rig, &question(is_streaming)).await;
        assert_eq!(answer.status, 200);
        let header = |name: &str| {
            let name = format!("anthropic-ratelimit-unified-{name}");
            answer.headers[&name].to_str().unwrap().to_owned()
        };
        assert_eq!(header("status"), "allowed_warning");
        assert_eq!(header("overage-surpassed-threshold"), "0.7500");
        assert!(header("overage-utilization").starts_with("0.8"));
        assert_eq!(header("reset"), end.timestamp().to_string());
    }

    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = with([]).await;
    let answer = ask(&rig, &question(true)).await;
    let unified = answer
        .headers
        .keys()
        .filter(|it| it.as_str().contains("unified"));
    assert_eq!(unified.count(), 0, "without a budget");
}

#[tokio::test]
async fn a_circuit_that_is_open_shows() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&["--circuit-failure-threshold=1"]).await;
    let before = me(&rig).await;
    assert_eq!(
        (&before["provider"], &before["budget"]),
        (&json!("plan"), &Value::Null)
    );
    rig.simulator.script().then(Plan::error(500));
    assert_eq!(ask(&rig, &question(true)).await.status, 200);
    let after = me(&rig).await;
    assert_eq!(
        (&after["provider"], &after["circuit"]["state"]),
        (&json!("bedrock"), &json!("open"))
    );
    assert!(after["circuit"]["open_until"].is_string());
}

#[tokio::test]
async fn nobody_else_learns_how_somebody_stands() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::start().await;
    let request = http::Request::get("/ak/ak_unknown/me").body(http_body_util::Full::default());
    let answer = rig.client().await.send(request.unwrap()).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.error_type(), "authentication_error");
}
