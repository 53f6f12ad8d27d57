//! Access keys: what an administrator does, and what proxies then hold.

use proto::sync::{Kind, resource::Spec};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{HASHER_SECRET, TestApp, answer, proxy::Copy};

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_key_is_shown_once_and_stored_nowhere() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let path = format!("/admin/users/{user}/access-keys");
    let issued = app.post(&path, json!({"name": "laptop"})).await;
    assert_eq!(issued.status, 201);
    assert_eq!(issued.headers["cache-control"], "no-store");
    let raw_key = issued.body["raw_key"].as_str().unwrap();
    assert!(proto::access_key::is_well_formed(raw_key));
    assert_eq!(issued.body["key_prefix"], raw_key[..9]);
    assert_eq!(issued.body["name"], "laptop");
    assert_eq!(issued.body["status"], "active");
    assert_eq!(issued.body["user_id"], user);

    let listed = app.get(&path).await;
    assert!(!listed.body.to_string().contains(raw_key));
    let mut expected = issued.body.clone();
    expected.as_object_mut().unwrap().remove("raw_key");
    assert_eq!(listed.body["items"], json!([expected]));

    let client = app.sql().await;
    let row = client
        .query_one("select key_hash, access_keys::text from access_keys", &[])
        .await
        .unwrap();
    let hasher = proto::access_key::Hasher::new(HASHER_SECRET.as_bytes());
    assert_eq!(row.get::<_, Vec<u8>>(0), hasher.hash(raw_key).as_bytes());
    assert!(!row.get::<_, String>(1).contains(&raw_key[9..]));
    let user = app.get(&format!("/admin/users/{user}")).await;
    assert_eq!(user.body["active_access_keys"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_be_left_out_where_every_field_is_optional() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let path = format!("/admin/users/{user}/access-keys");
    let issued = answer(app.request(Method::POST, &path)).await;
    assert_eq!(issued.status, 201);
    let path = format!("/admin/access-keys/{}/rotate", issued.id());
    let rotated = answer(app.request(Method::POST, &path)).await;
    assert_eq!(rotated.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_leaves_the_proxies_and_cannot_come_back() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await;
    let key_id = key["id"].as_str().unwrap();
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    assert!(copy.has(key_id));

    let path = format!("/admin/access-keys/{key_id}");
    assert_eq!(app.delete(&path).await.status, 204);
    copy.advance().await;
    assert!(!copy.has(key_id));
    assert!(copy.has(&user));

    app.delete(&path)
        .await
        .assert_error(409, "access_key_already_revoked");
    app.post(&format!("{path}/rotate"), json!({}))
        .await
        .assert_error(409, "access_key_not_active");
    let listed = app.get(&format!("/admin/users/{user}/access-keys")).await;
    assert_eq!(listed.body["items"][0]["status"], "revoked");
    assert!(listed.body["items"][0]["revoked_at"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_works_on_for_its_grace_period() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let path = format!("/admin/users/{user}/access-keys");
    let old = app
        .post(
            &path,
            json!({"name": "laptop", "expires_at": "2999-01-01T00:00:00Z"}),
        )
        .await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;

    let before = chrono::Utc::now().timestamp();
    let rotate = format!("/admin/access-keys/{}/rotate", old.id());
    let new = app.post(&rotate, json!({"grace_seconds": 600})).await;
    assert_eq!(new.status, 200);
    assert_ne!(new.id(), old.id());
    assert_ne!(new.body["raw_key"], old.body["raw_key"]);
    assert_eq!(new.body["name"], "laptop");
    assert_eq!(new.body["expires_at"], old.body["expires_at"]);

    // Both in one delta: there is no moment without a key.
    copy.advance().await;
    assert!(copy.has(&new.id()));
    let spec = &copy.resources[&(Kind::AccessKey.into(), old.id())].spec;
    let Some(Spec::AccessKey(spec)) = spec else {
        panic!("{spec:?}");
    };
    let ends_in = spec.expires_at.unwrap().seconds - before;
    assert!((599..700).contains(&ends_in), "{ends_in}");

    app.post(&rotate, json!({}))
        .await
        .assert_error(409, "access_key_not_active");
    let listed = app.get(&path).await;
    assert_eq!(listed.body["items"][1]["status"], "rotating");
    let user = app.get(&format!("/admin/users/{user}")).await;
    assert_eq!(user.body["active_access_keys"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grace_period_of_nothing_revokes_at_once() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let old = app.access_key(&user).await;
    let old_id = old["id"].as_str().unwrap();
    let rotate = format!("/admin/access-keys/{old_id}/rotate");
    let new = app.post(&rotate, json!({"grace_seconds": 0})).await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    assert!(copy.has(&new.id()));
    assert!(!copy.has(old_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_inactive_user_stay_and_work_again() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await;
    let key_id = key["id"].as_str().unwrap();
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;

    app.post(&format!("/admin/users/{user}/deactivate"), json!({}))
        .await;
    copy.advance().await;
    assert!(!copy.has(&user), "without its user a key is refused");
    assert!(copy.has(key_id));
    let issue = format!("/admin/users/{user}/access-keys");
    app.post(&issue, json!({}))
        .await
        .assert_error(409, "user_not_active");
    app.post(&format!("/admin/access-keys/{key_id}/rotate"), json!({}))
        .await
        .assert_error(409, "user_not_active");

    app.post(&format!("/admin/users/{user}/reactivate"), json!({}))
        .await;
    copy.advance().await;
    assert!(copy.has(&user) && copy.has(key_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_user_revokes_its_keys_in_the_same_step() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    app.access_key(&user).await;
    let rotated = app.access_key(&user).await;
    let rotated = rotated["id"].as_str().unwrap();
    app.post(&format!("/admin/access-keys/{rotated}/rotate"), json!({}))
        .await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    assert_eq!(copy.made(), 4);

    app.delete(&format!("/admin/users/{user}")).await;
    copy.advance().await;
    assert_eq!(copy.made(), 0, "one delta took all of them");
    let client = app.sql().await;
    let row = client
        .query_one(
            "select count(*) from access_keys where status = 'revoked'",
            &[],
        )
        .await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 3);
    let path = format!("/admin/users/{user}/access-keys");
    app.get(&path).await.assert_error(404, "user_not_found");
    app.post(&path, json!({}))
        .await
        .assert_error(404, "user_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_is_refused_with_a_code() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let path = format!("/admin/users/{user}/access-keys");
    for body in [
        json!({"name": ""}),
        json!({"name": "x".repeat(256)}),
        json!({"expires_at": "2020-01-01T00:00:00Z"}),
        json!({"expires_at": "tomorrow"}),
        json!({"expires_at": "+200000-01-01T00:00:00Z"}),
        json!({"colour": "red"}),
    ] {
        app.post(&path, body)
            .await
            .assert_error(400, "invalid_body");
    }
    let key = app.access_key(&user).await;
    let rotate = format!("/admin/access-keys/{}/rotate", key["id"].as_str().unwrap());
    for grace in [
        json!(-1),
        json!(86_401),
        json!("5"),
        json!(1.5),
        json!(1e300),
    ] {
        app.post(&rotate, json!({"grace_seconds": grace}))
            .await
            .assert_error(400, "invalid_body");
    }
    let nobody = uuid::Uuid::new_v4();
    app.post(&format!("/admin/access-keys/{nobody}/rotate"), Value::Null)
        .await
        .assert_error(400, "invalid_body");
    app.post(&format!("/admin/access-keys/{nobody}/rotate"), json!({}))
        .await
        .assert_error(404, "access_key_not_found");
    app.delete(&format!("/admin/access-keys/{nobody}"))
        .await
        .assert_error(404, "access_key_not_found");
    app.post(&format!("/admin/users/{nobody}/access-keys"), json!({}))
        .await
        .assert_error(404, "user_not_found");
}

/// Two administrators press the button at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_rotated_once_however_many_ask() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await;
    let path = format!("/admin/access-keys/{}/rotate", key["id"].as_str().unwrap());
    let answers = futures_util::future::join_all((0..6).map(|_| app.post(&path, json!({})))).await;
    let statuses: Vec<u16> = answers
        .iter()
        .map(|answer| answer.status.as_u16())
        .collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 409).count(),
        5,
        "{statuses:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_changed_without_another_one_being_issued() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let issue = json!({
        "name": "laptop",
        "expires_at": "2099-01-01T00:00:00Z",
        "bedrock_region": "eu-central-1",
        "model": "claude-sonnet-4-5",
    });
    let issued = app
        .post(&format!("/admin/users/{user}/access-keys"), issue.clone())
        .await;
    assert_eq!(issued.status, 201, "{issued:?}");
    for (field, value) in issue.as_object().unwrap() {
        assert_eq!(&issued.body[field], value, "{field}");
    }
    assert_eq!(issued.body["last_used_at"], json!(null));
    assert_eq!(issued.body["bedrock_key"], json!(null));

    // Its region is that of a credential that names none.
    let path = format!("/admin/access-keys/{}", issued.id());
    let credential = json!({"bedrock_api_key": "a-key-for-bedrock"});
    app.post(&format!("{path}/bedrock-key"), credential).await;
    let list = app.get(&format!("/admin/users/{user}/access-keys")).await;
    let key = &list.body["items"][0];
    assert_eq!(key["bedrock_key"]["region"], "eu-central-1");
    assert_eq!(key["bedrock_key"]["kind"], "api_key");
    assert_eq!(key["bedrock_key"]["verified_at"], json!(null));

    let change = json!({"name": null, "expires_at": "2098-01-01T00:00:00Z"});
    let changed = app.patch(&path, change).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.body["name"], json!(null));
    assert_eq!(changed.body["expires_at"], "2098-01-01T00:00:00Z");
    assert_eq!(changed.body["model"], "claude-sonnet-4-5");
    // Proxies hold its end.
    assert!(changed.headers.contains_key("x-config-revision"));
    let meant = app
        .patch(&path, json!({"model": null, "bedrock_region": null}))
        .await;
    assert_eq!(meant.body["model"], json!(null));
    assert!(!meant.headers.contains_key("x-config-revision"));

    for body in [
        json!({"name": ""}),
        json!({"expires_at": "2020-01-01T00:00:00Z"}),
        json!({"bedrock_region": "somewhere"}),
        json!({"model": "two words"}),
        json!({"colour": "red"}),
    ] {
        app.patch(&path, body)
            .await
            .assert_error(400, "invalid_body");
    }
    app.delete(&path).await;
    app.patch(&path, json!({"name": "x"}))
        .await
        .assert_error(409, "access_key_already_revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_is_meant_for_the_same() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let meant = json!({"bedrock_region": "eu-central-1", "model": "claude-opus-4-7"});
    let issued = app
        .post(&format!("/admin/users/{user}/access-keys"), meant)
        .await;
    let path = format!("/admin/access-keys/{}/rotate", issued.id());
    let rotated = app.post(&path, json!({})).await.body;
    assert_eq!(rotated["bedrock_region"], "eu-central-1");
    assert_eq!(rotated["model"], "claude-opus-4-7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_shows_when_it_was_used_last_and_proxies_do_not_hear_of_it() {
    use crate::support::proxy::{Push, event};
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await;
    let head = async || app.get("/admin/proxies").await.body["head"]["revision"].clone();
    let before = head().await;
    let mut push = Push::open(app.running.grpc_addr).await;
    let mut newest = event();
    newest.user_id = user.clone();
    newest.access_key_id = key["id"].as_str().unwrap().to_owned();
    let mut older = newest.clone();
    older.event_id = event().event_id;
    older.started_at = Some(proto::line::timestamp(
        chrono::Utc::now() - chrono::TimeDelta::hours(1),
    ));
    let used = async || {
        let list = app.get(&format!("/admin/users/{user}/access-keys")).await;
        let text = list.body["items"][0]["last_used_at"].clone();
        text.as_str()
            .unwrap()
            .parse::<chrono::DateTime<chrono::Utc>>()
            .unwrap()
    };
    push.deliver(vec![older.clone(), newest]).await.unwrap();
    let last = used().await;
    assert!(
        chrono::Utc::now() - last < chrono::TimeDelta::minutes(10),
        "{last}"
    );
    // What comes late is not what was last.
    older.event_id = event().event_id;
    push.deliver(vec![older]).await.unwrap();
    assert_eq!(used().await, last);
    assert_eq!(head().await, before);
}
