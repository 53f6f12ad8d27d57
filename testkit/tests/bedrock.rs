//! The simulator of Bedrock, judged by those who know the real one, and what a
//! test can make it do.

#![cfg(test)]

use std::io::Write;

use aws_smithy_eventstream::frame::read_message_from;
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Response;
use serde_json::{Value, json};
use testkit::{
    anthropic,
    bedrock::{
        API_KEY, At, BetaWording, Capabilities, Exception, FieldWording, Gate, How, Operation,
        Reply, SIGNATURE_PREFIX, Simulator, Thoughts, Usage,
    },
    fixtures,
    sdk::BedrockTarget,
    stack::http_client,
};

const REGION: &str = "us-east-1";
const MODEL: &str = "us.anthropic.claude-opus-5-5";

#[tokio::test]
async fn awss_own_client_finds_nothing_wrong() {
    // The SDK's client sends the newest version of the API as it is.
    let newest = Capabilities::default().with_version("2026-10-21");
    let http = Simulator::builder().region(REGION).capabilities(newest);
    let http = http.start().await.unwrap();
    let https = Simulator::builder().region(REGION).tls();
    let https = https.start().await.unwrap();
    let mut ca_file = tempfile::NamedTempFile::new().unwrap();
    let ca_pem = https.ca_pem().unwrap();
    ca_file.write_all(ca_pem.as_bytes()).unwrap();
    let target = BedrockTarget {
        http_url: http.url(),
        https_url: https.url(),
        ca_file: ca_file.path().to_owned(),
        region: REGION.to_owned(),
    };
    let printed = target.check().await.unwrap();
    assert!(printed.contains("\nok converse text\n"), "{printed}");
}

/// A question for `InvokeModel`.
fn native(more: Value) -> Value {
    let mut body = json!({
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "say: one two"}],
    });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

async fn post(simulator: &Simulator, path: &str, body: &Value) -> Response {
    http_client()
        .unwrap()
        .post(format!("{}{path}", simulator.url()))
        .bearer_auth(API_KEY)
        .header("anthropic-version", "2023-06-01")
        .body(body.to_string())
        .send()
        .await
        .unwrap()
}

async fn invoke(simulator: &Simulator, body: &Value) -> Response {
    post(simulator, &format!("/model/{MODEL}/invoke"), body).await
}

/// The error code and the message of a refusal.
async fn refusal(response: Response) -> (String, String) {
    let code = response.headers()["x-amzn-errortype"].to_str().unwrap();
    let code = code.split(':').next().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    let message = body.pointer("/error/message").unwrap_or(&body["message"]);
    (code, message.as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_request_is_kept_as_it_came_and_its_answer_is_counted() {
    let simulator = Simulator::start().await.unwrap();
    let used = Usage {
        input_tokens: 10,
        output_tokens: 20,
        cache_read_tokens: 30,
        cache_write_5m_tokens: 40,
        cache_write_1h_tokens: 50,
    };
    let model = "global.anthropic.claude-x-v1:0";
    let converse = json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]});
    let messages = json!({"model": model, "max_tokens": 9, "messages": [
        {"role": "user", "content": "hi"},
    ]});
    let cases = [
        ("invoke", Operation::Invoke, native(json!({}))),
        (
            "invoke-with-response-stream",
            Operation::InvokeStream,
            native(json!({})),
        ),
        ("converse", Operation::Converse, converse.clone()),
        ("converse-stream", Operation::ConverseStream, converse),
        ("", Operation::Messages, messages),
    ];
    for (name, operation, body) in cases {
        simulator.script().then(Reply::answer().tokens(used));
        let path = match name {
            "" => "/anthropic/v1/messages".to_owned(),
            name => format!("/model/global.anthropic.claude-x-v1%3A0/{name}"),
        };
        let response = post(&simulator, &path, &body).await;
        assert_eq!(response.status(), 200, "{name}");
        let request_id = response.headers()["x-amzn-requestid"].to_str().unwrap();
        let request_id = request_id.to_owned();
        response.bytes().await.unwrap();

        let received = simulator.received().pop().unwrap();
        assert_eq!(
            (received.operation, received.model.as_str()),
            (operation, model)
        );
        assert_eq!(received.request_id, request_id);
        assert!(
            received
                .head()
                .starts_with(&format!("POST {path} HTTP/1.1\n"))
        );
        assert!(received.contains(API_KEY) && received.contains("\"hi\"") != name.starts_with('i'));
        assert!(!received.contains("sk-ant-"));
        let entry = simulator.ledger().entries.pop_back().unwrap();
        assert_eq!(
            (entry.request_id, entry.tokens),
            (request_id, used),
            "{name}"
        );
    }
}

