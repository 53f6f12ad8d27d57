//! Whose request it is, and whose credential goes upstream.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use proto::sync::Kind;
use serde_json::Value;
use testkit::anthropic::{Reply, Simulator};

use crate::support::{
    self, KEY_ID, Rig, USER,
    client::{Client, post},
    control::{Control, access_key, name, user_and_key},
    key, other_key, question,
};

fn with_headers(path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::post(path)
        .header("content-type", "application/json")
        .header("anthropic-version", "2023-06-01");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = question(false).to_string();
    request.body(Full::new(body.into())).unwrap()
}

#[tokio::test]
async fn the_key_may_stand_in_the_path_or_in_a_header() {
    let rig = Rig::with(
        Simulator::start().await.unwrap(),
        &["--plan-api-key=sk-ant-api03-company"],
    )
    .await;
    let mut client = rig.client().await;
    let key = key();
    let bearer = format!("Bearer {key}");
    for request in [
        with_headers(&format!("/ak/{key}/v1/messages"), &[]),
        with_headers("/v1/messages", &[("authorization", &bearer)]),
        with_headers("/v1/messages", &[("x-api-key", &key)]),
    ] {
        assert_eq!(client.send(request).await.status, 200);
    }
    for received in rig.simulator.received() {
        assert_eq!(received.header("x-api-key"), Some("sk-ant-api03-company"));
        assert_eq!(received.header("authorization"), None);
    }
    let events = rig.control.events(3).await;
    assert!(
        events
            .iter()
            .all(|it| it.access_key_id == KEY_ID && it.user_id == USER)
    );
}

#[tokio::test]
async fn a_refused_key_is_told_the_same_whatever_is_wrong_with_it() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let mut texts = std::collections::HashSet::new();
    let unknown = format!("Bearer {}", other_key());
    for request in [
        post(&format!("/ak/{}/v1/messages", other_key()), &question(true)),
        post("/ak/nonsense/v1/messages", &question(true)),
        post("/ak//v1/messages", &question(true)),
        post(
            &format!("/ak/{}x/v1/messages/count_tokens", key()),
            &question(true),
        ),
        post("/v1/messages", &question(true)),
        with_headers("/v1/messages", &[("authorization", &unknown)]),
    ] {
        let answer = client.send(request).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.error_type(), "authentication_error");
        assert_eq!(answer.headers["x-should-retry"], "false");
        texts.insert(answer.json()["error"]["message"].to_string());
    }
    assert_eq!(texts.len(), 1);
    assert_eq!(rig.simulator.counts().requests, 0);
    let lines = rig.stop().await;
    assert_eq!(lines.len(), 6);
    assert!(lines.iter().all(|line| line.get("event_id").is_none()));
}

#[tokio::test]
async fn before_the_first_snapshot_nobody_is_refused_for_good() {
    let simulator = Simulator::start().await.unwrap();
    let mut rig = Rig::unready(simulator, &[]).await;
    let mut client = rig.client().await;
    let path = format!("/ak/{}/v1/messages", key());
    let answer = client.post(&path, &question(true)).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.error_type(), "overloaded_error");
    assert!(answer.headers.get("x-should-retry").is_none());
    let health = Request::get("/health").body(Full::default()).unwrap();
    assert_eq!(client.send(health).await.status, 503);

    let mut watch = rig.control.watched().await;
    assert_eq!(watch.request.resume_from, None);
    watch
        .snapshot(1, crate::support::control::user_and_key())
        .await;
    rig.control.applied(1).await;
    assert_eq!(client.post(&path, &question(true)).await.status, 200);
    let health = Request::get("/health").body(Full::default()).unwrap();
    assert_eq!(client.send(health).await.status, 200);
}

#[tokio::test]
async fn revoked_key_is_refused_within_one_delta() {
    let mut rig = Rig::start().await;
    let mut client = rig.client().await;
    let path = format!("/ak/{}/v1/messages", key());
    assert_eq!(client.post(&path, &question(true)).await.status, 200);
    let removed = vec![name(Kind::AccessKey, KEY_ID)];
    rig.control.watch().delta(1, 2, vec![], removed).await;
    rig.control.applied(2).await;
    assert_eq!(client.post(&path, &question(true)).await.status, 401);

    let added = vec![access_key("another", &other_key(), 3)];
    rig.control.watch().delta(2, 3, added, vec![]).await;
    rig.control.applied(3).await;
    let path = format!("/ak/{}/v1/messages", other_key());
    assert_eq!(client.post(&path, &question(true)).await.status, 200);
}

#[tokio::test]
async fn the_operators_refused_credential_is_not_the_developers_fault() {
    let settings = ["--plan-api-key=sk-ant-api03-company"];
    let rig = Rig::with(Simulator::start().await.unwrap(), &settings).await;
    let mut client = rig.client().await;
    let path = format!("/ak/{}/v1/messages", key());
    for status in [401, 403] {
        rig.simulator.script().then(Reply::error(status));
        let answer = client
            .send(with_headers(&path, &[("x-api-key", "dummy")]))
            .await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.error_type(), "api_error");

        rig.simulator.script().then(Reply::error(status));
        let answer = client.post(&path, &question(false)).await;
        assert_eq!(
            answer.status, status,
            "the client's own is the client's to see"
        );
    }
}

