//! Every request ends in one line and one event, and its tokens are counted.

use http_body_util::BodyExt;
use proto::sync::{Outcome, Provider, Tokens, UsageEvent};
use serde_json::{Value, json};
use testkit::anthropic::{At, Gate, How, Reply, Simulator, Usage, UsageIn};

use crate::support::{
    KEY_ID, Rig, USER, bedrock::BedrockRig, client::post, estimate, estimated, key, question,
};

fn messages() -> String {
    format!("/ak/{}/v1/messages?beta=true", key())
}

const USED: Usage = Usage {
    input_tokens: 11,
    output_tokens: 22,
    cache_read_tokens: 33,
    cache_write_5m_tokens: 44,
    cache_write_1h_tokens: 55,
};

fn tokens(used: Usage) -> Tokens {
    Tokens {
        input_tokens: used.input_tokens,
        output_tokens: used.output_tokens,
        cache_read_tokens: used.cache_read_tokens,
        cache_write_5m_tokens: used.cache_write_5m_tokens,
        cache_write_1h_tokens: used.cache_write_1h_tokens,
    }
}

#[tokio::test]
async fn all_five_counters_are_found_wherever_they_stand() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let places = [
        UsageIn::Both,
        UsageIn::OutputInDelta,
        UsageIn::StartOnly,
        UsageIn::DeltaOnly,
    ];
    for usage_in in places {
        let reply = Reply::answer().tokens(USED).usage_in(usage_in);
        rig.simulator.script().then(reply);
        client.post(&messages(), &question(true)).await;
    }
    rig.simulator.script().then(Reply::answer().tokens(USED));
    client.post(&messages(), &question(false)).await;
    for event in rig.control.events(5).await {
        assert_eq!(event.tokens, Some(tokens(USED)), "{event:?}");
        assert_eq!(event.outcome(), Outcome::Complete);
    }
}

#[tokio::test]
async fn writes_of_no_stated_class_are_of_the_class_that_was_asked_for() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let all = USED.cache_write_5m_tokens + USED.cache_write_1h_tokens;
    let mut hour = question(true);
    hour["system"] = serde_json::json!([
        {"type": "text", "text": "t", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ]);
    for (body, five_minutes, one_hour) in [(question(true), all, 0), (hour, 0, all)] {
        let reply = Reply::answer().tokens(USED).usage_in(UsageIn::WithoutSplit);
        rig.simulator
            .script()
            .replace([testkit::anthropic::Rule::once(reply)]);
        let before = rig.control.events(0).await.len();
        client.post(&messages(), &body).await;
        let events = rig.control.events(before + 1).await;
        let counted = events.last().unwrap().tokens.unwrap();
        assert_eq!(counted.cache_write_5m_tokens, five_minutes);
        assert_eq!(counted.cache_write_1h_tokens, one_hour);
    }
}

#[tokio::test]
async fn the_event_says_what_happened_and_the_line_says_the_same() {
    let rig = Rig::start().await;
    let mut request = post(&messages(), &question(true));
    let headers = request.headers_mut();
    headers.insert("x-claude-code-session-id", "s".repeat(300).parse().unwrap());
    headers.insert("x-claude-code-agent-id", "agent".parse().unwrap());
    rig.simulator.script().then(Reply::answer().tokens(USED));
    rig.client().await.send(request).await;

    let event = rig.control.event().await;
    let received = rig.simulator.received().remove(0);
    assert_eq!(event.access_key_id, KEY_ID);
    assert_eq!(event.user_id, USER);
    assert_eq!(event.model, "claude-opus-5-5");
    assert_eq!(event.upstream_model, "claude-opus-5-5");
    assert_eq!(event.upstream_request_id, received.request_id);
    assert_eq!(event.provider(), Provider::Plan);
    assert_eq!(event.status, 200);
    assert!(event.is_streaming && !event.is_fallback);
    assert!(event.first_byte_ms.unwrap() <= event.duration_ms);
    assert_eq!(event.session_id, "s".repeat(256));
    assert_eq!(event.agent_id, "agent");

    let lines = rig.stop().await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(event_of(&lines[0]), event);
}

