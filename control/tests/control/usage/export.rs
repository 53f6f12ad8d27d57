//! `/admin/usage/export`.

use control::money::Usd;
use futures_util::StreamExt;
use proto::sync::UsageEvent;
use reqwest::Method;
use serde_json::Value;

use crate::support::{
    TestApp, eventually,
    proxy::{Push, event},
};

const ROWS: usize = 5_500;

async fn with_rows() -> TestApp {
    let app = TestApp::start().await;
    let user = app.user("=cmd|' /C calc'!A0").await;
    let events: Vec<UsageEvent> = (0..ROWS)
        .map(|number| UsageEvent {
            user_id: user.clone(),
            session_id: format!("-{number}, \"quoted\"\nline"),
            ..event()
        })
        .collect();
    let mut push = Push::open(app.running.grpc_addr).await;
    for batch in events.chunks(500) {
        push.deliver(batch.to_vec()).await.unwrap();
    }
    app
}

fn sum(costs: impl Iterator<Item = String>) -> i64 {
    costs
        .map(|cost| cost.parse::<Usd>().unwrap().micros())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_exported_once_and_the_sums_are_those_of_the_report() {
    let app = with_rows().await;
    let report = app.get("/admin/usage").await.body;
    let total: Usd = report["estimated_cost_usd"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();

    let lines = app.request(Method::GET, "/admin/usage/export?format=ndjson");
    let lines = lines.send().await.unwrap().text().await.unwrap();
    let rows: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), ROWS);
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let ids: std::collections::BTreeSet<_> = rows.iter().map(|row| text(row, "event_id")).collect();
    assert_eq!(ids.len(), ROWS);
    assert_eq!(
        sum(rows.iter().map(|row| text(row, "estimated_cost_usd"))),
        total.micros()
    );
    assert_eq!(rows[0]["pricing_input_price"], "3.000000");
    assert_eq!(rows[0]["user_name"], "=cmd|' /C calc'!A0");

    let table = app.request(Method::GET, "/admin/usage/export?format=csv");
    let table = table.send().await.unwrap();
    let disposition = table.headers()["content-disposition"].to_str().unwrap();
    assert!(
        disposition.starts_with("attachment; filename=\"usage_"),
        "{disposition}"
    );
    let table = table.text().await.unwrap();
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    // The names stand over the right columns.
    let names = reader.headers().unwrap().clone();
    let fields = rows[0].as_object().unwrap();
    assert_eq!(
        names.iter().collect::<Vec<_>>(),
        fields.keys().collect::<Vec<_>>()
    );
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), ROWS);
    let column = |name: &str| names.iter().position(|it| it == name).unwrap();
    let costs = records
        .iter()
        .map(|it| it[column("estimated_cost_usd")].to_owned());
    assert_eq!(sum(costs), total.micros());
    // Nothing is a formula.
    for record in &records {
        assert!(record[column("session_id")].starts_with("'-"));
        assert_eq!(&record[column("user_name")], "'=cmd|' /C calc'!A0");
        assert!(
            record
                .iter()
                .all(|cell| !cell.starts_with(['=', '-', '+', '@']))
        );
    }
}

/// Rows are read while they are taken: what is deleted meanwhile is not there.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_read_as_it_is_taken() {
    let app = with_rows().await;
    // Sessions are long enough that not all of it fits into the buffers between.
    app.sql()
        .await
        .batch_execute("update token_usage set agent_id = repeat('x', 20000)")
        .await
        .unwrap();
    let export = app.request(Method::GET, "/admin/usage/export?format=ndjson");
    let mut body = export.send().await.unwrap().bytes_stream();
    let mut bytes = eventually(body.next()).await.unwrap().unwrap().to_vec();
    app.sql()
        .await
        .batch_execute("delete from token_usage")
        .await
        .unwrap();
    while let Some(more) = eventually(body.next()).await {
        bytes.extend(more.unwrap());
    }
    let rows = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert!((1..ROWS).contains(&rows), "{rows}");
    // Whole pages.
    assert_eq!(rows % 1_000, 0);
}
