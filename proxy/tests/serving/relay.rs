//! Bodies byte for byte, headers as open lists, over every HTTP.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use testkit::anthropic::{At, Encoding, Framing, Gate, How, Reply, Simulator, Writes};

use crate::support::{
    Rig,
    client::{Answer, Client, last_error, post},
    key, question,
};

/// A body no serializer would write this way.
const ODD_BODY: &str = "{ \"stream\":false,\"unknown\" : [1e2, {\"é\":\"\\u00e9\"}],\n\t\"model\":\"claude-x\", \
    \"max_tokens\":10,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}] }\n";

fn messages() -> String {
    format!("/ak/{}/v1/messages?beta=true&x=%2F", key())
}

fn odd_request(path: &str) -> Request<Full<Bytes>> {
    Request::post(path)
        .header("content-type", "application/json")
        .header("anthropic-version", "2023-06-01")
        .header("authorization", "Bearer sk-ant-oat01-login")
        .header(
            "anthropic-beta",
            "oauth-2025-04-20,never-heard-of-2031-01-01",
        )
        .header("anthropic-beta", "second-line")
        .header("x-never-heard-of", "ü")
        .header("accept-encoding", "gzip, br")
        .body(Full::new(Bytes::from_static(ODD_BODY.as_bytes())))
        .unwrap()
}