#[tokio::test]
async fn names_of_any_length_make_an_event_that_can_be_delivered() {
    let rig = Rig::start().await;
    let long = "é".repeat(1 << 20);
    let mut body = question(true);
    body["model"] = long.as_str().into();
    let message = serde_json::json!({"model": long});
    rig.simulator.script().then(Reply::message(message));
    rig.client().await.post(&messages(), &body).await;
    let event = rig.control.event().await;
    assert_eq!(event.model, "é".repeat(256));
    // The meter keeps no such line, so it knows no more than that all came.
    assert_eq!(event.outcome(), Outcome::Complete);
}

/// The event that `usage import` would make of a line.
fn event_of(line: &Value) -> UsageEvent {
    let line: proto::line::Line<'_> = serde_json::from_value(line.clone()).unwrap();
    line.event().unwrap()
}

#[tokio::test]
async fn usage_is_counted_when_the_client_leaves() {
    let settings = ["--disconnect-drain=0"];
    let rig = Rig::with(Simulator::start().await.unwrap(), &settings).await;
    let gate = Gate::closed();
    let reply = Reply::text("one two three four five")
        .tokens(USED)
        .gate(&gate);
    rig.simulator.script().then(reply);
    let mut client = rig.client().await;
    let mut response = client.open(post(&messages(), &question(true))).await;
    gate.release(3);
    response.frame().await.unwrap().unwrap();
    drop(response);
    drop(client);

    let event = rig.control.event().await;
    assert_eq!(event.outcome(), Outcome::ClientCancelled);
    assert_eq!(event.status, 200);
    let counted = event.tokens.unwrap();
    assert_eq!(counted.input_tokens, USED.input_tokens);
    assert_eq!(counted.cache_read_tokens, USED.cache_read_tokens);
    assert!(event.is_estimate);
    // The upstream is not kept busy for nobody.
    rig.simulator.until(|it| it.answers_abandoned == 1).await;
}

#[tokio::test]
async fn an_abandoned_answer_is_read_on_and_billed_exactly() {
    let rig = Rig::start().await;
    for is_streaming in [true, false] {
        let gate = Gate::closed();
        let reply = Reply::text("one two three").tokens(USED).gate(&gate);
        rig.simulator.script().then(reply);
        let mut client = rig.client().await;
        let question = question(is_streaming);
        let asked = client.try_open(post(&messages(), &question));
        if is_streaming {
            gate.release(3);
            drop(asked.await.unwrap());
        } else {
            tokio::select! {
                _ = asked => {}
                _ = rig.simulator.until(|it| it.requests == 2) => {}
            }
        }
        drop(client);
        gate.open();
    }
    for event in rig.control.events(2).await {
        assert_eq!(event.outcome(), Outcome::ClientCancelled);
        let tokens = event.tokens.unwrap();
        assert_eq!(tokens.output_tokens, USED.output_tokens);
        assert!(!event.is_estimate);
    }
}

#[tokio::test]
async fn an_abandoned_answer_is_not_read_on_for_long() {
    let settings = ["--disconnect-drain=1"];
    let rig = Rig::with(Simulator::start().await.unwrap(), &settings).await;
    let gate = Gate::closed();
    gate.release(3);
    let reply = Reply::text("one two").tokens(USED).gate(&gate);
    rig.simulator.script().then(reply);
    let mut client = rig.client().await;
    drop(client.open(post(&messages(), &question(true))).await);
    drop(client);
    let event = rig.control.event().await;
    assert_eq!(event.outcome(), Outcome::ClientCancelled);
    assert!(event.is_estimate);
    assert_eq!(event.tokens.unwrap().input_tokens, USED.input_tokens);
    rig.simulator.until(|it| it.connections_open == 0).await;
}

