//! What the plan fails before its first content is Bedrock's to answer, and
//! nobody notices.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use proto::sync::{Outcome, Provider};
use serde_json::{Value, json};
use testkit::{
    anthropic::{
        ApiError, At, Content, Encoding, Gate, How, Pace, Reply, Rule, Simulator, Usage, Writes,
    },
    bedrock::{Exception, Reply as Bedrock},
};
use tokio::time::timeout;

use crate::support::{
    Rig,
    bedrock::{BedrockRig, CLAUDE, PROFILE, mapping, reset_circuit},
    client::{Answer, Client, last_error, post},
    key, question,
};

fn messages() -> String {
    format!("/ak/{}/v1/messages?beta=true", key())
}

async fn ask(rig: &Rig, body: &Value) -> Answer {
    rig.client().await.post(&messages(), body).await
}

/// Circuits stay closed, silence is short, and the path taken is told.
const EAGER: [&str; 3] = [
    "--circuit-failure-threshold=100000",
    "--first-byte-timeout=1",
    "--route-header=true",
];

fn get(path: &str) -> Request<Full<Bytes>> {
    let mut request = post(path, &question(false));
    *request.method_mut() = Method::GET;
    request.map(|_| Full::default())
}

fn overloaded() -> How {
    How::Error(ApiError::overloaded())
}

/// What the plan does, and how it is told in the route.
fn failures(is_streaming: bool) -> Vec<(&'static str, Reply, &'static str)> {
    let answer = || Reply::text("from the plan");
    let mut failures = vec![
        ("429", Reply::error(429), "429"),
        ("500", Reply::error(500), "500"),
        ("502 in HTML", Reply::html(502), "502"),
        ("503", Reply::error(503), "503"),
        ("529", Reply::error(529), "529"),
        ("408", Reply::error(408), "408"),
        (
            "somewhere else",
            Reply::body(302, "text/html", "<html>moved</html>").header("location", "/login"),
            "upstream_broken",
        ),
        (
            "no status of HTTP's",
            Reply::body(799, "text/html", "<html>what</html>"),
            "upstream_broken",
        ),
        (
            "headers and no body",
            answer().ending(At::Bytes(0), How::Close),
            "upstream_broken",
        ),
        (
            "reset within",
            answer().ending(At::Bytes(50), How::Reset),
            "upstream_broken",
        ),
        (
            "closed within",
            answer().ending(At::Bytes(50), How::Close),
            "upstream_broken",
        ),
        (
            "stall",
            answer().ending(At::Bytes(50), How::Silence),
            "first_byte_timeout",
        ),
        (
            "no head",
            answer().ending(At::Start, How::Silence),
            "first_byte_timeout",
        ),
        (
            "no API",
            Reply::body(200, "text/html", "<html>welcome to the hotel</html>"),
            "upstream_broken",
        ),
        (
            "no HTTP",
            Reply::raw("this is not HTTP\r\n\r\n"),
            "upstream_broken",
        ),
        (
            "half of a head",
            Reply::raw("HTTP/1.1 200 OK\r\ncontent-ty"),
            "upstream_broken",
        ),
    ];
    if is_streaming {
        failures.extend([
            (
                "error event first",
                answer().ending(At::Events(0), overloaded()),
                "529",
            ),
            (
                "error event behind message_start",
                answer().ending(At::Events(1), overloaded()),
                "529",
            ),
            (
                "rate limit within",
                answer().ending(At::Events(1), How::Error(ApiError::of_status(429))),
                "429",
            ),
            (
                "no event",
                answer().ending(At::Events(0), How::Clean),
                "upstream_broken",
            ),
            (
                "clean end behind message_start",
                answer().ending(At::Events(1), How::Clean),
                "upstream_broken",
            ),
            (
                "a start and a stop",
                Reply::events([
                    (
                        "message_start",
                        json!({"type": "message_start", "message": {}}),
                    ),
                    ("message_stop", json!({"type": "message_stop"})),
                ]),
                "upstream_broken",
            ),
            (
                "a message at once",
                Reply::body(200, "application/json", r#"{"type":"message","usage":{}}"#),
                "upstream_broken",
            ),
            (
                "an event that says nothing",
                Reply::events([("error", json!("oops"))]),
                "500",
            ),
            (
                "compressed",
                answer()
                    .encoding(Encoding::Gzip)
                    .ending(At::Events(1), How::Close),
                "upstream_broken",
            ),
        ]);
    } else {
        let json = |text: &'static str| Reply::body(200, "application/json", text);
        let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#;
        failures.extend([
            (
                "half of the JSON",
                json(r#"{"type":"message","#),
                "upstream_broken",
            ),
            ("no message", json("{}"), "upstream_broken"),
            (
                "a stream",
                Reply::events([("message_stop", json!({"type": "message_stop"}))]),
                "upstream_broken",
            ),
            ("an error that claims success", json(error), "529"),
        ]);
    }
    failures
}

#[tokio::test]
async fn what_the_plan_fails_before_its_content_bedrock_answers() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&EAGER).await;
    let mut asked = 0;
    for is_streaming in [true, false] {
        for (name, reply, told) in failures(is_streaming) {
            bedrock.script().then(Bedrock::text("from Bedrock"));
            rig.simulator.script().then(reply);
            let answer = ask(&rig, &question(is_streaming)).await;
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            assert_eq!(
                answer.headers["x-proxy-route"],
                format!("plan:{told}, bedrock:200"),
                "{name}"
            );
            if is_streaming {
                let names = answer.names();
                let starts = names.iter().filter(|it| *it == "message_start").count();
                assert_eq!(starts, 1, "{name}");
                assert_eq!(names.last().unwrap(), "message_stop", "{name}");
                assert_eq!(answer.text(), "from Bedrock", "{name}");
            } else {
                assert_eq!(answer.json()["content"][0]["text"], "from Bedrock");
            }
            asked += 1;
            // Not a single failure is repeated.
            assert_eq!(rig.simulator.counts().requests, asked, "{name}");
            assert_eq!(bedrock.counts().requests, asked, "{name}");
        }
    }
    for event in rig.control.events(usize::try_from(asked).unwrap()).await {
        assert_eq!(event.provider(), Provider::Bedrock);
        assert_eq!(event.outcome(), Outcome::Complete);
        assert!(event.is_fallback && !event.is_estimate);
        assert!(event.tokens.unwrap().output_tokens > 0);
    }
}

