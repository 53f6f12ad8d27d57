//! `token_usage` by month.

use chrono::{DateTime, Datelike, Months, NaiveDate, TimeDelta, Utc};
use control::store::{Store, aggregates, migrate::migrate, usage};
use proto::sync::UsageEvent;
use testkit::postgres::Database;

use crate::support::{
    TestApp, eventually,
    proxy::{Push, event},
    sql,
};

async fn partitions(client: &tokio_postgres::Client) -> Vec<String> {
    let rows = client
        .query(
            "select relname from pg_inherits join pg_class on pg_class.oid = inhrelid
             where inhparent = 'token_usage'::regclass order by relname",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn name(month: NaiveDate) -> String {
    month.format("token_usage_%Y_%m").to_string()
}

fn first_of(time: DateTime<Utc>) -> NaiveDate {
    time.date_naive().with_day(1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coming_months_have_partitions_from_the_start() {
    let before = first_of(Utc::now());
    let database = Database::create().await.unwrap();
    migrate(&database.url().parse().unwrap()).await.unwrap();
    let names = partitions(&sql(database.url()).await).await;
    for months in 0..=3 {
        let name = name(before + Months::new(months));
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert!(names.contains(&"token_usage_default".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_default_partition_caught_move_to_their_month() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await;
    let far: DateTime<Utc> = "2031-02-28T23:59:59.999999Z".parse().unwrap();
    let at = |time| UsageEvent {
        started_at: Some(proto::line::timestamp(time)),
        access_key_id: key["id"].as_str().unwrap().to_owned(),
        ..event()
    };
    let batch = vec![
        at(far),
        at("2031-02-01T00:00:00Z".parse().unwrap()),
        at("2031-03-01T00:00:00Z".parse().unwrap()),
    ];
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(batch.clone()).await.unwrap();
    let client = app.sql().await;
    let count = async |table: &str| {
        let query = format!("select count(*) from {table}");
        let row = client.query_one(&query, &[]).await.unwrap();
        row.get::<_, i64>(0)
    };
    assert_eq!(count("token_usage_default").await, 3);

    let store = Store::new(app.database.url().parse().unwrap()).unwrap();
    let mut connection = store.connection().await.unwrap();
    let february = NaiveDate::from_ymd_opt(2031, 2, 1).unwrap();
    assert!(
        usage::make_partition(&mut connection, february)
            .await
            .unwrap()
    );
    assert!(
        !usage::make_partition(&mut connection, february)
            .await
            .unwrap()
    );

    assert_eq!(count("token_usage_2031_02").await, 2);
    assert_eq!(count("token_usage_default").await, 1);
    // They are still the same events, with their reference.
    push.deliver(batch).await.unwrap();
    assert_eq!(count("token_usage").await, 3);
    client
        .batch_execute("delete from access_keys")
        .await
        .unwrap();
    assert_eq!(count("token_usage where access_key_id is null").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_making_the_same_month_while_usage_comes_in_lose_nothing() {
    let app = TestApp::start().await;
    let store = Store::new(app.database.url().parse().unwrap()).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for month in 1..=6 {
        for _ in 0..2 {
            let store = store.clone();
            tasks.spawn(async move {
                let mut connection = store.connection().await.unwrap();
                let month = NaiveDate::from_ymd_opt(2032, month, 1).unwrap();
                usage::make_partition(&mut connection, month).await.unwrap();
            });
        }
    }
    for _ in 0..4 {
        let address = app.running.grpc_addr;
        tasks.spawn(async move {
            let mut push = Push::open(address).await;
            for number in 0..60 {
                let time: DateTime<Utc> = "2032-01-15T00:00:00Z".parse().unwrap();
                let event = UsageEvent {
                    started_at: Some(proto::line::timestamp(
                        time + TimeDelta::days(30 * (number % 6)),
                    )),
                    ..event()
                };
                push.deliver(vec![event]).await.unwrap();
            }
        });
    }
    while let Some(task) = eventually(tasks.join_next()).await {
        task.unwrap();
    }
    let client = app.sql().await;
    let row = client
        .query_one("select count(*) from token_usage", &[])
        .await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 240);
    let caught = client
        .query_one("select count(*) from token_usage_default", &[])
        .await;
    assert_eq!(caught.unwrap().get::<_, i64>(0), 0);
    let names = partitions(&client).await;
    assert_eq!(
        names.iter().filter(|name| name.contains("_2032_")).count(),
        6
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_drops_whole_months_and_what_the_default_partition_has() {
    let app = TestApp::start().await;
    let store = Store::new(app.database.url().parse().unwrap()).unwrap();
    let mut connection = store.connection().await.unwrap();
    for month in [1, 2] {
        let month = NaiveDate::from_ymd_opt(2020, month, 1).unwrap();
        usage::make_partition(&mut connection, month).await.unwrap();
    }
    let at = |time: &str| UsageEvent {
        started_at: Some(proto::line::timestamp(time.parse().unwrap())),
        ..event()
    };
    let mut push = Push::open(app.running.grpc_addr).await;
    let events = vec![
        at("2019-06-01T00:00:00Z"),
        at("2020-01-15T00:00:00Z"),
        at("2020-02-15T00:00:00Z"),
        event(),
    ];
    push.deliver(events.clone()).await.unwrap();

    let kept_from: DateTime<Utc> = "2020-02-10T00:00:00Z".parse().unwrap();
    let dropped = usage::drop_old(&mut connection, Utc::now() - kept_from)
        .await
        .unwrap();
    assert_eq!(dropped, ["token_usage_2020_01"]);
    let client = app.sql().await;
    let row = client
        .query_one("select count(*) from token_usage", &[])
        .await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 2);

    // What is gone stays in the sums when they are made anew.
    let requests = async || {
        let sum = "select sum(requests)::bigint from usage_totals where bucket_type = 'day'";
        client.query_one(sum, &[]).await.unwrap().get::<_, i64>(0)
    };
    assert_eq!(requests().await, 4);
    aggregates::rebuild(&mut connection, chrono_tz::UTC)
        .await
        .unwrap();
    assert_eq!(requests().await, 4);
    // Nor is it counted again when it comes again, out of a log.
    push.deliver(events).await.unwrap();
    assert_eq!(requests().await, 4);
}