/// What a held answer has stated by then is known, though nobody was told.
#[tokio::test]
async fn a_client_that_leaves_while_its_answer_is_held_is_booked() {
    let settings = ["--disconnect-drain=1"];
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&settings).await;
    let gate = Gate::closed();
    gate.release(1);
    let reply = Reply::text("one two").tokens(USED).gate(&gate);
    rig.simulator.script().then(reply);
    {
        let mut client = rig.client().await;
        tokio::select! {
            _ = client.try_open(post(&messages(), &question(true))) => panic!("nobody answers"),
            _ = rig.simulator.until(|it| it.requests == 1) => {}
        }
    }
    let event = rig.control.event().await;
    assert_eq!(event.outcome(), Outcome::ClientCancelled);
    assert!(event.is_estimate);
    assert_eq!(event.tokens.unwrap().input_tokens, USED.input_tokens);
}

/// The client has left: what it would have cost is not spent.
#[tokio::test]
async fn nobody_else_is_asked_for_a_client_that_has_left() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&[]).await;
    let gate = Gate::closed();
    let reply = Reply::error(529).head_gate(&gate);
    rig.simulator.script().then(reply);
    {
        let mut client = rig.client().await;
        tokio::select! {
            _ = client.try_open(post(&messages(), &question(true))) => panic!("nobody answers"),
            _ = rig.simulator.until(|it| it.requests == 1) => {}
        }
    }
    gate.open();
    let event = rig.control.event().await;
    assert_eq!(event.outcome(), Outcome::ClientCancelled);
    assert_eq!(bedrock.counts().requests, 0);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_recorded() {
    let rig = Rig::start().await;
    let gate = Gate::closed();
    let silent = Reply::answer().ending(At::Start, How::Silence).gate(&gate);
    rig.simulator.script().then(silent);
    let mut client = rig.client().await;
    let question = question(true);
    {
        let request = client.try_open(post(&messages(), &question));
        let arrived = rig.simulator.until(|it| it.requests == 1);
        tokio::select! {
            _ = request => panic!("nothing was to be answered"),
            _ = arrived => {}
        }
    }
    drop(client);
    let event = rig.control.event().await;
    assert_eq!(event.outcome(), Outcome::ClientCancelled);
    assert_eq!(estimated(&event), estimate(&question, ""));
    assert_eq!(event.status, 0);
    assert_eq!(event.model, "claude-opus-5-5");
}

#[tokio::test]
async fn an_error_within_a_stream_is_a_failure() {
    let rig = Rig::start().await;
    let overloaded = testkit::anthropic::ApiError::of_status(529);
    for (at, how) in [
        (At::Events(1), How::Error(overloaded.clone())),
        (At::Events(5), How::Error(overloaded)),
    ] {
        rig.simulator.script().then(Reply::answer().ending(at, how));
        let mut client = rig.client().await;
        let answer = client.post(&messages(), &question(true)).await;
        assert_eq!(answer.status, 200);
    }
    for event in rig.control.events(2).await {
        assert_eq!(event.outcome(), Outcome::UpstreamFailed);
        assert_eq!(event.status, 200);
    }
}

#[tokio::test]
async fn a_client_that_leaves_because_of_an_error_has_not_cancelled() {
    let simulator = Simulator::start().await.unwrap();
    let rig = Rig::with(simulator, &["--disconnect-drain", "0"]).await;
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "m"}});
    let reply = Reply::events([("error", error)]).ending(At::End, How::Silence);
    rig.simulator.script().then(reply);
    let mut client = rig.client().await;
    let mut response = client.open(post(&messages(), &question(true))).await;
    response.frame().await.unwrap().unwrap();
    drop(response);
    drop(client);

    let event = rig.control.event().await;
    assert_eq!(event.outcome(), Outcome::UpstreamFailed);
}

