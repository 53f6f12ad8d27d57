//! `/admin/users`.

use serde_json::{Value, json};

use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_created_read_changed_and_deleted() {
    let app = TestApp::start().await;
    let created = app
        .post(
            "/admin/users",
            json!({"name": " Ada ", "description": "first of all"}),
        )
        .await;
    assert_eq!(created.status, 201);
    assert_eq!(created.body["name"], "Ada");
    assert_eq!(created.body["status"], "active");
    assert_eq!(created.body["active_access_keys"], 0);
    let time = created.body["created_at"].as_str().unwrap();
    assert!(time.ends_with('Z'), "{time}");

    let path = format!("/admin/users/{}", created.id());
    assert_eq!(app.get(&path).await.body, created.body);

    let changed = app.patch(&path, json!({"name": "Ada L."})).await;
    assert_eq!(changed.body["name"], "Ada L.");
    assert_eq!(changed.body["description"], "first of all");
    let changed = app.patch(&path, json!({"description": null})).await;
    assert_eq!(changed.body["name"], "Ada L.");
    assert_eq!(changed.body["description"], Value::Null);
    assert_eq!(app.patch(&path, json!({})).await.status, 200);

    assert_eq!(app.delete(&path).await.status, 204);
    app.get(&path).await.assert_error(404, "user_not_found");
    app.patch(&path, json!({"name": "x"}))
        .await
        .assert_error(404, "user_not_found");
    app.delete(&path).await.assert_error(404, "user_not_found");
    assert_eq!(app.get("/admin/users").await.body["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_deactivated_and_reactivated_once() {
    let app = TestApp::start().await;
    let path = format!("/admin/users/{}", app.user("Ada").await);
    let deactivate = format!("{path}/deactivate");
    let reactivate = format!("{path}/reactivate");

    app.post(&reactivate, Value::Null)
        .await
        .assert_error(409, "user_already_active");
    let user = app.post(&deactivate, json!({})).await;
    assert_eq!(
        (user.status.as_u16(), &user.body["status"]),
        (200, &json!("inactive"))
    );
    app.post(&deactivate, json!({}))
        .await
        .assert_error(409, "user_not_active");
    let user = app.post(&reactivate, json!({})).await;
    assert_eq!(
        (user.status.as_u16(), &user.body["status"]),
        (200, &json!("active"))
    );

    app.delete(&path).await;
    app.post(&deactivate, json!({}))
        .await
        .assert_error(404, "user_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_user_once_newest_first() {
    let app = TestApp::start().await;
    for number in 0..7 {
        app.user(&format!("user {number}")).await;
    }
    let mut names = Vec::new();
    let mut path = "/admin/users?limit=3".to_owned();
    loop {
        let page = app.get(&path).await;
        assert_eq!(page.body["total"], 7, "{page:?}");
        for user in page.body["items"].as_array().unwrap() {
            names.push(user["name"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page.body["next_cursor"].as_str() else {
            break;
        };
        // What is new does not move what is old.
        path = format!("/admin/users?limit=3&cursor={cursor}");
    }
    let expected: Vec<_> = (0..7).rev().map(|n| format!("user {n}")).collect();
    assert_eq!(names, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_found_by_part_of_name_or_description_and_by_status() {
    let app = TestApp::start().await;
    app.user("Ada Lovelace").await;
    let grace = app.user("Grace_Hopper").await;
    app.post(
        "/admin/users",
        json!({"name": "Alan", "description": "works with LOVELACE"}),
    )
    .await;
    app.post(&format!("/admin/users/{grace}/deactivate"), json!({}))
        .await;

    let count = async |query: &str| {
        let page = app.get(&format!("/admin/users?{query}")).await;
        let items = page.body["items"].as_array().unwrap().len();
        assert_eq!(page.body["total"], items);
        items
    };
    assert_eq!(count("search=lovelace").await, 2);
    assert_eq!(count("search=").await, 3);
    // Not wildcards.
    assert_eq!(count("search=%25").await, 0);
    assert_eq!(count("search=_").await, 1);
    assert_eq!(count("search=%5C").await, 0);
    assert_eq!(count("status=inactive").await, 1);
    assert_eq!(count("status=active&search=lovelace").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_user_is_refused_with_a_code() {
    let app = TestApp::start().await;
    for body in [
        json!({}),
        json!({"name": ""}),
        json!({"name": "  "}),
        json!({"name": 7}),
        json!({"name": "x".repeat(256)}),
        json!({"name": "a\u{0}b"}),
        json!({"name": "Ada", "description": "x".repeat(2_001)}),
        json!({"name": "Ada", "description": "a\u{0}b"}),
        json!({"name": "Ada", "nmae": "typo"}),
        json!([]),
    ] {
        app.post("/admin/users", body)
            .await
            .assert_error(400, "invalid_body");
    }
    assert_eq!(app.get("/admin/users").await.body["total"], 0);

    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "status=deleted",
        "cursor=nonsense",
        "search=%00",
        "page=2",
    ] {
        app.get(&format!("/admin/users?{query}"))
            .await
            .assert_error(400, "invalid_query");
    }
}
