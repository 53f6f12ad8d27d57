//! Bedrock in the place of the plan: the client cannot tell.

use http_body_util::BodyExt;
use proto::sync::Outcome;
use serde_json::{Value, json};
use testkit::{
    anthropic::Reply as Plan,
    bedrock::{API_KEY, At, Exception, Gate, How, Operation, Reply, Rule, Usage},
};

use crate::support::{
    Rig,
    bedrock::{
        BedrockRig, CLAUDE, PROFILE, api_key, bedrock_key, bedrock_key_sealed_for, key_pair,
        mapping, refused,
    },
    client::{Answer, post},
    control::user,
    estimate, estimated, key, question,
};

fn messages() -> String {
    format!("/ak/{}/v1/messages?beta=true", key())
}

async fn ask(rig: &Rig, body: &Value) -> Answer {
    rig.client().await.post(&messages(), body).await
}

#[tokio::test]
async fn a_stream_is_answered_in_the_apis_own_events() {
    let BedrockRig { rig, bedrock } = BedrockRig::start().await;
    bedrock.script().then(Reply::text("one two three"));
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.headers["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let names = answer.names();
    assert_eq!(names.first().unwrap(), "message_start");
    assert_eq!(names.last().unwrap(), "message_stop");
    assert_eq!(answer.text(), "one two three");
    let body = String::from_utf8_lossy(&answer.body);
    assert!(!body.contains("amazon-bedrock-invocationMetrics"), "{body}");

    let received = bedrock.received();
    let received = received.first().unwrap();
    assert_eq!(received.operation, Operation::InvokeStream);
    assert_eq!(received.model, PROFILE);
    assert_eq!(
        received.header("authorization"),
        Some(&*format!("Bearer {API_KEY}"))
    );
    let sent = received.json().unwrap();
    assert_eq!(sent["anthropic_version"], "bedrock-2023-05-31");
    assert!(sent.get("model").is_none() && sent.get("stream").is_none());
    assert!(rig.simulator.received().is_empty());

    let event = rig.control.event().await;
    let entry = bedrock.ledger().entries[0].clone();
    assert_eq!(event.provider(), proto::sync::Provider::Bedrock);
    assert_eq!(
        event.tokens.unwrap().output_tokens,
        entry.tokens.output_tokens
    );
    assert_eq!(
        event.tokens.unwrap().input_tokens,
        entry.tokens.input_tokens
    );
    assert_eq!(event.upstream_request_id, entry.request_id);
}

#[tokio::test]
async fn a_whole_answer_is_the_models_own() {
    let BedrockRig { rig, bedrock } = BedrockRig::start().await;
    bedrock.script().then(Reply::text("one two three"));
    let answer = ask(&rig, &question(false)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["content"][0]["text"], "one two three");
    assert!(
        answer.headers["request-id"]
            .to_str()
            .unwrap()
            .starts_with("req_")
    );
    assert_eq!(bedrock.received()[0].operation, Operation::Invoke);
}

#[tokio::test]
async fn key_pairs_sign_and_a_rotated_key_keeps_its_credential() {
    let mapping = || mapping(CLAUDE, PROFILE, None);
    for api in ["auto", "messages", "converse"] {
        for key in [
            bedrock_key(&key_pair(), 1),
            bedrock_key_sealed_for("the key before the rotation", &key_pair(), 1),
            bedrock_key(&api_key(), 1),
        ] {
            let resources = vec![mapping(), key];
            let BedrockRig { rig, bedrock } =
                BedrockRig::with(&["--bedrock-api", api], resources).await;
            let answer = ask(&rig, &question(true)).await;
            assert_eq!(answer.status, 200, "{api}: {answer:?}");
            assert_eq!(answer.names().last().unwrap(), "message_stop");
            assert_eq!(bedrock.received().len(), 1);
        }
    }
}

#[tokio::test]
async fn the_messages_api_gets_the_body_with_bedrocks_model() {
    let resources = vec![mapping(CLAUDE, PROFILE, None), bedrock_key(&api_key(), 1)];
    let settings = ["--bedrock-api=messages"];
    let BedrockRig { rig, bedrock } = BedrockRig::with(&settings, resources).await;
    let mut request = post(&messages(), &question(true));
    let betas = "oauth-2025-04-20,context-1m-2025-08-07";
    request
        .headers_mut()
        .insert("anthropic-beta", betas.parse().unwrap());
    let answer = rig.client().await.send(request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let received = bedrock.received();
    assert_eq!(received[0].path, "/anthropic/v1/messages");
    assert_eq!(
        received[0].header("anthropic-beta"),
        Some("context-1m-2025-08-07")
    );
    assert_eq!(received[0].header("anthropic-version"), Some("2023-06-01"));
    let sent = received[0].json().unwrap();
    assert_eq!(
        (&sent["model"], &sent["stream"]),
        (&json!(PROFILE), &json!(true))
    );
}

#[tokio::test]
async fn the_operators_limits_hold_for_bedrock_and_not_for_the_plan() {
    let mut asked = question(true);
    asked["max_tokens"] = json!(32_000);
    asked["thinking"] = json!({"type": "enabled", "budget_tokens": 31_999});
    for (api, members, max_tokens) in [
        ("invoke", "", "/max_tokens"),
        ("messages", "", "/max_tokens"),
        (
            "converse",
            "/additionalModelRequestFields",
            "/inferenceConfig/maxTokens",
        ),
    ] {
        let settings = [
            "--bedrock-api",
            api,
            "--max-output-tokens=4096",
            "--max-thinking-tokens=2048",
        ];
        let BedrockRig { rig, bedrock } = BedrockRig::plan_first(&settings).await;
        let answer = ask(&rig, &asked).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let received = rig.simulator.received();
        let to_the_plan: Value = serde_json::from_slice(&received[0].body).unwrap();
        assert_eq!(to_the_plan, asked, "{api}");

        rig.simulator.script().then(Plan::error(529));
        let answer = ask(&rig, &asked).await;
        assert_eq!(answer.status, 200, "{api}: {answer:?}");
        let sent = bedrock.received()[0].json().unwrap();
        let budget = format!("{members}/thinking/budget_tokens");
        assert_eq!(sent.pointer(max_tokens), Some(&json!(4096)), "{sent}");
        assert_eq!(sent.pointer(&budget), Some(&json!(2048)), "{sent}");
    }
}

#[tokio::test]
async fn a_clients_own_credential_never_reaches_bedrock() {
    for api in ["invoke", "messages", "converse"] {
        let resources = vec![mapping(CLAUDE, PROFILE, None), bedrock_key(&api_key(), 1)];
        let BedrockRig { rig, bedrock } =
            BedrockRig::with(&["--bedrock-api", api], resources).await;
        let path = format!("/ak/{}/v1/messages", key());
        let count = format!("/ak/{}/v1/messages/count_tokens", key());
        for (path, is_streaming) in [(&path, true), (&path, false), (&count, false)] {
            for (header, value) in [
                ("x-api-key", "sk-ant-api03-marker"),
                ("authorization", "Bearer sk-ant-oat01-marker"),
                ("x-custom", "marker-of-the-client"),
                ("cookie", "marker=1"),
            ] {
                let mut request = post(path, &question(is_streaming));
                request.headers_mut().remove("x-api-key");
                request.headers_mut().insert(header, value.parse().unwrap());
                rig.client().await.send(request).await;
            }
        }
        assert_eq!(bedrock.received().len(), 12, "{api}");
        for received in bedrock.received() {
            assert!(!received.contains("marker"), "{api}: {}", received.head());
            assert!(!received.contains(&key()), "{api}: {}", received.head());
        }
        assert!(rig.simulator.received().is_empty());
    }
}

#[tokio::test]
async fn an_unknown_model_is_a_404_that_names_it() {
    let BedrockRig { rig, bedrock } = BedrockRig::start().await;
    let mut body = question(true);
    body["model"] = json!("claude-nobody-knows");
    let answer = ask(&rig, &body).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.error_type(), "not_found_error");
    let message = answer.json()["error"]["message"].to_string();
    assert!(message.contains("claude-nobody-knows"), "{message}");
    assert!(bedrock.received().is_empty());
}

#[tokio::test]
async fn without_a_credential_nobody_is_asked() {
    let BedrockRig { rig, bedrock } =
        BedrockRig::with(&[], vec![mapping(CLAUDE, PROFILE, None)]).await;
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["x-should-retry"], "false");
    assert!(bedrock.received().is_empty() && rig.simulator.received().is_empty());
}

