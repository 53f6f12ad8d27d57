//! Credentials for Bedrock: what an administrator does, and what proxies can open
//! then.

use std::time::Duration;

use proto::{
    bedrock_credential::BedrockCredential,
    sealed::{LocalKey, Sealed},
    sync::{BedrockKey, Kind, Provider, resource::Spec},
};
use reqwest::{Method, header};
use secrecy::SecretString;
use serde_json::{Value, json};
use testkit::bedrock::{self, Exception, Reply, Simulator};

use crate::support::{
    LOCAL_KEY, TestApp, answer,
    proxy::{Copy, Push, event},
};

const API_KEY: &str = "ABSK-an-api-key";

fn path(access_key_id: &str) -> String {
    format!("/admin/access-keys/{access_key_id}/bedrock-key")
}

/// A new user with a key; their ids.
async fn user_with_key(app: &TestApp) -> (String, String) {
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await;
    (user, key["id"].as_str().unwrap().to_owned())
}

async fn register(app: &TestApp, access_key_id: &str, api_key: &str) {
    let body = json!({"bedrock_api_key": api_key});
    let registered = app.post(&path(access_key_id), body).await;
    assert_eq!(registered.status, 201, "{registered:?}");
}

/// A copy that holds everything.
async fn copy(app: &TestApp) -> Copy {
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    copy
}

/// What a proxy holds for an access key, with its id and version.
pub fn held(copy: &Copy, access_key_id: &str) -> Option<(String, u64, BedrockKey)> {
    copy.resources.values().find_map(|resource| {
        let Some(Spec::BedrockKey(key)) = &resource.spec else {
            return None;
        };
        let name = resource.name.as_ref().unwrap();
        assert_eq!(name.kind(), Kind::BedrockKey);
        let found = (name.id.clone(), resource.version, key.clone());
        (key.access_key_id == access_key_id).then_some(found)
    })
}

/// As a proxy opens it; for whom it was sealed is bound to it.
fn open(key: &BedrockKey, sealed_for: &str) -> Option<BedrockCredential> {
    let sealed = Sealed::try_from(&key.sealed[..]).unwrap();
    let data_key = LocalKey::new(LOCAL_KEY)
        .unwrap_key(&sealed.wrapped_key, sealed_for)
        .ok()?;
    let bytes = sealed.open(sealed_for, &data_key).ok()?;
    Some(BedrockCredential::from_bytes(&bytes).unwrap())
}

fn api_key(key: &str) -> BedrockCredential {
    BedrockCredential::ApiKey {
        bedrock_api_key: key.to_owned(),
    }
}

