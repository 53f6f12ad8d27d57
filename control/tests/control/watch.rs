//! `Watch`: what a proxy is told, from where, and when.

use std::time::Duration;

use proto::sync::{Kind, Position, resource::Spec, watch_response::Event};
use tonic::Code;
use uuid::Uuid;

use crate::support::{
    HASHER_SECRET, TestApp, eventually,
    proxy::{self, Copy, START, START_IN_SQL},
    spawn,
};

/// A heartbeat that no test waits long for.
const SOON: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_holds_nothing_is_given_everything() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await;

    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    let Event::Snapshot(snapshot) = copy.advance().await else {
        panic!("no snapshot");
    };
    assert!(snapshot.complete);
    assert_eq!(copy.position.as_ref().unwrap().revision, START + 2);

    let key_id = key["id"].as_str().unwrap().to_owned();
    let resource = &copy.resources[&(Kind::AccessKey.into(), key_id)];
    let Some(Spec::AccessKey(spec)) = &resource.spec else {
        panic!("no key: {resource:?}");
    };
    assert_eq!(spec.user_id, user);
    let raw_key = key["raw_key"].as_str().unwrap();
    let hasher = proto::access_key::Hasher::new(HASHER_SECRET.as_bytes());
    assert_eq!(spec.key_hash, hasher.hash(raw_key).as_bytes());
    assert_eq!(spec.expires_at, None);
    assert!(copy.resources.contains_key(&(Kind::User.into(), user)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_configuration_is_a_complete_snapshot_too() {
    let app = TestApp::start().await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    assert_eq!(copy.made(), 0);
    assert_eq!(copy.position.unwrap().revision, START);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_arrives_as_a_delta_without_a_heartbeat_being_due() {
    let app = TestApp::start().await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;

    let user = app.user("Ada").await;
    let Event::Delta(delta) = copy.advance().await else {
        panic!("no delta");
    };
    assert_eq!(
        (delta.from_exclusive, delta.to_inclusive),
        (START, START + 1)
    );
    assert!(copy.has(&user));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_comes_back_is_told_what_it_missed() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;

    let key = app.access_key(&user).await;
    let key_id = key["id"].as_str().unwrap();
    app.delete(&format!("/admin/access-keys/{key_id}")).await;
    let other = app.user("Grace").await;

    copy.watch().await;
    let Event::Delta(delta) = copy.advance().await else {
        panic!("no delta");
    };
    // Three changes of two resources; the key is not there any more.
    assert_eq!(
        (delta.from_exclusive, delta.to_inclusive),
        (START + 1, START + 4)
    );
    assert_eq!(delta.upserted.len(), 1);
    assert_eq!(delta.removed.len(), 1);
    assert_eq!(delta.removed[0].id, key_id);
    assert!(copy.has(&other) && copy.has(&user));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_missed_nothing_gets_a_heartbeat_at_once() {
    let app = TestApp::start().await;
    app.user("Ada").await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    copy.watch().await;
    // The default heartbeat would be longer than the test's patience allows.
    let Event::Heartbeat(heartbeat) = copy.advance().await else {
        panic!("no heartbeat");
    };
    assert_eq!(heartbeat.head, copy.position);
    assert_eq!(heartbeat.digest, copy.digest());
    assert_eq!(heartbeat.heartbeat_interval.unwrap().seconds, 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_filled_with_heartbeats() {
    let app = TestApp::start_with(|settings| settings.pace.heartbeat = SOON).await;
    let user = app.user("Ada").await;
    app.access_key(&user).await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    for _ in 0..3 {
        let event = copy.advance().await;
        assert!(matches!(event, Event::Heartbeat(_)), "{event:?}");
    }
    assert_ne!(copy.digest(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_that_cannot_be_continued_lead_to_a_snapshot() {
    let app = TestApp::start().await;
    for number in 0..5 {
        app.user(&format!("user {number}")).await;
    }
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    let here = copy.position.clone().unwrap();

    let sql = app.sql().await;
    let floor = START + 3;
    sql.batch_execute(&format!(
        "delete from change_log where revision <= {floor}; update sync_head set floor = {floor}"
    ))
    .await
    .unwrap();

    let position = |revision| Position {
        revision,
        ..here.clone()
    };
    let of_epoch = |epoch: &str| Position {
        epoch: epoch.to_owned(),
        ..here.clone()
    };
    for (from, expected) in [
        (position(START + 2), "snapshot"),
        (position(START + 3), "delta"),
        (position(START + 5), "heartbeat"),
        (position(START + 6), "snapshot"),
        (position(u64::MAX), "snapshot"),
        (of_epoch(&Uuid::new_v4().to_string()), "snapshot"),
        (of_epoch("nonsense"), "snapshot"),
        (of_epoch(""), "snapshot"),
    ] {
        copy.position = Some(from.clone());
        copy.watch().await;
        let kind = match copy.receive().await.unwrap().unwrap() {
            Event::Snapshot(_) => "snapshot",
            Event::Delta(_) => "delta",
            Event::Heartbeat(_) => "heartbeat",
            Event::Spending(_) => "spending",
        };
        assert_eq!(kind, expected, "{from:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_ends_the_stream_and_begins_with_a_snapshot() {
    let app = TestApp::start().await;
    app.user("Ada").await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    let before = copy.position.clone().unwrap();

    let store = control::store::Store::new(app.database.url().parse().unwrap()).unwrap();
    let mut connection = store.connection().await.unwrap();
    control::store::changes::new_epoch(&mut connection)
        .await
        .unwrap();

    assert_eq!(copy.receive().await.unwrap(), None);
    copy.watch().await;
    assert!(matches!(copy.advance().await, Event::Snapshot(_)));
    let after = copy.position.clone().unwrap();
    assert_ne!(before.epoch, after.epoch);
    assert_eq!(before.revision, after.revision);
}

/// As many keys of one user.
async fn insert_keys(app: &TestApp, count: usize) {
    let statement = format!(
        "insert into users (id, name) values ('00000000-0000-0000-0000-000000000001', 'Ada');
        insert into access_keys (id, user_id, key_hash, key_prefix)
        select gen_random_uuid(), '00000000-0000-0000-0000-000000000001',
               sha256(convert_to(number::text, 'UTF8')), 'ak_000000'
        from generate_series(1, {count}) as number"
    );
    app.sql().await.batch_execute(&statement).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_snapshot_comes_in_parts_and_only_the_last_is_complete() {
    let app = TestApp::start().await;
    insert_keys(&app, 12_000).await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    let mut parts = 0;
    loop {
        let event = copy.receive().await.unwrap().unwrap();
        let Event::Snapshot(part) = &event else {
            panic!("no snapshot: {event:?}");
        };
        parts += 1;
        assert_eq!(part.at.as_ref().unwrap().revision, START + 1);
        assert!(prost::Message::encoded_len(part) <= 1 << 20);
        let is_whole = part.complete;
        assert_eq!(copy.apply(&event), is_whole);
        if is_whole {
            break;
        }
    }
    assert!(parts > 1, "{parts}");
    assert_eq!(copy.made(), 12_001);

    // A proxy that missed as much is not given it as one message.
    copy.position.as_mut().unwrap().revision = START;
    copy.watch().await;
    let event = copy.receive().await.unwrap();
    assert!(matches!(event, Some(Event::Snapshot(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_rolled_back_is_no_change() {
    let app = TestApp::start_with(|settings| settings.pace.heartbeat = SOON).await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;

    let sql = app.sql().await;
    sql.batch_execute(
        "begin; insert into users (id, name) values (gen_random_uuid(), 'Ada'); rollback",
    )
    .await
    .unwrap();
    let event = copy.advance().await;
    assert!(matches!(event, Event::Heartbeat(_)), "{event:?}");
    assert_eq!(copy.position.unwrap().revision, START);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_one_revision_whatever_it_changes() {
    let app = TestApp::start().await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    let sql = app.sql().await;
    sql.batch_execute(
        "begin;
        insert into users (id, name) values (gen_random_uuid(), 'Ada');
        insert into users (id, name) values (gen_random_uuid(), 'Grace');
        savepoint before;
        insert into users (id, name) values (gen_random_uuid(), 'nobody');
        set constraints all immediate;
        rollback to before;
        update users set status = 'inactive' where name = 'Grace';
        delete from users where name = 'Grace';
        commit",
    )
    .await
    .unwrap();
    copy.advance().await;
    assert_eq!(copy.position.as_ref().unwrap().revision, START + 1);
    assert_eq!(copy.made(), 1);

    // The next transaction of the same session takes the next one.
    sql.batch_execute("update users set status = 'inactive'")
        .await
        .unwrap();
    copy.advance().await;
    assert_eq!(copy.position.as_ref().unwrap().revision, START + 2);
    assert_eq!(copy.made(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_proxies_do_not_see_is_no_change() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    app.patch(
        &format!("/admin/users/{user}"),
        serde_json::json!({"name": "Ada L.", "description": "x"}),
    )
    .await;
    let sql = app.sql().await;
    let row = sql.query_one("select revision from sync_head", &[]).await;
    assert_eq!(row.unwrap().get::<_, i64>(0), START_IN_SQL + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_with_change_triggers_cannot_be_truncated() {
    let app = TestApp::start().await;
    let sql = app.sql().await;
    for statement in ["truncate access_keys cascade", "truncate users cascade"] {
        let error = sql.batch_execute(statement).await.unwrap_err();
        let message = error.as_db_error().unwrap().message();
        assert!(message.contains("truncated"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_delete_takes_user_and_keys_away() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    app.access_key(&user).await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    app.sql()
        .await
        .batch_execute("delete from users")
        .await
        .unwrap();
    copy.reach(START + 3).await;
    assert_eq!(copy.made(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_well_when_control_stops() {
    let app = TestApp::start().await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    let stopping = spawn(app.running.shutdown());
    assert_eq!(copy.receive().await.unwrap(), None);
    drop(copy);
    assert!(eventually(stopping).await.unwrap(), "something was cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_stream_ends_well() {
    let app = TestApp::start_with(|settings| settings.pace.connection_age = SOON).await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    // Its end may come before anything else has.
    while copy.receive().await.unwrap().is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_takes_nothing_is_cut_off_and_told_so() {
    let app = TestApp::start_with(|settings| {
        settings.pace.heartbeat = SOON;
        settings.pace.send_timeout = SOON;
    })
    .await;
    insert_keys(&app, 12_000).await;
    let mut client = proxy::config_with_small_window(app.running.grpc_addr).await;
    let mut stream = client
        .watch(proxy::watch_request(None))
        .await
        .unwrap()
        .into_inner();
    // Nothing is read until control has given up, which its metric tells.
    let given_up = "control_watch_streams_ended_total{reason=\"too_slow\"}";
    let metrics = app.ops_url("/metrics");
    eventually(async {
        while !text(&metrics).await.contains(given_up) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let status = loop {
        match eventually(stream.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended well"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
}

async fn text(url: &str) -> String {
    let response = crate::support::http_client().get(url).send().await;
    response.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_name_is_refused() {
    let app = TestApp::start().await;
    let mut client = proxy::config(app.running.grpc_addr).await;
    for node in [
        None,
        Some(proto::sync::Node {
            instance_id: "me".to_owned(),
            ..proxy::node()
        }),
    ] {
        let request = proto::sync::WatchRequest {
            node,
            resume_from: None,
            takes_spending: false,
        };
        let status = client.watch(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}