#[tokio::test]
async fn a_credential_that_was_tampered_with_stays_closed() {
    let mut tampered = bedrock_key(&api_key(), 1);
    if let Some(proto::sync::resource::Spec::BedrockKey(key)) = &mut tampered.spec {
        *key.sealed.last_mut().unwrap() ^= 1;
    }
    let resources = vec![mapping(CLAUDE, PROFILE, None), tampered];
    let BedrockRig { rig, bedrock } = BedrockRig::with(&[], resources).await;
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(bedrock.received().is_empty());
}

#[tokio::test]
async fn exceptions_are_answered_as_the_api_words_them() {
    let cases = [
        (Exception::Throttling, 429, "rate_limit_error"),
        (Exception::ServiceQuotaExceeded, 429, "rate_limit_error"),
        (Exception::ServiceUnavailable, 529, "overloaded_error"),
        (Exception::ModelNotReady, 529, "overloaded_error"),
        (Exception::InternalServer, 500, "api_error"),
        (Exception::ModelTimeout, 504, "api_error"),
        (Exception::ModelError, 500, "api_error"),
        (Exception::Validation, 400, "invalid_request_error"),
        (Exception::AccessDenied, 503, "api_error"),
        (Exception::ExpiredToken, 503, "api_error"),
        (Exception::ResourceNotFound, 404, "not_found_error"),
    ];
    for api in ["invoke", "messages", "converse"] {
        let resources = vec![mapping(CLAUDE, PROFILE, None), bedrock_key(&api_key(), 1)];
        let BedrockRig { rig, bedrock } =
            BedrockRig::with(&["--bedrock-api", api], resources).await;
        for (exception, status, error_type) in cases {
            for is_streaming in [true, false] {
                bedrock.script().then(Reply::refusal(exception));
                let answer = ask(&rig, &question(is_streaming)).await;
                let said = (answer.status.as_u16(), answer.error_type());
                assert_eq!(said, (status, error_type.to_owned()), "{api} {exception:?}");
            }
        }
        bedrock
            .script()
            .then(Reply::refusal(Exception::Throttling).header("retry-after", "7"));
        let answer = ask(&rig, &question(true)).await;
        assert_eq!(answer.headers["retry-after"], "7", "{api}");
    }
}