/// A connection that dies before any byte of an answer is tried once more; then
/// it is a failure like any other.
#[tokio::test]
async fn a_connection_that_dies_is_tried_once_more_and_then_bedrock_is_asked() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&EAGER).await;
    for (times, requests, route) in [
        (1, 2, "plan:200"),
        (2, 4, "plan:upstream_broken, bedrock:200"),
    ] {
        let dies = Reply::answer().ending(At::Start, How::Reset);
        rig.simulator.script().rule(Rule::once(dies).times(times));
        let answer = ask(&rig, &question(true)).await;
        assert_eq!(answer.headers["x-proxy-route"], route);
        assert_eq!(rig.simulator.counts().requests, requests);
    }
    assert_eq!(bedrock.counts().requests, 1);
}

#[tokio::test]
async fn a_plan_that_cannot_be_reached_is_answered_by_bedrock() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&EAGER).await;
    rig.simulator.stop().await;
    for is_streaming in [true, false] {
        let mut client = Client::connect(rig.app.listen_addr).await;
        let answer = client.post(&messages(), &question(is_streaming)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["x-proxy-route"], "plan:connect, bedrock:200");
    }
}

#[tokio::test]
async fn what_is_the_clients_fault_or_its_own_credential_is_its_to_know() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&EAGER).await;
    for is_streaming in [true, false] {
        for status in [400, 401, 402, 403, 404, 409, 413, 422] {
            let reply = Reply::error(status).header("x-should-retry", "true");
            rig.simulator.script().then(reply);
            let answer = ask(&rig, &question(is_streaming)).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.headers["x-should-retry"], "true");
            let expected = ApiError::of_status(status);
            assert_eq!(answer.json()["error"]["message"], expected.message);
        }
    }
    let invalid = How::Error(ApiError::of_status(400));
    let reply = Reply::answer().ending(At::Events(1), invalid);
    rig.simulator.script().then(reply);
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.status, 400);
    assert_eq!(bedrock.counts().requests, 0);
}

