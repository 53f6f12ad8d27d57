//! The description of the admin API: current, complete, and served.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::support::TestApp;

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

#[test]
fn the_committed_description_is_current() {
    let current = control::http::document().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(SNAPSHOT, current).unwrap();
        return;
    }
    let committed = fs::read_to_string(SNAPSHOT).unwrap_or_default();
    assert!(
        committed == current,
        "openapi.json is stale; run UPDATE_OPENAPI=1 cargo test -p control openapi"
    );
}

#[test]
fn every_operation_has_its_own_id_a_summary_and_its_errors() {
    let document = serde_json::to_value(control::http::document()).unwrap();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id), "{name}: its id is taken");
            assert!(operation["summary"].is_string(), "{name}: no summary");
            let responses = operation["responses"].as_object().unwrap();
            if operation["security"] != serde_json::json!([{}]) {
                assert!(responses.contains_key("401"), "{name}: no 401");
            }
            if path.contains('{') {
                assert!(responses.contains_key("400"), "{name}: no 400");
                assert!(responses.contains_key("404"), "{name}: no 404");
            }
            for (status, response) in responses {
                if status.starts_with(['4', '5']) {
                    let schema = &response["content"]["application/json"]["schema"];
                    assert_eq!(
                        schema["$ref"], "#/components/schemas/ErrorBody",
                        "{name} {status}"
                    );
                }
            }
        }
    }
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    for reference in references(&document) {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
}

/// The names of Rust's variants are nobody's business.
#[test]
fn enumerations_have_the_values_of_the_json() {
    let document = serde_json::to_value(control::http::document()).unwrap();
    let values = enumerated(&document);
    assert!(values.contains(&"plan_first") && values.contains(&"access_key.issued"));
    for value in values {
        let is_mixed = value.contains(char::is_uppercase) && value.contains(char::is_lowercase);
        assert!(!is_mixed, "{value}");
    }
}

fn enumerated(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("enum", Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
                _ => enumerated(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(enumerated).collect(),
        _ => vec![],
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("$ref", Value::String(reference)) => vec![reference.clone()],
                _ => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => vec![],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_served_to_everybody() {
    let app = TestApp::start().await;
    let url = app.url("/openapi.json");
    let served = crate::support::http_client().get(url).send().await.unwrap();
    let served: Value = serde_json::from_str(&served.text().await.unwrap()).unwrap();
    assert_eq!(
        served,
        serde_json::to_value(control::http::document()).unwrap()
    );
}
