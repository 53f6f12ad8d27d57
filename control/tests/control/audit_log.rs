//! `/admin/audit-log`: every change leaves an entry, and nothing else does.

use std::{collections::BTreeSet, fs, time::Duration};

use control::store::{Store, audit_log};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, PASSWORD, TestApp, USERNAME, answer, eventually};

const API_KEY: &str = "a key for Bedrock, in the clear";

/// Routes that change nothing although their method may.
const CHANGES_NOTHING: [&str; 1] = ["verify_bedrock_key"];

/// What a test needs of an entry.
async fn entries(app: &TestApp, query: &str) -> Vec<Value> {
    let page = app.get(&format!("/admin/audit-log?{query}")).await;
    assert_eq!(page.status, 200, "{page:?}");
    page.body["items"].as_array().unwrap().clone()
}

/// Does what a route is for, so that something has changed.
async fn act(app: &TestApp, operation: &str, prices: &std::path::Path) -> Answer {
    let user = app.user("Ada").await;
    let user_path = format!("/admin/users/{user}");
    let key = app.access_key(&user).await;
    let key_path = format!("/admin/access-keys/{}", key["id"].as_str().unwrap());
    let credential = json!({"bedrock_api_key": API_KEY.replace(' ', "-")});
    let registered = app
        .post(&format!("{key_path}/bedrock-key"), credential.clone())
        .await;
    assert_eq!(registered.status, 201, "{registered:?}");
    let mapping =
        json!({"claude_model": format!("claude-{operation}"), "bedrock_model": "a.model"});
    match operation {
        "sign_in" => app.login(USERNAME, PASSWORD).await,
        "begin_session" => {
            let request = app.anonymous(Method::POST, "/admin/session");
            answer(request.basic_auth(USERNAME, Some(PASSWORD))).await
        }
        "end_session" => {
            let login = app.login(USERNAME, PASSWORD).await;
            let token = login.body["access_token"].as_str().unwrap();
            answer(
                app.anonymous(Method::DELETE, "/admin/session")
                    .bearer_auth(token),
            )
            .await
        }
        "create_user" => app.post("/admin/users", json!({"name": "Grace"})).await,
        "change_user" => app.patch(&user_path, json!({"name": "Ada L."})).await,
        "route_user" => {
            let body = json!({"routing_strategy": "bedrock_only"});
            app.put(&format!("{user_path}/routing-strategy"), body)
                .await
        }
        "delete_user" => app.delete(&user_path).await,
        "deactivate_user" => {
            app.post(&format!("{user_path}/deactivate"), json!({}))
                .await
        }
        "reactivate_user" => {
            app.post(&format!("{user_path}/deactivate"), json!({}))
                .await;
            app.post(&format!("{user_path}/reactivate"), json!({}))
                .await
        }
        "put_budget" => {
            let body = json!({"monthly_budget_usd": "10"});
            app.put(&format!("{user_path}/budget"), body).await
        }
        "issue_access_key" => {
            app.post(&format!("{user_path}/access-keys"), json!({}))
                .await
        }
        "change_access_key" => app.patch(&key_path, json!({"name": "laptop"})).await,
        "rotate_access_key" => app.post(&format!("{key_path}/rotate"), json!({})).await,
        "revoke_access_key" => app.delete(&key_path).await,
        "register_bedrock_key" => {
            app.post(&format!("{key_path}/bedrock-key"), credential)
                .await
        }
        "delete_bedrock_key" => app.delete(&format!("{key_path}/bedrock-key")).await,
        "reset_circuit" => {
            app.post(&format!("{key_path}/circuit/reset"), json!({}))
                .await
        }
        "create_model_mapping" => app.post("/admin/models/mappings", mapping).await,
        "change_model_mapping" | "delete_model_mapping" => {
            let created = app.post("/admin/models/mappings", mapping).await;
            let path = format!("/admin/models/mappings/{}", created.id());
            match operation {
                "change_model_mapping" => app.put(&path, json!({"is_active": false})).await,
                _ => app.delete(&path).await,
            }
        }
        "delete_model_capability" => {
            let id = "019d0000-0000-7000-8000-000000000000";
            let learned = format!(
                "insert into model_capabilities (id, region, model, feature, source, expires_at)
                values ('{id}', '*', '*', 'beta:new', 'learned', now() + interval '1 day')"
            );
            app.sql().await.batch_execute(&learned).await.unwrap();
            app.delete(&format!("/admin/models/capabilities/{id}"))
                .await
        }
        "delete_model_capabilities" => app.delete("/admin/models/capabilities?source=seed").await,
        "reload_prices" => {
            let own = json!({"global": {"an-own-model": {
                "input_price_per_million": 1,
                "output_price_per_million": 2,
            }}});
            fs::write(prices, own.to_string()).unwrap();
            app.post("/api/pricing/reload", json!({})).await
        }
        other => panic!("{other} changes something: say here how, and let it leave an entry"),
    }
}