#[tokio::test]
async fn a_company_key_that_is_refused_is_not_the_developers_problem() {
    let settings = [&EAGER[..], &["--plan-api-key=sk-ant-api03-company"]].concat();
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&settings).await;
    let request = || {
        let mut request = post(&messages(), &question(true));
        request.headers_mut().remove("x-api-key");
        request
    };
    rig.simulator.script().always(Reply::error(401));
    let answer = rig.client().await.send(request()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.headers["x-proxy-route"],
        "plan:operator_credential, bedrock:200"
    );
    // It may say so within a success, too.
    let within = Reply::answer().ending(At::Events(0), How::Error(ApiError::of_status(401)));
    rig.simulator.script().rule(Rule::once(within));
    let answer = rig.client().await.send(request()).await;
    assert_eq!(
        answer.headers["x-proxy-route"],
        "plan:operator_credential, bedrock:200"
    );
    bedrock
        .script()
        .then(Bedrock::refusal(Exception::AccessDenied));
    let answer = rig.client().await.send(request()).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["x-should-retry"], "false");
}

#[tokio::test]
async fn when_both_fail_the_client_gets_the_more_useful_answer() {
    let BedrockRig { mut rig, bedrock } = BedrockRig::plan_first(&EAGER).await;
    let reset = (chrono::Utc::now().timestamp() + 7200).unsigned_abs();
    let limit = || Reply::plan_limit(reset);
    let invalid = || Bedrock::refusal(Exception::Validation);
    let denied = || Bedrock::refusal(Exception::AccessDenied);
    let overloaded = || Bedrock::refusal(Exception::ServiceUnavailable);
    let too_long = || {
        Bedrock::api_error(
            400,
            "ValidationException",
            "Input is too long for requested model.",
        )
    };
    let mut resets = 0;
    for (plan, other, status, error_type, retry) in [
        (limit(), invalid(), 429, "rate_limit_error", Some("false")),
        (limit(), overloaded(), 529, "overloaded_error", None),
        (limit(), too_long(), 400, "invalid_request_error", None),
        (Reply::error(429), denied(), 429, "rate_limit_error", None),
        (Reply::error(529), invalid(), 529, "overloaded_error", None),
        (Reply::html(502), denied(), 502, "api_error", None),
        (Reply::error(500), overloaded(), 500, "api_error", None),
    ] {
        for is_streaming in [true, false] {
            let is_limit = plan
                .headers
                .iter()
                .any(|(name, _)| name.contains("unified"));
            rig.simulator.script().then(plan.clone());
            bedrock.script().then(other.clone());
            let answer = ask(&rig, &question(is_streaming)).await;
            assert_eq!(answer.status, status, "{answer:?}");
            assert_eq!(answer.error_type(), error_type);
            let retries = answer.headers.get("x-should-retry");
            assert_eq!(retries.map(|it| it.to_str().unwrap()), retry);
            let ours = answer.headers["request-id"].to_str().unwrap();
            assert_eq!(answer.json()["request_id"], ours);
            if is_limit && status == 429 {
                let told = &answer.headers["anthropic-ratelimit-unified-reset"];
                assert_eq!(told, &reset.to_string());
            }
            resets += 1;
            reset_circuit(&mut rig, resets).await;
        }
    }
    let events = rig.control.events(14).await;
    assert!(
        events
            .iter()
            .all(|it| it.outcome() == Outcome::UpstreamFailed)
    );
    assert!(events.iter().all(|it| !it.is_estimate));
    assert_eq!(events.iter().filter(|it| it.is_fallback).count(), 4);
    let ids: Vec<String> = events.into_iter().map(|it| it.request_id).collect();
    assert!(ids.iter().all(|it| it.starts_with("req_")));
}