#[tokio::test]
async fn the_request_arrives_as_the_client_sent_it() {
    let rig = Rig::start().await;
    let answer = rig.client().await.send(odd_request(&messages())).await;
    assert_eq!(answer.status, 200, "{answer:?}");

    let received = rig.simulator.received();
    let received = received.first().unwrap();
    assert_eq!(received.path, "/v1/messages?beta=true&x=%2F");
    assert_eq!(received.body, ODD_BODY.as_bytes());
    let mut headers: Vec<(String, String)> = received.headers.clone();
    headers.retain(|(name, _)| name != "host" && name != "content-length");
    headers.sort();
    let mut expected = [
        ("accept-encoding", "gzip, br"),
        (
            "anthropic-beta",
            "oauth-2025-04-20,never-heard-of-2031-01-01",
        ),
        ("anthropic-beta", "second-line"),
        ("anthropic-version", "2023-06-01"),
        ("authorization", "Bearer sk-ant-oat01-login"),
        ("content-type", "application/json"),
        ("x-never-heard-of", "ü"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    expected.sort();
    assert_eq!(headers, expected);
}

#[tokio::test]
async fn the_answer_arrives_as_the_upstream_sent_it() {
    let rig = Rig::start().await;
    let reply = Reply::answer()
        .header("x-never-heard-of", "yes")
        .header("anthropic-ratelimit-unified-status", "allowed")
        .header("set-cookie", "a=b");
    for (framing, is_streaming) in [
        (Framing::ContentLength, false),
        (Framing::Chunked, false),
        (Framing::Chunked, true),
    ] {
        rig.simulator.script().then(reply.clone().framing(framing));
        rig.simulator.script().then(reply.clone().framing(framing));
        let body = question(is_streaming);
        let direct = Client::connect(rig.simulator.addr())
            .await
            .post("/v1/messages", &body)
            .await;
        let relayed = rig.client().await.post(&messages(), &body).await;
        assert_eq!(relayed.status, direct.status);
        assert_eq!(names(&relayed.headers), names(&direct.headers));
        assert_eq!(relayed.headers["x-never-heard-of"], "yes");
        assert_eq!(shape(&relayed), shape(&direct));
    }
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    // Framing belongs to the connection.
    names.retain(|name| !["transfer-encoding", "connection"].contains(name));
    names.sort_unstable();
    names
}

/// The body without what differs from answer to answer.
fn shape(answer: &Answer) -> String {
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let ids = |word: &str| word.starts_with("msg_") || word.starts_with("req_");
    text.split('"')
        .map(|word| if ids(word) { "id" } else { word })
        .collect()
}

#[tokio::test]
async fn errors_of_the_upstream_pass_unchanged() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    for status in [
        400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 503, 529,
    ] {
        let reply = Reply::error(status)
            .header("retry-after", "7")
            .header("x-should-retry", "true");
        rig.simulator.script().then(reply.clone()).then(reply);
        let direct = Client::connect(rig.simulator.addr())
            .await
            .post("/v1/messages", &question(true))
            .await;
        let answer = client.post(&messages(), &question(true)).await;
        assert_eq!(answer.status, status);
        assert_eq!(shape(&answer), shape(&direct));
        assert_eq!(answer.headers["retry-after"], "7");
        assert_eq!(answer.headers["x-should-retry"], "true");
    }
    rig.simulator.script().then(Reply::html(403));
    let answer = client.post(&messages(), &question(true)).await;
    assert_eq!(answer.headers["content-type"], "text/html");
    assert!(answer.body.starts_with(b"<html>"));
}

#[tokio::test]
async fn compressed_answers_pass_as_they_are() {
    let rig = Rig::start().await;
    for (encoding, coding) in [
        (Encoding::Gzip, "gzip"),
        (Encoding::Deflate, "deflate"),
        (Encoding::Br, "br"),
        (Encoding::Zstd, "zstd"),
    ] {
        rig.simulator
            .script()
            .then(Reply::answer().encoding(encoding));
        let answer = rig.client().await.post(&messages(), &question(true)).await;
        assert_eq!(answer.headers["content-encoding"], coding);
        assert!(!answer.body.starts_with(b"event:"));
    }
    let events = rig.control.events(4).await;
    for event in &events {
        assert!(event.tokens.unwrap().output_tokens > 0, "{event:?}");
        assert_eq!(event.outcome(), proto::sync::Outcome::Complete);
    }
}

#[tokio::test]
async fn each_event_passes_when_it_comes() {
    let rig = Rig::start().await;
    let gate = Gate::closed();
    rig.simulator
        .script()
        .then(Reply::text("one two three").gate(&gate));
    let mut client = rig.client().await;
    let mut response = client.open(post(&messages(), &question(true))).await;
    let mut seen = String::new();
    for _ in 0..4 {
        gate.release(1);
        let before = seen.len();
        while !seen[before..].ends_with("\n\n") {
            let frame = response.frame().await.unwrap().unwrap();
            seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
        assert_eq!(seen[before..].matches("event: ").count(), 1, "{seen}");
    }
}

#[tokio::test]
async fn events_in_one_read_leave_in_one_write() {
    let rig = Rig::start().await;
    let reply = Reply::text("a long answer of a good many words ".repeat(20));
    rig.simulator.script().then(reply.writes(Writes::AtOnce));
    let mut client = rig.client().await;
    let response = client.open(post(&messages(), &question(true))).await;
    let whole = Answer::of(response).await;
    assert!(whole.body.ends_with(b"\n\n"));
    assert!(String::from_utf8_lossy(&whole.body).contains("event: message_stop"));
}

#[tokio::test]
async fn every_http_works_on_both_sides() {
    let plain = Simulator::start().await.unwrap();
    every_client(Rig::with(plain, &[]).await, http::Version::HTTP_11).await;

    let plain = Simulator::start().await.unwrap();
    let prior_knowledge = ["--plan-http-version=2"];
    every_client(
        Rig::with(plain, &prior_knowledge).await,
        http::Version::HTTP_2,
    )
    .await;

    for (version, spoken) in [
        ("auto", http::Version::HTTP_2),
        ("1.1", http::Version::HTTP_11),
        ("2", http::Version::HTTP_2),
    ] {
        let tls = Simulator::builder().tls().start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, tls.ca_pem().unwrap()).unwrap();
        let settings = [
            "--plan-ca-bundle",
            ca.to_str().unwrap(),
            "--plan-http-version",
            version,
        ];
        every_client(Rig::with(tls, &settings).await, spoken).await;
    }
}

async fn every_client(rig: Rig, spoken: http::Version) {
    let addr = rig.app.listen_addr;
    for mut client in [
        Client::connect(addr).await,
        Client::connect_http2(addr).await,
    ] {
        for is_streaming in [true, false] {
            let answer = client.post(&messages(), &question(is_streaming)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    assert_eq!(rig.simulator.received()[0].version, spoken);
    assert_eq!(rig.simulator.counts().connections_opened, 1);
    assert_eq!(rig.control.events(4).await.len(), 4);
}

#[tokio::test]
async fn a_large_answer_passes_a_slow_client_whole() {
    let rig = Rig::start().await;
    let text = "0123456789abcdef".repeat(256 << 10);
    rig.simulator.script().then(Reply::text(&text));
    let mut client = rig.client().await;
    let mut body = question(false);
    body["max_tokens"] = 10_000_000.into();
    let answer = client.post(&messages(), &body).await;
    assert!(answer.json()["content"][0]["text"] == text.as_str());
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_the_answer_for_ever() {
    let settings = ["--idle-timeout=1", "--disconnect-drain=0"];
    let rig = Rig::with(Simulator::start().await.unwrap(), &settings).await;
    let mut body = question(false);
    body["max_tokens"] = 10_000_000.into();
    let text = "0123456789abcdef".repeat(1 << 20);
    rig.simulator.script().then(Reply::text(text));
    let mut client = rig.client().await;
    let response = client.open(post(&messages(), &body)).await;
    let event = rig.control.event().await;
    assert_eq!(event.outcome(), proto::sync::Outcome::ClientCancelled);
    rig.simulator.until(|it| it.connections_open == 0).await;
    drop(response);
}

#[tokio::test]
async fn connections_to_the_upstream_are_kept_until_it_closes_them() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    for _ in 0..5 {
        client.post(&messages(), &question(true)).await;
        client.post(&messages(), &question(false)).await;
    }
    assert_eq!(rig.simulator.counts().connections_opened, 1);
    rig.simulator
        .script()
        .then(Reply::answer().close_connection());
    client.post(&messages(), &question(false)).await;
    rig.simulator.until(|it| it.connections_open == 0).await;
    let answer = client.post(&messages(), &question(false)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(rig.simulator.counts().connections_opened, 2);
}

#[tokio::test]
async fn a_connection_that_dies_unanswered_is_replaced_once() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    for how in [How::Reset, How::Close] {
        let dies = Reply::answer().ending(At::Start, how.clone());
        rig.simulator.script().then(dies.clone());
        let answer = client.post(&messages(), &question(true)).await;
        assert_eq!(answer.status, 200);

        rig.simulator.script().then(dies.clone()).then(dies);
        let answer = client.post(&messages(), &question(true)).await;
        assert_eq!(answer.status, 502);
        assert_eq!(answer.error_type(), "api_error");
    }
    assert_eq!(rig.simulator.counts().requests, 8);
}

#[tokio::test]
async fn a_broken_answer_never_ends_cleanly() {
    let rig = Rig::start().await;
    for is_streaming in [true, false] {
        for how in [How::Reset, How::Close] {
            let reply = Reply::text("one two three four").ending(At::Bytes(100), how);
            rig.simulator.script().then(reply);
            let mut client = rig.client().await;
            let request = post(&messages(), &question(is_streaming));
            // A reset may overtake the head.
            if let Ok(response) = client.try_open(request).await {
                assert_eq!(response.status(), 200);
                match response.into_body().collect().await {
                    Ok(body) => assert_eq!(last_error(&body.to_bytes()), "api_error"),
                    Err(_broken) => assert!(!is_streaming),
                }
            }
        }
    }
    for event in rig.control.events(4).await {
        assert_eq!(event.outcome(), proto::sync::Outcome::UpstreamFailed);
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_before_its_trailers_does_not_end_cleanly() {
    let rig = Rig::start().await;
    let event = "event: ping\ndata: {}\n\n";
    rig.simulator.script().then(Reply::raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntrailer: x-t\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{event}\r\n0\r\nx-t: 1\r\n\r\n",
        event.len()
    )));
    let answer = rig.client().await.post(&messages(), &question(true)).await;
    assert_eq!(last_error(&answer.body), "api_error");
}

/// Whatever happens behind the last event, or behind an error, adds nothing.
#[tokio::test]
async fn nothing_is_added_to_what_has_had_its_say() {
    let rig = Rig::with(Simulator::start().await.unwrap(), &["--idle-timeout=1"]).await;
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "m"}});
    let failed = Reply::events([("error", error)]);
    for (reply, last) in [(Reply::text("one"), "message_stop"), (failed, "error")] {
        for how in [How::Silence, How::Close] {
            rig.simulator
                .script()
                .then(reply.clone().ending(At::End, how));
            let answer = rig.client().await.post(&messages(), &question(true)).await;
            let names = answer.names();
            assert_eq!(
                names.iter().filter(|it| *it == last).count(),
                1,
                "{names:?}"
            );
            assert_eq!(names.last().unwrap(), last);
        }
    }
    let outcomes: Vec<_> = rig
        .control
        .events(4)
        .await
        .iter()
        .map(|it| it.outcome())
        .collect();
    use proto::sync::Outcome::{Complete, UpstreamFailed};
    assert_eq!(
        outcomes,
        [Complete, Complete, UpstreamFailed, UpstreamFailed]
    );
}

#[tokio::test]
async fn a_stream_without_its_end_does_not_end_cleanly() {
    let rig = Rig::start().await;
    for encoding in [Encoding::Identity, Encoding::Gzip] {
        let reply = Reply::text("one two three").encoding(encoding);
        let reply = reply.ending(At::Events(4), How::Clean);
        rig.simulator.script().then(reply);
        let mut client = rig.client().await;
        if let Ok(response) = client.try_open(post(&messages(), &question(true))).await {
            match response.into_body().collect().await {
                Ok(body) => assert_eq!(last_error(&body.to_bytes()), "api_error"),
                Err(_broken) => assert_eq!(encoding, Encoding::Gzip),
            }
        }
    }
    for event in rig.control.events(2).await {
        assert_eq!(event.outcome(), proto::sync::Outcome::UpstreamFailed);
    }
}

/// Its length is the upstream's; what the client gets is longer.
#[tokio::test]
async fn a_stream_with_a_length_is_told_how_it_ends_too() {
    let rig = Rig::start().await;
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":3}}}"#;
    let body = format!("event: message_start\ndata: {start}\n\n");
    let whole = Reply::body(200, "text/event-stream", body.clone());
    let cut = whole.clone().ending(At::Bytes(body.len() - 1), How::Close);
    for (reply, events) in [(whole, 2), (cut, 1)] {
        rig.simulator.script().then(reply);
        let mut client = rig.client().await;
        let answer = client.post(&messages(), &question(true)).await;
        assert_eq!(answer.events().len(), events);
        assert_eq!(last_error(&answer.body), "api_error");
    }
}

#[tokio::test]
async fn strange_framing_of_the_upstream_is_made_straight() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let body = r#"{"model":"m","usage":{}}"#;
    // The encoding overrides the length.
    rig.simulator.script().then(Reply::raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    )));
    let answer = client.post(&messages(), &question(false)).await;
    assert_eq!(answer.body, body);

    // Many and long headers are an answer like any other.
    let headers = format!("x-long: {}\r\n", "y".repeat(20_000)) + &"x-many: z\r\n".repeat(90);
    rig.simulator.script().then(Reply::raw(format!(
        "HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )));
    let answer = client.post(&messages(), &question(false)).await;
    assert_eq!(answer.body, body);
    assert_eq!(answer.headers.get_all("x-many").iter().count(), 90);

    let switching = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n";
    rig.simulator.script().then(Reply::raw(switching));
    let answer = client.post(&messages(), &question(false)).await;
    assert_eq!(answer.status, 502);
}

#[tokio::test]
async fn silence_within_an_answer_ends_it() {
    let rig = Rig::with(Simulator::start().await.unwrap(), &["--idle-timeout=1"]).await;
    let reply = Reply::text("one two three").ending(At::Events(3), How::Silence);
    rig.simulator.script().then(reply);
    let mut client = rig.client().await;
    let response = client.open(post(&messages(), &question(true))).await;
    let answer = Answer::of(response).await;
    assert_eq!(last_error(&answer.body), "timeout_error");
    let event = rig.control.event().await;
    assert_eq!(event.outcome(), proto::sync::Outcome::UpstreamFailed);
    rig.simulator.until(|it| it.connections_open == 0).await;
}

#[tokio::test]
async fn pings_fill_silence_between_events_only() {
    let rig = Rig::with(Simulator::start().await.unwrap(), &["--ping-interval=1"]).await;
    // In the midst of the second event.
    let reply = Reply::text("one two three").ending(At::Bytes(500), How::Silence);
    rig.simulator.script().then(reply.writes(Writes::Bytes(1)));
    let mut client = rig.client().await;
    let mut response = client.open(post(&messages(), &question(true))).await;
    let mut seen = String::new();
    while !seen.contains("event: ping") {
        let frame = response.frame().await.unwrap().unwrap();
        seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        assert!(seen.ends_with("\n\n"), "{seen}");
    }
    let events: Vec<&str> = seen
        .lines()
        .filter(|it| it.starts_with("event: "))
        .collect();
    assert_eq!(events, ["event: message_start", "event: ping"]);
}

#[tokio::test]
async fn an_upstream_that_is_away_or_silent_is_said_in_the_envelope() {
    let settings = ["--first-byte-timeout=1", "--connect-timeout=1"];
    let rig = Rig::with(Simulator::start().await.unwrap(), &settings).await;
    let mut client = rig.client().await;
    let silent = Reply::answer().ending(At::Start, How::Silence);
    rig.simulator.script().then(silent);
    let answer = client.post(&messages(), &question(true)).await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.error_type(), "timeout_error");

    rig.simulator
        .script()
        .then(Reply::raw("SSH-2.0-garbage\r\n"));
    let answer = client.post(&messages(), &question(true)).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.error_type(), "api_error");

    rig.simulator.stop().await;
    let answer = client.post(&messages(), &question(true)).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.error_type(), "api_error");
    let events = rig.control.events(3).await;
    assert!(
        events
            .iter()
            .all(|it| it.outcome() == proto::sync::Outcome::UpstreamFailed)
    );
}