#[tokio::test]
async fn too_long_is_said_so_that_claude_code_compacts() {
    let BedrockRig { rig, bedrock } = BedrockRig::start().await;
    let words = "Input is too long for requested model.";
    bedrock
        .script()
        .then(Reply::refusal(Exception::Validation.says(words)));
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.status, 400);
    let message = answer.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.starts_with("prompt is too long"), "{message}");
}

#[tokio::test]
async fn a_malformed_answer_of_converse_is_an_error_and_a_whole_one_stays_as_it_was_written() {
    let resources = vec![mapping(CLAUDE, PROFILE, None), bedrock_key(&api_key(), 1)];
    let BedrockRig { rig, bedrock } =
        BedrockRig::with(&["--bedrock-api", "converse"], resources).await;
    let used = |reason: &str| {
        let input = json!({"zebra": 1.0, "apple": {"y": 2, "b": 3}, "mango": null});
        let used = json!({"type": "tool_use", "id": "toolu_01", "name": "T", "input": input});
        Reply::message(json!({"content": [used], "stop_reason": reason}))
    };
    bedrock.script().then(used("malformed_tool_use"));
    let answer = ask(&rig, &question(false)).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.error_type(), "api_error");

    bedrock.script().then(used("malformed_tool_use"));
    let events = ask(&rig, &question(true)).await.events();
    let (last, data) = events.last().unwrap();
    assert_eq!(
        (last.as_str(), &data["error"]["type"]),
        ("error", &json!("api_error"))
    );
    let is_stop = |(name, _): &(String, Value)| name == "content_block_stop";
    assert!(!events.iter().any(is_stop), "{events:?}");

    bedrock.script().then(used("tool_use"));
    let answer = ask(&rig, &question(false)).await;
    assert_eq!(answer.status, 200);
    let body = String::from_utf8_lossy(&answer.body);
    let input = r#""input":{"zebra":1.0,"apple":{"y":2,"b":3},"mango":null}"#;
    assert!(body.contains(input), "{body}");
}

