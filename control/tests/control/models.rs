//! Model mappings and capabilities: what an administrator does, what proxies
//! learn, and what they hold then.

use std::time::Duration;

use proto::sync::{BedrockApi, Kind, Lesson, ReportRequest, resource::Spec};
use serde_json::{Value, json};

use crate::support::{
    TestApp,
    proxy::{self, Copy, node},
};

const MAPPINGS: &str = "/admin/models/mappings";
const CAPABILITIES: &str = "/admin/models/capabilities";

async fn copy(app: &TestApp) -> Copy {
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    copy
}

/// Mapped models as a proxy holds them.
fn mapped(copy: &Copy, claude_model: &str) -> Option<(String, BedrockApi)> {
    copy.resources.values().find_map(|resource| {
        let Some(Spec::ModelMapping(mapping)) = &resource.spec else {
            return None;
        };
        let found = (mapping.bedrock_model.clone(), mapping.bedrock_api());
        (mapping.claude_model == claude_model).then_some(found)
    })
}

/// What is refused, as a proxy holds it.
fn refused(copy: &Copy) -> Vec<(String, String, String)> {
    let capabilities = copy.resources.values();
    capabilities
        .filter_map(|resource| match &resource.spec {
            Some(Spec::ModelCapability(it)) => {
                Some((it.region.clone(), it.model.clone(), it.feature.clone()))
            }
            _ => None,
        })
        .collect()
}

async fn report(app: &TestApp, lessons: &[(&str, &str, &str)]) {
    let lessons = lessons.iter().map(|(region, model, feature)| Lesson {
        region: (*region).to_owned(),
        model: (*model).to_owned(),
        feature: (*feature).to_owned(),
    });
    let report = ReportRequest {
        node: Some(node()),
        lessons: lessons.collect(),
        ..ReportRequest::default()
    };
    let mut client = proxy::config(app.running.grpc_addr).await;
    client.report(report).await.unwrap();
}

/// Learned capabilities.
async fn learned(app: &TestApp) -> Vec<Value> {
    let mut items = app.get(CAPABILITIES).await.body["items"].take();
    let items = std::mem::take(items.as_array_mut().unwrap());
    let learned = items.into_iter().filter(|item| item["source"] == "learned");
    learned.collect()
}

