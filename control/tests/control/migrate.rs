//! Migrations: again and again, and by several at once.

use control::store::migrate::migrate;
use proto::sync::{Position, watch_response::Event};
use testkit::postgres::Database;

use crate::support::{
    TestApp, eventually, http_client,
    proxy::{Copy, Push, event},
    settings, sql,
};

const BEDROCK_DOWN: &str = include_str!("../../migrations/2026-11-20-100000_bedrock/down.sql");
const CONSOLE_DOWN: &str = include_str!("../../migrations/2026-11-27-100000_console/down.sql");
const COSTS_DOWN: &str = include_str!("../../migrations/2026-11-27-000000_costs/down.sql");
const SESSIONS_DOWN: &str = include_str!("../../migrations/2026-11-28-010000_sessions/down.sql");
const TOTALS_DOWN: &str = include_str!("../../migrations/2026-11-28-000000_totals/down.sql");
const FAILOVER_DOWN: &str = include_str!("../../migrations/2026-11-20-200000_failover/down.sql");

#[tokio::test(flavor = "multi_thread")]
async fn migrating_again_changes_nothing() {
    let database = Database::create().await.unwrap();
    let url = database.url().parse().unwrap();
    migrate(&url).await.unwrap();
    let client = sql(database.url()).await;
    client
        .batch_execute("insert into users (id, name) values (gen_random_uuid(), 'Ada')")
        .await
        .unwrap();
    let describe = async || {
        let row = client
            .query_one(
                "select string_agg(concat_ws('|', relname, relkind, oid), ',' order by oid),
                        (select concat(epoch, revision) from sync_head)
                 from pg_class where relnamespace = 'public'::regnamespace",
                &[],
            )
            .await
            .unwrap();
        (row.get::<_, String>(0), row.get::<_, String>(1))
    };
    let before = describe().await;
    migrate(&url).await.unwrap();
    assert_eq!(describe().await, before);
}

/// The triggers of another version are replaced, and work.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_of_another_version_are_replaced() {
    let database = Database::create().await.unwrap();
    let url = database.url().parse().unwrap();
    migrate(&url).await.unwrap();
    let client = sql(database.url()).await;
    client
        .batch_execute(
            "create or replace function record_change() returns trigger language plpgsql as
                'begin return null; end';
            comment on function record_change() is 'another version'",
        )
        .await
        .unwrap();
    migrate(&url).await.unwrap();
    client
        .batch_execute("insert into users (id, name) values (gen_random_uuid(), 'Ada')")
        .await
        .unwrap();
    let row = client
        .query_one("select revision from sync_head", &[])
        .await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn four_replicas_may_start_at_once() {
    let database = Database::create().await.unwrap();
    let mut replicas = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let settings = settings(database.url());
        replicas.spawn(async move {
            let running = control::app::App::start(settings).await.unwrap();
            running.ready().await;
            let url = format!("http://{}/readyz", running.ops_addr);
            let ready = http_client().get(url).send().await.unwrap();
            assert_eq!(ready.status(), 200);
            running.shutdown().await
        });
    }
    while let Some(stopped) = eventually(replicas.join_next()).await {
        assert!(stopped.unwrap(), "a replica did not stop in time");
    }
    let client = sql(database.url()).await;
    let row = client
        .query_one("select count(*) from sync_head", &[])
        .await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 1);
}

/// Managed databases give out no superuser.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_role_that_owns_its_schema_is_enough() {
    let database = Database::create().await.unwrap();
    let role = format!("role_{}", uuid::Uuid::new_v4().simple());
    sql(database.url())
        .await
        .batch_execute(&format!(
            "create role {role} login password 'a password';
            grant all on schema public to {role}"
        ))
        .await
        .unwrap();
    let mut url = url::Url::parse(database.url()).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("a password")).unwrap();
    let running = control::app::App::start(settings(url.as_str()))
        .await
        .unwrap();
    eventually(running.ready()).await;
    let app = TestApp::signed_in(running, database).await;
    let user = app.user("Ada").await;
    app.access_key(&user).await;
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![event()]).await.unwrap();
    assert_eq!(app.get("/admin/usage").await.body["totals"]["requests"], 1);

    assert!(app.running.shutdown().await);
    let owner = sql(app.database.url()).await;
    let drop = format!("drop owned by {role}; drop role {role}");
    owner.batch_execute(&drop).await.unwrap();
}

