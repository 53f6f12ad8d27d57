//! A line of text → the requests in it, whatever has wrapped them: the log as a
//! proxy writes it, as a log group gives it back, as a container's driver keeps
//! it. Pure.

use proto::{
    line::{self, Line},
    sync::UsageEvent,
};
use serde_json::Value;

/// Wrappers within wrappers: a query's answer that quotes a driver's line that
/// quotes ours.
const MAX_DEPTH: usize = 8;

/// What a line has.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A request; without an event when it is not metered.
    Request(Option<Box<UsageEvent>>),
    /// It says that it is a request's, but it is not readable. Says why.
    Broken(String),
}

/// Every request that a line carries; none for a line of another kind.
pub fn find(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    search_text(text, 0, &mut found);
    found
}

fn search_text(text: &str, depth: usize, found: &mut Vec<Found>) {
    if depth > MAX_DEPTH || !mentions_a_request(text) {
        return;
    }
    match parse(text) {
        Ok(value) => search(value, depth, found),
        Err(error) => found.push(Found::Broken(error.to_string())),
    }
}

fn search(value: Value, depth: usize, found: &mut Vec<Found>) {
    if is_canonical(&value) {
        found.push(match serde_json::from_value::<Line<'static>>(value) {
            Ok(line) => Found::Request(line.event().map(Box::new)),
            Err(error) => Found::Broken(error.to_string()),
        });
        return;
    }
    match value {
        Value::String(text) => search_text(&text, depth + 1, found),
        Value::Array(items) => {
            for item in items {
                search(item, depth, found);
            }
        }
        Value::Object(members) => {
            for (_, member) in members {
                search(member, depth, found);
            }
        }
        _ => {}
    }
}

/// Whether there is a canonical line in it, however deeply quoted: then its quotes
/// have backslashes.
fn mentions_a_request(text: &str) -> bool {
    // Most lines of other kinds end here.
    text.contains("request_id")
        && text
            .replace(['\\', ' '], "")
            .contains(r#""message":"request""#)
}

fn is_canonical(value: &Value) -> bool {
    value["message"] == line::MESSAGE && value["request_id"].is_string()
}

/// A text is JSON; or JSON behind a time and a name; or, of JSON that was written
/// over many lines, the one line with ours.
fn parse(text: &str) -> Result<Value, serde_json::Error> {
    let text = text.trim();
    let whole = serde_json::from_str(text);
    let Err(error) = whole else {
        return whole;
    };
    let without_comma = text.strip_suffix(',').unwrap_or(text);
    let member = serde_json::from_str(&format!("{{{without_comma}}}"));
    let behind = text
        .find('{')
        .and_then(|at| serde_json::from_str(text.get(at..)?).ok());
    member.or_else(|_none| behind.ok_or(error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn canonical() -> Value {
        json!({
            "timestamp": "2026-11-27T10:00:00Z", "level": "INFO", "message": "request",
            "event_id": "01a21df5-1c49-734f-8270-08d883310f12", "request_id": "req_1",
            "endpoint": "messages", "started_at": "2026-11-27T09:59:59Z", "duration_ms": 7,
            "outcome": "complete", "status": 200, "input_tokens": 3,
        })
    }

    #[track_caller]
    fn holds(text: &str, events: usize) {
        let found = find(text);
        assert_eq!(found.len(), events, "{text}: {found:?}");
        for found in found {
            let Found::Request(Some(event)) = found else {
                panic!("{text}: {found:?}");
            };
            assert_eq!(event.request_id, "req_1");
            assert_eq!(event.tokens.unwrap().input_tokens, 3);
        }
    }

    #[test]
    fn a_request_is_found_in_every_wrapping() {
        let line = canonical().to_string();
        // As it is; behind what `aws logs tail` and docker put before it.
        holds(&line, 1);
        holds(&format!("  {line}\r"), 1);
        holds(
            &format!("2026-11-27T10:00:00.123Z proxy/proxy/0a1b {line}"),
            1,
        );
        holds(&format!("proxy-1  | {line}"), 1);
        // Drivers and collectors.
        holds(
            &json!({"log": format!("{line}\n"), "stream": "stdout"}).to_string(),
            1,
        );
        holds(
            &json!({"container_name": "proxy", "log": line}).to_string(),
            1,
        );
        // `aws logs filter-log-events`, on one line, and the one line of many.
        let event = json!({"logStreamName": "s", "timestamp": 1, "message": line});
        holds(&json!({"events": [event, event]}).to_string(), 2);
        holds(&format!("            \"message\": {},", json!(line)), 1);
        // Insights.
        let row =
            json!([{"field": "@timestamp", "value": "…"}, {"field": "@message", "value": line}]);
        holds(&json!({"results": [row]}).to_string(), 1);
        holds(&format!("\"value\": {}", json!(line)), 1);
        // A subscription, in which a driver has wrapped it already.
        let driver = json!({"log": line}).to_string();
        holds(
            &json!({"logEvents": [{"id": "1", "message": driver}]}).to_string(),
            1,
        );
    }

    #[test]
    fn other_lines_have_none() {
        for text in [
            "",
            "{}",
            "hello",
            "{\"message\":\"ready for clients\"}",
            "{\"message\":\"watch.started\",\"instance_id\":\"event_id\"}",
            "[1, 2]",
        ] {
            assert_eq!(find(text), [], "{text}");
        }
        // Requests that are not metered.
        let mut probe = canonical();
        probe.as_object_mut().unwrap().remove("event_id");
        assert_eq!(find(&probe.to_string()), [Found::Request(None)]);
    }

    #[test]
    fn what_is_cut_off_or_changed_is_told() {
        let line = canonical().to_string();
        let (cut, _) = line.split_at(line.len() - 10);
        assert!(matches!(find(cut).as_slice(), [Found::Broken(_)]));
        let mut changed = canonical();
        changed["duration_ms"] = json!("long");
        let found = find(&changed.to_string());
        assert!(matches!(found.as_slice(), [Found::Broken(_)]), "{found:?}");
    }

    #[test]
    fn wrappers_without_end_are_given_up() {
        let mut text = canonical().to_string();
        for _ in 0..10 {
            text = json!({"log": text}).to_string();
        }
        assert_eq!(find(&text), []);
    }
}
