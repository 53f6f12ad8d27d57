//! Alerts are told to a webhook: signed, again until it has them, and then no more.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use control::settings::Settings;
use hmac::{Hmac, KeyInit, Mac};
use proto::sync::{Provider, Tokens, UsageEvent};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::watch;

use crate::support::{
    TestApp, eventually,
    proxy::{Push, event},
    settings, spawn,
};

const SECRET: &str = "the secret of the webhook";

/// Somebody who is told, and refuses the first so many times.
struct Receiver {
    url: String,
    told: watch::Sender<Vec<Told>>,
    /// Whether it answers what it is told; it does.
    answers: watch::Sender<bool>,
    server: actix_web::dev::ServerHandle,
}

#[derive(Debug, Clone)]
struct Told {
    delivery: String,
    signature: String,
    body: String,
    was_taken: bool,
}

impl Receiver {
    fn start(refusals: usize) -> Self {
        let told = watch::Sender::new(Vec::new());
        let answers = watch::Sender::new(true);
        let state = web::Data::new(Receiving {
            told: told.clone(),
            answers: answers.subscribe(),
            refusals: Mutex::new(refusals),
        });
        let server = HttpServer::new(move || {
            App::new()
                .app_data(state.clone())
                .default_service(web::to(take))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        spawn(server);
        Self {
            url: format!("http://{address}/hook"),
            told,
            answers,
            server: handle,
        }
    }

    fn configure(&self, settings: &mut Settings) {
        settings.webhook.budget_webhook_url = Some(self.url.clone());
        settings.webhook.budget_webhook_secret = Some(SECRET.to_owned().into());
        settings.pace.alerts = Duration::from_millis(20);
    }

    async fn until(&self, wanted: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        let mut told = self.told.subscribe();
        let told = eventually(told.wait_for(|told| wanted(told)))
            .await
            .unwrap();
        told.clone()
    }
}

struct Receiving {
    told: watch::Sender<Vec<Told>>,
    answers: watch::Receiver<bool>,
    refusals: Mutex<usize>,
}

async fn take(request: HttpRequest, body: String, state: web::Data<Receiving>) -> HttpResponse {
    let header = |name: &str| {
        let value = request.headers().get(name).unwrap();
        value.to_str().unwrap().to_owned()
    };
    let was_taken = {
        let mut refusals = state.refusals.lock().unwrap();
        let was_taken = *refusals == 0;
        *refusals = refusals.saturating_sub(1);
        was_taken
    };
    state.told.send_modify(|told| {
        told.push(Told {
            delivery: header("x-ccproxy-delivery"),
            signature: header("x-ccproxy-signature"),
            body,
            was_taken,
        });
    });
    let mut answers = state.answers.clone();
    answers.wait_for(|answers| *answers).await.unwrap();
    if was_taken {
        HttpResponse::Ok().finish()
    } else {
        HttpResponse::InternalServerError().finish()
    }
}

/// As `docs/budgets.md` tells receivers to check it.
fn is_signed(told: &Told) -> bool {
    let parts: HashMap<&str, &str> = told
        .signature
        .split(',')
        .filter_map(|part| part.split_once('='))
        .collect();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{}.{}", parts["t"], told.body).as_bytes());
    hex::encode(mac.finalize().into_bytes()) == parts["v1"]
}

/// Spends all of a budget at once: three thresholds.
async fn exhaust(app: &TestApp) -> String {
    let user = app.user("Ada").await;
    let path = format!("/admin/users/{user}/budget");
    app.put(&path, json!({"monthly_budget_usd": 10})).await;
    let event = UsageEvent {
        user_id: user.clone(),
        provider: Provider::Bedrock.into(),
        upstream_model: "claude-opus-5-5".to_owned(),
        bedrock_model: "global.anthropic.claude-opus-5-5".to_owned(),
        tokens: Some(Tokens {
            output_tokens: 1_000_000,
            ..Tokens::default()
        }),
        ..event()
    };
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![event]).await.unwrap();
    user
}

async fn until_delivered(app: &TestApp) -> Vec<Value> {
    eventually(async {
        loop {
            let alerts = app.get("/admin/budget-alerts").await.body;
            let alerts = alerts["items"].as_array().unwrap().clone();
            if alerts.len() == 3 && alerts.iter().all(|it| it["delivered_at"].is_string()) {
                return alerts;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_threshold_is_told_once_and_signed() {
    let receiver = Receiver::start(0);
    let app = TestApp::start_with(|it| receiver.configure(it)).await;
    let user = exhaust(&app).await;
    let told = receiver.until(|told| told.len() >= 3).await;
    let alerts = until_delivered(&app).await;
    assert_eq!(told.len(), 3);
    let mut thresholds = Vec::new();
    for told in &told {
        assert!(is_signed(told), "{told:?}");
        let body: Value = serde_json::from_str(&told.body).unwrap();
        assert_eq!(body["type"], "budget_alert");
        assert_eq!(body["user_id"], user);
        assert_eq!(body["user_name"], "Ada");
        assert_eq!(body["monthly_budget_usd"], "10.000000");
        assert_eq!(body["spent_usd"], "20.000000");
        assert_eq!(body["id"], told.delivery);
        thresholds.push(body["threshold"].as_i64().unwrap());
    }
    thresholds.sort_unstable();
    assert_eq!(thresholds, [50, 80, 100]);
    assert!(alerts.iter().all(|it| it["attempts"] == 1));
    receiver.server.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_told_again() {
    let receiver = Receiver::start(2);
    let app = TestApp::start_with(|it| receiver.configure(it)).await;
    exhaust(&app).await;
    receiver
        .until(|told| told.iter().filter(|it| !it.was_taken).count() == 2)
        .await;
    // Nobody waits for the delay.
    let sql = app.sql().await;
    eventually(async {
        loop {
            sql.batch_execute(
                "update budget_alerts set next_attempt_at = now() where delivered_at is null",
            )
            .await
            .unwrap();
            let taken = |told: &[Told]| told.iter().filter(|it| it.was_taken).count();
            if taken(&receiver.told.borrow()) >= 3 {
                break;
            }
        }
    })
    .await;
    let alerts = until_delivered(&app).await;
    let attempts: i64 = alerts
        .iter()
        .map(|it| it["attempts"].as_i64().unwrap())
        .sum();
    assert!(attempts >= 5, "{alerts:?}");
    receiver.server.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_tell_it_once() {
    let receiver = Receiver::start(0);
    let app = TestApp::start_with(|it| receiver.configure(it)).await;
    let mut other = settings(app.database.url());
    receiver.configure(&mut other);
    let other = control::app::App::start(other).await.unwrap();
    eventually(other.ready()).await;
    for _ in 0..5 {
        exhaust(&app).await;
    }
    let told = receiver.until(|told| told.len() >= 15).await;
    let sql = app.sql().await;
    eventually(async {
        loop {
            let row = sql.query_one(
                "select count(*) from budget_alerts where delivered_at is null",
                &[],
            );
            if row.await.unwrap().get::<_, i64>(0) == 0 {
                break;
            }
        }
    })
    .await;
    let mut ids: Vec<_> = told.iter().map(|it| it.delivery.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 15);
    assert_eq!(receiver.told.borrow().len(), 15);
    assert!(other.shutdown().await);
    receiver.server.stop(false).await;
}

/// What waits behind a slow receiver is not claimed meanwhile: a claim would end
/// before its turn, and another replica tell it too.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_keeps_one_alert_claimed() {
    let receiver = Receiver::start(0);
    receiver.answers.send_replace(false);
    let app = TestApp::start_with(|it| receiver.configure(it)).await;
    exhaust(&app).await;
    receiver.until(|told| !told.is_empty()).await;
    let sql = app.sql().await;
    let claimed = "select count(*) from budget_alerts where attempts > 0";
    let row = sql.query_one(claimed, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
    receiver.answers.send_replace(true);
    until_delivered(&app).await;
    assert_eq!(receiver.told.borrow().len(), 3);
    receiver.server.stop(false).await;
}

/// Of what was crossed while there was no webhook, it is told what is still so.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_webhook_is_told_of_this_month_and_not_of_history() {
    let app = TestApp::start().await;
    exhaust(&app).await;
    let sql = app.sql().await;
    // Of months ago; and of the month that has just ended, which nobody may miss.
    sql.batch_execute(
        "insert into budget_alerts
            (user_id, period_start, monthly_budget_usd, threshold, spent_usd, crossed_at)
        select user_id, period_start - age, monthly_budget_usd, threshold, spent_usd, now() - age
        from budget_alerts cross join (values
            (interval '90 days'), (interval '60 days'), (interval '1 hour')) as older (age);
        update budget_alerts set crossed_at = crossed_at - interval '25 days'
            where period_start = (select period_start from budgets)",
    )
    .await
    .unwrap();

    let receiver = Receiver::start(0);
    let mut other = settings(app.database.url());
    receiver.configure(&mut other);
    let other = control::app::App::start(other).await.unwrap();
    let told = receiver.until(|told| told.len() >= 6).await;
    let waiting = "select count(*) from budget_alerts
        where delivered_at is null and next_attempt_at < 'infinity'";
    eventually(async { while sql.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) > 0 {} })
        .await;
    let long_ago = (chrono::Utc::now() - chrono::TimeDelta::days(45)).to_rfc3339();
    for told in &told {
        let body: Value = serde_json::from_str(&told.body).unwrap();
        assert!(
            body["crossed_at"].as_str().unwrap() > long_ago.as_str(),
            "{body}"
        );
    }
    assert_eq!(receiver.told.borrow().len(), 6);
    assert!(other.shutdown().await);
    receiver.server.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_needs_its_secret() {
    let error = control::app::App::start({
        let mut settings = settings("postgres://nobody@127.0.0.1:1/nothing");
        settings.webhook.budget_webhook_url = Some("http://127.0.0.1:1/".to_owned());
        settings
    })
    .await
    .unwrap_err();
    assert!(
        error.to_string().contains("PROXY_BUDGET_WEBHOOK_SECRET"),
        "{error}"
    );
}
