//! Budgets: what is held against them, and when they stop Bedrock.

use std::time::Duration;

use chrono::{DateTime, Datelike, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use proto::sync::{
    Budget, Kind, Provider, Tokens, UsageEvent, resource::Spec, watch_response::Event,
};
use serde_json::{Value, json};

use crate::support::{
    TestApp, eventually,
    proxy::{self, Copy, Push, event},
};

/// A request to Bedrock that costs so many times 20 dollars.
fn on_bedrock(user_id: &str, times: u64) -> UsageEvent {
    UsageEvent {
        user_id: user_id.to_owned(),
        provider: Provider::Bedrock.into(),
        upstream_model: "claude-opus-5-5".to_owned(),
        bedrock_model: "global.anthropic.claude-opus-5-5".to_owned(),
        bedrock_region: "eu-west-1".to_owned(),
        tokens: Some(Tokens {
            output_tokens: 1_000_000 * times,
            ..Tokens::default()
        }),
        ..event()
    }
}

async fn set(app: &TestApp, user: &str, budget: Value) -> Value {
    let path = format!("/admin/users/{user}/budget");
    let answer = app.put(&path, json!({"monthly_budget_usd": budget})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn standing(app: &TestApp, user: &str) -> Value {
    let answer = app.get(&format!("/admin/users/{user}/budget")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn push(app: &TestApp, events: Vec<UsageEvent>) {
    let mut push = Push::open(app.running.grpc_addr).await;
    assert_eq!(push.deliver(events).await.unwrap(), []);
}

/// What a proxy holds of the only budget.
fn held(copy: &Copy) -> Option<Budget> {
    copy.resources.values().find_map(|it| match &it.spec {
        Some(Spec::Budget(budget)) => Some(budget.clone()),
        _ => None,
    })
}

async fn watching(app: &TestApp) -> Copy {
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_set_read_and_taken_away() {
    let app = TestApp::start_with(|it| it.money.calendar.timezone = Tz::Asia__Seoul).await;
    let user = app.user("Ada").await;
    let none = standing(&app, &user).await;
    assert_eq!(none["monthly_budget_usd"], Value::Null);
    assert_eq!(none["current_usage_usd"], "0.000000");
    assert_eq!(none["remaining_usd"], Value::Null);
    assert_eq!(none["usage_percentage"], Value::Null);
    assert_eq!(none["timezone"], "Asia/Seoul");

    let mut copy = watching(&app).await;
    let put = set(&app, &user, json!("50")).await;
    assert_eq!(put["monthly_budget_usd"], "50.000000");
    assert_eq!(put["remaining_usd"], "50.000000");
    assert_eq!(put["usage_percentage"], 0.0);
    assert_eq!(put["is_exhausted"], false);
    let now = Utc::now().with_timezone(&Tz::Asia__Seoul);
    let first = Tz::Asia__Seoul
        .with_ymd_and_hms(now.year(), now.month(), 1, 0, 0, 0)
        .unwrap();
    let period_start = put["period_start"].as_str().unwrap();
    assert!(period_start.ends_with("+09:00"), "{period_start}");
    assert_eq!(
        period_start.parse::<DateTime<Utc>>().unwrap(),
        first.to_utc()
    );
    assert_eq!(put, standing(&app, &user).await);
    let listed = app.get(&format!("/admin/users/{user}")).await.body;
    assert_eq!(listed["monthly_budget_usd"], "50.000000");
    copy.advance().await;
    let budget = held(&copy).unwrap();
    assert_eq!(
        (budget.limit_micro_usd, budget.is_exhausted),
        (50_000_000, false)
    );

    set(&app, &user, Value::Null).await;
    copy.advance().await;
    assert!(held(&copy).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_created_with_a_budget_or_not_at_all() {
    let app = TestApp::start().await;
    let mut copy = watching(&app).await;
    let new = json!({"name": "Ada", "monthly_budget_usd": "50"});
    let created = app.post("/admin/users", new).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.body["monthly_budget_usd"], "50.000000");
    let user = created.id();
    assert_eq!(
        standing(&app, &user).await["monthly_budget_usd"],
        "50.000000"
    );
    copy.advance().await;
    assert_eq!(held(&copy).unwrap().limit_micro_usd, 50_000_000);
    let path = format!("/admin/audit-log?user_id={user}");
    let log = app.get(&path).await.body;
    let entries = log["items"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "{log}");
    assert_eq!(entries[0]["action"], "budget.changed");
    assert_eq!(entries[0]["after"]["monthly_budget_usd"], "50.000000");
    assert_eq!(entries[1]["action"], "user.created");

    let refused = json!({"name": "Grace", "monthly_budget_usd": "0.001"});
    app.post("/admin/users", refused)
        .await
        .assert_error(400, "invalid_body");
    assert_eq!(app.get("/admin/users").await.body["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_budget_is_refused() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    set(&app, &user, json!(12.5)).await;
    let path = format!("/admin/users/{user}/budget");
    for body in [
        json!({}),
        json!({"monthly_budget_usd": 0}),
        json!({"monthly_budget_usd": "0.001"}),
        json!({"monthly_budget_usd": 12.345}),
        json!({"monthly_budget_usd": "1000000"}),
        json!({"monthly_budget_usd": -1}),
        json!({"monthly_budget_usd": "much"}),
        json!({"monthly_budget_usd": 1, "daily_budget_usd": 1}),
    ] {
        app.put(&path, body).await.assert_error(400, "invalid_body");
    }
    assert_eq!(
        standing(&app, &user).await["monthly_budget_usd"],
        "12.500000"
    );
    let nobody = format!("/admin/users/{}/budget", uuid::Uuid::nil());
    app.get(&nobody).await.assert_error(404, "user_not_found");
    app.put(&nobody, json!({"monthly_budget_usd": 1}))
        .await
        .assert_error(404, "user_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verdict_is_a_change_and_amounts_are_none() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    set(&app, &user, json!(100)).await;
    let mut copy = watching(&app).await;
    let before = copy.position.clone().unwrap().revision;

    // Five times twenty dollars: the fifth is the last.
    let mut proxy = Push::open(app.running.grpc_addr).await;
    for spent in 1..=5_u64 {
        let sequence = proxy.send(vec![on_bedrock(&user, 1)]).await;
        let response = eventually(proxy.responses.message())
            .await
            .unwrap()
            .unwrap();
        let Some(proto::sync::push_response::Message::Ack(ack)) = response.message else {
            panic!("{response:?}");
        };
        assert_eq!(ack.sequence, sequence);
        assert_eq!(ack.spent[0].user_id, user);
        assert_eq!(ack.spent[0].spent_micro_usd, spent * 20_000_000);
    }
    copy.advance().await;
    assert!(held(&copy).unwrap().is_exhausted);
    assert_eq!(copy.position.as_ref().unwrap().revision, before + 1);
    let status = standing(&app, &user).await;
    assert_eq!(status["current_usage_usd"], "100.000000");
    assert_eq!(status["remaining_usd"], "0.000000");
    assert_eq!(status["is_exhausted"], true);

    // More is no news.
    push(&app, vec![on_bedrock(&user, 1)]).await;
    assert_eq!(standing(&app, &user).await["usage_percentage"], 120.0);
    set(&app, &user, json!(150)).await;
    copy.advance().await;
    let lifted = held(&copy).unwrap();
    assert_eq!(
        (lifted.limit_micro_usd, lifted.is_exhausted),
        (150_000_000, false)
    );
    assert_eq!(copy.position.as_ref().unwrap().revision, before + 2);
    set(&app, &user, json!(60)).await;
    copy.advance().await;
    assert!(held(&copy).unwrap().is_exhausted);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_bedrock_costs_is_held_against_a_budget() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let other = app.user("Grace").await;
    set(&app, &user, json!(10)).await;
    push(
        &app,
        vec![
            UsageEvent {
                provider: Provider::Plan.into(),
                bedrock_model: String::new(),
                ..on_bedrock(&user, 5)
            },
            // Nobody knows what it costs.
            UsageEvent {
                upstream_model: "made-up".to_owned(),
                ..on_bedrock(&user, 5)
            },
            on_bedrock(&other, 5),
            // Last month's, delivered late.
            UsageEvent {
                started_at: Some(proto::line::timestamp(Utc::now() - TimeDelta::days(32))),
                ..on_bedrock(&user, 5)
            },
        ],
    )
    .await;
    let nothing = standing(&app, &user).await;
    assert_eq!(nothing["current_usage_usd"], "0.000000");
    assert_eq!(nothing["unpriced_requests"], 1);
    assert_eq!(
        standing(&app, &other).await["current_usage_usd"],
        "100.000000"
    );
    let report = app.get(&format!("/admin/usage?user_id={user}")).await.body;
    assert_eq!(report["unpriced_requests"], 1);
}

/// Each of them stays below; together they do not, and the last one to commit has
/// to see that.
#[tokio::test(flavor = "multi_thread")]
async fn pushes_at_the_same_time_cannot_miss_each_other() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    set(&app, &user, json!(160)).await;
    let mut proxies = Vec::new();
    for _ in 0..8 {
        proxies.push(Push::open(app.running.grpc_addr).await);
    }
    let user_id = user.clone();
    let pushes = proxies.into_iter().enumerate().map(|(number, mut proxy)| {
        // Different keys and models: different rows of the aggregates.
        let user_id = user_id.clone();
        async move {
            let event = UsageEvent {
                access_key_id: uuid::Uuid::from_u128(number as u128 + 1).to_string(),
                ..on_bedrock(&user_id, 1)
            };
            proxy.deliver(vec![event]).await.unwrap();
        }
    });
    futures_util::future::join_all(pushes).await;
    assert_eq!(standing(&app, &user).await["is_exhausted"], true);
    let copy = watching(&app).await;
    assert!(held(&copy).unwrap().is_exhausted);
}

/// A batch is settled while its user has no budget, and committed when there is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_budget_misses_no_batch_that_is_being_stored() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    push(&app, vec![on_bedrock(&user, 1)]).await;
    let ingest = app.sql().await;
    ingest
        .batch_execute(&format!(
            "begin;
            insert into token_usage select (jsonb_populate_record(
                usage, jsonb_build_object('event_id', gen_random_uuid())
            )).* from token_usage as usage;
            select settle_budgets(array['{user}'::uuid], now(), 'UTC')"
        ))
        .await
        .unwrap();
    let observer = app.sql().await;
    let waits = async {
        let query = "select from pg_locks
            where not granted and locktype = 'advisory'
              and database = (select oid from pg_database where datname = current_database())";
        while observer.query(query, &[]).await.unwrap().is_empty() {}
    };
    let mut put = std::pin::pin!(set(&app, &user, json!(30)));
    let at_once = tokio::select! {
        standing = &mut put => Some(standing),
        () = eventually(waits) => None,
    };
    ingest.batch_execute("commit").await.unwrap();
    let standing = match at_once {
        Some(standing) => standing,
        None => eventually(put).await,
    };
    assert_eq!(standing["current_usage_usd"], "40.000000");
    assert_eq!(standing["is_exhausted"], true);
    assert!(held(&watching(&app).await).unwrap().is_exhausted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_months_turn_lifts_a_verdict() {
    let app = TestApp::start_with(|it| it.pace.expiry = Duration::from_millis(20)).await;
    let user = app.user("Ada").await;
    set(&app, &user, json!(1)).await;
    let mut copy = watching(&app).await;
    // As it was a month ago.
    app.sql()
        .await
        .batch_execute(
            "update budgets set is_exhausted = true, spent_usd = 7,
                period_start = period_start - interval '1 month', period_end = period_start",
        )
        .await
        .unwrap();
    // The verdict of then may still be on its way.
    loop {
        copy.advance().await;
        let budget = held(&copy).unwrap();
        let end = budget
            .period_end
            .as_ref()
            .and_then(proto::line::time)
            .unwrap();
        if !budget.is_exhausted && end > Utc::now() {
            break;
        }
    }
    assert_eq!(standing(&app, &user).await["current_usage_usd"], "0.000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_reach_the_proxies_that_take_them() {
    let app = TestApp::start_with(|it| it.pace.spending = Duration::from_millis(10)).await;
    let user = app.user("Ada").await;
    set(&app, &user, json!(1000)).await;
    push(&app, vec![on_bedrock(&user, 1)]).await;
    let mut client = proxy::config(app.running.grpc_addr).await;
    let mut request = proxy::watch_request(None);
    request.takes_spending = true;
    let mut stream = client.watch(request).await.unwrap().into_inner();
    let mut next = async || loop {
        let response = eventually(stream.message()).await.unwrap().unwrap();
        if let Some(Event::Spending(spending)) = response.event {
            return spending.spent;
        }
    };
    // What was spent before the stream began, then what is spent meanwhile.
    while next().await[0].spent_micro_usd != 20_000_000 {}
    push(&app, vec![on_bedrock(&user, 2)]).await;
    while next().await[0].spent_micro_usd != 60_000_000 {}
}

/// A proxy would keep an account for somebody who has no budget.
#[tokio::test(flavor = "multi_thread")]
async fn the_amount_of_a_budget_that_is_gone_is_told_to_nobody() {
    let app = TestApp::start_with(|it| it.pace.spending = Duration::from_millis(10)).await;
    let (stays, leaves) = (app.user("Ada").await, app.user("Grace").await);
    for user in [&stays, &leaves] {
        set(&app, user, json!(1000)).await;
    }
    let told = async || {
        let mut client = proxy::config(app.running.grpc_addr).await;
        let mut request = proxy::watch_request(None);
        request.takes_spending = true;
        let mut stream = client.watch(request).await.unwrap().into_inner();
        loop {
            let response = eventually(stream.message()).await.unwrap().unwrap();
            if let Some(Event::Spending(spending)) = response.event {
                break spending.spent;
            }
        }
    };
    eventually(async { while told().await.len() != 2 {} }).await;
    set(&app, &leaves, Value::Null).await;
    let left = eventually(async {
        loop {
            let told = told().await;
            if told.len() == 1 {
                break told;
            }
        }
    })
    .await;
    assert_eq!(left[0].user_id, stays);
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_are_crossed_once_for_each_amount() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let crossed = async || -> Vec<(i64, String)> {
        let alerts = app
            .get(&format!("/admin/budget-alerts?user_id={user}"))
            .await
            .body;
        let mut alerts: Vec<_> = alerts["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| {
                assert_eq!(it["user_name"], "Ada");
                assert_eq!(it["delivered_at"], Value::Null);
                let budget = it["monthly_budget_usd"].as_str().unwrap().to_owned();
                (it["threshold"].as_i64().unwrap(), budget)
            })
            .collect();
        alerts.sort();
        alerts
    };
    let hundred = |threshold: i64| (threshold, "100.000000".to_owned());
    set(&app, &user, json!(100)).await;
    push(&app, vec![on_bedrock(&user, 2)]).await;
    assert_eq!(crossed().await, []);
    push(&app, vec![on_bedrock(&user, 1)]).await;
    assert_eq!(crossed().await, [hundred(50)]);
    push(&app, vec![on_bedrock(&user, 2)]).await;
    push(&app, vec![on_bedrock(&user, 1)]).await;
    assert_eq!(crossed().await, [hundred(50), hundred(80), hundred(100)]);
    // Raised: 120 of 200 are more than half again.
    let raised = set(&app, &user, json!(200)).await;
    assert_eq!(crossed().await.len(), 4);
    let thresholds = raised["thresholds"].as_array().unwrap();
    assert_eq!(thresholds.len(), 4);
    assert_eq!(thresholds[3]["threshold"], 50);
    assert_eq!(thresholds[3]["monthly_budget_usd"], "200.000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_goes_with_its_user() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    set(&app, &user, json!(1)).await;
    let mut copy = watching(&app).await;
    app.sql()
        .await
        .batch_execute("delete from users")
        .await
        .unwrap();
    copy.advance().await;
    assert!(held(&copy).is_none());
    assert_eq!(
        copy.resources
            .keys()
            .filter(|(kind, _)| *kind == i32::from(Kind::Budget))
            .count(),
        0
    );
}