/// Converse says why it stops before it says how many tokens that took. A message
/// without the latter is complete, but its count is none.
#[tokio::test]
async fn a_message_of_converse_whose_count_stays_out_is_complete_and_an_estimate() {
    let resources = vec![mapping(CLAUDE, PROFILE, None), bedrock_key(&api_key(), 1)];
    let settings = ["--bedrock-api", "converse"];
    let BedrockRig { rig, bedrock } = BedrockRig::with(&settings, resources).await;
    // All but the last frame, which is the count.
    let cut = |frames, how| Reply::text("one").ending(At::Events(frames), how);
    let mut frames = 1;
    let whole = loop {
        bedrock.script().then(cut(frames, How::Clean));
        let answer = ask(&rig, &question(true)).await;
        if answer.status == 200 && answer.names().last().unwrap() == "message_stop" {
            break frames;
        }
        frames += 1;
        assert!(frames < 20, "{answer:?}");
    };
    for how in [How::Close, How::Reset, How::Silence] {
        bedrock.script().then(cut(whole, how));
        let names = ask(&rig, &question(true)).await.names();
        assert_eq!(names.last().unwrap(), "message_stop", "{names:?}");
    }
    let events = rig.control.events(whole + 3).await;
    let counted = events.iter().skip(whole - 1);
    for event in counted {
        assert_eq!(event.outcome(), Outcome::Complete);
        assert_eq!(estimated(event), estimate(&question(true), "one"));
    }
}