async fn revision(app: &TestApp) -> i64 {
    let client = app.sql().await;
    let row = client.query_one("select revision from sync_head", &[]);
    row.await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_begins_with_the_models_of_today() {
    let app = TestApp::start().await;
    let listed = app.get(MAPPINGS).await;
    let items = listed.body["items"].as_array().unwrap();
    assert!(items.len() >= 14, "{listed:?}");
    let names: Vec<&str> = items
        .iter()
        .map(|item| item["claude_model"].as_str().unwrap())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
    let copy = copy(&app).await;
    for item in items {
        let name = item["claude_model"].as_str().unwrap();
        let model = item["bedrock_model"].as_str().unwrap();
        // A dated id and its short name are the same model.
        let dated = model.trim_end_matches("-v1:0").trim_end_matches("-v1");
        let dated = dated.split_once("anthropic.").unwrap().1;
        assert!(dated.starts_with(name), "{name} is not {model}");
        assert_eq!(
            mapped(&copy, name),
            Some((model.to_owned(), BedrockApi::Unspecified))
        );
    }
    assert_eq!(
        mapped(&copy, "claude-opus-5-5").unwrap().0,
        "global.anthropic.claude-opus-5-5"
    );
    let seeds = refused(&copy);
    let seed = |feature: &str| ("*".to_owned(), "*".to_owned(), feature.to_owned());
    assert!(seeds.contains(&seed("beta:fast-mode-2026-02-01")));
    assert!(seeds.contains(&seed("field:cache_control.scope")));
    assert_eq!(seeds.len(), 16);
    assert_eq!(copy.made(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_is_created_read_changed_and_deleted() {
    let app = TestApp::start().await;
    let mut copy = copy(&app).await;
    let arn = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123";
    let created = app
        .post(
            MAPPINGS,
            json!({"claude_model": "my-model", "bedrock_model": arn, "description": "ours", "bedrock_api": "converse"}),
        )
        .await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.body["is_active"], true);
    let path = format!("{MAPPINGS}/{}", created.id());
    assert_eq!(app.get(&path).await.body, created.body);
    copy.advance().await;
    let expected = Some((arn.to_owned(), BedrockApi::Converse));
    assert_eq!(mapped(&copy, "my-model"), expected);
    app.post(
        MAPPINGS,
        json!({"claude_model": "my-model", "bedrock_model": "other"}),
    )
    .await
    .assert_error(409, "model_mapping_exists");

    // What is absent stays; null takes away.
    let changed = app
        .put(&path, json!({"bedrock_model": "amazon.nova-pro-v1:0"}))
        .await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.body["description"], "ours");
    assert_eq!(changed.body["bedrock_api"], "converse");
    copy.advance().await;
    let changed = app
        .put(&path, json!({"bedrock_api": null, "description": null}))
        .await;
    assert_eq!(changed.body["bedrock_api"], Value::Null);
    assert_eq!(changed.body["description"], Value::Null);
    assert_eq!(changed.body["bedrock_model"], "amazon.nova-pro-v1:0");
    copy.advance().await;
    let expected = ("amazon.nova-pro-v1:0".to_owned(), BedrockApi::Unspecified);
    assert_eq!(mapped(&copy, "my-model"), Some(expected));

    // An inactive one is kept, and neither listed nor used.
    app.put(&path, json!({"is_active": false})).await;
    copy.advance().await;
    assert_eq!(mapped(&copy, "my-model"), None);
    let is_listed = async |query: &str| {
        let listed = app
            .get(&format!("{MAPPINGS}{query}"))
            .await
            .body
            .to_string();
        listed.contains("my-model")
    };
    assert!(!is_listed("").await);
    assert!(is_listed("?include_inactive=true").await);

    assert_eq!(app.delete(&path).await.status, 204);
    for answer in [
        app.get(&path).await,
        app.put(&path, json!({})).await,
        app.delete(&path).await,
    ] {
        answer.assert_error(404, "model_mapping_not_found");
    }
}

/// Proxies hear of what they see, and of nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_description_is_no_change_for_proxies() {
    let app = TestApp::start().await;
    let mapping = app.get(MAPPINGS).await.body["items"][0].clone();
    let path = format!("{MAPPINGS}/{}", mapping["id"].as_str().unwrap());
    let before = revision(&app).await;
    app.put(&path, json!({"description": "something else"}))
        .await;
    assert_eq!(revision(&app).await, before);
    app.put(&path, json!({"bedrock_api": "invoke"})).await;
    assert_eq!(revision(&app).await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_mapping_is_refused_with_a_code() {
    let app = TestApp::start().await;
    let with = |name: &str, value: Value| {
        let mut body = json!({"claude_model": "a", "bedrock_model": "b"});
        body[name] = value;
        body
    };
    for body in [
        json!({}),
        json!({"claude_model": "a"}),
        with("claude_model", json!("")),
        with("claude_model", json!("a b")),
        with("claude_model", json!("a\nb")),
        with("claude_model", json!("ä")),
        with("claude_model", json!("a".repeat(257))),
        with("bedrock_model", json!("")),
        with("bedrock_model", json!("a b")),
        with("bedrock_model", json!("a".repeat(2_049))),
        with("bedrock_api", json!("grpc")),
        with("description", json!("a".repeat(2_001))),
        with("colour", json!("red")),
    ] {
        app.post(MAPPINGS, body)
            .await
            .assert_error(400, "invalid_body");
    }
    let created = app
        .post(MAPPINGS, with("bedrock_model", json!("b".repeat(2_048))))
        .await;
    assert_eq!(created.status, 201);
    let path = format!("{MAPPINGS}/{}", created.id());
    for body in [
        json!({"claude_model": "another"}),
        json!({"bedrock_model": "a b"}),
        json!({"is_active": "yes"}),
    ] {
        app.put(&path, body).await.assert_error(400, "invalid_body");
    }
    app.get(&format!("{MAPPINGS}/7"))
        .await
        .assert_error(400, "invalid_path");
}

#[tokio::test(flavor = "multi_thread")]
async fn mappings_are_bounded() {
    let app = TestApp::start().await;
    app.sql()
        .await
        .batch_execute(
            "insert into model_mappings (claude_model, bedrock_model)
             select 'model-' || number, 'model' from generate_series(1, 1000) as number",
        )
        .await
        .unwrap();
    app.post(MAPPINGS, json!({"claude_model": "a", "bedrock_model": "b"}))
        .await
        .assert_error(409, "too_many_model_mappings");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_proxy_has_learned_all_proxies_hold() {
    let app = TestApp::start().await;
    let mut copy = copy(&app).await;
    let lesson = ("eu-west-1", "eu.anthropic.claude-a", "beta:new-2026-12-01");
    report(&app, &[lesson, lesson]).await;
    copy.advance().await;
    let (region, model, feature) = lesson;
    let held = (region.to_owned(), model.to_owned(), feature.to_owned());
    assert!(refused(&copy).contains(&held));
    let items = learned(&app).await;
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["region"], region);
    assert_eq!(items[0]["model"], model);
    assert_eq!(items[0]["feature"], feature);
    let time = |name: &str| -> chrono::DateTime<chrono::Utc> {
        serde_json::from_value(items[0][name].clone()).unwrap()
    };
    let kept = time("expires_at") - time("learned_at");
    assert_eq!(kept.num_hours(), 7 * 24);

    // Hearing of it again prolongs it, which is no change for proxies.
    let before = revision(&app).await;
    app.sql()
        .await
        .batch_execute("update model_capabilities set expires_at = now() + interval '1 hour' where source = 'learned'")
        .await
        .unwrap();
    report(&app, &[lesson]).await;
    let again = learned(&app).await;
    assert!(again[0]["expires_at"].as_str() >= items[0]["expires_at"].as_str());
    assert_eq!(again[0]["id"], items[0]["id"]);
    assert_eq!(again[0]["learned_at"], items[0]["learned_at"]);
    assert_eq!(revision(&app).await, before);

    let path = format!("{CAPABILITIES}/{}", items[0]["id"].as_str().unwrap());
    assert_eq!(app.delete(&path).await.status, 204);
    copy.advance().await;
    assert!(!refused(&copy).contains(&held));
    app.delete(&path)
        .await
        .assert_error(404, "model_capability_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn lessons_that_make_no_sense_are_ignored() {
    let app = TestApp::start().await;
    report(
        &app,
        &[
            ("*", "a", "beta:a"),
            ("eu-west-1", "*", "beta:a"),
            ("eu-west-1", "a", "tool:a"),
            ("eu-west-1", "a", "beta:\0"),
            ("eu-west-1", "a\0", "beta:a"),
            ("", "", ""),
            ("eu-west-1", "a", "field:good.one"),
        ],
    )
    .await;
    let items = learned(&app).await;
    assert_eq!(items.len(), 1, "{items:?}");
    assert_eq!(items[0]["feature"], "field:good.one");
}

#[tokio::test(flavor = "multi_thread")]
async fn lessons_are_bounded() {
    let app = TestApp::start().await;
    let features: Vec<String> = (0..150)
        .map(|number| format!("beta:n-{number:03}"))
        .collect();
    let lessons: Vec<_> = features
        .iter()
        .map(|feature| ("eu-west-1", "a", feature.as_str()))
        .collect();
    report(&app, &lessons).await;
    assert_eq!(learned(&app).await.len(), 100, "of one report");

    app.sql()
        .await
        .batch_execute(
            "insert into model_capabilities (region, model, feature, source, expires_at)
             select 'eu-west-1', 'b', 'beta:m-' || number, 'learned', now() + interval '1 day'
             from generate_series(1, 1895) as number",
        )
        .await
        .unwrap();
    // Ten that are known, and ten of which five have room.
    report(&app, &lessons[90..110]).await;
    assert_eq!(learned(&app).await.len(), 2_000);
    report(&app, &lessons[140..]).await;
    assert_eq!(learned(&app).await.len(), 2_000);

    let deleted = app.delete(&format!("{CAPABILITIES}?source=learned")).await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    assert_eq!(deleted.body["deleted"], 2_000);
    assert_eq!(learned(&app).await.len(), 0);
    let copy = copy(&app).await;
    assert_eq!(refused(&copy).len(), 16, "the seeds stay");
    for query in ["", "?source=", "?source=all", "?source=learned&x=1"] {
        app.delete(&format!("{CAPABILITIES}{query}"))
            .await
            .assert_error(400, "invalid_query");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_learned_is_forgotten_after_its_time() {
    let app = TestApp::start_with(|settings| {
        settings.pace.expiry = Duration::from_millis(20);
    })
    .await;
    report(
        &app,
        &[
            ("eu-west-1", "a", "beta:old"),
            ("eu-west-1", "a", "beta:new"),
        ],
    )
    .await;
    let mut copy = copy(&app).await;
    assert_eq!(refused(&copy).len(), 18);
    app.sql()
        .await
        .batch_execute(
            "update model_capabilities set expires_at = now() where feature = 'beta:old'",
        )
        .await
        .unwrap();
    copy.advance().await;
    assert_eq!(refused(&copy).len(), 17);
    let items = learned(&app).await;
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["feature"], "beta:new");
}

/// Seeds can be forgotten too: Bedrock learns.
#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_was_deleted_stays_away() {
    let app = TestApp::start().await;
    let seed = app.get(CAPABILITIES).await.body["items"][0].clone();
    assert_eq!(seed["expires_at"], Value::Null);
    let id = seed["id"].as_str().unwrap();
    app.delete(&format!("{CAPABILITIES}/{id}")).await;
    let settings = crate::support::settings(app.database.url());
    let restarted = control::app::App::start(settings).await.unwrap();
    restarted.ready().await;
    let left = app.get(CAPABILITIES).await;
    assert_eq!(left.body["items"].as_array().unwrap().len(), 15);
    let copy = copy(&app).await;
    assert!(
        !copy
            .resources
            .contains_key(&(Kind::ModelCapability.into(), id.to_owned()))
    );
}