#[tokio::test]
async fn models_and_count_tokens_pass_and_cost_nothing() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let prefix = format!("/ak/{}", key());
    let get = |path: &str| {
        Request::get(format!("{prefix}{path}"))
            .header("anthropic-version", "2023-06-01")
            .header("x-api-key", "sk-ant-api03-own")
            .body(Full::default())
            .unwrap()
    };
    let models = client.send(get("/v1/models?limit=1000")).await;
    let id = models.json()["data"][0]["id"].as_str().unwrap().to_owned();
    let model = client.send(get(&format!("/v1/models/{id}"))).await;
    assert_eq!(model.json()["id"], id.as_str());
    let mut body = question(false);
    body.as_object_mut().unwrap().remove("max_tokens");
    body.as_object_mut().unwrap().remove("stream");
    let path = format!("{prefix}/v1/messages/count_tokens?beta=true");
    let tokens = client.post(&path, &body).await;
    assert!(tokens.json()["input_tokens"].as_u64().unwrap() > 0);

    client.post(&messages(), &question(false)).await;
    let event = rig.control.event().await;
    assert_eq!(event.model, "claude-opus-5-5");
    let lines = rig.stop().await;
    let endpoints: Vec<_> = lines.iter().map(|line| line["endpoint"].clone()).collect();
    assert_eq!(endpoints, ["models", "models", "count_tokens", "messages"]);
    assert!(lines[..3].iter().all(|line| line.get("event_id").is_none()));
}