/// Walks the description of the API, so that a new route that changes something has
/// to be in [`act`] and to leave an entry.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_that_changes_something_leaves_one_entry() {
    let prices = tempfile::NamedTempFile::new().unwrap();
    fs::write(prices.path(), "{}").unwrap();
    let app = TestApp::start_with(|settings| {
        settings.money.model_pricing = Some(format!("@{}", prices.path().display()));
    })
    .await;
    let document = serde_json::to_value(control::http::document()).unwrap();
    let mut actions = BTreeSet::new();
    for item in document["paths"].as_object().unwrap().values() {
        for (method, description) in item.as_object().unwrap() {
            let operation = description["operationId"].as_str().unwrap();
            if method == "get" || CHANGES_NOTHING.contains(&operation) {
                continue;
            }
            let answer = act(&app, operation, prices.path()).await;
            assert!(answer.status.is_success(), "{operation}: {answer:?}");
            let request_id = answer.headers["x-request-id"].to_str().unwrap();
            let newest = entries(&app, "limit=20").await;
            let of_request: Vec<_> = newest
                .iter()
                .filter(|entry| entry["request_id"] == request_id)
                .collect();
            assert_eq!(of_request.len(), 1, "{operation}: {newest:?}");
            let entry = of_request[0];
            assert_eq!(entry["actor"], USERNAME, "{operation}");
            assert_eq!(entry["address"], "127.0.0.1", "{operation}");
            actions.insert(entry["action"].as_str().unwrap().to_owned());
        }
    }
    assert!(actions.len() >= 21, "{actions:?}");

    let row = app
        .sql()
        .await
        .query_one(
            "select string_agg(audit_log::text, ' ') from audit_log",
            &[],
        )
        .await
        .unwrap();
    let all: String = row.get(0);
    for secret in [
        "key_hash",
        "sealed",
        "raw_key",
        "in-the-clear",
        "\\\\x",
        PASSWORD,
    ] {
        assert!(!all.contains(secret), "{secret} is in the audit log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_says_what_was_before_and_what_is_now() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let path = format!("/admin/users/{user}");
    app.patch(&path, json!({"name": "Ada L.", "description": "first"}))
        .await;
    let changed = &entries(&app, "action=user.changed").await[0];
    assert_eq!(changed["object_kind"], "user");
    assert_eq!(changed["object_id"], user.as_str());
    assert_eq!(changed["object_name"], "Ada L.");
    assert_eq!(changed["user_id"], user.as_str());
    assert_eq!(changed["before"]["name"], "Ada");
    assert_eq!(changed["after"]["name"], "Ada L.");
    assert_eq!(changed["after"]["description"], "first");

    app.put(
        &format!("{path}/budget"),
        json!({"monthly_budget_usd": 12.5}),
    )
    .await;
    let budget = &entries(&app, "object_kind=budget").await[0];
    assert_eq!(budget["before"], json!({"monthly_budget_usd": null}));
    assert_eq!(budget["after"], json!({"monthly_budget_usd": "12.500000"}));

    app.delete(&path).await;
    let deleted = &entries(&app, "action=user.deleted").await[0];
    assert_eq!(deleted["before"]["name"], "Ada L.");
    assert_eq!(deleted["after"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_or_changes_nothing_leaves_no_entry() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let path = format!("/admin/users/{user}");
    let before = entries(&app, "").await;
    for answer in [
        app.patch(&path, json!({})).await,
        app.patch(&path, json!({"name": " Ada "})).await,
        app.put(
            &format!("{path}/routing-strategy"),
            json!({"routing_strategy": "plan_first"}),
        )
        .await,
        app.put(
            &format!("{path}/budget"),
            json!({"monthly_budget_usd": null}),
        )
        .await,
    ] {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for answer in [
        app.put(
            &format!("{path}/routing-strategy"),
            json!({"routing_strategy": "bedrock_only"}),
        )
        .await,
        app.post(&format!("{path}/reactivate"), json!({})).await,
        app.post("/admin/users", json!({"name": ""})).await,
        app.delete("/admin/users/019d0000-0000-7000-8000-000000000000")
            .await,
        app.post(
            "/admin/models/mappings",
            json!({"claude_model": "claude-opus-4-7", "bedrock_model": "x"}),
        )
        .await,
    ] {
        assert!(answer.status.is_client_error(), "{answer:?}");
    }
    assert_eq!(entries(&app, "").await, before);
}

/// The change and its entry stand or fall together.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_down_is_not_done() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let sql = app.sql().await;
    sql.batch_execute("alter table audit_log rename to audit_log_away")
        .await
        .unwrap();
    let path = format!("/admin/users/{user}");
    let changed = app.patch(&path, json!({"name": "Grace"})).await;
    changed.assert_error(500, "internal");
    let login = app.login(USERNAME, PASSWORD).await;
    login.assert_error(500, "internal");
    sql.batch_execute("alter table audit_log_away rename to audit_log")
        .await
        .unwrap();
    assert_eq!(app.get(&path).await.body["name"], "Ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_found_by_what_they_are_about_and_paged() {
    let app = TestApp::start().await;
    let ada = app.user("Ada").await;
    let grace = app.user("Grace").await;
    let key = app.access_key(&ada).await;
    let key = key["id"].as_str().unwrap();
    app.delete(&format!("/admin/access-keys/{key}")).await;
    app.patch(
        &format!("/admin/users/{grace}"),
        json!({"name": "Grace Hopper"}),
    )
    .await;

    let count = async |query: &str| entries(&app, query).await.len();
    assert_eq!(count(&format!("user_id={ada}")).await, 3);
    assert_eq!(count(&format!("object_id={key}")).await, 2);
    assert_eq!(count("object_kind=access_key").await, 2);
    assert_eq!(count("action=access_key.revoked").await, 1);
    assert_eq!(count("search=hopper").await, 1);
    assert_eq!(count("search=%25").await, 0);
    assert_eq!(count("actor=admin&object_kind=session").await, 1);
    assert_eq!(count("actor=somebody").await, 0);
    assert_eq!(count("to=2020-01-01T00:00:00Z").await, 0);
    assert_eq!(count("from=2020-01-01T00:00:00Z").await, 6);
    for query in [
        "action=nonsense",
        "limit=0",
        "search=%00",
        "cursor=x",
        "object_id=7",
    ] {
        let refused = app.get(&format!("/admin/audit-log?{query}")).await;
        refused.assert_error(400, "invalid_query");
    }

    let mut paged = Vec::new();
    let mut path = "/admin/audit-log?limit=2".to_owned();
    loop {
        let page = app.get(&path).await.body;
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/admin/audit-log?limit=2&cursor={cursor}");
    }
    assert_eq!(paged, entries(&app, "").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_logins_are_written_down_without_what_was_typed() {
    let app = TestApp::start_with(|settings| settings.admin.admin_load_balancers = 1).await;
    for (username, address, actor) in [
        (USERNAME, "192.0.2.1", USERNAME),
        ("my password", "192.0.2.2", "unknown"),
    ] {
        let login = app
            .anonymous(Method::POST, "/admin/auth/login")
            .header("x-forwarded-for", format!("6.6.6.6, {address}"))
            .basic_auth(username, Some("wrong"));
        answer(login).await.assert_error(401, "wrong_credentials");
        let refused = &entries(&app, "action=session.refused").await[0];
        assert_eq!(refused["actor"], actor);
        assert_eq!(refused["address"], address);
        assert_eq!(refused["object_name"], actor);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_by_itself_is_the_systems_doing() {
    let app = TestApp::start_with(|settings| {
        settings.pace.expiry = Duration::from_millis(20);
    })
    .await;
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await;
    app.sql()
        .await
        .batch_execute("update access_keys set expires_at = now()")
        .await
        .unwrap();
    let expired = eventually(async {
        loop {
            if let [entry] = &entries(&app, "action=access_key.expired").await[..] {
                break entry.clone();
            }
        }
    })
    .await;
    assert_eq!(expired["actor"], "system");
    assert_eq!(expired["address"], Value::Null);
    assert_eq!(expired["object_id"], key["id"]);
    assert_eq!(expired["before"]["status"], "active");
    assert_eq!(expired["after"]["status"], "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_kept_for_a_while_and_never_rewritten() {
    let app = TestApp::start().await;
    app.user("Ada").await;
    let sql = app.sql().await;
    let rewritten = sql
        .batch_execute("update audit_log set actor = 'somebody else'")
        .await;
    let error = format!("{:?}", rewritten.unwrap_err());
    assert!(error.contains("never changed"), "{error}");
    sql.batch_execute(
        "insert into audit_log (id, at, actor, action, object_kind, object_name)
        select gen_random_uuid(), now() - interval '401 days', 'x', 'user.changed', 'user', 'old'
        union all
        select gen_random_uuid(), now() - make_interval(secs => n), 'x', 'session.refused',
            'session', 'number ' || n
        from generate_series(1, 5) as n",
    )
    .await
    .unwrap();
    let store = Store::new(app.database.url().parse().unwrap()).unwrap();
    let mut connection = store.connection().await.unwrap();
    let year = chrono::TimeDelta::days(400);
    let mut forget = async |keep| {
        audit_log::forget(&mut connection, year, keep)
            .await
            .unwrap()
    };
    assert_eq!(forget(3).await, 3);
    assert_eq!(forget(3).await, 0);
    let refused = entries(&app, "action=session.refused").await;
    let names: Vec<_> = refused.iter().map(|entry| &entry["object_name"]).collect();
    assert_eq!(names, ["number 1", "number 2", "number 3"]);
    assert_eq!(entries(&app, "action=user.created").await.len(), 1);
}

/// Where a change is in force can be asked for by what its answer says.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_names_the_revision_at_which_proxies_get_the_change() {
    use crate::support::proxy::{self, Copy};
    use proto::sync::ReportRequest;

    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    let mut client = proxy::config(app.running.grpc_addr).await;
    let report = ReportRequest {
        node: Some(proxy::node()),
        applied: copy.position.clone(),
        ..ReportRequest::default()
    };

    let path = format!("/admin/users/{user}");
    // Proxies know no names.
    let renamed = app.patch(&path, json!({"name": "Grace"})).await;
    assert!(!renamed.headers.contains_key("x-config-revision"));
    let issued = app.post(&format!("{path}/access-keys"), json!({})).await;
    let revision: i64 = issued.headers["x-config-revision"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let head = app.get("/admin/proxies").await.body["head"]["revision"].clone();
    assert_eq!(head, revision);
    for (revision, in_force) in [(revision, 0), (revision - 1, 1)] {
        client.report(report.clone()).await.unwrap();
        let list = app
            .get(&format!("/admin/proxies?revision={revision}"))
            .await;
        assert_eq!(list.body["summary"]["in_force"], in_force, "{list:?}");
        assert_eq!(list.body["summary"]["connected"], 1);
    }
}
