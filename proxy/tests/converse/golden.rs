//! One input and one output per rule of the translation.
//!
//! `UPDATE_GOLDEN=1` writes the outputs anew. Each of them is then to be read: one
//! that records a mistake is worse than none.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proxy::upstream::bedrock::converse::{
    Family, answer,
    dropped::Dropped,
    names::Names,
    request::{Translated, translate},
    stream::{Events, Unfinished},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::wire;

/// What the client asked for, which is what it is told.
const MODEL: &str = "claude-sonnet-4-5";

/// What the input of a rule may say about the names of its request.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    tools: Vec<String>,
    #[serde(default)]
    ids: Vec<String>,
}

impl Asked {
    fn names(&self) -> Names {
        let tools = self.tools.iter().map(String::as_str);
        Names::new(tools, self.ids.iter().map(String::as_str))
    }
}

#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    family: String,
    #[serde(default)]
    betas: Vec<String>,
    body: Value,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(flatten)]
    asked: Asked,
    body: Value,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(flatten)]
    asked: Asked,
    frames: Vec<(String, Value)>,
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

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
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
async fn answers_are_messages_as_written_down() {
    let mut results = Vec::new();
    for rule in rules("answer", "converse.json", "answer.json") {
        let given: Answer = read(&rule.join("converse.json"));
        let output = wire::answered(&given.body).await;
        let message = answer::message(&output, MODEL, &given.asked.names(), "msg_golden");
        results.push((rule.join("answer.json"), pretty(&message)));
    }
    settle(results);
}

#[tokio::test]
async fn streams_are_events_as_written_down() {
    let mut results = Vec::new();
    for rule in rules("stream", "frames.json", "events.sse") {
        let given: Stream = read(&rule.join("frames.json"));
        let mut output = wire::streamed(&given.frames).await;
        let names = given.asked.names();
        let mut events = Events::new(MODEL.to_owned(), names, "msg_golden".to_owned());
        let mut out = Vec::new();
        while let Some(event) = output.stream.recv().await.unwrap() {
            events.on(&event, &mut out);
        }
        if events.end(&mut out) == Err(Unfinished) {
            out.extend_from_slice(b": unfinished\n");
        }
        results.push((rule.join("events.sse"), String::from_utf8(out).unwrap()));
    }
    settle(results);
}
