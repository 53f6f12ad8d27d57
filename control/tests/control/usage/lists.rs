//! Lists: requests, sessions, users.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use proto::sync::{Tokens, UsageEvent};
use serde_json::{Value, json};

use super::encoded;
use crate::support::{
    TestApp,
    proxy::{Push, event},
};

fn at(time: DateTime<Utc>) -> Option<prost_types::Timestamp> {
    Some(proto::line::timestamp(time))
}

/// Every item of a list, page by page.
async fn items(app: &TestApp, path: &str) -> Vec<Value> {
    let to = (Utc::now() + TimeDelta::seconds(1)).to_rfc3339_opts(SecondsFormat::Micros, true);
    let path = format!("{path}?to={to}&limit=2");
    let mut items = Vec::new();
    let mut next = path.clone();
    loop {
        let mut page = app.get(&next).await.body;
        let Value::Array(more) = page["items"].take() else {
            panic!("{page}");
        };
        items.extend(more);
        let Some(cursor) = page["next_cursor"].as_str() else {
            return items;
        };
        next = format!("{path}&cursor={}", encoded(cursor));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_request_once_newest_first() {
    let app = TestApp::start().await;
    let now = Utc::now();
    // Several at the same moment: only their ids tell them apart.
    let events: Vec<UsageEvent> = (0..9)
        .map(|number| UsageEvent {
            started_at: at(now - TimeDelta::minutes(number / 3)),
            ..event()
        })
        .collect();
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(events).await.unwrap();
    let places: Vec<_> = items(&app, "/admin/usage/requests")
        .await
        .iter()
        .map(|row| (row["started_at"].to_string(), row["event_id"].to_string()))
        .collect();
    assert_eq!(places.len(), 9);
    assert!(
        places.windows(2).all(|pair| pair[0] > pair[1]),
        "{places:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_summed_and_paged_by_their_last_request() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let now = Utc::now();
    // Seven sessions, interleaved, the last request of each at another time.
    let events: Vec<UsageEvent> = (0_u8..28)
        .map(|number| UsageEvent {
            started_at: at(now - TimeDelta::minutes(number.into())),
            user_id: user.clone(),
            session_id: format!("session-{}", number % 7),
            agent_id: ["", "main", "search"][usize::from(number % 3)].to_owned(),
            ..event()
        })
        .chain([
            // Of nobody, under a name that is taken, and of no session.
            UsageEvent {
                session_id: "session-3".to_owned(),
                started_at: at(now - TimeDelta::hours(3)),
                ..event()
            },
            event(),
        ])
        .collect();
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(events).await.unwrap();
    let sessions = items(&app, "/admin/usage/sessions").await;
    let names: Vec<_> = sessions
        .iter()
        .map(|it| it["session_id"].as_str().unwrap())
        .collect();
    let expected = (0..7).map(|number| format!("session-{number}"));
    let expected: Vec<_> = expected.chain(["session-3".to_owned()]).collect();
    assert_eq!(names, expected);
    for session in &sessions[..7] {
        assert_eq!(session["requests"], 4);
        assert_eq!(session["user_id"], *user);
        assert_eq!(session["user_name"], "Ada");
        assert_eq!(session["agent_ids"], json!(["main", "search"]));
        assert_eq!(session["cache_read_tokens"], 400);
        assert_eq!(session["estimated_cost_usd"], "0.255732");
        let time = |name: &str| {
            session[name]
                .as_str()
                .unwrap()
                .parse::<DateTime<Utc>>()
                .unwrap()
        };
        assert_eq!(
            time("last_request_at") - time("first_request_at"),
            TimeDelta::minutes(21)
        );
    }
    assert_eq!(sessions[7]["requests"], 1);
    assert_eq!(sessions[7]["user_id"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_ordered_by_tokens_or_by_cost() {
    let app = TestApp::start().await;
    let talker = app.user("Ada").await;
    let writer = app.user("Grace").await;
    let deleted = app.user("Edsger").await;
    let of = |user: &str, output_tokens, cache_write_1h_tokens, hours| UsageEvent {
        user_id: user.to_owned(),
        started_at: at(Utc::now() - TimeDelta::hours(hours)),
        tokens: Some(Tokens {
            output_tokens,
            cache_write_1h_tokens,
            ..Tokens::default()
        }),
        ..event()
    };
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![
        of(&talker, 1_000, 0, 1),
        UsageEvent {
            upstream_model: "made-up".to_owned(),
            ..of(&talker, 500, 0, 5)
        },
        of(&writer, 10, 1_000_000, 1),
        of(&deleted, 9_000, 0, 1),
    ])
    .await
    .unwrap();
    app.delete(&format!("/admin/users/{deleted}")).await;

    let ada = json!({"user_id": talker, "name": "Ada", "total_tokens": 1_500,
        "total_requests": 2, "unpriced_requests": 1, "estimated_cost_usd": "0.015000"});
    let grace = json!({"user_id": writer, "name": "Grace", "total_tokens": 10,
        "total_requests": 1, "unpriced_requests": 0, "estimated_cost_usd": "6.000150"});
    let top = app.get("/admin/usage/top-users").await.body;
    assert_eq!(top, json!([ada, grace]));
    let top = app
        .get("/admin/usage/top-users?order_by=cost&limit=1")
        .await
        .body;
    assert_eq!(top, json!([grace]));
    let series = app.get("/admin/usage/top-users/series").await.body;
    assert_eq!(series[0]["name"], "Ada");
    let buckets = series[0]["buckets"].as_array().unwrap();
    let counts: Vec<_> = buckets
        .iter()
        .map(|it| ["total_tokens", "unpriced_requests"].map(|name| it[name].as_i64().unwrap()))
        .collect();
    assert_eq!(counts, [[500, 1], [1_000, 0]]);
}