#[tokio::test]
async fn a_client_that_leaves_with_the_whole_answer_has_not_cancelled() {
    let rig = Rig::start().await;
    let reply = Reply::text("one").ending(At::End, How::Silence);
    rig.simulator.script().then(reply);
    let mut client = rig.client().await;
    let mut response = client.open(post(&messages(), &question(true))).await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"data: {\"type\":\"message_stop\"}\n\n") {
        let frame = response.frame().await.unwrap().unwrap();
        seen.extend_from_slice(frame.data_ref().unwrap());
    }
    drop(response);
    drop(client);

    let event = rig.control.event().await;
    assert_eq!(event.outcome(), Outcome::Complete);
    assert!(!event.is_estimate);
}

#[tokio::test]
async fn an_answer_with_trailers_is_counted() {
    let rig = Rig::start().await;
    let body = r#"{"model":"m","usage":{"input_tokens":11,"output_tokens":7}}"#;
    rig.simulator.script().then(Reply::raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\
         trailer: x-t\r\n\r\n{:x}\r\n{body}\r\n0\r\nx-t: 1\r\n\r\n",
        body.len()
    )));
    let mut client = rig.client().await;
    let answer = client.post(&messages(), &question(false)).await;
    assert_eq!(answer.body, body);
    let event = rig.control.event().await;
    assert_eq!(event.outcome(), Outcome::Complete);
    let counted = event.tokens.unwrap();
    assert_eq!((counted.input_tokens, counted.output_tokens), (11, 7));
}

#[tokio::test]
async fn one_event_that_is_too_long_does_not_hide_the_others() {
    let rig = Rig::start().await;
    let long = "x".repeat(2 << 20);
    let reply = Reply::text(long).tokens(USED);
    rig.simulator.script().then(reply);
    let mut body = question(true);
    body["max_tokens"] = 10_000_000.into();
    let mut client = rig.client().await;
    client.post(&messages(), &body).await;
    let event = rig.control.event().await;
    assert_eq!(event.tokens, Some(tokens(USED)));
    assert_eq!(event.outcome(), Outcome::Complete);
}

#[tokio::test]
async fn a_success_that_is_an_error_is_a_failure() {
    let rig = Rig::start().await;
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#;
    for body in [error, "{}"] {
        let reply = Reply::body(200, "application/json", body);
        rig.simulator.script().then(reply);
        let mut client = rig.client().await;
        let answer = client.post(&messages(), &question(false)).await;
        assert_eq!(answer.body, body);
    }
    for event in rig.control.events(2).await {
        assert_eq!(event.outcome(), Outcome::UpstreamFailed);
    }
}

#[tokio::test]
async fn errors_of_the_upstream_are_events_without_tokens() {
    let rig = Rig::start().await;
    rig.simulator
        .script()
        .then(Reply::error(429))
        .then(Reply::error(400));
    let mut client = rig.client().await;
    client.post(&messages(), &question(true)).await;
    client.post(&messages(), &question(true)).await;
    let events = rig.control.events(2).await;
    assert_eq!(events[0].status, 429);
    assert_eq!(events[1].status, 400);
    for event in events {
        assert_eq!(event.outcome(), Outcome::UpstreamFailed);
        assert_eq!(event.tokens, Some(Tokens::default()));
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_counted_is_relayed_all_the_same() {
    let rig = Rig::start().await;
    let bodies = [
        ("application/json", "this is not JSON"),
        (
            "text/event-stream",
            "event: message_start\ndata: {oops\n\nevent: message_stop\ndata: {}\n\n",
        ),
        ("text/plain", "hello"),
    ];
    for (content_type, body) in bodies {
        rig.simulator
            .script()
            .then(Reply::body(200, content_type, body));
        let mut client = rig.client().await;
        let answer = client.post(&messages(), &question(true)).await;
        assert_eq!(answer.body, body.as_bytes());
    }
    let unknown = Reply::body(200, "application/json", "{}").header("content-encoding", "rot13");
    rig.simulator.script().then(unknown);
    let mut client = rig.client().await;
    assert_eq!(client.post(&messages(), &question(true)).await.body, "{}");
    rig.control.events(4).await;
}
