//! The database goes away and comes back.

use std::time::Duration;

use control::app::App;
use serde_json::json;
use testkit::{cutter::Cutter, postgres::Database};
use tonic::Code;

use crate::support::{
    TestApp, eventually, http_client,
    proxy::{self, Copy, Push, START, event},
    settings,
};

/// A control whose way to the database can be cut.
async fn behind_a_cutter() -> (TestApp, Cutter) {
    let database = Database::create().await.unwrap();
    let mut url = url::Url::parse(database.url()).unwrap();
    let target = url.socket_addrs(|| Some(5432)).unwrap()[0];
    let cutter = Cutter::start(target).await.unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(cutter.addr().port())).unwrap();
    let mut settings = settings(url.as_str());
    settings.pace.poll = Duration::from_millis(20);
    settings.pace.heartbeat = Duration::from_millis(20);
    let running = App::start(settings).await.unwrap();
    running.ready().await;
    (TestApp::signed_in(running, database).await, cutter)
}

async fn until_ready_is(app: &TestApp, expected: u16) {
    let client = http_client();
    let url = app.ops_url("/readyz");
    eventually(async {
        while client.get(&url).send().await.unwrap().status() != expected {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_says_that_the_database_is_away_and_comes_back_with_it() {
    let (app, cutter) = behind_a_cutter().await;
    let user = app.user("Ada").await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![event()]).await.unwrap();

    cutter.down();
    until_ready_is(&app, 503).await;
    app.get("/admin/users")
        .await
        .assert_error(503, "database_unavailable");
    app.post("/admin/users", json!({"name": "Grace"}))
        .await
        .assert_error(503, "database_unavailable");
    assert_eq!(app.get("/health").await.status, 200);
    // A proxy is told to try again, and keeps what it has.
    let batch = vec![event()];
    let status = push.deliver(batch.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let mut client = proxy::config(app.running.grpc_addr).await;
    let status = client
        .report(proto::sync::ReportRequest {
            node: Some(proxy::node()),
            ..Default::default()
        })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let ended = loop {
        match copy.receive().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
    copy.watch().await;
    assert_eq!(copy.receive().await.unwrap_err().code(), Code::Unavailable);

    // Meanwhile somebody else changes something.
    app.sql()
        .await
        .batch_execute("update users set status = 'inactive'")
        .await
        .unwrap();

    cutter.up();
    until_ready_is(&app, 200).await;
    copy.watch().await;
    copy.reach(START + 2).await;
    assert!(!copy.has(&user));
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(batch).await.unwrap();
    let report = app.get("/admin/usage").await;
    assert_eq!(report.body["totals"]["requests"], 2);
    cutter.stop().await;
}

/// Every connection is reset, and the next request must not notice.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_broke_while_idle_are_replaced() {
    let (app, cutter) = behind_a_cutter().await;
    for number in 0..5 {
        app.user(&format!("user {number}")).await;
        cutter.cut();
    }
    let users = app.get("/admin/users").await;
    assert_eq!(users.body["total"], 5);
    cutter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_postgres_ends_are_replaced() {
    let (app, cutter) = behind_a_cutter().await;
    app.user("Ada").await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    app.sql()
        .await
        .batch_execute(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await
        .unwrap();
    app.user("Grace").await;
    // The stream may have been caught while reading; then it begins again.
    eventually(async {
        while copy.made() < 2 {
            match copy.receive().await {
                Ok(Some(event)) => drop(copy.apply(&event)),
                Ok(None) | Err(_) => copy.watch().await,
            }
        }
    })
    .await;
    cutter.stop().await;
}