/// Bedrock's refusals are the same whether they come as a status or within a
/// stream.
#[tokio::test]
async fn what_bedrock_refuses_within_a_stream_is_a_refusal_like_any_other() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&EAGER).await;
    for exception in [Exception::Validation, Exception::ModelStreamError] {
        rig.simulator.script().then(Reply::error(529));
        let refusal = How::Error(exception.into());
        let reply = Bedrock::text("never").ending(At::Events(1), refusal);
        bedrock.script().then(reply);
        let answer = ask(&rig, &question(true)).await;
        assert_eq!(answer.status, 529, "{answer:?}");
        assert_eq!(
            answer.json()["request_id"],
            answer.headers["request-id"].to_str().unwrap()
        );
    }
}

/// The last one to be asked may take its time to say why.
#[tokio::test]
async fn the_words_of_a_refusal_are_waited_for_when_nobody_is_left() {
    let BedrockRig { mut rig, bedrock } = BedrockRig::plan_first(&EAGER).await;
    let reset = (chrono::Utc::now().timestamp() + 7200).unsigned_abs();
    rig.simulator.script().then(Reply::plan_limit(reset));
    ask(&rig, &question(true)).await;
    let gate = Gate::closed();
    // What has been read of them when Bedrock fails is not lost either.
    let in_pieces = Reply::error(429).writes(Writes::Bytes(40)).gate(&gate);
    rig.simulator.script().then(in_pieces);
    bedrock
        .script()
        .then(Bedrock::refusal(Exception::Validation));
    let mut client = rig.client().await;
    let (path, question) = (messages(), question(true));
    gate.release(1);
    let refused = async {
        let answer = client.post(&path, &question).await;
        let words = ApiError::of_status(429).message;
        assert_eq!(answer.json()["error"]["message"], words);
    };
    let meanwhile = async {
        rig.simulator.until(|it| it.requests == 2).await;
        bedrock.until(|it| it.requests == 2).await;
        gate.open();
    };
    tokio::join!(refused, meanwhile);
    reset_circuit(&mut rig, 1).await;
}

/// As long as something comes, but no content, the first-byte timeout holds.
#[tokio::test]
async fn pings_are_no_content() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&EAGER).await;
    let start = json!({"type": "message_start", "message": {"usage": {"input_tokens": 3}}});
    let pings = (0..10_000).map(|_| ("ping".to_owned(), json!({"type": "ping"})));
    let events = std::iter::once(("message_start".to_owned(), start)).chain(pings);
    let pace = Pace {
        event_ms: 100,
        ..Pace::default()
    };
    rig.simulator
        .script()
        .then(Reply::events(events).pace(pace));
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(
        answer.headers["x-proxy-route"],
        "plan:first_byte_timeout, bedrock:200"
    );
}

#[tokio::test]
async fn a_brief_overload_is_not_taken_for_a_limit() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&EAGER).await;
    let reset = (chrono::Utc::now().timestamp() + 7200).to_string();
    let reply = Reply::error(529)
        .header("anthropic-ratelimit-unified-status", "allowed")
        .header("anthropic-ratelimit-unified-reset", &reset)
        .header("retry-after", "3");
    rig.simulator.script().then(reply);
    bedrock
        .script()
        .then(Bedrock::refusal(Exception::Validation));
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.status, 529);
    assert_eq!(answer.headers["retry-after"], "3");
    assert!(!answer.headers.contains_key("x-should-retry"));
}

