//! Bad input: a clear answer in the envelope, or a closed connection.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use testkit::anthropic::Simulator;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    Rig,
    client::{post, raw},
    key, question,
};

fn body(bytes: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(format!("/ak/{}/v1/messages", key()))
        .header("x-api-key", "sk-ant-api03-own")
        .body(Full::new(bytes.into()))
        .unwrap()
}

#[tokio::test]
async fn what_is_not_json_is_refused_in_the_envelope() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    for bytes in [
        &b""[..],
        b"{",
        b"{\"model\":\"claude-x\",\"messages\":[",
        b"\xff\xfe",
        b"{\"model\":\"\xff\"}",
        b"--boundary\r\n",
    ] {
        let answer = client.send(body(bytes)).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.error_type(), "invalid_request_error");
    }
    assert_eq!(rig.simulator.counts().requests, 0);
    for event in rig.control.events(6).await {
        assert_eq!(event.outcome(), proto::sync::Outcome::Refused);
        assert_eq!(event.status, 400);
    }
}

#[tokio::test]
async fn nesting_without_end_is_no_harm() {
    let rig = Rig::start().await;
    let nested = format!("{{\"messages\":{}", "[".repeat(1 << 20));
    let answer = rig.client().await.send(body(nested)).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_answered_413() {
    let rig = Rig::with(
        Simulator::start().await.unwrap(),
        &["--max-body-bytes=100000"],
    )
    .await;
    let mut client = rig.client().await;
    let answer = client.send(body(vec![b' '; 100_001])).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.error_type(), "request_too_large");

    // Without a length it is noticed on the way.
    let head = format!(
        "POST /ak/{}/v1/messages HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
        key()
    );
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, " ".repeat(60_000));
    let request = format!("{head}{chunk}{chunk}0\r\n\r\n");
    let answer = raw(rig.app.listen_addr, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("request_too_large"));

    let fits = serde_json::json!({
        "model": "claude-x", "max_tokens": 1,
        "messages": [{"role": "user", "content": "x".repeat(90_000)}],
    });
    let path = format!("/ak/{}/v1/messages", key());
    assert_eq!(client.post(&path, &fits).await.status, 200);
}

#[tokio::test]
async fn thirty_three_megabytes_are_answered_413_with_the_usual_limit() {
    let rig = Rig::start().await;
    let answer = rig.client().await.send(body(vec![b' '; 33 << 20])).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn bodies_of_all_requests_together_are_bounded() {
    let rig = Rig::with(
        Simulator::start().await.unwrap(),
        &["--max-buffered-bytes=65536"],
    )
    .await;
    let path = format!("/ak/{}/v1/messages", key());
    let large = || body(vec![b' '; 20_000]);
    let mut client = rig.client().await;
    assert_eq!(client.send(large()).await.status, 400);

    // What a body announces takes nothing, what has arrived of it does.
    let mut holder = TcpStream::connect(rig.app.listen_addr).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: 61440\r\n\r\n");
    holder.write_all(head.as_bytes()).await.unwrap();
    holder.write_all(&[b' '; 50_000]).await.unwrap();
    while rig.app.buffered_bytes() < 50_000 {
        tokio::task::yield_now().await;
    }
    let answer = client.send(large()).await;
    assert_eq!(answer.status, 529);
    assert_eq!(answer.error_type(), "overloaded_error");

    // The holder leaves; its share is free again.
    drop(holder);
    while rig.app.buffered_bytes() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.send(large()).await.status, 400);
}

#[tokio::test]
async fn a_chunked_body_arrives_whole() {
    let rig = Rig::start().await;
    let text = question(false).to_string();
    let (first, second) = text.split_at(10);
    let request = format!(
        "POST /ak/{}/v1/messages HTTP/1.1\r\nhost: h\r\nx-api-key: sk-ant-x\r\nanthropic-version: 2023-06-01\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x};ext=1\r\n{second}\r\n0\r\n\r\n",
        key(),
        first.len(),
        second.len()
    );
    let answer = raw(rig.app.listen_addr, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(rig.simulator.received()[0].body, text.as_bytes());
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let rig = Rig::start().await;
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n");
    let last = "GET /nowhere HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let requests = format!("{}{}{last}", one("/ak/x"), one("/health"));
    let answer = raw(rig.app.listen_addr, requests.as_bytes()).await;
    let statuses: Vec<&str> = answer
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| &answer[at + 9..at + 12])
        .collect();
    assert_eq!(statuses, ["200", "200", "404"], "{answer}");
}

