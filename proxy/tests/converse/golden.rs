//! One input and one output per rule of the translation.
//!
//! `UPDATE_GOLDEN=1` writes the outputs anew. Each of them is then to be read: one
//! that records a mistake is worse than none.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proxy::upstream::{
    bedrock::{
        converse::{
            Family, answer,
            dropped::Dropped,
            names::Names,
            request::{Translated, translate},
            stream::Events,
        },
        shape::fold_system_messages,
    },
    members::Members,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use crate::wire;

/// What the client asked for, which is what it is told.
const MODEL: &str = "claude-sonnet-4-5";

#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    family: String,
    #[serde(default)]
    betas: Vec<String>,
    body: Members,
}

#[derive(Deserialize)]
struct Answer {
    /// Names of tools in its request.
    #[serde(default)]
    tools: Vec<String>,
    body: Box<RawValue>,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    tools: Vec<String>,
    frames: Vec<(String, Value)>,
}

fn names(tools: &[String]) -> Names {
    Names::new(tools.iter().map(String::as_str), [])
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/converse")
}

/// The rules of one direction: each a folder with an input and an output.
fn rules(direction: &str, input: &str, output: &str) -> Vec<PathBuf> {
    let mut rules = Vec::new();
    for entry in fs::read_dir(root().join(direction)).unwrap() {
        let rule = entry.unwrap().path();
        let files = fs::read_dir(&rule).unwrap();
        let names = files.map(|it| it.unwrap().file_name().into_string().unwrap());
        let names: BTreeSet<String> = names.collect();
        let mut expected = BTreeSet::from([input.to_owned(), output.to_owned()]);
        if is_updating() && !names.contains(output) {
            expected.remove(output);
        }
        assert_eq!(names, expected, "{}", rule.display());
        rules.push(rule);
    }
    rules.sort();
    rules
}

fn is_updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    let text = fs::read(path).unwrap();
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

/// Compares what came out with what is written down, rule by rule.
fn settle(results: Vec<(PathBuf, String)>) {
    let mut differing = Vec::new();
    for (path, actual) in results {
        if is_updating() {
            fs::write(&path, actual).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&path).unwrap();
        if expected != actual {
            println!("--- {}\n{expected}\n+++ actual\n{actual}", path.display());
            let rule = path.parent().unwrap().file_name().unwrap();
            differing.push(rule.to_owned());
        }
    }
    assert!(differing.is_empty(), "these rules differ: {differing:?}");
}

fn family(name: &str) -> Family {
    match name {
        "" | "anthropic" => Family::Anthropic,
        "nova" => Family::Nova,
        "other" => Family::Other,
        name => panic!("no family {name}"),
    }
}

#[tokio::test]
async fn requests_are_on_the_wire_as_written_down() {
    let mut results = Vec::new();
    let mut dropped: BTreeSet<&str> = BTreeSet::new();
    for rule in rules("request", "request.json", "converse.json") {
        let question: Question = read(&rule.join("request.json"));
        let translated = translate(&question.body, &question.betas, family(&question.family));
        let output = match translated {
            Ok(translated) => {
                dropped.extend(translated.dropped.iter().map(|it| it.label()));
                on_the_wire(translated).await
            }
            Err(invalid) => json!({"error": invalid.to_string()}),
        };
        results.push((rule.join("converse.json"), pretty(&output)));
    }
    settle(results);
    let all: BTreeSet<&str> = Dropped::ALL.map(Dropped::label).into();
    assert_eq!(dropped, all, "every feature that is left out has its rule");
}

async fn on_the_wire(translated: Translated) -> Value {
    let sent = wire::sent(translated.request).await;
    let mut sent: Value = serde_json::from_slice(&sent).unwrap();
    if let Some(metadata) = sent.get_mut("requestMetadata") {
        metadata.sort_all_objects();
    }
    let dropped: Vec<&str> = translated.dropped.iter().map(|it| it.label()).collect();
    json!({"dropped": dropped, "wire": sent})
}