/// With users of its own, and a proxy that holds them already.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_bedrock_is_brought_to_this_version() {
    let database = Database::create().await.unwrap();
    let url = database.url().parse().unwrap();
    migrate(&url).await.unwrap();
    let client = sql(database.url()).await;
    client.batch_execute(SESSIONS_DOWN).await.unwrap();
    client.batch_execute(TOTALS_DOWN).await.unwrap();
    client.batch_execute(CONSOLE_DOWN).await.unwrap();
    client.batch_execute(COSTS_DOWN).await.unwrap();
    client.batch_execute(FAILOVER_DOWN).await.unwrap();
    client.batch_execute(BEDROCK_DOWN).await.unwrap();
    client
        .batch_execute(
            "delete from __diesel_schema_migrations where version >= '20261120100000';
             insert into users (id, name) values (gen_random_uuid(), 'Ada')",
        )
        .await
        .unwrap();
    let row = client
        .query_one("select epoch::text, revision from sync_head", &[])
        .await
        .unwrap();
    let (epoch, revision): (String, i64) = (row.get(0), row.get(1));
    assert_eq!(revision, 1);

    let running = control::app::App::start(settings(database.url()))
        .await
        .unwrap();
    eventually(running.ready()).await;
    let mut copy = Copy::new(running.grpc_addr).await;
    copy.position = Some(Position { epoch, revision: 1 });
    copy.watch().await;
    let event = copy.advance().await;
    assert!(matches!(event, Event::Snapshot(_)), "{event:?}");
    assert_eq!(copy.made(), 1);
    assert!(copy.resources.len() > 30, "the built-in rows are there");
    let app = TestApp::signed_in(running, database).await;
    let users = app.get("/admin/users").await;
    assert_eq!(users.body["items"][0]["routing_strategy"], "plan_first");
    app.user("Grace").await;
    copy.advance().await;
    assert_eq!(copy.made(), 2);
}

/// With usage of its own, and a proxy that holds everything already.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_failover_is_brought_to_this_version() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await;
    let key_id = key["id"].as_str().unwrap();
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![event()]).await.unwrap();
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    drop(push);
    let TestApp {
        running, database, ..
    } = app;
    assert!(running.shutdown().await);
    let client = sql(database.url()).await;
    client.batch_execute(FAILOVER_DOWN).await.unwrap();
    client
        .batch_execute("delete from __diesel_schema_migrations where version = '20261120200000'")
        .await
        .unwrap();

    let running = control::app::App::start(settings(database.url()))
        .await
        .unwrap();
    eventually(running.ready()).await;
    let held = copy;
    let mut copy = Copy::new(running.grpc_addr).await;
    copy.position = held.position;
    copy.resources = held.resources;
    // It goes on from where it is: what it holds has not changed.
    copy.watch().await;
    let first = copy.advance().await;
    assert!(matches!(first, Event::Heartbeat(_)), "{first:?}");

    let app = TestApp::signed_in(running, database).await;
    let usage = app.get("/admin/usage/requests").await;
    assert_eq!(usage.body["items"][0]["is_estimate"], false);
    let path = format!("/admin/access-keys/{key_id}/circuit/reset");
    let reset = app.post(&path, serde_json::Value::Null).await;
    assert_eq!(reset.status, 204);
    let change = copy.advance().await;
    assert!(matches!(change, Event::Delta(_)), "{change:?}");
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![event()]).await.unwrap();
    assert_eq!(app.get("/admin/usage").await.body["totals"]["requests"], 2);
}

/// With usage whose sums an older version has kept, minutes of each access key among
/// them.
#[tokio::test(flavor = "multi_thread")]
async fn totals_are_made_of_the_sums_that_were_kept() {
    let app = TestApp::start().await;
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![event(), event()]).await.unwrap();
    drop(push);
    let TestApp {
        running, database, ..
    } = app;
    assert!(running.shutdown().await);
    let client = sql(database.url()).await;
    client.batch_execute(TOTALS_DOWN).await.unwrap();
    client
        .batch_execute("delete from __diesel_schema_migrations where version = '20261128000000'")
        .await
        .unwrap();
    // Of a row that was dropped meanwhile.
    client
        .batch_execute(
            "update usage_aggregation set timezone = 'UTC', rows_from = now() - interval '20 days';
            insert into usage_aggregates
                select bucket_type, bucket_start - interval '30 days', user_id, access_key_id,
                    provider, model_id, requests, fallback_requests, complete_requests,
                    client_cancelled_requests, upstream_failed_requests, refused_requests,
                    terminated_requests, estimate_requests, unpriced_requests, input_tokens,
                    output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
                    estimated_cost_usd, input_cost_usd, output_cost_usd, cache_read_cost_usd,
                    cache_write_cost_usd, bedrock_cost_usd
                from usage_aggregates",
        )
        .await
        .unwrap();

    let running = control::app::App::start(settings(database.url()))
        .await
        .unwrap();
    eventually(running.ready()).await;
    let app = TestApp::signed_in(running, database).await;
    let from = chrono::Utc::now() - chrono::TimeDelta::days(40);
    let from = from.format("%Y-%m-%dT00:00:00Z");
    for (bucket_type, requests) in [("day", 4), ("hour", 4)] {
        let path = format!("/admin/usage?from={from}&bucket_type={bucket_type}");
        let report = app.get(&path).await;
        assert_eq!(report.body["totals"]["requests"], requests, "{report:?}");
    }
    let minutes = app.get("/admin/usage?bucket_type=minute").await;
    assert_eq!(minutes.body["totals"]["requests"], 2, "{minutes:?}");
}
