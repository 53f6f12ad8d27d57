//! What happens by itself.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use control::store::{Store, changes};
use proto::sync::watch_response::Event;
use serde_json::json;

use crate::support::{
    TestApp,
    proxy::{Copy, START, START_IN_SQL},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_is_revoked_and_leaves_the_proxies() {
    let app = TestApp::start_with(|settings| {
        settings.pace.expiry = Duration::from_millis(20);
    })
    .await;
    let user = app.user("Ada").await;
    let expiring = app.access_key(&user).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let rotated = app.access_key(&user).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let lasting = app.access_key(&user).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let rotate = format!("/admin/access-keys/{rotated}/rotate");
    app.post(&rotate, json!({"grace_seconds": 1000})).await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    assert_eq!(copy.made(), 5);

    // Time passes.
    app.sql()
        .await
        .execute(
            "update access_keys set
                expires_at = case when id::text = $1 then now() end,
                rotation_expires_at = case when id::text = $2 then now() end
             where id::text in ($1, $2)",
            &[&expiring, &rotated],
        )
        .await
        .unwrap();
    while copy.has(&expiring) || copy.has(&rotated) {
        copy.advance().await;
    }
    assert!(copy.has(&lasting));
    let client = app.sql().await;
    let row = client
        .query_one(
            "select count(*) from access_keys where revoked_at is not null",
            &[],
        )
        .await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_changes_are_forgotten_but_not_the_newest() {
    let app = TestApp::start().await;
    for number in 0..10 {
        app.user(&format!("user {number}")).await;
    }
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;

    let store = Store::new(app.database.url().parse().unwrap()).unwrap();
    let mut connection = store.connection().await.unwrap();
    let row = app
        .sql()
        .await
        .query_one(
            "select count(*) from change_log where revision <= $1",
            &[&START_IN_SQL],
        )
        .await;
    let written: usize = row.unwrap().get::<_, i64>(0).try_into().unwrap();
    let week_ago = Utc::now() - TimeDelta::days(7);
    assert_eq!(
        changes::compact(&mut connection, week_ago, 0)
            .await
            .unwrap(),
        0
    );
    app.sql()
        .await
        .execute(
            "update change_log set at = now() - interval '8 days' where revision <= $1",
            &[&(START_IN_SQL + 8)],
        )
        .await
        .unwrap();
    assert_eq!(
        changes::compact(&mut connection, week_ago, 100)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        changes::compact(&mut connection, week_ago, 5)
            .await
            .unwrap(),
        written + 5
    );
    let head = changes::head(&mut connection).await.unwrap();
    assert_eq!(
        (head.revision, head.floor),
        (START_IN_SQL + 10, START_IN_SQL + 5)
    );
    assert_eq!(
        changes::compact(&mut connection, week_ago, 0)
            .await
            .unwrap(),
        3
    );

    copy.position.as_mut().unwrap().revision = START + 8;
    copy.watch().await;
    let event = copy.receive().await.unwrap();
    assert!(matches!(event, Some(Event::Delta(_))), "{event:?}");
    copy.position.as_mut().unwrap().revision = START + 7;
    copy.watch().await;
    let event = copy.receive().await.unwrap();
    assert!(matches!(event, Some(Event::Snapshot(_))), "{event:?}");
}