#[tokio::test]
async fn without_a_credential_the_plans_own_answer_passes_however_often_it_fails() {
    let rig = Rig::with(Simulator::start().await.unwrap(), &["--route-header=true"]).await;
    for round in 0..3 {
        for status in [429, 500, 503, 529] {
            let reply = Reply::error(status).header("retry-after", "7");
            rig.simulator.script().then(reply);
            let answer = ask(&rig, &question(round == 1)).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.headers["retry-after"], "7");
            assert_eq!(answer.headers["x-proxy-route"], format!("plan:{status}"));
        }
    }
    assert_eq!(ask(&rig, &question(true)).await.status, 200);
    assert_eq!(rig.simulator.counts().requests, 13);
}

/// Holding an answer hides nothing that was said before the content.
#[tokio::test]
async fn a_healthy_answer_passes_byte_for_byte_though_it_was_held() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&EAGER).await;
    for is_streaming in [true, false] {
        for encoding in [Encoding::Identity, Encoding::Gzip] {
            for writes in [Writes::AtOnce, Writes::Bytes(7)] {
                let reply = Reply::message(json!({"id": "msg_fixed"})).encoding(encoding);
                let reply = reply.writes(writes);
                rig.simulator.script().then(reply.clone()).then(reply);
                let request = |path: &str| {
                    let mut request = post(path, &question(is_streaming));
                    let coding = "gzip".parse().unwrap();
                    request.headers_mut().insert("accept-encoding", coding);
                    request
                };
                let mut direct = Client::connect(rig.simulator.addr()).await;
                let direct = direct.send(request("/v1/messages")).await;
                let relayed = rig.client().await.send(request(&messages())).await;
                assert_eq!(relayed.status, 200);
                assert_eq!(relayed.body, direct.body, "{encoding:?} {writes:?}");
            }
        }
    }
    assert_eq!(bedrock.counts().requests, 0);
}

#[tokio::test]
async fn what_breaks_after_the_first_content_ends_in_an_error_event_and_counts() {
    let settings = ["--circuit-failure-threshold=2"];
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&settings).await;
    let reply = || Reply::text("one two three");
    for how in [How::Close, overloaded()] {
        rig.simulator
            .script()
            .then(reply().ending(At::Events(3), how));
        let answer = ask(&rig, &question(true)).await;
        let names = answer.names();
        assert_eq!(names.last().unwrap(), "error");
        // The open block stays open: closed, it would count as complete.
        assert!(!names.contains(&"content_block_stop".to_owned()));
        assert_ne!(last_error(&answer.body), "");
    }
    // The client asks again, and is answered.
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.names().last().unwrap(), "message_stop");
    assert_eq!(bedrock.counts().requests, 1);
    let events = rig.control.events(3).await;
    let fallbacks: Vec<bool> = events.iter().map(|it| it.is_fallback).collect();
    assert_eq!(fallbacks, [false, false, true]);
    assert!(events[0].is_estimate && events[0].tokens.as_ref().unwrap().input_tokens > 0);
    rig.control
        .reported(|it| {
            it.circuits
                .as_ref()
                .is_some_and(|it| it.circuits.len() == 1)
        })
        .await;
}

