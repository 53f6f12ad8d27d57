//! The simulator as a client sees it on the wire.

#![cfg(test)]

use std::{
    io::{self, Read},
    sync::Arc,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use testkit::anthropic::{
    At, Encoding, Framing, Gate, How, Reply, Rule, Simulator, Usage, UsageIn, Writes,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// Bytes in, bytes out.
struct Connection(TcpStream);

/// An answer up to where it ended.
struct Answer {
    head: String,
    /// The chunks of a chunked body, or the whole body.
    chunks: Vec<Bytes>,
}

impl Connection {
    async fn open(simulator: &Simulator) -> Self {
        Self(TcpStream::connect(simulator.addr()).await.unwrap())
    }

    async fn send(&mut self, body: &Value) {
        self.send_with("", body).await;
    }

    async fn send_with(&mut self, headers: &str, body: &Value) {
        let body = body.to_string();
        let request = format!(
            "POST /v1/messages?beta=true HTTP/1.1\r\nHost: x\r\nX-Api-Key: k\r\n\
             anthropic-version: 2023-06-01\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.0.read_u8().await?);
        }
        line.truncate(line.len() - 2);
        Ok(String::from_utf8(line).unwrap())
    }

    async fn head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        loop {
            match self.line().await?.as_str() {
                "" => return Ok(head),
                line => head += &format!("{line}\n"),
            }
        }
    }

    async fn bytes(&mut self, count: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).await?;
        Ok(bytes.into())
    }

    /// None after the last one.
    async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        let length = usize::from_str_radix(&self.line().await?, 16).unwrap();
        let chunk = self.bytes(length).await?;
        assert_eq!(self.line().await?, "");
        Ok((length > 0).then_some(chunk))
    }

    async fn answer(&mut self) -> Answer {
        let head = self.head().await.unwrap();
        let mut chunks = Vec::new();
        if let Some(length) = header(&head, "content-length") {
            chunks.push(self.bytes(length.parse().unwrap()).await.unwrap());
        } else {
            while let Some(chunk) = self.chunk().await.unwrap() {
                chunks.push(chunk);
            }
        }
        Answer { head, chunks }
    }

    /// Everything until the connection ends, and how it ended.
    async fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        loop {
            match self.0.read_buf(&mut bytes).await {
                Ok(0) => return (bytes, Ok(())),
                Ok(_) => {}
                Err(error) => return (bytes, Err(error)),
            }
        }
    }
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap()
    }

    fn events(&self) -> Vec<(String, Value)> {
        events(&self.body())
    }

    fn event_names(&self) -> Vec<String> {
        self.events().into_iter().map(|(name, _)| name).collect()
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn events(body: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(body).unwrap();
    text.split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let name = name.strip_prefix("event: ").unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(data["type"], name);
            assert!(event.contains(&format!("data: {{\"type\":\"{name}\"")));
            (name.to_owned(), data)
        })
        .collect()
}

fn question(text: &str) -> Value {
    json!({
        "model": "claude-x",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": text}],
    })
}

fn streamed(text: &str) -> Value {
    let mut request = question(text);
    request["stream"] = json!(true);
    request
}

async fn ask(simulator: &Simulator, request: &Value) -> Answer {
    let mut connection = Connection::open(simulator).await;
    connection.send(request).await;
    connection.answer().await
}