/// Its count would have come at the end.
#[tokio::test]
async fn a_message_of_converse_that_is_left_costs_what_it_may_have_cost() {
    let resources = vec![mapping(CLAUDE, PROFILE, None), bedrock_key(&api_key(), 1)];
    let settings = ["--bedrock-api=converse", "--disconnect-drain=0"];
    let BedrockRig { rig, bedrock } = BedrockRig::with(&settings, resources).await;
    let gate = Gate::closed();
    bedrock
        .script()
        .then(Reply::text("one two three").gate(&gate));
    let mut client = rig.client().await;
    let mut response = client.open(post(&messages(), &question(true))).await;
    let mut seen = String::new();
    while !seen.contains("two") {
        gate.release(1);
        let frame = response.frame().await.unwrap().unwrap();
        seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    drop(response);
    drop(client);
    let event = rig.control.event().await;
    assert_eq!(event.outcome(), Outcome::ClientCancelled);
    assert_eq!(estimated(&event), estimate(&question(true), "one two"));
}

#[tokio::test]
async fn a_stream_that_breaks_ends_in_an_error_event() {
    let BedrockRig { rig, bedrock } = BedrockRig::start().await;
    let ways = [
        (How::Error(Exception::ModelStreamError.into()), "api_error"),
        (How::Error(Exception::Throttling.into()), "overloaded_error"),
        (
            How::Error(Exception::ServiceUnavailable.into()),
            "overloaded_error",
        ),
        (How::Clean, "api_error"),
        (How::Reset, "api_error"),
    ];
    for (how, error_type) in ways {
        let reply = Reply::text("one two three").ending(At::Events(3), how.clone());
        bedrock.script().then(reply);
        let answer = ask(&rig, &question(true)).await;
        let events = answer.events();
        let (last, data) = events.last().unwrap();
        assert_eq!(
            (last.as_str(), data["error"]["type"].as_str().unwrap()),
            ("error", error_type),
            "{how:?}"
        );
        assert_eq!(
            events
                .iter()
                .filter(|(name, _)| name == "message_start")
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn what_is_refused_is_left_out_and_learned() {
    let BedrockRig { rig, bedrock } = BedrockRig::start().await;
    let words = "context_management: Extra inputs are not permitted";
    bedrock
        .script()
        .then(Reply::refusal(Exception::Validation.says(words)));
    let mut request = question(true);
    request["context_management"] = json!({"edits": []});
    let betas = "context-management-2025-06-27,interleaved-thinking-2025-05-14";
    let send = async || {
        let mut request = post(&messages(), &request);
        request
            .headers_mut()
            .insert("anthropic-beta", betas.parse().unwrap());
        rig.client().await.send(request).await
    };
    assert_eq!(send().await.status, 200);
    assert_eq!(send().await.status, 200);
    let received = bedrock.received();
    let has_it = received.iter().map(|it| it.contains("context_management"));
    assert_eq!(has_it.collect::<Vec<_>>(), [true, false, false]);
    // The beta is the other half.
    let sent = received[1].json().unwrap();
    assert_eq!(
        sent["anthropic_beta"],
        json!(["interleaved-thinking-2025-05-14"])
    );

    let report = rig.control.reported(|it| !it.lessons.is_empty()).await;
    let lesson = &report.lessons[0];
    assert_eq!(
        (&*lesson.region, &*lesson.model, &*lesson.feature),
        ("ap-northeast-2", PROFILE, "field:context_management")
    );
}

#[tokio::test]
async fn what_everybody_knows_is_left_out_beforehand() {
    let resources = vec![
        mapping(CLAUDE, PROFILE, None),
        bedrock_key(&api_key(), 1),
        refused("beta:never-heard-of-2031-01-01"),
        refused("field:cache_control.scope"),
    ];
    let BedrockRig { rig, bedrock } = BedrockRig::with(&[], resources).await;
    let mut body = question(true);
    body["system"] = json!([{"type": "text", "text": "s",
        "cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}}]);
    let mut request = post(&messages(), &body);
    let betas = "never-heard-of-2031-01-01,claude-code-20250219";
    request
        .headers_mut()
        .insert("anthropic-beta", betas.parse().unwrap());
    assert_eq!(rig.client().await.send(request).await.status, 200);
    let sent = bedrock.received()[0].json().unwrap();
    assert_eq!(
        sent["system"][0]["cache_control"],
        json!({"type": "ephemeral", "ttl": "1h"})
    );
    assert!(sent.get("anthropic_beta").is_none());
}

#[tokio::test]
async fn a_refusal_that_is_the_clients_own_fault_is_passed_on() {
    let BedrockRig { rig, bedrock } = BedrockRig::start().await;
    for words in [
        "messages.0.content: Field required",
        "context_management: Extra inputs are not permitted",
    ] {
        bedrock
            .script()
            .then(Reply::refusal(Exception::Validation.says(words)));
        let answer = ask(&rig, &question(true)).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["error"]["message"], words);
    }
    // Nothing could be left out, so nothing was sent again.
    assert_eq!(bedrock.received().len(), 2);
}

#[tokio::test]
async fn foreign_thinking_becomes_text_once_and_stays_so_in_its_session() {
    let BedrockRig { rig, bedrock } = BedrockRig::start().await;
    let words = "messages.1.content.0: Invalid `signature` in `thinking` block";
    bedrock
        .script()
        .then(Reply::refusal(Exception::Validation.says(words)));
    let mut body = question(true);
    body["messages"] = json!([
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "foreign", "signature": "f"},
            {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "own", "signature": "o"},
            {"type": "text", "text": "d"}]},
        {"role": "user", "content": "e"},
    ]);
    for _ in 0..2 {
        let mut request = post(&messages(), &body);
        let session = "session-1".parse().unwrap();
        request
            .headers_mut()
            .insert("x-claude-code-session-id", session);
        assert_eq!(rig.client().await.send(request).await.status, 200);
    }
    let received = bedrock.received();
    assert_eq!(received.len(), 3);
    for (at, received) in received.iter().enumerate() {
        let sent = received.json().unwrap();
        let block = &sent["messages"][1]["content"][0];
        let expected = match at {
            0 => json!({"type": "thinking", "thinking": "foreign", "signature": "f"}),
            _ => json!({"type": "text", "text": "foreign"}),
        };
        assert_eq!(*block, expected, "request {at}");
        assert_eq!(sent["messages"][3]["content"][0]["signature"], "o");
    }
}

#[tokio::test]
async fn foreign_thinking_is_found_where_positions_have_shifted() {
    let BedrockRig { rig, bedrock } = BedrockRig::start().await;
    let words = "messages.1.content.0: Invalid `signature` in `thinking` block";
    bedrock
        .script()
        .then(Reply::refusal(Exception::Validation.says(words)));
    let mut body = question(true);
    body["messages"] = json!([
        {"role": "user", "content": "a"},
        {"role": "system", "content": "s"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "foreign", "signature": "f"},
            {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
    ]);
    let mut request = post(&messages(), &body);
    let betas = "mid-conversation-tool-changes-2026-07-01".parse().unwrap();
    request.headers_mut().insert("anthropic-beta", betas);
    assert_eq!(rig.client().await.send(request).await.status, 200);
    assert!(!bedrock.received()[1].contains("signature"));
}

#[tokio::test]
async fn back_on_the_plan_bedrocks_signatures_are_dealt_with_alike() {
    let BedrockRig {
        mut rig,
        bedrock: _bedrock,
    } = BedrockRig::start().await;
    let mut body = question(false);
    let send = async |rig: &Rig, body: &Value, session: &str| {
        let mut request = post(&messages(), body);
        let session = session.parse().unwrap();
        request
            .headers_mut()
            .insert("x-claude-code-session-id", session);
        rig.client().await.send(request).await
    };
    assert_eq!(send(&rig, &body, "1").await.status, 200);
    rig.control.watch().delta(1, 2, vec![user(2)], vec![]).await;
    rig.control.applied(2).await;

    body["messages"] = json!([
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "of Bedrock", "signature": "b"},
            {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
    ]);
    let words = "messages.1.content.0: Invalid `signature` in `thinking` block";
    let refusal = || Plan::api_error(400, "invalid_request_error", words);
    rig.simulator.script().then(refusal());
    assert_eq!(send(&rig, &body, "1").await.status, 200);
    assert_eq!(send(&rig, &body, "1").await.status, 200);
    let received = rig.simulator.received();
    let firsts = received
        .iter()
        .map(|it| it.json().unwrap()["messages"][1]["content"][0].clone());
    let text = json!({"type": "text", "text": "of Bedrock"});
    let signed = body["messages"][1]["content"][0].clone();
    assert_eq!(firsts.collect::<Vec<_>>(), [signed, text.clone(), text]);

    // A session that Bedrock never answered gets the plan's own words, and other
    // refusals are passed on whole.
    rig.simulator.script().then(refusal());
    let answer = send(&rig, &body, "2").await;
    assert_eq!(answer.json()["error"]["message"], words);
    rig.simulator
        .script()
        .then(Plan::api_error(400, "invalid_request_error", "other"));
    let answer = send(&rig, &body, "1").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["error"]["message"]),
        (400, &json!("other"))
    );
    assert_eq!(rig.simulator.received().len(), 5);
}

#[tokio::test]
async fn a_clients_mistake_teaches_nobody() {
    let BedrockRig { rig, bedrock } = BedrockRig::start().await;
    // A beta that would make a refusal name something else never leaves, and half
    // of a pair is refused for the other half's sake.
    let mut body = question(true);
    body["tools"] = json!([{"name": "t", "input_schema": {"type": "object"}}]);
    body["context_management"] = json!({"edits": []});
    for _ in 0..2 {
        let mut request = post(&messages(), &body);
        let betas = "z tools: Extra inputs are not permitted";
        let betas = betas.parse().unwrap();
        request.headers_mut().insert("anthropic-beta", betas);
        assert_eq!(rig.client().await.send(request).await.status, 200);
    }
    let received = bedrock.received();
    let asked = received
        .iter()
        .filter(|it| it.contains("context_management"));
    assert_eq!((asked.count(), received.len()), (2, 4));
    assert!(received.iter().all(|it| it.contains("input_schema")));
    assert!(rig.control.reported(|_| true).await.lessons.is_empty());
}

#[tokio::test]
async fn a_compressed_body_is_told_why_it_cannot_be_sent() {
    let BedrockRig { rig, .. } = BedrockRig::start().await;
    let mut request = post(&messages(), &question(true));
    let gzip = "gzip".parse().unwrap();
    request.headers_mut().insert("content-encoding", gzip);
    let answer = rig.client().await.send(request).await;
    assert_eq!(answer.status, 415);
    let mut body = question(true);
    body.as_object_mut().unwrap().remove("model");
    let answer = ask(&rig, &body).await;
    assert_eq!(answer.json()["error"]["message"], "model: Field required");
}

#[tokio::test]
async fn a_stream_that_begins_with_an_exception_is_a_refusal() {
    for api in ["invoke", "converse"] {
        let resources = vec![mapping(CLAUDE, PROFILE, None), bedrock_key(&api_key(), 1)];
        let BedrockRig { rig, bedrock } =
            BedrockRig::with(&["--bedrock-api", api], resources).await;
        for (exception, status) in [
            (Exception::Throttling, 429),
            (Exception::ServiceUnavailable, 529),
            (Exception::ModelStreamError, 500),
        ] {
            let at_once = How::Error(exception.into());
            bedrock
                .script()
                .then(Reply::text("x").ending(At::Events(0), at_once));
            let answer = ask(&rig, &question(true)).await;
            assert_eq!(answer.status, status, "{api}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn what_comes_behind_a_complete_answer_does_not_spoil_it() {
    let BedrockRig { rig, bedrock } = BedrockRig::start().await;
    let whole = Reply::text("one").tokens(Usage::default());
    bedrock.script().then(whole.clone());
    let events = ask(&rig, &question(true)).await.events().len();
    let late = How::Error(Exception::InternalServer.into());
    bedrock
        .script()
        .then(whole.ending(At::Events(events), late));
    let answer = ask(&rig, &question(true)).await;
    assert_eq!(answer.names().last().unwrap(), "message_stop");
    let events = rig.control.events(2).await;
    assert_eq!(events[1].outcome(), proto::sync::Outcome::Complete);
}

#[tokio::test]
async fn an_answer_that_stalls_is_given_up() {
    let apis = ["invoke", "messages", "converse"];
    let limits = ["--idle-timeout=1", "--first-byte-timeout=1"];
    for (api, limit) in apis.into_iter().flat_map(|api| limits.map(|it| (api, it))) {
        let resources = vec![mapping(CLAUDE, PROFILE, None), bedrock_key(&api_key(), 1)];
        let settings = ["--bedrock-api", api, limit];
        let BedrockRig { rig, bedrock } = BedrockRig::with(&settings, resources).await;
        let stalls = Reply::text("one two three").ending(At::Bytes(20), How::Silence);
        bedrock.script().then(stalls);
        let mut client = rig.client().await;
        let answer = client.post(&messages(), &question(false)).await;
        assert!(answer.status.is_server_error(), "{api} {limit}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_has_died_is_replaced() {
    let BedrockRig { rig, bedrock } = BedrockRig::start().await;
    bedrock.script().then(Reply::text("one").close_connection());
    for _ in 0..3 {
        assert_eq!(ask(&rig, &question(false)).await.status, 200);
    }
}

#[tokio::test]
async fn tokens_are_counted_by_bedrock_or_not_at_all() {
    let claude = "anthropic.claude-opus-4-6-v1";
    let resources = vec![
        mapping(CLAUDE, &format!("global.{claude}"), None),
        mapping("nova", "us.amazon.nova-pro-v1:0", None),
        bedrock_key(&api_key(), 1),
    ];
    let BedrockRig { rig, bedrock } = BedrockRig::with(&[], resources).await;
    let path = format!("/ak/{}/v1/messages/count_tokens", key());
    let count = async |model: &str| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
        rig.client().await.post(&path, &body).await
    };
    let answer = count(CLAUDE).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.json()["input_tokens"].as_u64().unwrap() > 0);
    assert_eq!(bedrock.received()[0].model, claude);
    assert_eq!(count("nova").await.status, 404);
    assert_eq!(count("claude-unknown").await.status, 404);
    let words = "The provided model doesn't support counting tokens.";
    let refusal = Reply::refusal(Exception::Validation.says(words));
    let path = format!("/model/{claude}/count-tokens");
    bedrock.script().rule(Rule::always(refusal).path(&path));
    let answer = count(CLAUDE).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error_type()),
        (404, "not_found_error".to_owned())
    );
}

#[tokio::test]
async fn models_are_those_that_are_mapped() {
    let resources = vec![mapping(CLAUDE, PROFILE, None), bedrock_key(&api_key(), 1)];
    let overlay =
        r#"--bedrock-model-mapping={"claude-of-the-operator": "us.amazon.nova-pro-v1:0"}"#;
    let BedrockRig { rig, .. } = BedrockRig::with(&[overlay], resources).await;
    let get = async |path: String| {
        let request = http::Request::get(path)
            .body(http_body_util::Full::default())
            .unwrap();
        rig.client().await.send(request).await
    };
    let answer = get(format!("/ak/{}/v1/models?limit=1000", key())).await;
    let ids: Vec<String> = answer.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, ["claude-of-the-operator", CLAUDE]);
    let answer = get(format!("/ak/{}/v1/models/{CLAUDE}", key())).await;
    assert_eq!(answer.json()["id"], CLAUDE);
}

#[tokio::test]
async fn pings_fill_the_silence_between_events() {
    let resources = vec![mapping(CLAUDE, PROFILE, None), bedrock_key(&api_key(), 1)];
    let settings = ["--ping-interval=1"];
    let BedrockRig { rig, bedrock } = BedrockRig::with(&settings, resources).await;
    let gate = Gate::closed();
    bedrock
        .script()
        .then(Reply::text("one two three").gate(&gate));
    let mut client = rig.client().await;
    let mut response = client.open(post(&messages(), &question(true))).await;
    gate.release(2);
    let mut seen = String::new();
    while seen.matches("event: ping").count() < 2 {
        let frame = http_body_util::BodyExt::frame(response.body_mut())
            .await
            .unwrap()
            .unwrap();
        seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        // A ping is a piece of its own, between events.
        assert!(seen.ends_with("\n\n"), "{seen}");
    }
    gate.open();
    let answer = Answer::of(response).await;
    assert!(
        String::from_utf8_lossy(&answer.body)
            .ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
    );
}