/// Cut wherever: with somebody else to ask, one clean stream or, after the first
/// content, an error; alone, an error, never a clean end.
#[tokio::test]
async fn a_stream_that_is_cut_at_any_byte_ends_in_an_error_or_is_answered() {
    let BedrockRig {
        rig,
        bedrock: _bedrock,
    } = BedrockRig::plan_first(&EAGER).await;
    let alone = Rig::start().await;
    let reply = || {
        Reply::text("one two").tokens(Usage {
            input_tokens: 12,
            output_tokens: 34,
            ..Usage::default()
        })
    };
    alone.simulator.script().then(reply());
    let whole = ask(&alone, &question(true)).await;
    let end_of = |name: &str| {
        let text = std::str::from_utf8(&whole.body).unwrap();
        let start = text.find(&format!("event: {name}\n")).unwrap();
        start + text[start..].find("\n\n").unwrap() + 2
    };
    let (started, content) = (end_of("message_start"), end_of("content_block_start"));
    let said = end_of("message_delta");
    let mut clients = (rig.client().await, alone.client().await);
    for at in 0..whole.body.len() {
        let how = if at % 2 == 0 { How::Close } else { How::Clean };
        let cut = reply().ending(At::Bytes(at), how);
        rig.simulator.script().then(cut.clone());
        alone.simulator.script().then(cut);
        let rescued = clients.0.post(&messages(), &question(true)).await;
        let broken = clients.1.post(&messages(), &question(true)).await;
        assert_eq!(rescued.status, 200);
        let is_complete = |answer: &Answer| last_error(&answer.body).is_empty();
        assert_eq!(is_complete(&rescued), at < content || at >= said, "{at}");
        assert_eq!(is_complete(&broken), at >= said, "{at}");
        for answer in [&rescued, &broken] {
            let starts = memchr::memmem::find_iter(&answer.body, b"event: message_start");
            assert!(starts.count() <= 1, "{at}");
            let end: &[u8] = b"data: {\"type\":\"message_stop\"}\n\n";
            assert_eq!(is_complete(answer), answer.body.ends_with(end), "{at}");
        }
    }
    let cuts = whole.body.len();
    let rows = alone.control.events(cuts + 1).await;
    for (at, event) in rows.iter().skip(1).enumerate() {
        let tokens = event.tokens.as_ref().unwrap();
        let input_tokens = if at >= started { 12 } else { 0 };
        assert_eq!(tokens.input_tokens, input_tokens, "{at}");
        assert_eq!(tokens.output_tokens == 34, at >= said, "{at}");
        assert_eq!(event.is_estimate, at > 0 && at < said, "{at}");
    }
    for (at, event) in rig.control.events(cuts).await.iter().enumerate() {
        let is_rescued = at < content;
        assert_eq!(event.provider() == Provider::Bedrock, is_rescued, "{at}");
        assert_eq!(event.is_fallback, is_rescued, "{at}");
        assert_eq!(event.is_estimate, !is_rescued && at < said, "{at}");
    }
}

#[tokio::test]
async fn who_waits_for_a_stream_is_promised_one_and_still_rescued() {
    let settings = ["--ping-interval=1", "--circuit-failure-threshold=100000"];
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&settings).await;
    for reply in [
        Reply::error(529),
        Reply::text("from the plan").encoding(Encoding::Gzip),
    ] {
        let is_error = matches!(reply.content, Content::Error(_));
        let gate = Gate::closed();
        rig.simulator.script().then(reply.head_gate(&gate));
        bedrock.script().then(Bedrock::text("from Bedrock"));
        let mut client = rig.client().await;
        let mut response = client.open(post(&messages(), &question(true))).await;
        assert_eq!(response.status(), 200);
        let first = response
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap();
        assert!(first.starts_with(b"event: ping"), "{first:?}");
        gate.open();
        let rest = Answer::of(response).await;
        let names = rest.names();
        assert_eq!(names.last().unwrap(), "message_stop");
        let expected = if is_error {
            "from Bedrock"
        } else {
            "from the plan"
        };
        assert_eq!(rest.text(), expected);
        let rules = bedrock.counts().requests;
        assert_eq!(rules, 1);
    }
}

#[tokio::test]
async fn a_promised_stream_is_refused_by_an_event() {
    let settings = ["--ping-interval=1", "--circuit-failure-threshold=100000"];
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&settings).await;
    let refusal = || Bedrock::refusal(Exception::AccessDenied);
    bedrock.script().always(refusal());
    for (reply, error_type) in [
        (Reply::error(529), "overloaded_error"),
        (Reply::error(400), "invalid_request_error"),
        (Reply::html(502), "api_error"),
        (Reply::raw("no HTTP"), "api_error"),
        // What a stream calls so, clients do not repeat.
        (Reply::error(429), "overloaded_error"),
        (Reply::error(409), "api_error"),
        (
            Reply::api_error(503, "service_unavailable", "m"),
            "api_error",
        ),
        (
            Reply::error(429).header("retry-after", "600"),
            "rate_limit_error",
        ),
    ] {
        let gate = Gate::closed();
        rig.simulator.script().then(reply.head_gate(&gate));
        let mut client = rig.client().await;
        let response = client.open(post(&messages(), &question(true))).await;
        assert_eq!(response.status(), 200);
        gate.open();
        assert_eq!(last_error(&Answer::of(response).await.body), error_type);
    }
    for event in rig.control.events(8).await {
        assert_eq!(event.outcome(), Outcome::UpstreamFailed);
    }
}

