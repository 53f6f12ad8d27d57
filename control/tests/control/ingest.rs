//! `Push`: an event is counted once, and none is forgotten.

use std::collections::BTreeSet;

use proto::sync::{Hello, UsageEvent, push_request::Message};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use serde_json::json;
use tonic::Code;
use uuid::Uuid;

use crate::support::{
    TestApp, eventually,
    proxy::{self, Push, event},
    spawn,
};

async fn rows(app: &TestApp) -> i64 {
    let client = app.sql().await;
    let row = client
        .query_one("select count(*) from token_usage", &[])
        .await;
    row.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_event_is_a_row_with_every_field() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await;
    let event = UsageEvent {
        upstream_request_id: "req_upstream".to_owned(),
        access_key_id: key["id"].as_str().unwrap().to_owned(),
        user_id: user.clone(),
        is_fallback: true,
        is_estimate: true,
        session_id: "session".to_owned(),
        agent_id: "agent".to_owned(),
        ..event()
    };
    let mut push = Push::open(app.running.grpc_addr).await;
    assert_eq!(push.deliver(vec![event.clone()]).await.unwrap(), []);

    let usage = app.get("/admin/usage/requests").await;
    let row = &usage.body["items"][0];
    let expected = json!({
        "event_id": Uuid::from_slice(&event.event_id).unwrap(),
        "request_id": "req_1",
        "upstream_request_id": "req_upstream",
        "access_key_id": key["id"],
        "user_id": user,
        "started_at": row["started_at"],
        "duration_ms": 1_200,
        "first_byte_ms": 300,
        "provider": "plan",
        "is_fallback": true,
        "model": "claude-sonnet-4-5",
        "upstream_model": "claude-sonnet-4-5-20250929",
        "outcome": "complete",
        "status": 200,
        "is_streaming": true,
        "input_tokens": 1,
        "output_tokens": 10,
        "cache_read_tokens": 100,
        "cache_write_5m_tokens": 1_000,
        "cache_write_1h_tokens": 10_000,
        "is_estimate": true,
        "session_id": "session",
        "agent_id": "agent",
        "bedrock_model": "",
        "bedrock_region": "",
        "pricing_model_id": "claude-sonnet-4-5",
        "priced": true,
        "estimated_cost_usd": "0.063933",
        "bedrock_cost_usd": "0.063933",
        "user_name": "Ada",
        "key_prefix": key["key_prefix"],
    });
    assert_eq!(*row, expected);
    let started_at = row["started_at"].as_str().unwrap();
    let started_at: chrono::DateTime<chrono::Utc> = started_at.parse().unwrap();
    let sent = proto::line::time(&event.started_at.unwrap()).unwrap();
    assert_eq!(started_at.timestamp_micros(), sent.timestamp_micros());
}

