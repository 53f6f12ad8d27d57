//! What Claude Code really sends, through every adapter, into a Bedrock that
//! takes nothing it does not know.

use http::Request;
use http_body_util::Full;
use proto::sync::Resource;
use testkit::{
    bedrock::{Operation, Received},
    fixtures::{self, Fixture},
};

use crate::support::{
    bedrock::{BedrockRig, api_key, bedrock_key, mapping, refused},
    client::Answer,
    key,
};

/// What control knows from the first day.
const SEEDS: &str = include_str!("../../../control/migrations/2026-11-20-100000_bedrock/up.sql");

/// The models of the recordings, and what Bedrock calls them.
const MODELS: [(&str, &str); 5] = [
    ("claude-opus-5-5", "global.anthropic.claude-opus-5-5"),
    ("claude-sonnet-4-6", "global.anthropic.claude-sonnet-4-6"),
    (
        "claude-sonnet-4-5-20250929",
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ),
    (
        "claude-haiku-4-5-20251001",
        "global.anthropic.claude-haiku-4-5-20251001-v1:0",
    ),
    (
        "claude-sonnet-4-5",
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ),
];

fn resources() -> Vec<Resource> {
    let mappings = MODELS.iter().map(|(from, to)| mapping(from, to, None));
    let seeds = SEEDS
        .split('\'')
        .filter(|text| text.starts_with("beta:") || text.starts_with("field:"));
    let seeds: Vec<Resource> = seeds.map(refused).collect();
    assert!(seeds.len() > 10, "the seeds are no longer where they were");
    let key = bedrock_key(&api_key(), 1);
    mappings.chain(seeds).chain([key]).collect()
}

fn recordings() -> Vec<Fixture> {
    let recordings = fixtures::all().unwrap().into_iter();
    let recordings: Vec<Fixture> = recordings
        .filter(|it| it.method == "POST" && it.path.contains("/v1/messages"))
        .collect();
    assert!(recordings.len() > 20);
    recordings
}

fn request(recording: &Fixture) -> Request<Full<bytes::Bytes>> {
    let path = recording.path.replace("ACCESS_KEY", &key());
    let mut request = Request::post(path);
    for (name, value) in &recording.headers {
        if !["host", "connection"].contains(&name.to_ascii_lowercase().as_str()) {
            request = request.header(name, value);
        }
    }
    request.body(Full::new(recording.body.clone())).unwrap()
}

fn is_stream(recording: &Fixture) -> bool {
    let body: serde_json::Value = serde_json::from_slice(&recording.body).unwrap();
    body["stream"] == true
}

#[track_caller]
fn is_whole(answer: &Answer, recording: &Fixture) {
    let body = String::from_utf8_lossy(&answer.body);
    if recording.path.contains("count_tokens") {
        assert!(body.contains("input_tokens"), "{body}");
    } else if is_stream(recording) {
        assert!(body.starts_with("event: message_start\n"), "{body}");
        assert!(
            body.trim_end().ends_with(r#"{"type":"message_stop"}"#),
            "{body}"
        );
    } else {
        assert_eq!(answer.json()["type"], "message");
    }
}

async fn all_pass(api: &str, expected: fn(&Received) -> bool) {
    let BedrockRig { rig, bedrock } = BedrockRig::with(&["--bedrock-api", api], resources()).await;
    assert!(bedrock.is_strict());
    let mut sent = 0;
    for recording in recordings() {
        let answer = rig.client().await.send(request(&recording)).await;
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{}: {body}", recording.name);
        is_whole(&answer, &recording);
        sent += 1;
        // Nothing had to be learned on the way.
        assert_eq!(bedrock.received().len(), sent, "{}", recording.name);
        let received = bedrock.received();
        let received = received.last().unwrap();
        let is_count = received.operation == Operation::CountTokens;
        assert!(is_count || expected(received), "{}", received.path);
        assert!(!received.contains(&key()));
    }
}

#[tokio::test]
async fn recorded_requests_pass_through_invoke() {
    let is_invoke =
        |it: &Received| matches!(it.operation, Operation::Invoke | Operation::InvokeStream);
    all_pass("invoke", is_invoke).await;
}

#[tokio::test]
async fn recorded_requests_pass_through_messages() {
    all_pass("messages", |it| it.operation == Operation::Messages).await;
}

#[tokio::test]
async fn recorded_requests_pass_through_converse() {
    let is_converse = |it: &Received| {
        matches!(
            it.operation,
            Operation::Converse | Operation::ConverseStream
        )
    };
    all_pass("converse", is_converse).await;
}