#[tokio::test]
async fn what_is_not_http_is_answered_400_or_not_at_all() {
    let rig = Rig::start().await;
    let long_header = format!(
        "GET /health HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n",
        "y".repeat(200_000)
    );
    let many_headers = format!(
        "GET /health HTTP/1.1\r\nhost: h\r\n{}\r\n",
        "x: y\r\n".repeat(2000)
    );
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "a".repeat(100_000));
    let two_lengths =
        "POST /health HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab";
    let smuggled = "POST /health HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\
                    transfer-encoding: xchunked\r\n\r\nhello";
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame of any kind at all.....",
        long_header.as_bytes(),
        many_headers.as_bytes(),
        long_path.as_bytes(),
        two_lengths.as_bytes(),
        smuggled.as_bytes(),
    ] {
        let answer = raw(rig.app.listen_addr, bytes).await;
        let said: String = answer.chars().take(13).collect();
        assert!(!said.contains(" 200"), "{said} for {} bytes", bytes.len());
    }
    let mut client = rig.client().await;
    let path = format!("/ak/{}/v1/messages", key());
    assert_eq!(client.send(post(&path, &question(true))).await.status, 200);
}

#[tokio::test]
async fn strange_targets_are_answered_404() {
    let rig = Rig::start().await;
    for line in [
        "OPTIONS * HTTP/1.1",
        "CONNECT example.com:443 HTTP/1.1",
        "GET http://elsewhere/v1/messages HTTP/1.1",
        "BREW /ak/x/v1/messages HTTP/1.1",
        "GET /ak/ HTTP/1.0",
    ] {
        let request = format!("{line}\r\nhost: h\r\nconnection: close\r\n\r\n");
        let answer = raw(rig.app.listen_addr, request.as_bytes()).await;
        let status = answer.get(9..12).unwrap_or_default();
        let expected = if line.contains("/ak/ ") { "200" } else { "404" };
        assert_eq!(status, expected, "{line}: {answer}");
    }
}

/// Paused time: whoever waits for the clock gets it at once.
mod slow {
    use std::time::Duration;

    use super::*;

    /// An end that has not come by then was not brought about by the clock.
    const DEADLINE: Duration = Duration::from_secs(30);

    /// Reads to the end while the clock runs.
    async fn ends(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _reset = tokio::time::timeout(DEADLINE, read).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_head_that_never_ends_is_not_waited_for() {
        let rig = Rig::start().await;
        let addr = rig.app.listen_addr;
        let mut silent = TcpStream::connect(addr).await.unwrap();
        silent.write_all(b"PRI").await.unwrap();
        let mut slow = TcpStream::connect(addr).await.unwrap();
        slow.write_all(b"POST /ak/x HTTP/1.1\r\nhost: h\r\n")
            .await
            .unwrap();
        // All are accepted before the clock runs.
        let mut idle = rig.client().await;
        idle.post("/ak/x", &question(true)).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(80)).await;
        tokio::time::resume();
        ends(silent).await;
        ends(slow).await;
        // Between two requests a load balancer may wait longer.
        let answer = idle.post("/ak/x", &question(true)).await;
        assert_eq!(answer.status, 404);
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_answered_408() {
        let rig = Rig::start().await;
        let mut slow = TcpStream::connect(rig.app.listen_addr).await.unwrap();
        let head = format!(
            "POST /ak/{}/v1/messages HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n",
            key()
        );
        slow.write_all(head.as_bytes()).await.unwrap();
        let mut go_on = [0; 25];
        slow.read_exact(&mut go_on).await.unwrap();
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(31)).await;
        tokio::time::resume();
        let answer = ends(slow).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("timeout_error"));
        let event = rig.control.event().await;
        assert_eq!(event.outcome(), proto::sync::Outcome::Refused);
    }
}
