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

/// With usage of this month for some of them.
async fn three_users(app: &TestApp) -> [String; 3] {
    use crate::support::proxy::{Push, event};
    use proto::sync::Tokens;

    let ids = [
        app.user("bea").await,
        app.user("Ada").await,
        app.user("Cleo").await,
    ];
    for (id, budget) in [(&ids[0], "10.00"), (&ids[1], "1000.00")] {
        let path = format!("/admin/users/{id}/budget");
        app.put(&path, json!({"monthly_budget_usd": budget})).await;
    }
    let mut push = Push::open(app.running.grpc_addr).await;
    // Ada spends more, but bea more of her budget; Cleo has used the plan only.
    let mut batch = Vec::new();
    for (id, input_tokens) in [(&ids[0], 4_000_000), (&ids[1], 8_000_000), (&ids[2], 0)] {
        let key = app.access_key(id).await;
        let mut usage = event();
        usage.user_id = id.clone();
        usage.access_key_id = key["id"].as_str().unwrap().to_owned();
        usage.tokens = Some(Tokens {
            input_tokens,
            ..Tokens::default()
        });
        if input_tokens > 0 {
            usage.provider = proto::sync::Provider::Bedrock.into();
            usage.model = "claude-sonnet-4-5".to_owned();
            usage.bedrock_model = "global.anthropic.claude-sonnet-4-5-20250929-v1:0".to_owned();
            usage.bedrock_region = "ap-northeast-2".to_owned();
        }
        batch.push(usage);
    }
    push.deliver(batch).await.unwrap();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_shows_what_was_spent_this_month_and_when_it_was_seen() {
    let app = TestApp::start().await;
    let [bea, _, cleo] = three_users(&app).await;
    let bea = app.get(&format!("/admin/users/{bea}")).await.body;
    assert_eq!(bea["monthly_budget_usd"], "10.000000");
    let spent: f64 = bea["current_usage_usd"].as_str().unwrap().parse().unwrap();
    assert!(spent > 10.0, "{bea}");
    assert_eq!(bea["usage_percentage"], (spent * 1_000.0).round() / 100.0);
    assert_eq!(bea["is_exhausted"], true);
    assert!(bea["last_seen_at"].is_string(), "{bea}");
    let path = format!("/admin/users/{}/budget", bea["id"].as_str().unwrap());
    let budget = app.get(&path).await.body;
    for field in ["current_usage_usd", "usage_percentage", "is_exhausted"] {
        assert_eq!(budget[field], bea[field], "{field}");
    }

    let cleo = app.get(&format!("/admin/users/{cleo}")).await.body;
    assert_eq!(cleo["current_usage_usd"], "0.000000");
    assert_eq!(cleo["usage_percentage"], Value::Null);
    assert_eq!(cleo["is_exhausted"], false);
    assert!(cleo["last_seen_at"].is_string(), "{cleo}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_sorted_by_anything_from_both_ends() {
    let app = TestApp::start().await;
    let [bea, ..] = three_users(&app).await;
    let nobody = app.user("Dora").await;
    let names = async |query: &str| {
        let page = app.get(&format!("/admin/users?{query}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        assert_eq!(page.body["next_cursor"], Value::Null);
        let items = page.body["items"].as_array().unwrap().clone();
        let names = items.iter().map(|user| user["name"].as_str().unwrap());
        names.collect::<Vec<_>>().join(" ")
    };
    for (query, expected) in [
        ("sort=name", "Ada bea Cleo Dora"),
        ("sort=name&order=desc", "Dora Cleo bea Ada"),
        ("sort=name&offset=1&limit=2", "bea Cleo"),
        ("sort=created_at", "Dora Cleo Ada bea"),
        ("order=asc", "bea Ada Cleo Dora"),
        ("sort=current_usage_usd&limit=2", "Ada bea"),
        ("sort=usage_percentage&limit=2", "bea Ada"),
        ("sort=usage_percentage&order=asc&limit=2", "Ada bea"),
        ("sort=name&routing_strategy=bedrock_only", ""),
        ("sort=name&status=active&search=D", "Ada Dora"),
    ] {
        assert_eq!(names(query).await, expected, "{query}");
    }
    // Who has never been seen comes last.
    for order in ["asc", "desc"] {
        let sorted = names(&format!("sort=last_seen_at&order={order}")).await;
        assert!(sorted.ends_with("Dora"), "{order}: {sorted}");
    }
    for query in [
        "sort=colour",
        "sort=name&cursor=MTc5MDAwMDAwMDEyMzQ1Ni4wMA",
        "offset=-1",
        "offset=1000001",
    ] {
        app.get(&format!("/admin/users?{query}"))
            .await
            .assert_error(400, "invalid_query");
    }

    // By what else is known of them.
    let keys = app.get(&format!("/admin/users/{bea}/access-keys")).await;
    let key = &keys.body["items"][0];
    let prefix = key["key_prefix"].as_str().unwrap();
    for search in [
        &bea,
        key["id"].as_str().unwrap(),
        prefix,
        &format!("{prefix}the-rest"),
    ] {
        assert_eq!(
            names(&format!("sort=name&search={search}")).await,
            "bea",
            "{search}"
        );
    }
    assert_eq!(names(&format!("sort=name&search={nobody}")).await, "Dora");
}

/// Every order answers at once, with a month's usage of everybody.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_users_are_listed_at_once() {
    let app = TestApp::start().await;
    let sql = app.sql().await;
    sql.batch_execute(
        "insert into users (id, name, created_at)
        select gen_random_uuid(), 'user ' || md5(n::text), now() - make_interval(secs => n)
        from generate_series(1, 10000) as n;
        insert into access_keys (id, user_id, key_hash, key_prefix)
        select gen_random_uuid(), id, sha256(id::text::bytea), 'ak_' || left(md5(id::text), 6) from users;
        insert into access_key_use
        select id, user_id, now() - make_interval(secs => random() * 100000) from access_keys;
        insert into usage_aggregates
        select 'day', (select start from this_month()) + make_interval(days => n), user_id, id,
            'bedrock', 'claude-sonnet-4-5', 9, 0, 9, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1,
            random(), 0, 0, 0, 0, 1
        from access_keys cross join generate_series(0, 26) as n;
        analyze",
    )
    .await
    .unwrap();
    for query in [
        "",
        "sort=name",
        "sort=name&offset=9950",
        "sort=last_seen_at",
        "sort=current_usage_usd",
        "sort=usage_percentage",
        "search=abc",
        "search=ak_abcdef",
        "sort=name&search=user%20f",
    ] {
        let path = format!("/admin/users?{query}");
        let began = tokio::time::Instant::now();
        let page = app.get(&path).await;
        let took = began.elapsed();
        assert_eq!(page.status, 200, "{query}: {page:?}");
        // A machine that does other things is slow; a plan that reads everything for
        // everybody takes minutes.
        assert!(took.as_secs() < 5, "{query} took {took:?}");
    }
    let plan = async |statement: &str| {
        let rows = sql
            .query(&format!("explain {statement}"), &[])
            .await
            .unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        lines.join("\n")
    };
    let by_name = plan("select id from live_users order by lower(name), id limit 50").await;
    assert!(by_name.contains("users_by_name"), "{by_name}");
    let newest = plan("select * from live_users order by created_at desc, id desc limit 50").await;
    assert!(newest.contains("users_newest"), "{newest}");
}