async fn stored(app: &TestApp) -> i64 {
    let client = app.sql().await;
    let row = client
        .query_one("select count(*) from bedrock_keys", &[])
        .await;
    row.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_registered_read_and_erased() {
    let app = TestApp::start().await;
    let (user, key) = user_with_key(&app).await;
    app.get(&path(&key))
        .await
        .assert_error(404, "bedrock_key_not_found");
    let mut copy = copy(&app).await;

    let body = json!({"bedrock_api_key": API_KEY});
    let registered = app.post(&path(&key), body).await;
    assert_eq!(registered.status, 201);
    assert_eq!(registered.body["status"], "registered");
    assert_eq!(registered.body["kind"], "api_key");
    assert_eq!(registered.body["region"], "ap-northeast-2");
    assert!(!registered.body.to_string().contains(API_KEY));

    let read = app.get(&path(&key)).await;
    assert_eq!(read.status, 200);
    assert_eq!(read.body["access_key_id"], key.as_str());
    assert_eq!(read.body["registered_at"], registered.body["registered_at"]);
    assert!((0..60).contains(&read.body["age_seconds"].as_i64().unwrap()));
    assert_eq!(read.body["last_used_at"], Value::Null);
    assert!(!read.body.to_string().contains(API_KEY));
    let keys = format!("/admin/users/{user}/access-keys");
    let listed = app.get(&keys).await;
    assert_eq!(listed.body["items"][0]["has_bedrock_key"], true);

    copy.advance().await;
    let (_, _, on_proxy) = held(&copy, &key).unwrap();
    assert_eq!(on_proxy.region, "ap-northeast-2");
    assert_eq!(on_proxy.sealed_for, key);
    assert_eq!(open(&on_proxy, &key), Some(api_key(API_KEY)));
    assert_eq!(
        open(&on_proxy, &user),
        None,
        "it is bound to its access key"
    );

    assert_eq!(app.delete(&path(&key)).await.status, 204);
    copy.advance().await;
    assert_eq!(held(&copy, &key), None);
    app.delete(&path(&key))
        .await
        .assert_error(404, "bedrock_key_not_found");
    let listed = app.get(&keys).await;
    assert_eq!(listed.body["items"][0]["has_bedrock_key"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_again_replaces_what_was_there() {
    let app = TestApp::start().await;
    let (_, key) = user_with_key(&app).await;
    register(&app, &key, API_KEY).await;
    let mut copy = copy(&app).await;
    let (id, version, _) = held(&copy, &key).unwrap();

    let pair = json!({
        "aws_access_key_id": "AKIAEXAMPLE",
        "aws_secret_access_key": "a/secret+of=it",
        "aws_session_token": "a-token",
        "region": "us-gov-west-1",
    });
    let registered = app.post(&path(&key), pair).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    assert_eq!(registered.body["kind"], "key_pair");
    assert_eq!(registered.body["region"], "us-gov-west-1");
    copy.advance().await;
    let (new_id, new_version, on_proxy) = held(&copy, &key).unwrap();
    assert_eq!(new_id, id);
    assert!(new_version > version);
    assert_eq!(on_proxy.region, "us-gov-west-1");
    let expected = BedrockCredential::KeyPair {
        aws_access_key_id: "AKIAEXAMPLE".to_owned(),
        aws_secret_access_key: "a/secret+of=it".to_owned(),
        aws_session_token: Some("a-token".to_owned()),
    };
    assert_eq!(open(&on_proxy, &key), Some(expected));
    assert_eq!(stored(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_carries_the_credential_over_unopened() {
    let app = TestApp::start().await;
    let (_, first) = user_with_key(&app).await;
    register(&app, &first, API_KEY).await;
    let registered_at = app.get(&path(&first)).await.body["registered_at"].clone();
    let rotate = async |key: &str, grace: i32| {
        let rotate = format!("/admin/access-keys/{key}/rotate");
        let rotated = app.post(&rotate, json!({"grace_seconds": grace})).await;
        assert_eq!(rotated.body["has_bedrock_key"], true, "{rotated:?}");
        rotated.id()
    };

    let second = rotate(&first, 600).await;
    let mut copy = copy(&app).await;
    let (_, _, old) = held(&copy, &first).unwrap();
    let (_, _, new) = held(&copy, &second).unwrap();
    assert_eq!(new.sealed, old.sealed);
    assert_eq!(new.sealed_for, first);
    assert_eq!(new.region, old.region);
    assert_eq!(open(&new, &new.sealed_for), Some(api_key(API_KEY)));
    assert_eq!(open(&new, &second), None);
    assert_eq!(
        app.get(&path(&second)).await.body["registered_at"],
        registered_at
    );

    // The old key's copy ends with it, and only that.
    app.delete(&format!("/admin/access-keys/{first}")).await;
    copy.advance().await;
    assert_eq!(held(&copy, &first), None);
    assert!(held(&copy, &second).is_some());

    // Without a grace period too, and from a key that has it from another one.
    let third = rotate(&second, 0).await;
    copy.advance().await;
    assert_eq!(held(&copy, &second), None);
    let (_, _, newest) = held(&copy, &third).unwrap();
    assert_eq!(open(&newest, &first), Some(api_key(API_KEY)));

    // What is registered next belongs to the new key alone.
    register(&app, &third, "another-key").await;
    copy.advance().await;
    let (_, _, own) = held(&copy, &third).unwrap();
    assert_eq!(own.sealed_for, third);
    assert_eq!(open(&own, &third), Some(api_key("another-key")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_ends_with_its_key_and_with_its_user() {
    let app = TestApp::start().await;
    for way in ["revoke", "deactivate", "delete"] {
        let (user, key) = user_with_key(&app).await;
        register(&app, &key, API_KEY).await;
        let mut copy = copy(&app).await;
        assert!(held(&copy, &key).is_some());
        let done = match way {
            "revoke" => app.delete(&format!("/admin/access-keys/{key}")).await,
            "delete" => app.delete(&format!("/admin/users/{user}")).await,
            _ => {
                let path = format!("/admin/users/{user}/deactivate");
                app.post(&path, json!({})).await
            }
        };
        assert!(done.status.is_success(), "{way}: {done:?}");
        copy.advance().await;
        assert_eq!(held(&copy, &key), None, "{way}: in the same delta");
        assert_eq!(stored(&app).await, 0, "{way}");
        let log = app.get("/admin/audit-log?limit=1").await.body;
        let before = &log["items"][0]["before"];
        match way {
            "revoke" => assert_eq!(before["has_bedrock_key"], true, "{log}"),
            _ => assert_eq!(before["bedrock_keys"], 1, "{log}"),
        }
    }

    let (user, key) = user_with_key(&app).await;
    app.post(&format!("/admin/users/{user}/deactivate"), json!({}))
        .await;
    let body = json!({"bedrock_api_key": API_KEY});
    app.post(&path(&key), body.clone())
        .await
        .assert_error(409, "user_not_active");
    app.post(&format!("/admin/users/{user}/reactivate"), json!({}))
        .await;
    app.get(&path(&key))
        .await
        .assert_error(404, "bedrock_key_not_found");
    app.delete(&format!("/admin/access-keys/{key}")).await;
    app.post(&path(&key), body)
        .await
        .assert_error(409, "access_key_already_revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_ends_when_its_key_expires() {
    let app = TestApp::start_with(|settings| {
        settings.pace.expiry = Duration::from_millis(20);
    })
    .await;
    let (_, key) = user_with_key(&app).await;
    register(&app, &key, API_KEY).await;
    let mut copy = copy(&app).await;
    app.sql()
        .await
        .batch_execute("update access_keys set expires_at = now()")
        .await
        .unwrap();
    while copy.has(&key) {
        copy.advance().await;
    }
    assert_eq!(
        held(&copy, &key),
        None,
        "the key went without its credential"
    );
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_credential_is_refused_without_repeating_it() {
    let app = TestApp::start().await;
    let (_, key) = user_with_key(&app).await;
    let long = "x".repeat(6_001);
    for body in [
        json!({}),
        json!({"bedrock_api_key": ""}),
        json!({"bedrock_api_key": null}),
        json!({"bedrock_api_key": 123_454_321}),
        json!({"bedrock_api_key": ["marker"]}),
        json!({"bedrock_api_key": "marker with spaces"}),
        json!({"bedrock_api_key": "marker\r\nx-injected: 1"}),
        json!({"bedrock_api_key": "märker"}),
        json!({"bedrock_api_key": long}),
        json!({"bedrock_api_key": "marker", "aws_access_key_id": "AKIA"}),
        json!({"bedrock_api_key": "marker", "aws_session_token": "marker"}),
        json!({"aws_access_key_id": "AKIA"}),
        json!({"aws_secret_access_key": "marker"}),
        json!({"aws_access_key_id": "", "aws_secret_access_key": "marker"}),
        json!({"aws_access_key_id": "AKIA", "aws_secret_access_key": ""}),
        json!({"aws_access_key_id": "AKIA", "aws_secret_access_key": "marker", "aws_session_token": ""}),
        json!({"bedrock_api_key": "marker", "region": "nowhere"}),
        json!({"bedrock_api_key": "marker", "region": "eu-west-1.marker.test"}),
        json!({"bedrock_api_key": "marker", "verify": "marker"}),
        json!({"marker": "marker"}),
        json!("marker"),
    ] {
        let refused = app.post(&path(&key), body.clone()).await;
        refused.assert_error(400, "invalid_body");
        let said = refused.body.to_string();
        assert!(
            !said.contains("marker") && !said.contains("123454321") && !said.contains("xxx"),
            "{body}: {said}"
        );
    }
    let cut = app
        .request(Method::POST, &path(&key))
        .header(header::CONTENT_TYPE, "application/json")
        .body(r#"{"bedrock_api_key": "marker"#);
    let refused = answer(cut).await;
    refused.assert_error(400, "invalid_body");
    assert!(!refused.body.to_string().contains("marker"));
    assert_eq!(stored(&app).await, 0);

    let nobody = uuid::Uuid::new_v4().to_string();
    let body = json!({"bedrock_api_key": API_KEY});
    for answer in [
        app.post(&path(&nobody), body).await,
        app.get(&path(&nobody)).await,
        app.delete(&path(&nobody)).await,
    ] {
        answer.assert_error(404, "access_key_not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_that_cannot_be_sealed() {
    let app = TestApp::start_with(|settings| settings.sealing.local_encryption_key = None).await;
    let (_, key) = user_with_key(&app).await;
    let body = json!({"bedrock_api_key": API_KEY});
    let refused = app.post(&path(&key), body).await;
    refused.assert_error(503, "sealing_not_configured");
    let message = refused.body["error"]["message"].as_str().unwrap();
    for variable in ["PROXY_KMS_KEY_ID", "PROXY_LOCAL_ENCRYPTION_KEY"] {
        assert!(message.contains(variable), "{message}");
    }
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_local_key_does_not_open_it() {
    let app = TestApp::start_with(|settings| {
        settings.sealing.local_encryption_key = Some(SecretString::from("another key, not ours"));
    })
    .await;
    let (_, key) = user_with_key(&app).await;
    register(&app, &key, API_KEY).await;
    let (_, _, on_proxy) = held(&copy(&app).await, &key).unwrap();
    assert_eq!(open(&on_proxy, &key), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_is_the_newest_request_that_went_to_bedrock() {
    let app = TestApp::start().await;
    let (user, key) = user_with_key(&app).await;
    let mut used = event();
    used.access_key_id = key.clone();
    used.user_id = user;
    used.provider = Provider::Bedrock.into();
    let before_it = used.clone();
    let mut push = Push::open(app.running.grpc_addr).await;
    push.deliver(vec![before_it]).await.unwrap();
    register(&app, &key, API_KEY).await;
    let last_used_at = async || app.get(&path(&key)).await.body["last_used_at"].clone();
    assert_eq!(last_used_at().await, Value::Null, "not by this credential");

    let at = |seconds| {
        let started_at = chrono::Utc::now() + chrono::TimeDelta::seconds(seconds);
        let mut event = used.clone();
        event.event_id = uuid::Uuid::now_v7().as_bytes().to_vec().into();
        event.started_at = Some(proto::line::timestamp(started_at));
        (event, started_at)
    };
    let (first, _) = at(1);
    let (newest, newest_at) = at(2);
    let (mut plan, _) = at(3);
    plan.provider = Provider::Plan.into();
    push.deliver(vec![newest, first, plan]).await.unwrap();
    let said: chrono::DateTime<chrono::Utc> = serde_json::from_value(last_used_at().await).unwrap();
    assert_eq!(said.timestamp_micros(), newest_at.timestamp_micros());
}

/// An app that verifies at a simulator, and an access key.
async fn verifying(simulator: &Simulator) -> (TestApp, String) {
    let url = simulator.url();
    let app = TestApp::start_with(|settings| settings.bedrock.bedrock_endpoint = Some(url)).await;
    let (_, key) = user_with_key(&app).await;
    (app, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_works_is_verified_with_one_small_request() {
    let simulator = Simulator::start().await.unwrap();
    simulator
        .credentials()
        .accept_pair("ASIATEMPORARY", "a-secret", Some("a-session-token"));
    let (app, key) = verifying(&simulator).await;
    for credential in [
        json!({"bedrock_api_key": bedrock::API_KEY}),
        json!({
            "aws_access_key_id": bedrock::ACCESS_KEY_ID,
            "aws_secret_access_key": bedrock::SECRET_ACCESS_KEY,
        }),
        json!({
            "aws_access_key_id": "ASIATEMPORARY",
            "aws_secret_access_key": "a-secret",
            "aws_session_token": "a-session-token",
        }),
    ] {
        let mut body = credential;
        body["verify"] = json!(true);
        body["region"] = json!("eu-central-1");
        let registered = app.post(&path(&key), body).await;
        assert_eq!(registered.status, 201, "{registered:?}");
    }
    let received = simulator.received();
    assert_eq!(received.len(), 3);
    for request in received {
        assert_eq!(
            request.model,
            "global.anthropic.claude-haiku-4-5-20251001-v1:0"
        );
        let body = request.json().unwrap();
        assert_eq!(body["inferenceConfig"]["maxTokens"], 1);
    }

    let read = app.get(&path(&key)).await;
    assert!(read.body["verified_at"].is_string(), "{read:?}");

    // Nobody is asked who was not to be asked.
    register(&app, &key, "anything").await;
    assert_eq!(simulator.received().len(), 3);
    let read = app.get(&path(&key)).await;
    assert_eq!(read.body["verified_at"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_tried_without_being_stored() {
    let simulator = Simulator::start().await.unwrap();
    let (app, key) = verifying(&simulator).await;
    let verify = format!("{}/verify", path(&key));
    let body = json!({"bedrock_api_key": bedrock::API_KEY, "region": "eu-central-1"});
    let tried = app.post(&verify, body).await;
    assert_eq!(tried.status, 200, "{tried:?}");
    assert_eq!(
        tried.body,
        json!({
            "region": "eu-central-1",
            "bedrock_model": "global.anthropic.claude-haiku-4-5-20251001-v1:0",
        })
    );
    let refused = app
        .post(&verify, json!({"bedrock_api_key": "ABSK-another"}))
        .await;
    refused.assert_error(422, "bedrock_key_refused");
    app.get(&path(&key))
        .await
        .assert_error(404, "bedrock_key_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_credential_is_said_and_nothing_is_stored() {
    let simulator = Simulator::builder()
        .region("eu-central-1")
        .start()
        .await
        .unwrap();
    let (app, key) = verifying(&simulator).await;
    let good = json!({"bedrock_api_key": bedrock::API_KEY});
    let pair = |secret: &str| {
        json!({
            "aws_access_key_id": bedrock::ACCESS_KEY_ID,
            "aws_secret_access_key": secret,
            "region": "eu-central-1",
        })
    };
    let mut elsewhere = pair(bedrock::SECRET_ACCESS_KEY);
    elsewhere["region"] = json!("eu-west-1");
    simulator.credentials().accept_api_key("expired");
    simulator.credentials().expire("expired");
    let attempts = [
        (
            json!({"bedrock_api_key": "marker"}),
            None,
            "bedrock_key_refused",
        ),
        (
            json!({"bedrock_api_key": "expired"}),
            None,
            "bedrock_key_refused",
        ),
        (pair("marker"), None, "bedrock_key_refused"),
        (elsewhere, None, "bedrock_region_wrong"),
        (
            good.clone(),
            Some(Exception::AccessDenied),
            "bedrock_model_not_enabled",
        ),
        (
            good.clone(),
            Some(Exception::ResourceNotFound),
            "bedrock_model_not_enabled",
        ),
        (
            good.clone(),
            Some(Exception::Throttling),
            "bedrock_unreachable",
        ),
        (
            good.clone(),
            Some(Exception::InternalServer),
            "bedrock_unreachable",
        ),
        (
            good.clone(),
            Some(Exception::Validation),
            "bedrock_request_refused",
        ),
    ];
    for (attempt, (mut body, exception, code)) in attempts.into_iter().enumerate() {
        if let Some(exception) = exception {
            simulator.script().then(Reply::refusal(exception));
        }
        body["verify"] = json!(true);
        let refused = app.post(&path(&key), body).await;
        refused.assert_error(422, code);
        assert!(!refused.body.to_string().contains("marker"), "{refused:?}");
        assert_eq!(simulator.received().len(), attempt + 1, "asked once only");
        assert_eq!(stored(&app).await, 0);
    }
    let mut body = good.clone();
    body["verify"] = json!(true);
    simulator.script().then(Reply::refusal(
        Exception::ResourceNotFound.says("In their own words."),
    ));
    let refused = app.post(&path(&key), body.clone()).await;
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("In their own words."), "{message}");

    simulator.stop().await;
    app.post(&path(&key), body)
        .await
        .assert_error(422, "bedrock_unreachable");
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bedrock_only_needs_a_credential_for_every_working_key() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let route = format!("/admin/users/{user}/routing-strategy");
    let bedrock_only = json!({"routing_strategy": "bedrock_only"});
    let plan_first = json!({"routing_strategy": "plan_first"});
    assert_eq!(
        app.get(&format!("/admin/users/{user}")).await.body["routing_strategy"],
        "plan_first"
    );
    app.put(&route, bedrock_only.clone())
        .await
        .assert_error(400, "NO_ACCESS_KEYS");

    let key = app.access_key(&user).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let other = app.access_key(&user).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    register(&app, &key, API_KEY).await;
    app.put(&route, bedrock_only.clone())
        .await
        .assert_error(400, "MISSING_BEDROCK_KEYS");
    // Revoked keys do not count.
    app.delete(&format!("/admin/access-keys/{other}")).await;
    let mut copy = copy(&app).await;
    let routed = app.put(&route, bedrock_only.clone()).await;
    assert_eq!(routed.status, 200, "{routed:?}");
    assert_eq!(routed.body["routing_strategy"], "bedrock_only");
    let strategy = |copy: &Copy| {
        let resource = &copy.resources[&(Kind::User.into(), user.clone())];
        let Some(Spec::User(user)) = &resource.spec else {
            panic!("{resource:?}");
        };
        user.routing_strategy()
    };
    copy.advance().await;
    assert_eq!(strategy(&copy), proto::sync::RoutingStrategy::BedrockOnly);
    assert_eq!(app.put(&route, plan_first).await.status, 200);
    copy.advance().await;
    assert_eq!(strategy(&copy), proto::sync::RoutingStrategy::PlanFirst);

    for body in [json!({}), json!({"routing_strategy": "both"})] {
        app.put(&route, body)
            .await
            .assert_error(400, "invalid_body");
    }
    let nobody = format!("/admin/users/{}/routing-strategy", uuid::Uuid::new_v4());
    app.put(&nobody, bedrock_only)
        .await
        .assert_error(404, "user_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_proxies_own_role_bedrock_only_needs_no_credential() {
    let app = TestApp::start_with(|settings| settings.bedrock.bedrock_use_role = true).await;
    let (user, _) = user_with_key(&app).await;
    let route = format!("/admin/users/{user}/routing-strategy");
    let routed = app
        .put(&route, json!({"routing_strategy": "bedrock_only"}))
        .await;
    assert_eq!(routed.status, 200, "{routed:?}");
}