/// Where the plan is all there is, its answer is the client's, however late.
#[tokio::test]
async fn nobody_is_promised_anything_for_a_plan_that_is_alone() {
    let rig = Rig::with(Simulator::start().await.unwrap(), &["--ping-interval=1"]).await;
    for (status, reply) in [
        (529, Reply::error(529)),
        (400, Reply::error(400)),
        (200, Reply::answer()),
    ] {
        let gate = Gate::closed();
        let reply = reply.header("x-of-the-plan", "1").head_gate(&gate);
        rig.simulator.script().then(reply);
        let mut client = rig.client().await;
        let asked = post(&messages(), &question(true));
        // Longer than the interval of pings; nothing may come meanwhile.
        let opening = client.open(asked);
        tokio::pin!(opening);
        let patience = Duration::from_millis(1_500);
        assert!(timeout(patience, &mut opening).await.is_err());
        gate.open();
        let response = opening.await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["x-of-the-plan"], "1");
    }
}

/// What the plan has said of an answer that never came is booked with it.
#[tokio::test]
async fn what_a_failed_stream_has_stated_is_booked() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&EAGER).await;
    let usage = Usage {
        input_tokens: 321,
        ..Usage::default()
    };
    let started = Reply::answer()
        .tokens(usage)
        .ending(At::Events(1), How::Close);
    rig.simulator.script().then(started);
    bedrock
        .script()
        .then(Bedrock::refusal(Exception::AccessDenied));
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.status, 502);
    let event = rig.control.events(1).await.remove(0);
    assert_eq!(event.provider(), Provider::Plan);
    assert_eq!(event.outcome(), Outcome::UpstreamFailed);
    assert_eq!(event.tokens.unwrap().input_tokens, 321);
}

/// Clients do not repeat what a stream calls a `rate_limit_error`; where somebody
/// else can answer, they are told so that they do.
#[tokio::test]
async fn a_rate_limit_within_the_content_is_told_so_that_it_is_repeated() {
    let limited = || Reply::answer().ending(At::Events(4), How::Error(ApiError::of_status(429)));
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&EAGER).await;
    rig.simulator.script().then(limited());
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(last_error(&answer.body), "overloaded_error");
    let message = ApiError::of_status(429).message;
    let text = String::from_utf8_lossy(&answer.body);
    assert!(text.contains(&message), "{text}");
    assert_eq!(bedrock.counts().requests, 0);

    // Also when more comes with it.
    let error = |kind: &str| json!({"type": "error", "error": {"type": kind, "message": "m"}});
    let events = [
        (
            "message_start",
            json!({"type": "message_start", "message": {}}),
        ),
        (
            "message_delta",
            json!({"type": "message_delta", "delta": {}}),
        ),
        ("error", error("rate_limit_error")),
        ("ping", json!({"type": "ping"})),
        ("error", error("invalid_request_error")),
    ];
    let at_once = Reply::events(events).writes(Writes::AtOnce);
    rig.simulator.script().then(at_once);
    let events = ask(&rig, &question(true)).await.events();
    let kinds: Vec<&str> = events
        .iter()
        .filter_map(|(_, data)| data["error"]["type"].as_str())
        .collect();
    assert_eq!(kinds, ["overloaded_error", "invalid_request_error"]);

    let alone = Rig::start().await;
    alone.simulator.script().then(limited());
    let answer = ask(&alone, &question(true)).await;
    assert_eq!(last_error(&answer.body), "rate_limit_error");
}

