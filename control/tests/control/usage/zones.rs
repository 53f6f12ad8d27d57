//! Days and hours where clocks are turned.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;
use proto::sync::UsageEvent;
use serde_json::Value;

use crate::support::{
    TestApp,
    proxy::{Push, event},
};

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A request every 15 minutes around a switch.
async fn around(zone: Tz, from: DateTime<Utc>, hours: i64) -> TestApp {
    let app = TestApp::start_with(|settings| settings.money.calendar.timezone = zone).await;
    let events: Vec<UsageEvent> = (0..hours * 4)
        .map(|quarter| UsageEvent {
            started_at: Some(proto::line::timestamp(
                from + TimeDelta::minutes(15 * quarter),
            )),
            ..event()
        })
        .collect();
    let mut push = Push::open(app.running.grpc_addr).await;
    for batch in events.chunks(500) {
        push.deliver(batch.to_vec()).await.unwrap();
    }
    app
}

async fn report(app: &TestApp, query: &str) -> Value {
    let report = app.get(&format!("/admin/usage?{query}")).await;
    assert_eq!(report.status, 200, "{report:?}");
    report.body
}

fn buckets(report: &Value) -> Vec<(&str, i64)> {
    let buckets = report["buckets"].as_array().unwrap().iter();
    buckets
        .map(|bucket| {
            let requests = bucket["requests"].as_i64().unwrap();
            (bucket["bucket_start"].as_str().unwrap(), requests)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn days_have_as_many_hours_as_their_clock() {
    let app = around(Tz::Europe__Berlin, time("2026-10-24T20:00:00Z"), 40).await;
    let of_day = report(
        &app,
        "start_date=2026-10-25&end_date=2026-10-25&bucket_type=day",
    )
    .await;
    assert_eq!(buckets(&of_day), [("2026-10-24T22:00:00Z", 100)]);
    let hours = report(&app, "start_date=2026-10-25&end_date=2026-10-25").await;
    assert_eq!(buckets(&hours).len(), 25);
    assert!(buckets(&hours).iter().all(|(_, requests)| *requests == 4));

    let app = around(Tz::Europe__Berlin, time("2026-03-28T20:00:00Z"), 40).await;
    let of_day = report(
        &app,
        "start_date=2026-03-29&end_date=2026-03-29&bucket_type=day",
    )
    .await;
    assert_eq!(buckets(&of_day), [("2026-03-28T23:00:00Z", 92)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_begin_when_the_clock_says_so() {
    let app = around(Tz::Asia__Kolkata, time("2026-10-24T18:30:00Z"), 24).await;
    let hours = report(&app, "start_date=2026-10-25&end_date=2026-10-25").await;
    assert_eq!(buckets(&hours)[0], ("2026-10-24T18:30:00Z", 4));
    assert_eq!(buckets(&hours).len(), 24);
    let of_day = report(
        &app,
        "start_date=2026-10-25&end_date=2026-10-25&bucket_type=week",
    )
    .await;
    assert_eq!(buckets(&of_day), [("2026-10-24T18:30:00Z", 96)]);
}

/// Where clocks are turned at midnight, by half an hour, or back over it, no range
/// counts anything twice or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn no_switch_adds_or_loses_a_request() {
    for (zone, switch) in [
        (Tz::America__Sao_Paulo, "2018-11-04T03:00:00Z"),
        (Tz::America__Sao_Paulo, "2018-02-18T02:00:00Z"),
        (Tz::America__Havana, "2025-11-02T05:00:00Z"),
        (Tz::Australia__Lord_Howe, "2026-04-04T15:00:00Z"),
        (Tz::Australia__Lord_Howe, "2025-10-04T15:30:00Z"),
    ] {
        let first = time(switch) - TimeDelta::hours(60);
        let app = around(zone, first, 120).await;
        for before in [1, 7, 13, 29, 37] {
            for after in [2, 5, 26, 43] {
                // Some minutes off, so that ends are within an hour.
                let from = time(switch) - TimeDelta::minutes(before * 60 + 20);
                let to = time(switch) + TimeDelta::minutes(after * 60 - 25);
                let expected = (0..480)
                    .map(|quarter| first + TimeDelta::minutes(15 * quarter))
                    .filter(|at| from <= *at && *at < to)
                    .count();
                for bucket_type in ["minute", "hour", "day", "week", "month"] {
                    let text =
                        |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
                    let query = format!(
                        "bucket_type={bucket_type}&from={}&to={}",
                        text(from),
                        text(to)
                    );
                    let report = report(&app, &query).await;
                    assert_eq!(report["total_requests"], expected, "{zone} {query}");
                    let sum: i64 = buckets(&report).iter().map(|(_, requests)| requests).sum();
                    assert_eq!(sum, i64::try_from(expected).unwrap(), "{zone} {query}");
                }
            }
        }
    }
}
