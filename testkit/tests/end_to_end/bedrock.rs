//! Bedrock in the place of the plan, with all that an administrator does for it.

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{
    bedrock::{Capabilities, Operation, Received, Simulator},
    cutter::Cutter,
    moto::Moto,
    stack::{self, AWS_REGION, admin::IssuedKey},
};
use tokio_postgres::Client;

use crate::support::{
    World, ask, ask_and_hear,
    bedrock::{API_KEY, OnBedrock},
    error_type, eventually, heard, question, send,
};

const CLIENT: (&str, &str) = ("x-api-key", "sk-ant-test");

fn bedrock_key(access_key_id: &str) -> String {
    format!("/admin/access-keys/{access_key_id}/bedrock-key")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_puts_bedrock_in_the_place_of_the_plan() -> Result<()> {
    let bedrock = Simulator::start().await?;
    let (api_key, id, secret, token) = ("a-key", "AKIATEST", "a/secret", "a-session-token");
    bedrock.credentials().accept_api_key(api_key);
    bedrock.credentials().accept_pair(id, secret, Some(token));
    let world = World::with(|stack| stack.bedrock(&bedrock.url())).await?;
    let (admin, key) = (world.stack.admin(), &world.key.access_key_id);

    let refusal = admin.route(&world.user_id, "bedrock_only").await;
    let refusal = format!("{:#}", refusal.unwrap_err());
    assert!(refusal.contains("MISSING_BEDROCK_KEYS"), "{refusal}");
    let pair = |secret: &str| {
        json!({
            "aws_access_key_id": id,
            "aws_secret_access_key": secret,
            "aws_session_token": token,
            "verify": true,
        })
    };
    for wrong in [
        json!({"bedrock_api_key": "another-key", "verify": true}),
        pair("another/secret"),
    ] {
        let refusal = admin.register_bedrock_key(key, wrong).await.unwrap_err();
        assert!(format!("{refusal:#}").contains("422"), "{refusal:#}");
        let nothing = admin.get(&bedrock_key(key)).await.unwrap_err();
        assert!(format!("{nothing:#}").contains("404"), "{nothing:#}");
    }

    let right = json!({"bedrock_api_key": api_key, "verify": true});
    let mut requests = 0;
    for (credential, kind, authorization) in [
        (right, "api_key", format!("Bearer {api_key}")),
        (
            pair(secret),
            "key_pair",
            format!("AWS4-HMAC-SHA256 Credential={id}/"),
        ),
    ] {
        let registered = admin.register_bedrock_key(key, credential).await?;
        assert_eq!(registered["kind"], kind);
        admin.route(&world.user_id, "bedrock_only").await?;
        world.until_in_force().await?;
        assert_eq!(
            admin.get(&bedrock_key(key)).await?["last_used_at"],
            Value::Null
        );

        let before = bedrock.ledger();
        let mut last_use: Option<DateTime<Utc>> = None;
        for is_streaming in [false, true] {
            ask_and_hear(&world.base_url(), is_streaming).await?;
            let received = bedrock.received();
            let received = received.last().context("Bedrock was not asked")?;
            let sent = received.header("authorization").unwrap_or_default();
            assert!(sent.starts_with(&authorization), "{sent}");
            last_use = eventually("the use of the credential is known", async || {
                let mut known = admin.get(&bedrock_key(key)).await?;
                let used = serde_json::from_value(known["last_used_at"].take())?;
                Ok((used > last_use).then_some(used))
            })
            .await?;
        }
        requests += 2;
        let usage = admin.get("/admin/usage").await?;
        let provider = &usage["by_provider"][0];
        assert_eq!(provider["provider"], "bedrock", "{usage}");
        assert_eq!(provider["requests"], requests, "{usage}");
        let told = bedrock.ledger();
        assert_eq!(told.answers - before.answers, 2);
        let told = told.entries.iter().rev().take(2);
        let listed = admin.get("/admin/usage/requests").await?;
        let counted = listed["items"].as_array().context("no requests")?;
        for (entry, row) in told.zip(counted) {
            assert_eq!(row["output_tokens"], entry.tokens.output_tokens, "{row}");
            assert_eq!(row["input_tokens"], entry.tokens.input_tokens, "{row}");
        }
    }
    assert!(world.simulator.received().is_empty(), "the plan was asked");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_goes_with_its_access_key_and_ends_with_it() -> Result<()> {
    let world = OnBedrock::start().await?;
    let admin = world.stack.admin();
    let sql = world.sql().await?;
    let old = &world.key;
    assert_eq!(world.status(old).await?, StatusCode::OK);

    let path = format!("/admin/access-keys/{}/rotate", old.access_key_id);
    let new = issued(&admin.call(Method::POST, &path, Some(json!({}))).await?)?;
    world.until_in_force().await?;
    for key in [&new, old] {
        assert_eq!(world.status(key).await?, StatusCode::OK);
    }
    assert_eq!(credentials(&sql).await?, 2);

    admin.revoke_key(&old.access_key_id).await?;
    world.until_in_force().await?;
    let asked = world.bedrock.received().len();
    assert_eq!(world.status(old).await?, StatusCode::UNAUTHORIZED);
    assert_eq!(credentials(&sql).await?, 1);

    let user = format!("/admin/users/{}", world.user_id);
    let switch = async |action: &str| {
        let path = format!("{user}/{action}");
        admin.call(Method::POST, &path, None).await?;
        world.until_in_force().await
    };
    switch("deactivate").await?;
    assert_eq!(world.status(&new).await?, StatusCode::UNAUTHORIZED);
    assert_eq!(credentials(&sql).await?, 0);
    switch("reactivate").await?;
    assert_eq!(world.status(&new).await?, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.asked_since(asked).len(), 0, "Bedrock was asked");

    world.equip(&new, API_KEY).await?;
    world.until_in_force().await?;
    assert_eq!(world.status(&new).await?, StatusCode::OK);
    admin.call(Method::DELETE, &user, None).await?;
    world.until_in_force().await?;
    assert_eq!(world.status(&new).await?, StatusCode::UNAUTHORIZED);
    assert_eq!(credentials(&sql).await?, 0);
    assert_eq!(world.asked_since(asked).len(), 1);
    assert!(world.simulator.received().is_empty(), "the plan was asked");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_credential_is_out_of_use_on_every_proxy_at_once() -> Result<()> {
    let world = OnBedrock::with(|stack| stack.proxies(2)).await?;
    let base_urls = world.stack.proxies().iter();
    let base_urls: Vec<_> = base_urls
        .map(|proxy| proxy.base_url(&world.key.raw_key))
        .collect();
    for base_url in &base_urls {
        ask_and_hear(base_url, true).await?;
    }
    world.equip(&world.key, "the-next-key").await?;
    world.until_in_force().await?;
    world.bedrock.credentials().revoke(API_KEY);
    for base_url in &base_urls {
        ask_and_hear(base_url, true).await?;
    }
    let received = world.bedrock.received();
    let sent: Vec<_> = received
        .iter()
        .filter_map(|request| request.header("authorization"))
        .collect();
    let (first, next) = (format!("Bearer {API_KEY}"), "Bearer the-next-key");
    assert_eq!(sent, [&first, &first, next, next]);

    // And one that Bedrock no longer takes is the administrator's business.
    world.bedrock.credentials().revoke("the-next-key");
    let refusal = ask(&base_urls[0], true).await?;
    assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refusal.headers()["x-should-retry"], "false");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kms_has_sealed_serves_its_own_access_key_only() -> Result<()> {
    let moto = Moto::start().await?;
    let key_id = moto.create_key(AWS_REGION).await?;
    let world = OnBedrock::with(|stack| stack.kms(moto.url(), &key_id)).await?;
    let sql = world.sql().await?;
    let ada = &world.key;
    let (_, grace) = world.another("the-key-of-grace").await?;
    for (key, expected) in [(ada, API_KEY), (&grace, "the-key-of-grace")] {
        assert_eq!(world.status(key).await?, StatusCode::OK);
        let received = world.bedrock.received();
        let sent = received.last().context("Bedrock was not asked")?;
        let expected = format!("Bearer {expected}");
        assert_eq!(sent.header("authorization"), Some(&*expected));
    }

    // Rotated, it opens under another key's name.
    let path = format!("/admin/access-keys/{}/rotate", ada.access_key_id);
    let body = json!({"grace_seconds": 0});
    let admin = world.stack.admin();
    let ada = &issued(&admin.call(Method::POST, &path, Some(body)).await?)?;
    world.until_in_force().await?;
    assert_eq!(world.status(ada).await?, StatusCode::OK);

    let asked = world.bedrock.received().len();
    let length = sealed_length(&sql, ada).await?;
    // The version, the wrapped data key, the secret, its tag.
    for at in [0, 20, length - 20, length - 1] {
        let tamper = format!("sealed = set_byte(sealed, {at}, get_byte(sealed, {at}) # 1)");
        update(&sql, &tamper, ada).await?;
        assert_closed(&world, ada).await?;
        update(&sql, &tamper, ada).await?;
    }
    let swapped = |column: &str| {
        let ids = [ada, &grace].map(|key| key.access_key_id.clone());
        format!(
            "update bedrock_keys set {column} = other.{column} from bedrock_keys other
             where bedrock_keys.access_key_id <> other.access_key_id
             and bedrock_keys.access_key_id in ('{0}', '{1}')
             and other.access_key_id in ('{0}', '{1}')",
            ids[0], ids[1]
        )
    };
    for column in ["sealed", "sealed_for"] {
        sql.execute(&swapped(column), &[]).await?;
        for key in [ada, &grace] {
            assert_closed(&world, key).await?;
        }
        sql.execute(&swapped(column), &[]).await?;
    }
    assert_eq!(world.asked_since(asked).len(), 0, "Bedrock was asked");

    // As it was sealed, it is as good as before.
    world.until_in_force().await?;
    for key in [ada, &grace] {
        assert_eq!(world.status(key).await?, StatusCode::OK);
    }
    Ok(())
}

/// Its credential does not open, on the proxies as they are now.
async fn assert_closed(world: &OnBedrock, key: &IssuedKey) -> Result<()> {
    world.until_in_force().await?;
    let refusal = ask(&world.proxy().base_url(&key.raw_key), true).await?;
    assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(error_type(refusal).await?, "api_error");
    Ok(())
}

/// How long an opened credential is kept where a test waits for its end.
const SHORT_TTL_SECONDS: &str = "5";

#[tokio::test(flavor = "multi_thread")]
async fn without_kms_an_open_credential_serves_until_its_time_is_over() -> Result<()> {
    let moto = Moto::start().await?;
    let key_id = moto.create_key(AWS_REGION).await?;
    let address = moto.url().trim_start_matches("http://").parse()?;
    let road = Cutter::start(address).await?;
    let url = format!("http://{}", road.addr());
    let world = OnBedrock::with(|stack| {
        stack
            .kms(&url, &key_id)
            .setting("PROXY_BEDROCK_KEY_CACHE_TTL", SHORT_TTL_SECONDS)
    })
    .await?;
    let (_, unopened) = world.another("the-key-of-grace").await?;

    assert_eq!(world.status(&world.key).await?, StatusCode::OK);
    road.down();
    assert_eq!(world.status(&world.key).await?, StatusCode::OK);
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(world.status(&unopened).await?, unavailable);
    eventually("the opened credential is forgotten", async || {
        Ok((world.status(&world.key).await? == unavailable).then_some(()))
    })
    .await?;
    let credential = json!({"bedrock_api_key": API_KEY});
    let admin = world.stack.admin();
    let refusal = admin
        .register_bedrock_key(&unopened.access_key_id, credential)
        .await
        .unwrap_err();
    assert!(
        format!("{refusal:#}").contains("kms_unavailable"),
        "{refusal:#}"
    );

    road.up();
    for key in [&world.key, &unopened] {
        assert_eq!(world.status(key).await?, StatusCode::OK);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_processes_start_from_what_is_kept_in_secrets_manager() -> Result<()> {
    let moto = Moto::start().await?;
    let company_key = "sk-ant-api03-of-the-company";
    let stored = moto.create_secret(AWS_REGION, "company", company_key);
    let stored = stored.await?;
    let world = World::with(|stack| {
        stack
            .secrets_manager(&moto)
            .setting("PROXY_PLAN_API_KEY_ARN", &stored)
    })
    .await?;
    let body = question("claude-opus-5-5", true);
    let answer = send(&world.base_url(), &body, &[("x-api-key", "dummy")]).await?;
    heard(answer, true).await?;
    let received = world.simulator.received();
    assert_eq!(received[0].header("x-api-key"), Some(company_key));
    world.until_all_is_counted().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bedrock_refuses_is_learned_once_for_all_proxies() -> Result<()> {
    let beta = "context-management-2025-06-27";
    let feature = format!("beta:{beta}");
    let world = OnBedrock::with(|stack| stack.proxies(2)).await?;
    let narrow = Capabilities::default().without_beta(beta);
    world.bedrock.offer().set_for_model("haiku-4-5", narrow);
    let mut body = question("claude-haiku-4-5", true);
    body["context_management"] = json!({"edits": [{"type": "clear_thinking_20251015"}]});
    let [first, second] = [0, 1].map(|it| &world.stack.proxies()[it]);
    // How many requests Bedrock gets for one of the client's.
    let cost = async |proxy: &stack::Proxy| {
        let asked = world.bedrock.received().len();
        let base_url = proxy.base_url(&world.key.raw_key);
        let headers = [CLIENT, ("anthropic-beta", beta)];
        heard(send(&base_url, &body, &headers).await?, true).await?;
        anyhow::Ok(world.asked_since(asked).len())
    };
    let admin = world.stack.admin();
    let learned = async || {
        let known = admin.get("/admin/models/capabilities").await?;
        let known = known["items"].as_array().context("no capabilities")?;
        let learned = known.iter().find(|it| it["feature"] == *feature);
        anyhow::Ok(learned.cloned())
    };

    assert_eq!(learned().await?, None);
    assert_eq!(cost(first).await?, 2);
    let lesson = eventually("control knows the lesson", learned).await?;
    assert_eq!(lesson["source"], "learned");
    let model = "global.anthropic.claude-haiku-4-5-20251001-v1:0";
    assert_eq!(lesson["model"], model);
    world.until_in_force().await?;
    assert_eq!(cost(second).await?, 1);

    // The model has got better meanwhile, but nobody knows.
    world.bedrock.offer().set(Capabilities::default());
    let path = format!("/admin/models/capabilities/{}", text(&lesson, "id")?);
    admin.call(Method::DELETE, &path, None).await?;
    world.until_in_force().await?;
    for proxy in [first, second] {
        assert_eq!(cost(proxy).await?, 1);
        let received = world.bedrock.received();
        let is_tried = received.last().is_some_and(|it| it.contains(beta));
        assert!(is_tried, "what was forgotten is still left out");
    }
    world.until_bedrock_is_counted().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_answered_as_it_is_mapped_now() -> Result<()> {
    let world = OnBedrock::start().await?;
    let admin = world.stack.admin();
    let model = "claude-opus-5-5";
    let listed = admin.get("/admin/models/mappings").await?;
    let listed = listed["items"].as_array().context("no mappings")?;
    let mapping = listed.iter().find(|it| it["claude_model"] == model);
    let mapping = text(mapping.context("the model is not mapped")?, "id")?;
    let path = format!("/admin/models/mappings/{mapping}");
    let asked = async |model: &str| {
        let body = question(model, true);
        heard(send(&world.base_url(), &body, &[CLIENT]).await?, true).await?;
        let received = world.bedrock.received();
        let Received {
            operation, model, ..
        } = received.last().context("Bedrock was not asked")?;
        anyhow::Ok((*operation, model.clone()))
    };

    let first = (
        Operation::InvokeStream,
        "global.anthropic.claude-opus-5-5".to_owned(),
    );
    assert_eq!(asked(model).await?, first);
    for (change, operation, bedrock_model) in [
        (
            json!({"bedrock_model": "eu.anthropic.claude-opus-5-5"}),
            Operation::InvokeStream,
            "eu.anthropic.claude-opus-5-5",
        ),
        (
            json!({"bedrock_api": "messages"}),
            Operation::Messages,
            "eu.anthropic.claude-opus-5-5",
        ),
        (
            json!({"bedrock_api": null, "bedrock_model": "us.amazon.nova-pro-v1:0"}),
            Operation::ConverseStream,
            "us.amazon.nova-pro-v1:0",
        ),
    ] {
        admin.call(Method::PUT, &path, Some(change)).await?;
        world.until_in_force().await?;
        assert_eq!(asked(model).await?, (operation, bedrock_model.to_owned()));
    }

    admin.call(Method::DELETE, &path, None).await?;
    world.until_in_force().await?;
    let asked_before = world.bedrock.received().len();
    let refusal = ask(&world.base_url(), true).await?;
    assert_eq!(refusal.status(), StatusCode::NOT_FOUND);
    let refusal: Value = refusal.json().await?;
    assert_eq!(refusal["error"]["type"], "not_found_error");
    let message = refusal["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(model), "{message}");
    assert_eq!(world.asked_since(asked_before).len(), 0);

    let new = json!({"claude_model": model, "bedrock_model": "us.anthropic.claude-opus-5-5"});
    admin
        .call(Method::POST, "/admin/models/mappings", Some(new))
        .await?;
    world.until_in_force().await?;
    let (_, bedrock_model) = asked(model).await?;
    assert_eq!(bedrock_model, "us.anthropic.claude-opus-5-5");
    Ok(())
}

/// What must be nowhere but on its way.
const MARKERS: [&str; 7] = [
    "marker-bedrock-api-key",
    "marker-secret-access-key",
    "marker-session-token",
    "marker-refused-api-key",
    "sk-ant-marker-of-the-client",
    "marker-of-the-prompt",
    "marker-of-the-answer",
];

/// Both processes with all their logs; a request on each way, good and bad; then
/// everything that was written, stored or answered.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_log_metric_table_or_answer_of_either_process() -> Result<()> {
    let moto = Moto::start().await?;
    let key_id = moto.create_key(AWS_REGION).await?;
    let world = OnBedrock::with(|stack| {
        stack
            .kms(moto.url(), &key_id)
            .setting("PROXY_LOG_LEVEL", "trace")
    })
    .await?;
    let [api_key, secret, token, refused, client, prompt, answer] = MARKERS;
    let credentials = world.bedrock.credentials();
    credentials.accept_pair("AKIATEST", secret, Some(token));
    let pair = json!({
        "aws_access_key_id": "AKIATEST",
        "aws_secret_access_key": secret,
        "aws_session_token": token,
        "verify": true,
    });
    let admin = world.stack.admin();
    let (_, with_api_key) = world.another(api_key).await?;
    let (_, with_pair) = world.another("soon-replaced").await?;
    let (_, with_refused) = world.another(refused).await?;
    admin
        .register_bedrock_key(&with_pair.access_key_id, pair)
        .await?;
    world.bedrock.credentials().revoke(refused);
    let wrong = json!({"bedrock_api_key": refused, "verify": true});
    let registered = admin
        .register_bedrock_key(&with_refused.access_key_id, wrong)
        .await;
    assert!(registered.is_err(), "Bedrock has accepted it");
    let on_plan = admin.issue_key(&admin.create_user("Linus").await?).await?;
    world.until_in_force().await?;

    let keys = [&with_api_key, &with_pair, &with_refused, &on_plan];
    let mut statuses = Vec::new();
    for key in keys {
        for model in ["claude-opus-5-5", "claude-nobody-knows"] {
            let mut body = question(model, true);
            let text = format!("{prompt} say: {answer}");
            body["messages"][0]["content"] = json!(text);
            let headers = [("authorization", &*format!("Bearer {client}"))];
            let response = send(&world.proxy().base_url(&key.raw_key), &body, &headers).await?;
            statuses.push(response.status().as_u16());
            response.text().await?;
        }
    }
    assert_eq!(statuses, [200, 404, 200, 404, 503, 404, 200, 200]);
    eventually("everything is counted", async || {
        Ok((world.counted().await?.requests >= 8).then_some(()))
    })
    .await?;
    let has_marker = |marker: &str| {
        let received = world.bedrock.received();
        received.iter().any(|request| request.contains(marker))
    };
    assert!(has_marker(api_key) && has_marker(prompt) && has_marker(token));
    assert!(!has_marker(client), "Bedrock got the client's credential");

    let log = world.stack.logs()?;
    assert!(log.contains("bedrock_key.registered") && log.contains("claude-nobody-knows"));
    let answers = answers(&world, &with_pair).await?;
    let metrics = metrics(&world).await?;
    assert!(
        metrics.contains("proxy_") && metrics.contains("control_"),
        "{metrics}"
    );
    let dump = dump(&world.sql().await?).await?;
    let key = &with_pair.access_key_id;
    assert!(dump.contains(key) && answers.contains(key));
    let raw_keys = keys.map(|key| key.raw_key.as_str());
    for marker in MARKERS.iter().chain(&raw_keys) {
        for form in forms(marker) {
            for (place, text) in [
                ("log", &log),
                ("metric", &metrics),
                ("table", &dump),
                ("answer", &answers),
            ] {
                assert!(!text.contains(&form), "{form} is in a {place}");
            }
        }
    }
    Ok(())
}

/// Everything that the admin API answers about an access key and its owner.
async fn answers(world: &OnBedrock, key: &IssuedKey) -> Result<String> {
    let admin = world.stack.admin();
    let found = admin.get("/admin/users?limit=200").await?;
    let mut paths: Vec<String> = [
        "/admin/users",
        "/admin/usage",
        "/admin/usage/requests",
        "/admin/proxies",
        "/admin/models/mappings",
        "/admin/models/capabilities",
    ]
    .map(str::to_owned)
    .into();
    paths.push(bedrock_key(&key.access_key_id));
    let users = found.get("items").and_then(Value::as_array);
    for user in users.context("no users")? {
        let id = text(user, "id")?;
        paths.push(format!("/admin/users/{id}"));
        paths.push(format!("/admin/users/{id}/access-keys"));
    }
    let mut answers = String::new();
    for path in paths {
        answers += &admin.get(&path).await?.to_string();
    }
    Ok(answers)
}

async fn metrics(world: &OnBedrock) -> Result<String> {
    let client = stack::http_client()?;
    let mut metrics = String::new();
    for url in world.stack.ops_urls() {
        let answer = client.get(format!("{url}/metrics")).send().await?;
        metrics += &answer.error_for_status()?.text().await?;
    }
    Ok(metrics)
}

/// Every row of every table, as text.
async fn dump(sql: &Client) -> Result<String> {
    let tables = "select format('%I.%I', schemaname, tablename) from pg_tables
                  where schemaname not in ('pg_catalog', 'information_schema')";
    let mut dump = String::new();
    for table in sql.query(tables, &[]).await? {
        let table: String = table.get(0);
        let rows = format!("select coalesce(string_agg(it::text, E'\\n'), '') from {table} it");
        dump += sql.query_one(&rows, &[]).await?.get(0);
    }
    Ok(dump)
}

/// As it is, and as columns of bytes and encodings show it.
fn forms(secret: &str) -> [String; 3] {
    use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
    // The last digits depend on what follows.
    let mut base64 = STANDARD_NO_PAD.encode(secret);
    base64.truncate(secret.len() / 3 * 4);
    [secret.to_owned(), hex::encode(secret), base64]
}

fn issued(answer: &Value) -> Result<IssuedKey> {
    Ok(IssuedKey {
        access_key_id: text(answer, "id")?,
        raw_key: text(answer, "raw_key")?,
    })
}

fn text(object: &Value, member: &str) -> Result<String> {
    let text = object.get(member).and_then(Value::as_str);
    let text = text.with_context(|| format!("no {member} in {object}"))?;
    Ok(text.to_owned())
}

/// How many there are.
async fn credentials(sql: &Client) -> Result<i64> {
    let row = sql.query_one("select count(*) from bedrock_keys", &[]);
    Ok(row.await?.get(0))
}

async fn sealed_length(sql: &Client, key: &IssuedKey) -> Result<i32> {
    let statement = "select octet_length(sealed) from bedrock_keys where access_key_id::text = $1";
    Ok(sql
        .query_one(statement, &[&key.access_key_id])
        .await?
        .get(0))
}

async fn update(sql: &Client, change: &str, key: &IssuedKey) -> Result<()> {
    let statement = format!("update bedrock_keys set {change} where access_key_id::text = $1");
    let updated = sql.execute(&statement, &[&key.access_key_id]).await?;
    anyhow::ensure!(updated == 1, "{updated} credentials were updated");
    Ok(())
}
