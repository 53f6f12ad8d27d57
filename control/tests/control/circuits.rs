//! Circuits: what proxies report, what administrators see of it, and the reset.

use std::collections::BTreeSet;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use proto::{
    line::timestamp,
    sync::{
        Circuit, CircuitCause, CircuitList, CircuitState, Kind, Node, ReportRequest,
        resource::Spec, watch_response::Event,
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    TestApp, answer, http_client,
    proxy::{self, Config, Copy, START},
};

/// A proxy that reports.
struct Proxy {
    client: Config,
    node: Node,
}

impl Proxy {
    async fn new(app: &TestApp) -> Self {
        Self {
            client: proxy::config(app.running.grpc_addr).await,
            node: proxy::node(),
        }
    }

    fn id(&self) -> &str {
        &self.node.instance_id
    }

    /// A report; none says nothing of circuits.
    async fn report(&mut self, circuits: Option<Vec<Circuit>>) {
        let report = ReportRequest {
            node: Some(self.node.clone()),
            circuits: circuits.map(|circuits| CircuitList { circuits }),
            ..ReportRequest::default()
        };
        self.client.report(report).await.unwrap();
    }
}

/// A moment that Postgres can hold, so many minutes from now.
fn minutes(from_now: i64) -> DateTime<Utc> {
    (Utc::now() + TimeDelta::minutes(from_now)).trunc_subsecs(6)
}

fn text(time: DateTime<Utc>) -> Value {
    json!(time)
}

/// The plan has said when it is back.
fn open(access_key_id: &str, until: DateTime<Utc>) -> Circuit {
    Circuit {
        access_key_id: access_key_id.to_owned(),
        state: CircuitState::Open.into(),
        cause: CircuitCause::UsageLimit.into(),
        opened_at: Some(timestamp(minutes(-1))),
        open_until: Some(timestamp(until)),
    }
}

/// The plan has failed too often, and is being tried.
fn half_open(access_key_id: &str, until: DateTime<Utc>) -> Circuit {
    Circuit {
        state: CircuitState::HalfOpen.into(),
        cause: CircuitCause::Failures.into(),
        ..open(access_key_id, until)
    }
}

async fn new_key(app: &TestApp, user_id: &str) -> String {
    let key = app.access_key(user_id).await;
    key["id"].as_str().unwrap().to_owned()
}

async fn circuits_of(app: &TestApp, access_key_id: &str) -> Value {
    let path = format!("/admin/access-keys/{access_key_id}/circuits");
    let circuits = app.get(&path).await;
    assert_eq!(circuits.status, 200, "{circuits:?}");
    circuits.body["items"].clone()
}

/// As the list of the user's keys shows it.
async fn circuit_of(app: &TestApp, user_id: &str, access_key_id: &str) -> Value {
    let keys = app
        .get(&format!("/admin/users/{user_id}/access-keys"))
        .await;
    let keys = keys.body["items"].as_array().unwrap();
    let key = keys.iter().find(|key| key["id"] == *access_key_id);
    let circuit = key.unwrap().get("circuit");
    circuit.expect("there is the field, null or not").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_reports_is_shown_until_it_reports_otherwise() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let (first, second) = (new_key(&app, &user).await, new_key(&app, &user).await);
    let mut proxy = Proxy::new(&app).await;
    proxy.report(None).await;
    assert_eq!(circuit_of(&app, &user, &first).await, Value::Null);
    assert_eq!(circuits_of(&app, &first).await, json!([]));

    let until = minutes(30);
    let circuit = open(&first, until);
    let opened_at = proto::line::time(&circuit.opened_at.unwrap()).unwrap();
    proxy.report(Some(vec![circuit])).await;
    // What has not changed is not sent again.
    proxy.report(None).await;
    assert_eq!(
        circuits_of(&app, &first).await,
        json!([{
            "instance_id": proxy.id(),
            "state": "open",
            "cause": "usage_limit",
            "opened_at": text(opened_at),
            "open_until": text(until),
        }])
    );
    assert_eq!(
        circuit_of(&app, &user, &first).await,
        json!({
            "state": "open", "cause": "usage_limit", "open_until": text(until), "proxies": 1,
        })
    );
    assert_eq!(circuit_of(&app, &user, &second).await, Value::Null);
    let proxies = app.get("/admin/proxies").await.body;
    assert_eq!(proxies["items"][0]["circuits"], 1);

    // One changes, another one comes.
    let over = minutes(-2);
    proxy
        .report(Some(vec![half_open(&first, over), open(&second, until)]))
        .await;
    assert_eq!(
        circuit_of(&app, &user, &first).await,
        json!({
            "state": "half_open", "cause": "failures", "open_until": text(over), "proxies": 1,
        })
    );
    assert_eq!(circuits_of(&app, &second).await[0]["state"], "open");
    let proxies = app.get("/admin/proxies").await.body;
    assert_eq!(proxies["items"][0]["circuits"], 2);

    proxy.report(Some(vec![open(&second, until)])).await;
    assert_eq!(circuit_of(&app, &user, &first).await, Value::Null);
    assert_eq!(circuits_of(&app, &first).await, json!([]));
    assert_ne!(circuit_of(&app, &user, &second).await, Value::Null);

    proxy.report(Some(vec![])).await;
    assert_eq!(circuit_of(&app, &user, &second).await, Value::Null);
    let proxies = app.get("/admin/proxies").await.body;
    assert_eq!(proxies["items"][0]["circuits"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_with_the_circuit_that_stays_open_for_longest() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = new_key(&app, &user).await;
    let mut proxies = Vec::new();
    for circuit in [
        open(&key, minutes(5)),
        Circuit {
            cause: CircuitCause::Failures.into(),
            opened_at: Some(timestamp(minutes(-7))),
            ..open(&key, minutes(20))
        },
        Circuit {
            opened_at: Some(timestamp(minutes(-3))),
            ..open(&key, minutes(10))
        },
        // However long it claims to be.
        half_open(&key, minutes(40)),
    ] {
        let mut proxy = Proxy::new(&app).await;
        proxy.report(Some(vec![circuit])).await;
        proxies.push(proxy);
    }
    // Another proxy's list is its own affair.
    Proxy::new(&app).await.report(Some(vec![])).await;

    let shown = circuit_of(&app, &user, &key).await;
    assert_eq!(shown["state"], "open");
    assert_eq!(shown["cause"], "failures");
    assert_eq!(shown["proxies"], 4);
    let all = circuits_of(&app, &key).await;
    let all = all.as_array().unwrap();
    assert_eq!(shown["open_until"], all[3]["open_until"]);
    let opened: Vec<&str> = all
        .iter()
        .map(|circuit| circuit["opened_at"].as_str().unwrap())
        .collect();
    assert!(opened.is_sorted_by(|a, b| a > b), "{opened:?}");
    assert_eq!(all[2]["instance_id"], proxies[2].id());
    assert_eq!(all[3]["instance_id"], proxies[1].id());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_left_out_counted_and_fails_no_report() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let (first, last) = (new_key(&app, &user).await, new_key(&app, &user).await);
    let mut proxy = Proxy::new(&app).await;
    let circuit = || open(&Uuid::new_v4().to_string(), minutes(5));
    proxy
        .report(Some(vec![
            open(&first, minutes(5)),
            open("nobody\0", minutes(5)),
            Circuit {
                state: 99,
                ..circuit()
            },
            Circuit {
                cause: CircuitCause::Unspecified.into(),
                ..circuit()
            },
            Circuit {
                open_until: None,
                ..circuit()
            },
            Circuit {
                open_until: Some(prost_types::Timestamp {
                    seconds: 7_800_000_000_000,
                    nanos: 0,
                }),
                ..circuit()
            },
            half_open(&first, minutes(5)),
            open(&last, minutes(5)),
        ]))
        .await;
    assert_eq!(circuit_of(&app, &user, &first).await["state"], "open");
    assert_eq!(circuit_of(&app, &user, &last).await["state"], "open");
    let proxies = app.get("/admin/proxies").await.body;
    assert_eq!(proxies["items"][0]["circuits"], 2);
    let metrics = http_client().get(app.ops_url("/metrics")).send().await;
    let metrics = metrics.unwrap().text().await.unwrap();
    let counted = metrics
        .lines()
        .find_map(|line| line.strip_prefix("control_circuits_ignored_total "));
    // The tests of one process share their metrics.
    assert!(counted.unwrap().parse::<u64>().unwrap() >= 6, "{counted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_may_name_a_key_that_is_gone() {
    let app = TestApp::start().await;
    let nobody = Uuid::new_v4().to_string();
    let mut proxy = Proxy::new(&app).await;
    proxy.report(Some(vec![open(&nobody, minutes(5))])).await;
    app.get(&format!("/admin/access-keys/{nobody}/circuits"))
        .await
        .assert_error(404, "access_key_not_found");
    assert_eq!(app.get("/admin/circuits").await.body["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn circuits_of_a_proxy_that_is_silent_are_not_shown() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = new_key(&app, &user).await;
    let mut silent = Proxy::new(&app).await;
    silent.report(Some(vec![open(&key, minutes(20))])).await;
    let mut other = Proxy::new(&app).await;
    other.report(Some(vec![half_open(&key, minutes(-1))])).await;
    assert_eq!(circuit_of(&app, &user, &key).await["proxies"], 2);

    let fall_silent = async |proxy: &Proxy| {
        let statement = format!(
            "update proxies set reported_at = now() - interval '46 seconds'
             where instance_id = '{}'",
            proxy.id()
        );
        app.sql().await.batch_execute(&statement).await.unwrap();
    };
    fall_silent(&silent).await;
    let shown = circuit_of(&app, &user, &key).await;
    assert_eq!(
        (&shown["state"], &shown["proxies"]),
        (&json!("half_open"), &json!(1))
    );
    let all = circuits_of(&app, &key).await;
    assert_eq!(all.as_array().unwrap().len(), 1);
    assert_eq!(all[0]["instance_id"], other.id());
    let listed = app.get("/admin/circuits").await.body;
    assert_eq!(listed["items"][0]["state"], "half_open");

    fall_silent(&other).await;
    assert_eq!(circuit_of(&app, &user, &key).await, Value::Null);
    assert_eq!(circuits_of(&app, &key).await, json!([]));
    assert_eq!(app.get("/admin/circuits").await.body["items"], json!([]));

    // It is back, and nothing has changed meanwhile.
    silent.report(None).await;
    assert_eq!(circuit_of(&app, &user, &key).await["state"], "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_forgotten_takes_its_circuits_along() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = new_key(&app, &user).await;
    let mut gone = Proxy::new(&app).await;
    gone.report(Some(vec![open(&key, minutes(5))])).await;
    let mut stays = Proxy::new(&app).await;
    stays.report(Some(vec![open(&key, minutes(5))])).await;
    let client = app.sql().await;
    let age = format!(
        "update proxies set reported_at = now() - interval '2 days' where instance_id = '{}'",
        gone.id()
    );
    client.batch_execute(&age).await.unwrap();

    let store = control::store::Store::new(app.database.url().parse().unwrap()).unwrap();
    let mut connection = store.connection().await.unwrap();
    let forgotten = control::store::proxies::forget(&mut connection, TimeDelta::days(1)).await;
    assert_eq!(forgotten.unwrap(), 1);
    let left = client
        .query_one(
            "select string_agg(instance_id::text, ',') from circuits",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(left.get::<_, String>(0), stays.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_circuits_as_a_report_may_carry_are_kept_and_written_once() {
    let app = TestApp::start().await;
    let client = app.sql().await;
    // How many rows there are, by how many transactions they were written, and how
    // many of them another one has locked or replaced since.
    let rows = async || {
        let row = client.query_one(
            "select count(*), count(distinct xmin::text), count(*) filter (where xmax <> 0)
             from circuits",
            &[],
        );
        let row = row.await.unwrap();
        (
            row.get::<_, i64>(0),
            row.get::<_, i64>(1),
            row.get::<_, i64>(2),
        )
    };
    let mut all: Vec<Circuit> = (0..10_001)
        .map(|_| open(&Uuid::new_v4().to_string(), minutes(5)))
        .collect();
    let mut proxy = Proxy::new(&app).await;
    proxy.report(Some(all.clone())).await;
    assert_eq!(rows().await, (10_000, 1, 0));
    proxy.report(Some(all.clone())).await;
    assert_eq!(rows().await, (10_000, 1, 0));

    all[17].open_until = Some(timestamp(minutes(6)));
    proxy.report(Some(all.clone())).await;
    let (count, transactions, touched) = rows().await;
    assert_eq!((count, transactions), (10_000, 2));
    assert!(touched <= 1, "{touched}");

    all.drain(..5_000);
    all.pop();
    proxy.report(Some(all)).await;
    assert_eq!(rows().await, (5_000, 1, 0));
}

/// Both are the last report of one process, whichever comes first.
#[tokio::test(flavor = "multi_thread")]
async fn reports_of_one_proxy_that_overlap_do_not_mix() {
    let app = TestApp::start().await;
    let proxy = Proxy::new(&app).await;
    let lists: Vec<Vec<Circuit>> = (0..6)
        .map(|_| {
            (0..200)
                .map(|_| open(&Uuid::new_v4().to_string(), minutes(5)))
                .collect()
        })
        .collect();
    let reports = lists.iter().map(|list| {
        let mut proxy = Proxy {
            client: proxy.client.clone(),
            node: proxy.node.clone(),
        };
        async move { proxy.report(Some(list.clone())).await }
    });
    futures_util::future::join_all(reports).await;
    let client = app.sql().await;
    let rows = client.query("select access_key_id::text from circuits", &[]);
    let kept: BTreeSet<String> = rows.await.unwrap().iter().map(|row| row.get(0)).collect();
    let is_one_of_them = lists.iter().any(|list| {
        let ids: BTreeSet<String> = list.iter().map(|it| it.access_key_id.clone()).collect();
        ids == kept
    });
    assert!(is_one_of_them, "{} rows", kept.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn circuits_are_no_change_for_proxies() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = new_key(&app, &user).await;
    let mut proxy = Proxy::new(&app).await;
    proxy.report(Some(vec![open(&key, minutes(5))])).await;
    proxy.report(Some(vec![])).await;
    let head = app.get("/admin/proxies").await.body["head"]["revision"].clone();
    assert_eq!(head, START + 2, "the user and the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_reaches_the_proxies_as_a_change_of_the_key() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let (key, other) = (new_key(&app, &user).await, new_key(&app, &user).await);
    let mut proxy = Proxy::new(&app).await;
    proxy.report(Some(vec![open(&key, minutes(5))])).await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;
    let resets = |copy: &Copy, id: &str| {
        let spec = &copy.resources[&(Kind::AccessKey.into(), id.to_owned())].spec;
        let Some(Spec::AccessKey(key)) = spec else {
            panic!("{spec:?}");
        };
        key.circuit_resets
    };
    assert_eq!(resets(&copy, &key), 0);

    let path = format!("/admin/access-keys/{key}/circuit/reset");
    for expected in 1..=2 {
        let reset = answer(app.request(Method::POST, &path)).await;
        assert_eq!(reset.status, 204, "{reset:?}");
        let Event::Delta(delta) = copy.advance().await else {
            panic!("no delta");
        };
        assert_eq!(delta.upserted.len(), 1, "{delta:?}");
        assert_eq!(resets(&copy, &key), expected);
    }
    assert_eq!(resets(&copy, &other), 0);

    // Who comes later hears the same, and holds what control holds.
    let mut late = Copy::new(app.running.grpc_addr).await;
    late.watch().await;
    late.advance().await;
    assert_eq!(resets(&late, &key), 2);
    late.watch().await;
    let event = late.advance().await;
    assert!(matches!(event, Event::Heartbeat(_)), "{event:?}");

    // What the proxies do is theirs to report.
    assert_eq!(circuit_of(&app, &user, &key).await["state"], "open");
}

/// Two administrators press the button at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn every_reset_counts() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = new_key(&app, &user).await;
    let path = format!("/admin/access-keys/{key}/circuit/reset");
    let resets = (0..6).map(|_| answer(app.request(Method::POST, &path)));
    for reset in futures_util::future::join_all(resets).await {
        assert_eq!(reset.status, 204, "{reset:?}");
    }
    let client = app.sql().await;
    let row = client.query_one("select circuit_resets from access_keys", &[]);
    assert_eq!(row.await.unwrap().get::<_, i32>(0), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_key_that_may_work_has_a_circuit_to_reset() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let key = new_key(&app, &user).await;
    let reset = async |id: &str| {
        let path = format!("/admin/access-keys/{id}/circuit/reset");
        answer(app.request(Method::POST, &path)).await
    };
    let rotate = format!("/admin/access-keys/{key}/rotate");
    app.post(&rotate, json!({})).await;
    assert_eq!(reset(&key).await.status, 204, "in its grace period");

    app.delete(&format!("/admin/access-keys/{key}")).await;
    reset(&key)
        .await
        .assert_error(409, "access_key_already_revoked");
    reset(&Uuid::new_v4().to_string())
        .await
        .assert_error(404, "access_key_not_found");
    reset("7").await.assert_error(400, "invalid_path");
    let client = app.sql().await;
    client
        .batch_execute("update access_keys set deleted_at = now()")
        .await
        .unwrap();
    reset(&key).await.assert_error(404, "access_key_not_found");
    app.get(&format!("/admin/access-keys/{key}/circuits"))
        .await
        .assert_error(404, "access_key_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_key_with_a_circuit_once_the_longest_first() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(app.access_key(&user).await);
    }
    let id = |number: usize| keys[number]["id"].as_str().unwrap();
    let (soon, late) = (minutes(5), minutes(30));
    let mut proxy = Proxy::new(&app).await;
    // Several until the same moment: only their ids tell them apart.
    proxy
        .report(Some(vec![
            open(id(0), soon),
            open(id(1), late),
            open(id(2), soon),
            half_open(id(3), minutes(-1)),
        ]))
        .await;
    // The same key on another one is the same item.
    let mut other = Proxy::new(&app).await;
    other.report(Some(vec![open(id(0), minutes(4))])).await;

    let mut seen = Vec::new();
    let mut path = "/admin/circuits?limit=1".to_owned();
    loop {
        let page = app.get(&path).await.body;
        seen.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/admin/circuits?limit=1&cursor={cursor}");
    }
    let order: Vec<&str> = seen
        .iter()
        .map(|item| item["access_key_id"].as_str().unwrap())
        .collect();
    let (small, large) = (id(0).min(id(2)), id(0).max(id(2)));
    assert_eq!(order, [id(1), large, small, id(3)]);
    assert_eq!(
        seen[0],
        json!({
            "access_key_id": id(1),
            "user_id": user,
            "user_name": "Ada",
            "access_key_name": null,
            "key_prefix": keys[1]["key_prefix"],
            "state": "open",
            "cause": "usage_limit",
            "open_until": text(late),
            "proxies": 1,
        })
    );
    let shared = seen.iter().find(|item| item["access_key_id"] == id(0));
    assert_eq!(shared.unwrap()["proxies"], 2);
    assert_eq!(shared.unwrap()["open_until"], text(soon));
    for query in ["limit=0", "cursor=x", "user_id=7"] {
        app.get(&format!("/admin/circuits?{query}"))
            .await
            .assert_error(400, "invalid_query");
    }
}