#[tokio::test]
async fn probes_are_answered_and_neither_checked_nor_metered() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    for (method, path) in [
        (Method::HEAD, "/ak/x"),
        (Method::GET, "/ak/x"),
        (Method::GET, "/ak/x/"),
        (Method::HEAD, "/ak/x/api/hello"),
        (Method::GET, "/ak/x/api/hello"),
        (Method::POST, "/ak/x/api/event_logging/batch"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::new(Bytes::from_static(b"{\"events\":[]}")))
            .unwrap();
        assert_eq!(client.send(request).await.status, 200, "{path}");
    }
    for path in [
        "/",
        "/v1",
        "/v1/complete",
        "/ak/x/v1/messages/batches",
        "/api/hello",
    ] {
        let request = Request::post(path).body(Full::default()).unwrap();
        let answer = client.send(request).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.error_type(), "not_found_error");
    }
    assert_eq!(rig.simulator.counts().requests, 0);
    let lines = rig.stop().await;
    assert_eq!(lines.len(), 11);
    assert!(lines.iter().all(|line| line.get("event_id").is_none()));
}

/// Access keys in paths and headers, credentials in headers, prompts and answers
/// in bodies: all pass, none stays, whatever the log level.
#[tokio::test]
async fn no_log_line_holds_a_key_a_credential_or_a_text() {
    let simulator = Simulator::start().await.unwrap();
    let mut control = Control::start().await;
    let process = Process::start(&simulator, &control);
    let mut watch = control.watched().await;
    watch.snapshot(1, user_and_key()).await;
    control.applied(1).await;

    let mut client = Client::connect(process.listen_addr).await;
    let bearer = format!("Bearer {}", key());
    simulator.script().then(Reply::text("MARKER"));
    for request in [
        post(&format!("/ak/{}/v1/messages", key()), &question(true)),
        post(&format!("/ak/{}/v1/unknown", key()), &question(true)),
        post(&format!("/ak/{}/v1/messages", other_key()), &question(true)),
        with_headers("/v1/messages", &[("authorization", &bearer)]),
    ] {
        client.send(request).await;
    }
    drop(client);
    // Beside the control plane that takes its usage.
    let text = tokio::task::spawn_blocking(move || process.stop());
    let text = text.await.unwrap();
    assert!(text.contains("\"endpoint\":\"messages\""), "{text}");
    for secret in [
        key().as_str(),
        other_key().as_str(),
        "sk-ant-api03-own",
        "sk-ant-api03-company",
        support::HASHER_SECRET,
        support::SYNC_TOKEN,
        "hello",
        "MARKER",
    ] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

/// The program itself, with all that it says.
struct Process {
    child: std::process::Child,
    listen_addr: std::net::SocketAddr,
    output: BufReader<std::process::ChildStdout>,
    said: String,
}

impl Process {
    fn start(simulator: &Simulator, control: &Control) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_claude-code-proxy"))
            .env_clear()
            .env("PROXY_KEY_HASHER_SECRET", support::HASHER_SECRET)
            .env("PROXY_SYNC_TOKEN", support::SYNC_TOKEN)
            .env("PROXY_LISTEN_ADDR", "127.0.0.1:0")
            .env("PROXY_OPS_ADDR", "127.0.0.1:0")
            .env("PROXY_CONTROL_URL", control.url())
            .env("PROXY_PLAN_API_URL", simulator.url())
            .env("PROXY_PLAN_API_KEY", "sk-ant-api03-company")
            .env("PROXY_LOG_LEVEL", "trace")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        let listen_addr = loop {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            said.push_str(&line);
            let line: Value = serde_json::from_str(&line).unwrap();
            if let Some(addr) = line["listen_addr"].as_str() {
                break addr.parse().unwrap();
            }
        };
        Self {
            child,
            listen_addr,
            output,
            said,
        }
    }

    /// Stops it in order; all that it has said.
    fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.output.read_to_string(&mut self.said).unwrap();
        assert!(self.child.wait().unwrap().success());
        std::mem::take(&mut self.said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Every index is older than no time at all. The load balancer is not told, or somebody
/// would replace the proxy by one that knows nobody.
#[tokio::test]
async fn an_index_that_is_older_than_allowed_answers_nobody() {
    let simulator = Simulator::start().await.unwrap();
    let rig = Rig::with(simulator, &["--max-staleness=0"]).await;
    let mut client = rig.client().await;
    let path = format!("/ak/{}/v1/messages", key());
    let answer = client.send(with_headers(&path, &[])).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "5");
    let health = Request::get("/health").body(Full::default()).unwrap();
    assert_eq!(client.send(health).await.status, 200);
    assert!(rig.simulator.received().is_empty());
}