/// A stream that has said why it stops is complete; nobody waits for more.
#[tokio::test]
async fn a_stop_that_stays_out_is_not_waited_for() {
    let rig = Rig::start().await;
    let whole = ask(&rig, &question(true)).await.names().len();
    let stays_out = Reply::answer().ending(At::Events(whole - 1), How::Silence);
    rig.simulator.script().then(stays_out);
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.names().last().unwrap(), "message_stop");
    for event in rig.control.events(2).await {
        assert_eq!(event.outcome(), Outcome::Complete);
        assert!(!event.is_estimate);
    }
}

#[tokio::test]
async fn nobody_counts_for_a_key_that_has_no_credential() {
    let resources = vec![mapping(CLAUDE, PROFILE, None)];
    let rig = BedrockRig::with(&[], resources).await.rig;
    let path = format!("/ak/{}/v1/messages/count_tokens", key());
    let answer = rig.client().await.post(&path, &question(false)).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.error_type(), "not_found_error");
    assert_eq!(answer.headers["x-should-retry"], "false");
}

/// Bedrock was asked first, failed and is told of: the row says what of it.
#[tokio::test]
async fn whose_failure_is_told_is_booked_with_its_model() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&EAGER).await;
    let reset = (chrono::Utc::now().timestamp() + 7200).unsigned_abs();
    rig.simulator.script().always(Reply::plan_limit(reset));
    ask(&rig, &question(true)).await;
    let throttled = || Bedrock::refusal(Exception::Throttling);
    bedrock.script().always(throttled());
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.status, 429);
    assert_eq!(
        answer.headers["x-proxy-route"],
        "plan:circuit_open, bedrock:bedrock_throttled, plan:429"
    );
    let event = rig.control.events(2).await.remove(1);
    assert_eq!(event.provider(), Provider::Bedrock);
    assert_eq!(event.bedrock_model, PROFILE);
    assert!(!event.bedrock_region.is_empty());
}

/// A list of models is as whole as any other answer.
#[tokio::test]
async fn half_a_list_of_models_is_bedrocks_to_give() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&EAGER).await;
    let path = format!("/ak/{}/v1/models", key());
    let list = r#"{"data": [], "has_more": false}"#;
    let json = |body: &'static str| Reply::body(200, "application/json", body);
    for (reply, told) in [
        (json(list), "plan:200"),
        (json(&list[..12]), "plan:upstream_broken, bedrock:200"),
        (
            Reply::body(200, "text/html", "<html>"),
            "plan:upstream_broken, bedrock:200",
        ),
    ] {
        let rule = Rule::once(reply).path("/v1/models");
        rig.simulator.script().rule(rule);
        let answer = rig.client().await.send(get(&path)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["x-proxy-route"], told);
    }
    assert_eq!(bedrock.counts().requests, 0);
}

/// What nobody here can look into is the client's, who may have asked for it.
#[tokio::test]
async fn a_coding_that_is_unknown_here_is_no_failure() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&EAGER).await;
    let reply = Reply::body(200, "text/event-stream", "whatever");
    let reply = reply.header("content-encoding", "compress");
    rig.simulator.script().then(reply);
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.body, "whatever");
    assert_eq!(bedrock.counts().requests, 0);
}

/// A limit that lasts longer than the circuit is known to be open is news.
#[tokio::test]
async fn that_a_circuit_stays_open_for_longer_is_reported() {
    let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&[]).await;
    let now = chrono::Utc::now().timestamp();
    let open_until = async |hours: i64| {
        let reset = now + hours * 60;
        let limit = Reply::plan_limit(reset.unsigned_abs());
        rig.simulator.script().then(limit);
        // While it is open the plan is asked after Bedrock.
        bedrock
            .script()
            .then(Bedrock::refusal(Exception::Validation));
        ask(&rig, &question(true)).await;
        rig.control
            .reported(|it| {
                let circuits = it.circuits.iter().flat_map(|it| &it.circuits);
                let mut until = circuits.filter_map(|it| it.open_until.as_ref());
                until.any(|it| it.seconds == reset)
            })
            .await;
    };
    open_until(5).await;
    open_until(10).await;
}