#[tokio::test]
async fn a_stream_has_the_events_of_the_api_in_order() {
    let simulator = Simulator::start().await.unwrap();
    let answer = ask(&simulator, &streamed("say: one two")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        header(&answer.head, "content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert!(header(&answer.head, "request-id").is_some());
    assert!(header(&answer.head, "anthropic-ratelimit-requests-limit").is_some());
    assert_eq!(
        answer.event_names(),
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    let events = answer.events();
    assert_eq!(events[0].1["message"]["usage"]["input_tokens"], 7);
    assert_eq!(events[6].1["usage"]["output_tokens"], 2);
    assert_eq!(events[6].1["delta"]["stop_reason"], "end_turn");
}

#[tokio::test]
async fn a_message_can_be_had_whole() {
    let simulator = Simulator::start().await.unwrap();
    let answer = ask(&simulator, &question("say: hello")).await;
    let message = answer.json();
    assert_eq!(message["content"][0]["text"], "hello");
    assert_eq!(message["usage"]["output_tokens"], 2);
    assert!(message["id"].as_str().unwrap().starts_with("msg_"));
    assert!(header(&answer.head, "content-length").is_some());

    let chunked = Reply::text("hello").framing(Framing::Chunked);
    simulator.script().then(chunked);
    let answer = ask(&simulator, &question("hi")).await;
    assert_eq!(header(&answer.head, "transfer-encoding"), Some("chunked"));
    assert_eq!(answer.json()["content"][0]["text"], "hello");
}

#[tokio::test]
async fn a_gate_lets_events_through_one_by_one() {
    let simulator = Simulator::start().await.unwrap();
    let gate = Gate::closed();
    simulator.script().then(Reply::answer().gate(&gate));
    let mut connection = Connection::open(&simulator).await;
    connection.send(&streamed("say: a b")).await;
    connection.head().await.unwrap();
    for name in ["message_start", "content_block_start", "ping"] {
        gate.release(1);
        let chunk = connection.chunk().await.unwrap().unwrap();
        assert_eq!(events(&chunk)[0].0, name);
    }
    assert_eq!(simulator.ledger().tokens.output_tokens, 1);
    gate.open();
    while connection.chunk().await.unwrap().is_some() {}
    assert_eq!(simulator.ledger().tokens.output_tokens, 1);
    simulator.until(|counts| counts.answers_finished == 1).await;
}

#[tokio::test]
async fn a_gate_holds_the_head_too() {
    let simulator = Simulator::start().await.unwrap();
    let gate = Gate::closed();
    simulator.script().then(Reply::answer().head_gate(&gate));
    let mut held = Connection::open(&simulator).await;
    held.send(&streamed("hi")).await;
    simulator.until(|counts| counts.requests == 1).await;
    // A later request is answered, the earlier one is not.
    ask(&simulator, &question("hi")).await;
    let error = held.0.try_read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    gate.release(1);
    assert_eq!(held.answer().await.status(), 200);
}

#[tokio::test]
async fn events_can_share_writes_and_be_split_anywhere() {
    let simulator = Simulator::start().await.unwrap();
    let reply = || Reply::text("one two three four five");
    simulator
        .script()
        .then(reply())
        .then(reply().writes(Writes::Events(4)))
        .then(reply().writes(Writes::AtOnce))
        .then(reply().writes(Writes::Bytes(1)));
    let mut bodies = Vec::new();
    for chunks in [Some(11), Some(3), Some(1), None] {
        let answer = ask(&simulator, &streamed("hi")).await;
        let body = answer.body();
        assert_eq!(answer.chunks.len(), chunks.unwrap_or(body.len()));
        bodies.push(answer.event_names());
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(simulator.ledger().answers, 4);
    assert_eq!(simulator.ledger().tokens.output_tokens, 4 * 6);
}

#[tokio::test]
async fn a_connection_is_cut_at_the_chosen_byte() {
    let simulator = Simulator::start().await.unwrap();
    let long = "word ".repeat(5_000);
    for limit in [0, 1, 10_000, 500_000] {
        for how in [How::Reset, How::Close] {
            simulator
                .script()
                .then(Reply::text(&long).ending(At::Bytes(limit), how.clone()));
            let mut connection = Connection::open(&simulator).await;
            connection.send(&streamed("hi")).await;
            connection.head().await.unwrap();
            let mut received = 0;
            let end = loop {
                match connection.chunk().await {
                    Ok(chunk) => received += chunk.expect("the body must not end").len(),
                    Err(error) => break error.kind(),
                }
            };
            assert_eq!(received, limit);
            let expected = match how {
                How::Reset => io::ErrorKind::ConnectionReset,
                _ => io::ErrorKind::UnexpectedEof,
            };
            assert_eq!(end, expected, "{how:?} at {limit}");
        }
    }
}

#[tokio::test]
async fn usage_counts_only_as_far_as_it_was_sent() {
    let simulator = Simulator::start().await.unwrap();
    let tokens = Usage {
        input_tokens: 7,
        output_tokens: 50,
        ..Usage::default()
    };
    let reply = Reply::text("a b c").tokens(tokens);
    simulator
        .script()
        .then(reply.clone().ending(At::Bytes(10), How::Reset))
        .then(reply.clone().ending(At::Events(3), How::Reset));
    for _ in 0..2 {
        let mut connection = Connection::open(&simulator).await;
        connection.send(&streamed("hi")).await;
        connection.rest().await.1.unwrap_err();
    }
    let started = Usage {
        output_tokens: 1,
        ..tokens
    };
    let ledger = simulator.ledger();
    assert_eq!((ledger.answers, ledger.tokens), (1, started));

    simulator.script().then(reply);
    ask(&simulator, &streamed("hi")).await;
    let ledger = simulator.ledger();
    assert_eq!(ledger.tokens, started + tokens);
    assert_eq!(ledger.entries[1].tokens, tokens);
    assert_eq!(ledger.entries[1].model, "claude-x");
}

#[tokio::test]
async fn a_connection_can_end_before_any_byte() {
    let simulator = Simulator::start().await.unwrap();
    simulator
        .script()
        .then(Reply::answer().ending(At::Start, How::Reset))
        .then(Reply::answer().ending(At::Start, How::Close));
    let mut connection = Connection::open(&simulator).await;
    connection.send(&question("hi")).await;
    let (bytes, end) = connection.rest().await;
    assert!(bytes.is_empty());
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);

    let mut connection = Connection::open(&simulator).await;
    connection.send(&question("hi")).await;
    let (bytes, end) = connection.rest().await;
    assert!(bytes.is_empty());
    end.unwrap();
}

#[tokio::test]
async fn garbage_is_sent_as_it_is() {
    let simulator = Simulator::start().await.unwrap();
    let garbage: &[u8] = b"\x00\xffHTTP/9.9 banana\r\n\r\n";
    simulator.script().then(Reply::raw(garbage));
    let mut connection = Connection::open(&simulator).await;
    connection.send(&question("hi")).await;
    assert_eq!(connection.rest().await.0, garbage);
}

#[tokio::test]
async fn silence_lasts_until_the_client_leaves() {
    let simulator = Simulator::start().await.unwrap();
    simulator
        .script()
        .then(Reply::answer().ending(At::Start, How::Silence))
        .then(Reply::answer().ending(At::Events(2), How::Silence))
        .then(Reply::raw("x").ending(At::End, How::Silence));
    let mut silent = Connection::open(&simulator).await;
    silent.send(&streamed("hi")).await;
    simulator.until(|counts| counts.requests == 1).await;

    let mut started = Connection::open(&simulator).await;
    started.send(&streamed("hi")).await;
    started.head().await.unwrap();
    started.chunk().await.unwrap().unwrap();
    started.chunk().await.unwrap().unwrap();

    let mut confused = Connection::open(&simulator).await;
    confused.send(&streamed("hi")).await;
    assert_eq!(confused.bytes(1).await.unwrap(), "x");

    assert_eq!(simulator.counts().connections_open, 3);
    drop((silent, started, confused));
    let counts = simulator.until(|counts| counts.connections_open == 0).await;
    assert_eq!(counts.answers_abandoned, 2);
}

#[tokio::test]
async fn an_error_event_comes_where_it_is_wanted() {
    let simulator = Simulator::start().await.unwrap();
    let overloaded = || How::Error(testkit::anthropic::ApiError::overloaded());
    simulator
        .script()
        .then(Reply::answer().ending(At::Start, overloaded()))
        .then(Reply::answer().ending(At::Events(4), overloaded()))
        .then(Reply::answer().ending(At::Events(4), How::Clean));
    let first = ask(&simulator, &streamed("say: a b c")).await;
    assert_eq!(first.status(), 200);
    assert_eq!(first.event_names(), ["error"]);
    assert_eq!(first.events()[0].1["error"]["type"], "overloaded_error");
    let later = ask(&simulator, &streamed("say: a b c")).await;
    assert_eq!(later.event_names()[3..], ["content_block_delta", "error"]);
    let clean = ask(&simulator, &streamed("say: a b c")).await;
    assert_eq!(clean.event_names()[3..], ["content_block_delta"]);
}

#[tokio::test]
async fn usage_can_be_where_a_reader_may_miss_it() {
    let simulator = Simulator::start().await.unwrap();
    let tokens = Usage {
        input_tokens: 1,
        output_tokens: 20,
        cache_read_tokens: 300,
        cache_write_5m_tokens: 4_000,
        cache_write_1h_tokens: 50_000,
    };
    let unsplit = Usage {
        cache_write_5m_tokens: 54_000,
        cache_write_1h_tokens: 0,
        ..tokens
    };
    let cases = [
        (UsageIn::Both, tokens, true, true),
        (UsageIn::OutputInDelta, tokens, true, true),
        (UsageIn::StartOnly, tokens, true, false),
        (UsageIn::DeltaOnly, tokens, true, true),
        (UsageIn::WithoutSplit, unsplit, true, true),
        (UsageIn::Nowhere, Usage::default(), false, false),
    ];
    for (usage_in, reported, in_start, in_delta) in cases {
        let before = simulator.ledger().tokens;
        let reply = Reply::text("x").tokens(tokens).usage_in(usage_in);
        simulator.script().then(reply);
        let events = ask(&simulator, &streamed("hi")).await.events();
        let after = simulator.ledger().tokens;
        assert_eq!(after - before, reported, "{usage_in:?}");
        let start = &events[0].1["message"]["usage"];
        let delta = &events[events.len() - 2].1["usage"];
        assert_eq!(start.is_object(), in_start, "{usage_in:?}");
        assert_eq!(delta.is_object(), in_delta, "{usage_in:?}");
        match usage_in {
            UsageIn::OutputInDelta => assert_eq!(*delta, json!({"output_tokens": 20})),
            UsageIn::DeltaOnly => {
                assert_eq!(start["input_tokens"], 0);
                let split = &delta["cache_creation"];
                assert_eq!(split["ephemeral_1h_input_tokens"], 50_000);
            }
            UsageIn::WithoutSplit => {
                assert!(start["cache_creation"].is_null());
                assert_eq!(start["cache_creation_input_tokens"], 54_000);
            }
            _ => {}
        }
    }
}

fn decode(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut decoder: Box<dyn Read> = match encoding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        other => panic!("unknown encoding {other}"),
    };
    let mut decoded = Vec::new();
    // Bytes that are cut off in the middle decode as far as they go.
    let _ = decoder.read_to_end(&mut decoded);
    decoded
}

#[tokio::test]
async fn compressed_answers_can_be_read_event_by_event() {
    let simulator = Simulator::start().await.unwrap();
    for (encoding, name) in [
        (Encoding::Gzip, "gzip"),
        (Encoding::Deflate, "deflate"),
        (Encoding::Br, "br"),
        (Encoding::Zstd, "zstd"),
    ] {
        let reply = Reply::text("one two").encoding(encoding);
        simulator.script().then(reply.clone()).then(reply);
        let answer = ask(&simulator, &streamed("hi")).await;
        assert_eq!(header(&answer.head, "content-encoding"), Some(name));
        assert_eq!(answer.chunks.len(), 8);
        for count in 1..=8 {
            let decoded = decode(name, &answer.chunks[..count].concat());
            assert_eq!(events(&decoded).len(), count, "{name}");
        }
        let answer = ask(&simulator, &question("hi")).await;
        let message: Value = serde_json::from_slice(&decode(name, &answer.body())).unwrap();
        assert_eq!(message["content"][0]["text"], "one two");
    }
}

#[tokio::test]
async fn a_client_gets_the_encoding_that_it_accepts() {
    let simulator = Simulator::start().await.unwrap();
    simulator
        .script()
        .always(Reply::answer().encoding(Encoding::Accepted));
    for (accepted, encoding) in [
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip;q=1.0, deflate", Some("gzip")),
        ("identity", None),
        ("", None),
    ] {
        let mut connection = Connection::open(&simulator).await;
        let headers = format!("Accept-Encoding: {accepted}\r\n");
        connection.send_with(&headers, &question("hi")).await;
        let answer = connection.answer().await;
        assert_eq!(header(&answer.head, "content-encoding"), encoding);
    }
}

#[tokio::test]
async fn every_error_has_the_envelope_of_the_api() {
    let simulator = Simulator::start().await.unwrap();
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "timeout_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "api_error"),
        (529, "overloaded_error"),
    ] {
        simulator
            .script()
            .then(Reply::error(status).header("Retry-After", "7"));
        let answer = ask(&simulator, &streamed("hi")).await;
        assert_eq!(answer.status(), status);
        assert_eq!(header(&answer.head, "retry-after"), Some("7"));
        let error = answer.json();
        assert_eq!(error["type"], "error");
        assert_eq!(error["error"]["type"], kind);
        let request_id = header(&answer.head, "request-id");
        assert_eq!(error["request_id"].as_str(), request_id);
    }
}

#[tokio::test]
async fn a_plan_limit_says_when_it_ends() {
    let simulator = Simulator::start().await.unwrap();
    simulator.script().then(Reply::plan_limit(4_102_444_800));
    let answer = ask(&simulator, &streamed("hi")).await;
    assert_eq!(answer.status(), 429);
    for (name, value) in [
        ("status", "rejected"),
        ("reset", "4102444800"),
        ("representative-claim", "five_hour"),
    ] {
        let name = format!("anthropic-ratelimit-unified-{name}");
        assert_eq!(header(&answer.head, &name), Some(value));
    }
}

#[tokio::test]
async fn wrong_requests_are_refused_as_the_api_does() {
    let simulator = Simulator::start().await.unwrap();
    let key = "x-api-key: k\r\nanthropic-version: 2023-06-01\r\n";
    let messages = r#""messages":[{"role":"user","content":"hi"}]"#;
    let cases = [
        ("GET /", key, String::new(), 404, "Not Found"),
        (
            "GET /v1/messages",
            key,
            String::new(),
            405,
            "Method Not Allowed",
        ),
        (
            "POST /v1/models",
            key,
            String::new(),
            405,
            "Method Not Allowed",
        ),
        (
            "POST /v1/messages",
            "",
            "{}".into(),
            401,
            "x-api-key header is required",
        ),
        (
            "POST /v1/messages",
            "x-api-key: k\r\n",
            "{}".into(),
            400,
            "anthropic-version",
        ),
        ("POST /v1/messages", key, "{".into(), 400, "not valid JSON"),
        (
            "POST /v1/messages",
            key,
            "[]".into(),
            400,
            "valid dictionary",
        ),
        (
            "POST /v1/messages",
            key,
            "{}".into(),
            400,
            "model: Field required",
        ),
        (
            "POST /v1/messages",
            key,
            format!(r#"{{"model":"gpt",{messages}}}"#),
            404,
            "model: gpt",
        ),
        (
            "POST /v1/messages",
            key,
            r#"{"model":"claude"}"#.into(),
            400,
            "messages: Field required",
        ),
        (
            "POST /v1/messages",
            key,
            r#"{"model":"claude","messages":[]}"#.into(),
            400,
            "at least one",
        ),
        (
            "POST /v1/messages",
            key,
            r#"{"model":"claude","messages":[{"role":"robot","content":""}]}"#.into(),
            400,
            "messages.0.role",
        ),
        (
            "POST /v1/messages",
            key,
            format!(r#"{{"model":"claude",{messages}}}"#),
            400,
            "max_tokens: Field",
        ),
        (
            "POST /v1/messages",
            key,
            format!(
                r#"{{"model":"claude","max_tokens":9,"thinking":{{"type":"enabled","budget_tokens":2000}},{messages}}}"#
            ),
            400,
            "must be greater than",
        ),
        (
            "POST /v1/messages",
            "x-api-key: k\r\nanthropic-version: 2026-10-21\r\n",
            format!(r#"{{"model":"claude","max_tokens":9,"temperature":1,{messages}}}"#),
            400,
            "temperature: Extra inputs are not permitted",
        ),
        (
            "POST /v1/messages",
            "x-api-key: k\r\nanthropic-version: 1999-01-01\r\n",
            "{}".into(),
            400,
            "not a valid version",
        ),
        (
            "POST /v1/messages/count_tokens",
            key,
            "{}".into(),
            400,
            "model: Field required",
        ),
        ("GET /v1/models/gpt", key, String::new(), 404, "model: gpt"),
        ("GET /v1/models?limit=0", key, String::new(), 400, "limit"),
    ];
    for (line, headers, body, status, message) in cases {
        let mut connection = Connection::open(&simulator).await;
        let request = format!(
            "{line} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.0.write_all(request.as_bytes()).await.unwrap();
        let answer = connection.answer().await;
        assert_eq!(answer.status(), status, "{line} {body}");
        let said = answer.json()["error"]["message"].to_string();
        assert!(said.contains(message), "{said}");
    }
}

#[tokio::test]
async fn a_body_over_32_mb_is_too_large() {
    let simulator = Simulator::start().await.unwrap();
    let mut connection = Connection::open(&simulator).await;
    let head = "POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 33554433\r\n\r\n";
    connection.0.write_all(head.as_bytes()).await.unwrap();
    let mut body = vec![b' '; 33_554_433];
    body[0] = b'{';
    connection.0.write_all(&body).await.unwrap();
    assert_eq!(connection.answer().await.status(), 413);
}

#[tokio::test]
async fn requests_are_recorded_as_they_arrived() {
    let simulator = Simulator::start().await.unwrap();
    let mut connection = Connection::open(&simulator).await;
    let body =
        r#"{ "model":"claude-x",  "max_tokens":1,"messages":[{"role":"user","content":"\u00e9"}]}"#;
    let request = format!(
        "POST /v1/messages?beta=true HTTP/1.1\r\nHost: h\r\nX-B: 2\r\nx-a: 1\r\nX-Api-Key: k\r\n\
         anthropic-beta: one\r\nanthropic-version: 2023-06-01\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.0.write_all(request.as_bytes()).await.unwrap();
    let answer = connection.answer().await;
    let received = &simulator.received()[0];
    assert_eq!(received.method, "POST");
    assert_eq!(received.path, "/v1/messages?beta=true");
    let names: Vec<_> = received
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "host",
            "x-b",
            "x-a",
            "x-api-key",
            "anthropic-beta",
            "anthropic-version",
            "content-length"
        ]
    );
    assert_eq!(received.body, body);
    assert_eq!(
        header(&answer.head, "request-id"),
        Some(received.request_id.as_str())
    );
}

#[tokio::test]
async fn a_request_that_is_broken_off_is_none() {
    let simulator = Simulator::start().await.unwrap();
    let mut connection = Connection::open(&simulator).await;
    let head = "POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf";
    connection.0.write_all(head.as_bytes()).await.unwrap();
    drop(connection);
    simulator
        .until(|counts| counts.connections_opened == 1)
        .await;
    simulator.until(|counts| counts.connections_open == 0).await;
    assert_eq!(simulator.counts().requests, 0);
    assert!(simulator.received().is_empty());
}

#[tokio::test]
async fn headers_can_be_replaced_and_repeated() {
    let simulator = Simulator::start().await.unwrap();
    let reply = Reply::answer()
        .header("Server", "mine")
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2");
    simulator.script().then(reply);
    let head = ask(&simulator, &question("hi")).await.head;
    let values = |name: &str| -> Vec<&str> {
        head.lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .collect()
    };
    assert_eq!(values("server"), ["mine"]);
    assert_eq!(values("set-cookie"), ["a=1", "b=2"]);
}

#[tokio::test]
async fn connections_are_kept_and_counted() {
    let simulator = Simulator::start().await.unwrap();
    let mut connection = Connection::open(&simulator).await;
    for _ in 0..2 {
        connection.send(&question("hi")).await;
        connection.answer().await;
    }
    // Pipelined: both arrive before either is answered.
    connection.send(&question("say: first")).await;
    connection.send(&question("say: second")).await;
    for text in ["first", "second"] {
        assert_eq!(connection.answer().await.json()["content"][0]["text"], text);
    }
    assert_eq!(simulator.counts().connections_opened, 1);
    assert_eq!(simulator.counts().requests, 4);

    connection.send(&streamed("hi")).await;
    connection.answer().await;
    let counts = simulator.until(|counts| counts.requests == 5).await;
    assert_eq!((counts.answers_finished, counts.answers_abandoned), (5, 0));

    simulator.script().then(Reply::answer().close_connection());
    connection.send(&question("hi")).await;
    connection.answer().await;
    connection.rest().await.1.unwrap();
    simulator.until(|counts| counts.connections_open == 0).await;
}

#[tokio::test]
async fn rules_choose_by_path_body_and_number() {
    let simulator = Simulator::start().await.unwrap();
    simulator
        .script()
        .rule(Rule::always(Reply::error(429)).body_contains("greedy"))
        .rule(Rule::once(Reply::error(404)).path("/v1/messages/count_tokens"))
        .rule(Rule::once(Reply::error(529)).times(2));
    let mut statuses = Vec::new();
    for text in ["greedy", "a", "greedy", "b", "c"] {
        statuses.push(ask(&simulator, &question(text)).await.status());
    }
    assert_eq!(statuses, [429, 529, 429, 529, 200]);
}

#[tokio::test]
async fn it_can_be_scripted_and_read_over_http() {
    let simulator = Simulator::start().await.unwrap();
    let client = reqwest_client();
    let url = simulator.url();
    let rules = json!([
        {"times": 2, "reply": {"content": {"error": {"status": 529}}, "headers": [["retry-after", "0"]]}},
        {"reply": {"content": {"text": "hello"}, "encoding": "gzip", "writes": {"events": 2}}},
        {"times": null, "reply": {"ending": {"at": {"events": 1}, "how": {"error": {"status": 500}}}}},
    ]);
    let scripted = client
        .post(format!("{url}/_script"))
        .json(&rules)
        .send()
        .await
        .unwrap();
    assert_eq!(scripted.status(), 200);
    assert_eq!(ask(&simulator, &question("hi")).await.status(), 529);
    assert_eq!(ask(&simulator, &question("hi")).await.status(), 529);
    let hello = ask(&simulator, &streamed("hi")).await;
    assert!(
        String::from_utf8(decode("gzip", &hello.body()))
            .unwrap()
            .contains("hello")
    );
    let broken = ask(&simulator, &streamed("hi")).await;
    assert_eq!(broken.event_names(), ["message_start", "error"]);

    let get = async |path: &str| -> Value {
        let answer = client.get(format!("{url}{path}")).send().await.unwrap();
        answer.json().await.unwrap()
    };
    let received = get("/_received").await;
    assert_eq!(received.as_array().unwrap().len(), 4);
    assert_eq!(received[0]["path"], "/v1/messages?beta=true");
    assert!(received[0]["body"].as_str().unwrap().contains("claude-x"));
    let ledger = get("/_ledger").await;
    assert_eq!(ledger["answers"], 2);
    assert_eq!(ledger, json!(simulator.ledger()));
    assert_eq!(get("/_counts").await["requests"], 4);

    let wrong = client
        .post(format!("{url}/_script"))
        .json(&json!([{"replay": {}}]))
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), 400);
    assert!(wrong.text().await.unwrap().contains("replay"));
}

fn reqwest_client() -> reqwest::Client {
    // The client wants a provider even for plain HTTP; a second install fails.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

#[tokio::test]
async fn http2_is_spoken_on_the_same_port() {
    let simulator = Simulator::start().await.unwrap();
    let tcp = TcpStream::connect(simulator.addr()).await.unwrap();
    let (status, body) = over_http2(tcp, "http").await;
    assert_eq!(status, 200);
    assert_eq!(events(&body).last().unwrap().0, "message_stop");
    assert_eq!(simulator.received()[0].version, http::Version::HTTP_2);
}

async fn over_http2<S>(stream: S, scheme: &str) -> (u16, Bytes)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request = http::Request::post(format!("{scheme}://localhost/v1/messages"))
        .header("x-api-key", "k")
        .header("anthropic-version", "2023-06-01")
        .body(Full::new(Bytes::from(streamed("hi").to_string())))
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, body)
}

#[tokio::test]
async fn a_cut_ends_an_http2_connection_too() {
    let simulator = Simulator::start().await.unwrap();
    simulator
        .script()
        .then(Reply::answer().ending(At::Start, How::Reset));
    let tcp = TcpStream::connect(simulator.addr()).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp))
            .await
            .unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request = http::Request::post("http://localhost/v1/messages")
        .body(Full::new(Bytes::new()))
        .unwrap();
    client.send_request(request).await.unwrap_err();
    simulator.until(|counts| counts.connections_open == 0).await;
}