/// The line of the log is the other way in.
#[tokio::test(flavor = "multi_thread")]
async fn a_logged_line_says_whether_its_tokens_are_final() {
    let app = TestApp::start().await;
    let line = |request_id: &str| {
        json!({
            "timestamp": chrono::Utc::now(),
            "level": "INFO",
            "message": proto::line::MESSAGE,
            "event_id": Uuid::now_v7(),
            "request_id": request_id,
            "endpoint": "messages",
            "started_at": chrono::Utc::now(),
            "duration_ms": 5,
            "outcome": "client_cancelled",
            "status": 200,
        })
    };
    let mut estimated = line("estimated");
    estimated["is_estimate"] = json!(true);
    // As a proxy before this one has logged it.
    let events = [estimated, line("final")].map(|line| {
        let line: proto::line::Line<'_> = serde_json::from_value(line).unwrap();
        line.event().unwrap()
    });
    let mut push = Push::open(app.running.grpc_addr).await;
    assert_eq!(push.deliver(events.to_vec()).await.unwrap(), []);
    let usage = app.get("/admin/usage/requests").await;
    for row in usage.body["items"].as_array().unwrap() {
        assert_eq!(row["is_estimate"], row["request_id"] == "estimated");
    }
    assert_eq!(rows(&app).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_comes_again_is_acknowledged_and_counted_once() {
    let app = TestApp::start().await;
    let batch = vec![event(), event()];
    let mut push = Push::open(app.running.grpc_addr).await;
    for _ in 0..3 {
        assert_eq!(push.deliver(batch.clone()).await.unwrap(), []);
    }
    let mut twice = batch.clone();
    twice.extend(batch);
    push.deliver(twice).await.unwrap();
    assert_eq!(rows(&app).await, 2);
}

/// Eight proxies deliver the same events in other orders and other batches, each
/// some of them again: every event is one row, and nobody locks anybody out.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_counted_once_whoever_delivers_them_in_which_order() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await;
    let events: Vec<UsageEvent> = (0..400)
        .map(|number| UsageEvent {
            access_key_id: key["id"].as_str().unwrap().to_owned(),
            user_id: user.clone(),
            started_at: Some(proto::line::timestamp(
                chrono::Utc::now() - chrono::TimeDelta::days(number % 90),
            )),
            ..event()
        })
        .collect();

    let mut workers = tokio::task::JoinSet::new();
    for seed in 0..8 {
        let mut events = events.clone();
        let address = app.running.grpc_addr;
        workers.spawn(async move {
            let mut random = rand::rngs::StdRng::seed_from_u64(seed);
            events.shuffle(&mut random);
            let mut push = Push::open(address).await;
            for batch in events.chunks(25) {
                push.deliver(batch.to_vec()).await.unwrap();
                if random.random_bool(0.4) {
                    let mut again = batch.to_vec();
                    again.shuffle(&mut random);
                    push.deliver(again).await.unwrap();
                }
            }
        });
    }
    while let Some(worker) = eventually(workers.join_next()).await {
        worker.unwrap();
    }
    let client = app.sql().await;
    let row = client
        .query_one(
            "select count(*), sum(cache_write_1h_tokens)::bigint, count(access_key_id) from token_usage",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 400);
    assert_eq!(row.get::<_, i64>(1), 4_000_000);
    assert_eq!(row.get::<_, i64>(2), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_of_a_key_that_is_gone_is_kept_without_it() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let batch = vec![
        UsageEvent {
            access_key_id: Uuid::new_v4().to_string(),
            user_id: user.clone(),
            ..event()
        },
        UsageEvent {
            access_key_id: "not a uuid".to_owned(),
            ..event()
        },
    ];
    let mut push = Push::open(app.running.grpc_addr).await;
    assert_eq!(push.deliver(batch).await.unwrap(), []);
    let usage = app.get(&format!("/admin/usage?user_id={user}")).await;
    assert_eq!(usage.body["totals"]["requests"], 1);
    let listed = app
        .get(&format!("/admin/usage/requests?user_id={user}"))
        .await;
    assert_eq!(listed.body["items"][0]["access_key_id"], json!(null));
    assert_eq!(rows(&app).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_deleted_leaves_its_usage() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await;
    let mut push = Push::open(app.running.grpc_addr).await;
    let event = UsageEvent {
        access_key_id: key["id"].as_str().unwrap().to_owned(),
        user_id: user,
        ..event()
    };
    push.deliver(vec![event]).await.unwrap();
    let client = app.sql().await;
    client
        .batch_execute("delete from access_keys")
        .await
        .unwrap();
    let row = client
        .query_one(
            "select count(*) from token_usage where access_key_id is null",
            &[],
        )
        .await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_stored_is_rejected_and_the_rest_is_stored() {
    let app = TestApp::start().await;
    let without_id = UsageEvent {
        event_id: vec![1, 2, 3].into(),
        ..event()
    };
    let without_time = UsageEvent {
        started_at: None,
        ..event()
    };
    let absurd = UsageEvent {
        duration_ms: u64::MAX,
        ..event()
    };
    let batch = vec![without_id, event(), without_time.clone(), absurd.clone()];
    let mut push = Push::open(app.running.grpc_addr).await;
    let rejected = push.deliver(batch).await.unwrap();
    let ids: Vec<_> = rejected.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(
        ids,
        [
            vec![1, 2, 3],
            without_time.event_id.to_vec(),
            absurd.event_id.to_vec()
        ]
    );
    assert!(rejected.iter().all(|(_, reason)| reason.len() > 10));
    assert_eq!(rows(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_any_kind_and_length_are_stored() {
    let app = TestApp::start().await;
    let model = format!("a\0b\u{7}\"\\{}", "ü".repeat(100_000));
    let mut push = Push::open(app.running.grpc_addr).await;
    let event = UsageEvent {
        model: model.clone(),
        session_id: "\0".to_owned(),
        ..event()
    };
    // Under which it is summed up, too, and not to be compressed.
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    let mut noise = || -> String {
        let letters = (0..20_000).map(|_| random.random_range('a'..='z'));
        letters.collect()
    };
    let unheard_of = UsageEvent {
        upstream_model: noise(),
        session_id: noise(),
        started_at: Some(proto::line::timestamp(
            chrono::Utc::now() - chrono::TimeDelta::hours(1),
        )),
        ..proxy::event()
    };
    assert_eq!(push.deliver(vec![event, unheard_of]).await.unwrap(), []);
    let report = app.get("/admin/usage").await.body;
    assert_eq!(report["total_requests"], 2);
    let usage = app.get("/admin/usage/requests").await;
    let row = &usage.body["items"][0];
    assert_eq!(row["model"], model.replace('\0', "\u{fffd}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_ends_the_stream() {
    let app = TestApp::start().await;
    let mut push = Push::open(app.running.grpc_addr).await;
    let events: Vec<_> = (0..=proto::MAX_BATCH_EVENTS).map(|_| event()).collect();
    let status = push.deliver(events.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(rows(&app).await, 0);

    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(events[1..].to_vec()).await.unwrap();
    assert_eq!(
        rows(&app).await,
        i64::try_from(proto::MAX_BATCH_EVENTS).unwrap()
    );
}

/// Those that come while one is stored share a transaction; each is acknowledged by
/// itself, and hears what was rejected of it.
#[tokio::test(flavor = "multi_thread")]
async fn batches_that_come_together_are_acknowledged_one_by_one() {
    let app = TestApp::start().await;
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![event()]).await.unwrap();
    let held = app.sql().await;
    let hold = "begin; lock table token_usage in share row exclusive mode";
    held.batch_execute(hold).await.unwrap();
    let unfit = UsageEvent {
        started_at: None,
        ..event()
    };
    let again = event();
    let mut sent = vec![push.send(vec![again.clone(), event()]).await];
    sent.push(push.send(vec![unfit.clone(), event()]).await);
    sent.push(push.send(vec![again, event()]).await);
    held.batch_execute("rollback").await.unwrap();
    for sequence in sent.clone() {
        let ack = push.ack().await.unwrap();
        assert_eq!(ack.sequence, sequence);
        let rejected: Vec<_> = ack.rejected.iter().map(|it| &*it.event_id).collect();
        match sequence == sent[1] {
            true => assert_eq!(rejected, [&*unfit.event_id]),
            false => assert!(rejected.is_empty()),
        }
    }
    assert_eq!(rows(&app).await, 5);
}

/// What nobody can store does not keep what came before it from being stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_the_database_refuses_holds_up_none_before_it() {
    let app = TestApp::start().await;
    let mut push = Push::open(app.running.grpc_addr).await;
    let held = app.sql().await;
    held.batch_execute(
        "create function refuse() returns trigger language plpgsql as
            $$ begin raise exception 'never'; end $$;
        create trigger refused before insert on token_usage
            for each row when (new.session_id = 'refused') execute function refuse()",
    )
    .await
    .unwrap();
    let hold = "begin; lock table token_usage in share row exclusive mode";
    held.batch_execute(hold).await.unwrap();
    let refused = UsageEvent {
        session_id: "refused".to_owned(),
        ..event()
    };
    let mut fit = Vec::new();
    for _ in 0..3 {
        fit.push(push.send(vec![event()]).await);
    }
    push.send(vec![refused]).await;
    held.batch_execute("rollback").await.unwrap();
    for sequence in fit {
        assert_eq!(push.ack().await.unwrap().sequence, sequence);
    }
    push.ack().await.unwrap_err();
    assert_eq!(rows(&app).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_batch_is_acknowledged() {
    let app = TestApp::start().await;
    let mut push = Push::open(app.running.grpc_addr).await;
    assert_eq!(push.deliver(vec![]).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_must_begin_with_a_greeting() {
    let app = TestApp::start().await;
    for (first, code) in [
        (
            Message::Batch(proto::sync::UsageBatch::default()),
            Code::InvalidArgument,
        ),
        (Message::Hello(Hello { node: None }), Code::InvalidArgument),
    ] {
        let mut client = proxy::usage(app.running.grpc_addr).await;
        let request = proto::sync::PushRequest {
            message: Some(first),
        };
        let stream = tokio_stream::once(request);
        let mut responses = client.push(stream).await.unwrap().into_inner();
        let status = eventually(responses.message()).await.unwrap_err();
        assert_eq!(status.code(), code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_is_answered_before_anything_was_sent() {
    let app = TestApp::start().await;
    let mut client = proxy::usage(app.running.grpc_addr).await;
    let silence = tokio_stream::pending();
    eventually(client.push(silence)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_control_acknowledges_what_it_stored() {
    let app = TestApp::start().await;
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![event()]).await.unwrap();
    let ids: BTreeSet<u64> = [
        push.send(vec![event()]).await,
        push.send(vec![event()]).await,
    ]
    .into();
    let url = app.database.url().to_owned();
    let stopping = spawn(app.running.shutdown());
    let mut acknowledged = BTreeSet::new();
    while let Some(response) = eventually(push.responses.message()).await.unwrap() {
        if let Some(proto::sync::push_response::Message::Ack(ack)) = response.message {
            acknowledged.insert(ack.sequence);
        }
    }
    drop(push);
    assert!(eventually(stopping).await.unwrap());
    assert!(acknowledged.is_subset(&ids));
    // What is not acknowledged is not there either.
    let client = crate::support::sql(&url).await;
    let row = client
        .query_one("select count(*) from token_usage", &[])
        .await;
    let expected = 1 + acknowledged.len();
    assert_eq!(
        row.unwrap().get::<_, i64>(0),
        i64::try_from(expected).unwrap()
    );
}