#[tokio::test]
async fn frames_wait_for_their_gate() {
    let simulator = Simulator::start().await.unwrap();
    let gate = Gate::closed();
    simulator.script().then(
        Reply::text("one two")
            .gate(&gate)
            .ending(At::Events(3), How::Clean),
    );
    let path = format!("/model/{MODEL}/invoke-with-response-stream");
    let mut response = post(&simulator, &path, &native(json!({}))).await;
    let mut kinds = Vec::new();
    for _ in 0..3 {
        gate.release(1);
        let frame = response.chunk().await.unwrap().unwrap();
        let message = read_message_from(frame).unwrap();
        let payload: Value = serde_json::from_slice(message.payload()).unwrap();
        let event = BASE64_STANDARD.decode(payload["bytes"].as_str().unwrap());
        let event: Value = serde_json::from_slice(&event.unwrap()).unwrap();
        kinds.push(event["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        kinds,
        [
            "message_start",
            "content_block_start",
            "content_block_delta"
        ]
    );
    assert_eq!(response.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn credentials_and_capabilities_change_while_it_runs() {
    let simulator = Simulator::start().await.unwrap();
    let body = native(json!({
        "anthropic_beta": ["effort-2025-11-24"],
        "output_config": {"effort": "high"},
    }));
    assert_eq!(invoke(&simulator, &body).await.status(), 200);

    let usual = Capabilities::default();
    let cases = [
        (
            usual.clone().without_beta("effort-2025-11-24"),
            "`effort-2025-11-24`",
        ),
        (
            usual
                .clone()
                .without_betas()
                .beta_wording(BetaWording::Unnamed),
            "invalid beta flag",
        ),
        (
            usual.clone().without_field("output_config"),
            "output_config: Extra inputs are not permitted",
        ),
        (
            usual
                .without_field("output_config.effort")
                .field_wording(FieldWording::Extraneous),
            "#/output_config: extraneous key [effort] is not permitted",
        ),
    ];
    for (capabilities, expected) in cases {
        simulator.offer().set_for_model("opus", capabilities);
        let response = invoke(&simulator, &body).await;
        assert_eq!(response.status(), 400);
        let (code, message) = refusal(response).await;
        assert_eq!(code, "ValidationException");
        assert!(message.contains(expected), "{message}");
    }
    let other = "/model/anthropic.claude-sonnet-5-5/invoke";
    assert_eq!(post(&simulator, other, &body).await.status(), 200);

    simulator.credentials().revoke(API_KEY);
    let response = invoke(&simulator, &body).await;
    assert_eq!(response.status(), 403);
    assert_eq!(refusal(response).await.0, "AccessDeniedException");
}

#[tokio::test]
async fn the_messages_path_answers_like_the_api() {
    let simulator = Simulator::start().await.unwrap();
    let path = "/anthropic/v1/messages";
    let mut body = json!({"model": MODEL, "max_tokens": 99, "messages": [
        {"role": "user", "content": "say: one two"},
    ]});
    let message: Value = post(&simulator, path, &body).await.json().await.unwrap();
    assert_eq!(message["content"][0]["text"], "one two");

    body["stream"] = json!(true);
    let text = post(&simulator, path, &body).await.text().await.unwrap();
    assert!(text.starts_with("event: message_start\n"), "{text}");
    assert!(
        text.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
        "{text}"
    );
    assert!(!text.contains("ping") && !text.contains("invocationMetrics"));

    simulator
        .script()
        .then(Reply::refusal(Exception::Throttling))
        .then(Reply::answer().ending(At::Events(2), How::Error(Exception::Throttling.into())));
    let refused = post(&simulator, path, &body).await;
    assert_eq!(refused.status(), 429);
    let errortype = refused.headers()["x-amzn-errortype"].to_str().unwrap();
    assert!(errortype.starts_with("ThrottlingException:"), "{errortype}");
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["type"], "error");
    assert_eq!(error["error"]["type"], "rate_limit_error");
    let text = post(&simulator, path, &body).await.text().await.unwrap();
    assert!(
        text.contains("event: error\ndata: {\"type\":\"error\""),
        "{text}"
    );

    body["model"] = json!("claude-opus-5-5");
    let (code, message) = refusal(post(&simulator, path, &body).await).await;
    assert_eq!(code, "ValidationException");
    assert_eq!(message, "The provided model identifier is invalid.");
}

#[tokio::test]
async fn thoughts_of_one_simulator_are_foreign_to_the_other() {
    let bedrock = Simulator::start().await.unwrap();
    bedrock.take(Thoughts::Own);
    let api = anthropic::Simulator::start().await.unwrap();
    let question = json!({
        "model": "claude-opus-5-5",
        "max_tokens": 4096,
        "thinking": {"type": "adaptive"},
        "messages": [{"role": "user", "content": "say: hi"}],
    });
    let answer = http_client()
        .unwrap()
        .post(format!("{}/v1/messages", api.url()))
        .header("x-api-key", "k")
        .header("anthropic-version", "2023-06-01")
        .body(question.to_string())
        .send();
    let foreign: Value = answer.await.unwrap().json().await.unwrap();
    let with = |thoughts: &Value| {
        native(json!({"thinking": {"type": "adaptive"}, "messages": [
            {"role": "user", "content": "say: hi"},
            {"role": "assistant", "content": thoughts},
            {"role": "user", "content": "say: again"},
        ]}))
    };
    let refused = invoke(&bedrock, &with(&foreign["content"])).await;
    assert_eq!(
        refusal(refused).await.1,
        "messages.1.content.0: Invalid `signature` in `thinking` block"
    );
    let own = native(json!({"thinking": {"type": "adaptive"}}));
    let own: Value = invoke(&bedrock, &own).await.json().await.unwrap();
    let signature = own["content"][0]["signature"].as_str().unwrap();
    assert!(signature.starts_with(SIGNATURE_PREFIX));
    assert_eq!(invoke(&bedrock, &with(&own["content"])).await.status(), 200);

    let thought = &foreign["content"][0];
    let text = json!({"text": thought["thinking"], "signature": thought["signature"]});
    let converse = json!({"messages": [
        {"role": "user", "content": [{"text": "hi"}]},
        {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": text}}]},
        {"role": "user", "content": [{"text": "again"}]},
    ]});
    let refused = post(&bedrock, &format!("/model/{MODEL}/converse"), &converse).await;
    assert_eq!(
        refusal(refused).await.1,
        "The model returned the following errors: messages.1.content.0: Invalid `signature` in `thinking` block"
    );
}

#[tokio::test]
async fn it_can_be_scripted_and_read_over_http() {
    let simulator = Simulator::start().await.unwrap();
    let rules = json!([
        {"model": "sonnet", "reply": {"content": {"error": {"status": 500}}}},
        {"operation": "converse", "reply": {"content": {"error": {"status": 503}}}},
        {"reply": {"content": {"text": "scripted"}}},
    ]);
    assert_eq!(post(&simulator, "/_script", &rules).await.status(), 200);
    let answer: Value = invoke(&simulator, &native(json!({})))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(answer["content"][0]["text"], "scripted");
    let converse = post(&simulator, &format!("/model/{MODEL}/converse"), &json!({})).await;
    assert_eq!(refusal(converse).await.0, "ServiceUnavailableException");
    let received = http_client()
        .unwrap()
        .get(format!("{}/_received", simulator.url()));
    let received: Value = received.send().await.unwrap().json().await.unwrap();
    assert_eq!(received[0]["operation"], "invoke");
    assert_eq!(received[1]["model"], MODEL);
}

#[tokio::test]
async fn what_claude_code_sends_to_bedrock_is_looked_at_closely() {
    let simulator = Simulator::start().await.unwrap();
    let recorded = fixtures::named("new__bedrock-mode__05").unwrap();
    let send = async || post(&simulator, &recorded.path, &recorded.json().unwrap()).await;
    let (_, message) = refusal(send().await).await;
    assert!(
        message.contains("`thinking-token-count-2026-05-13`"),
        "{message}"
    );

    let wider = Capabilities::default().with_beta("thinking-token-count-2026-05-13");
    simulator.offer().set(wider.clone());
    let (_, message) = refusal(send().await).await;
    assert_eq!(
        message,
        "output_config.effort: Extra inputs are not permitted"
    );

    let wider = wider
        .with_field("output_config.effort")
        .with_field("messages.role.system");
    simulator.offer().set(wider);
    assert_eq!(send().await.status(), 200);
}