#[tokio::test]
async fn the_same_request_is_the_same_bytes() {
    let path = root().join("request/tool-schema-order/request.json");
    let question: Question = read(&path);
    let mut first = None;
    for _ in 0..20 {
        let translated = translate(&question.body, &[], Family::Anthropic).unwrap();
        let sent = wire::sent(translated.request).await;
        assert_eq!(first.get_or_insert(sent.clone()), &sent);
    }
}

#[tokio::test]
async fn numbers_reach_the_model_digit_by_digit() {
    let input = r#"{"z":1.0,"a":1e2,"long":123456789012345678901234567890}"#;
    let schema = r#"{"type":"object","properties":{"n":{"maximum":1e2,"minimum":1.0}}}"#;
    let body = format!(
        r#"{{"temperature":0.7,"tools":[{{"name":"T","input_schema":{schema}}}],"messages":[
            {{"role":"user","content":"Go"}},
            {{"role":"assistant","content":[{{"type":"text","text":"Yes."}},
                {{"type":"tool_use","id":"a","name":"T","input":{input}}}]}},
            {{"role":"user","content":[{{"type":"tool_result","tool_use_id":"a","content":"ok"}}]}}
        ]}}"#
    );
    let body = serde_json::from_str(&body).unwrap();
    let translated = translate(&body, &[], Family::Anthropic).unwrap();
    let sent = String::from_utf8(wire::sent(translated.request).await).unwrap();
    for text in [input, schema, r#""temperature":0.7}"#] {
        assert!(sent.contains(text), "{sent}");
    }
}

/// What the adapters for Anthropic's own format do with a message of the system
/// that is refused is what this one does with all of them.
#[tokio::test]
async fn a_message_of_the_system_is_folded_in_one_way() {
    let mut folded = 0;
    for rule in rules("request", "request.json", "converse.json") {
        let question: Question = read(&rule.join("request.json"));
        let mut body = question.body.clone();
        if !body.edit("messages", |_| true, fold_system_messages) {
            continue;
        }
        folded += 1;
        let family = family(&question.family);
        let [there, before] = [&question.body, &body].map(|it| translate(it, &[], family).unwrap());
        let (there, before) = (on_the_wire(there).await, on_the_wire(before).await);
        assert_eq!(there["wire"], before["wire"], "{}", rule.display());
    }
    assert!(folded > 5, "{folded}");
}

#[tokio::test]
async fn answers_are_messages_as_written_down() {
    let mut results = Vec::new();
    for rule in rules("answer", "converse.json", "answer.json") {
        let given: Answer = read(&rule.join("converse.json"));
        let (output, original) = wire::answered(given.body.get()).await;
        let names = names(&given.tools);
        let message = match answer::message(&output, &original, MODEL, &names, "msg_golden") {
            Ok(message) => pretty(&message),
            Err(malformed) => pretty(&json!({"error": malformed.to_string()})),
        };
        results.push((rule.join("answer.json"), message));
    }
    settle(results);
}

#[tokio::test]
async fn streams_are_events_as_written_down() {
    let mut results = Vec::new();
    for rule in rules("stream", "frames.json", "events.sse") {
        let given: Stream = read(&rule.join("frames.json"));
        let mut output = wire::streamed(&given.frames).await;
        let names = names(&given.tools);
        let mut events = Events::new(MODEL.to_owned(), names, "msg_golden".to_owned());
        let mut out = Vec::new();
        while let Some(event) = output.stream.recv().await.unwrap() {
            events.on(&event, &mut out);
        }
        if let Err(unfinished) = events.end(&mut out) {
            out.extend_from_slice(format!(": {unfinished}\n").as_bytes());
        }
        results.push((rule.join("events.sse"), String::from_utf8(out).unwrap()));
    }
    settle(results);
}