#[tokio::test]
async fn tls_negotiates_either_version_of_http() {
    let simulator = Simulator::builder().tls().start().await.unwrap();
    assert!(simulator.url().starts_with("https://127.0.0.1:"));
    for version in ["h2", "http/1.1"] {
        let tls = tls_connection(&simulator, version).await;
        if version == "h2" {
            assert_eq!(over_http2(tls, "https").await.0, 200);
            continue;
        }
        let (mut read, mut write) = tokio::io::split(tls);
        write
            .write_all(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        read.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
}

#[tokio::test]
async fn tls_connections_can_be_cut_too() {
    let simulator = Simulator::builder().tls().start().await.unwrap();
    simulator
        .script()
        .then(Reply::answer().ending(At::Start, How::Reset));
    let mut tls = tls_connection(&simulator, "http/1.1").await;
    tls.write_all(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let error = tls.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

async fn tls_connection(
    simulator: &Simulator,
    version: &str,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
    let authority = CertificateDer::from_pem_slice(simulator.ca_pem().unwrap().as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![version.as_bytes().to_vec()];
    let tcp = TcpStream::connect(simulator.addr()).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let tls = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(version.as_bytes()));
    tls
}

#[tokio::test]
async fn nothing_is_left_when_it_stops() {
    let simulator = Simulator::start().await.unwrap();
    let addr = simulator.addr();
    simulator
        .script()
        .then(Reply::answer().ending(At::Events(1), How::Silence));
    let mut connection = Connection::open(&simulator).await;
    connection.send(&streamed("hi")).await;
    connection.head().await.unwrap();
    simulator.stop().await;
    let (_, end) = connection.rest().await;
    end.unwrap();
    TcpStream::connect(addr).await.unwrap_err();
}
