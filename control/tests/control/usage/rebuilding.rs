//! Sums that are made anew are those that were kept.

use chrono::{TimeDelta, Utc};
use control::{
    app::App,
    store::{Store, aggregates},
};
use proto::sync::UsageEvent;
use serde_json::json;

use crate::support::{
    TestApp, eventually,
    proxy::{Push, event},
    settings,
};

async fn used(app: &TestApp, days: i64) {
    let events = (0..days * 5).map(|number| UsageEvent {
        started_at: Some(proto::line::timestamp(
            Utc::now() - TimeDelta::hours(number * 24 / 5),
        )),
        upstream_model: format!("model-{}", number % 3),
        ..event()
    });
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(events.collect()).await.unwrap();
}

/// Every sum, as text.
async fn sums(app: &TestApp, bucket_types: &str) -> Vec<String> {
    let sql = app.sql().await;
    let mut sums = Vec::new();
    for table in ["usage_aggregates", "usage_totals"] {
        let statement = format!(
            "select {table}::text from {table}
            where bucket_type = any (string_to_array('{bucket_types}', ',')) order by 1"
        );
        let rows = sql.query(&statement, &[]).await.unwrap();
        sums.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_command_makes_is_what_was_kept() {
    // Which the command is not told.
    let zone = chrono_tz::Tz::America__New_York;
    let app = TestApp::start_with(|it| it.money.calendar.timezone = zone).await;
    used(&app, 20).await;
    let kept = sums(&app, "minute,hour,day").await;
    assert!(kept.len() > 100, "{}", kept.len());
    app.sql()
        .await
        .batch_execute(
            "update usage_aggregates set requests = requests + 1;
            update usage_totals set requests = requests + 1",
        )
        .await
        .unwrap();
    let url = app.database.url().to_owned();
    let rebuilt = tokio::task::spawn_blocking(move || {
        std::process::Command::new(env!("CARGO_BIN_EXE_claude-code-control"))
            .args(["usage", "rebuild"])
            .env_remove("PROXY_TIMEZONE")
            .env("PROXY_DATABASE_URL", url)
            .output()
    });
    let output = eventually(rebuilt).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(sums(&app, "minute,hour,day").await, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_are_kept_for_a_fortnight_and_do_not_come_back() {
    let app = TestApp::start().await;
    used(&app, 20).await;
    let sql = app.sql().await;
    let store = Store::new(app.database.url().parse().unwrap()).unwrap();
    let mut connection = store.connection().await.unwrap();
    let oldest = async || {
        let row = sql
            .query_one(
                "select min(bucket_start) >= first_minute() from usage_totals
                where bucket_type = 'minute'",
                &[],
            )
            .await;
        row.unwrap().get::<_, bool>(0)
    };
    assert!(oldest().await);
    // One that has grown old.
    sql.batch_execute(
        "update usage_totals set bucket_start = bucket_start - interval '15 days'
        where bucket_type = 'minute' and bucket_start > now() - interval '1 day'",
    )
    .await
    .unwrap();
    assert!(!oldest().await);
    assert!(aggregates::drop_minutes(&mut connection).await.unwrap() > 0);
    assert!(oldest().await);
    sql.batch_execute("begin; select rebuild_usage_aggregates('UTC'); commit")
        .await
        .unwrap();
    assert!(oldest().await);
    // Their requests are still told by the minute, from the rows.
    let (from, to) = ("now() - interval '17 days'", "now() - interval '15 days'");
    let row = sql
        .query_one(
            &format!(
                "select to_char({from}, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                    to_char({to}, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), current_setting('TimeZone')"
            ),
            &[],
        )
        .await
        .unwrap();
    let (from, to): (String, String) = (row.get(0), row.get(1));
    let path = |bucket_type| format!("/admin/usage?bucket_type={bucket_type}&from={from}&to={to}");
    let minutes = app.get(&path("minute")).await.body;
    let hours = app.get(&path("hour")).await.body;
    assert!(minutes["total_requests"].as_i64().unwrap() > 5);
    assert_eq!(minutes["totals"], hours["totals"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_time_zone_makes_them_anew_at_the_start() {
    let app = TestApp::start().await;
    used(&app, 20).await;
    let minutes = sums(&app, "minute").await;
    let days = sums(&app, "day").await;
    let user = app.user("Ada").await;
    let path = format!("/admin/users/{user}/budget");
    let budget = json!({"monthly_budget_usd": "5.00"});
    app.put(&path, budget).await;
    let mut settings = settings(app.database.url());
    settings.money.calendar.timezone = chrono_tz::Tz::Asia__Seoul;
    let running = App::start(settings).await.unwrap();
    eventually(running.ready()).await;
    assert_eq!(sums(&app, "minute").await, minutes);
    assert_ne!(sums(&app, "day").await, days);
    // Budgets are of the month that is summed up, at once and for every replica.
    let months = "select
        to_char(period_start at time zone 'UTC', 'HH24:MI'),
        to_char(period_end at time zone 'UTC', 'HH24:MI') from budgets";
    let row = app.sql().await.query_one(months, &[]).await.unwrap();
    assert_eq!([row.get::<_, &str>(0), row.get(1)], ["15:00"; 2]);
    let standing = app.get(&path).await.body;
    let start = standing["period_start"].as_str().unwrap();
    assert!(start.contains("T15:00:00"), "{start}");
    let report = app
        .get("/admin/usage?period=month&bucket_type=day")
        .await
        .body;
    assert_eq!(report["timezone"], "Asia/Seoul");
    for bucket in report["buckets"].as_array().unwrap() {
        let start = bucket["bucket_start"].as_str().unwrap();
        assert!(start.ends_with("T15:00:00Z"), "{start}");
    }
    assert!(running.shutdown().await);
}
