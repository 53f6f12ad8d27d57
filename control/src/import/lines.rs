//! A line of text → the requests in it, whatever has wrapped them: the log as a
//! proxy writes it, as a log group gives it back, as a container's driver keeps
//! it. Pure.

use std::{fmt, io};

use proto::{
    line::{self, Line},
    sync::UsageEvent,
};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Wrappers within wrappers: a query's answer that quotes a driver's line that
/// quotes ours.
const MAX_DEPTH: usize = 8;

/// A longer line is not one request's.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// What a line has.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A request; without an event when it is not metered.
    Request(Option<Box<UsageEvent>>),
    /// Something that may be a request's, and is not counted. Says why.
    PassedOver(PassedOver, String),
}

/// Why something that may be a request's is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOver {
    /// It says that it is a request's, but it is not readable.
    Unreadable,
    /// It is quoted within quotes within quotes.
    TooDeep,
    /// More than is kept of a line, and not JSON made of shorter texts.
    TooLong,
}

/// Every request that a line carries; none for a line of another kind.
pub fn find(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    search_text(text, 0, &mut |it| found.push(it));
    found
}

/// The same for JSON of any length, of which no more is held than one text and one
/// object without those within it.
///
/// # Errors
/// When it cannot be read, or is not JSON; what came before that is found.
pub fn find_in(json: impl io::Read, mut found: impl FnMut(Found)) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_reader(json);
    let search = Search {
        depth: 0,
        found: &mut found,
    };
    let text = search.deserialize(&mut json)?;
    search_quoted(text, 0, &mut found);
    json.end()
}

fn search_text(text: &str, depth: usize, found: &mut dyn FnMut(Found)) {
    if !mentions_a_request(text) {
        return;
    }
    if depth > MAX_DEPTH {
        let reason = format!("quoted more than {MAX_DEPTH} times");
        return found(Found::PassedOver(PassedOver::TooDeep, reason));
    }
    let searched = parse(text).and_then(|value| Search { depth, found }.deserialize(value));
    match searched {
        Ok(value) => search_quoted(value, depth, found),
        Err(error) => search_pieces(text, &error, found),
    }
}

/// How a canonical line begins.
const BEGINNING: &str = r#"{"timestamp":"#;

/// A line in which ours stands beside something else: the half line of a proxy that was
/// killed, another whole one, what colours it.
fn search_pieces(text: &str, error: &serde_json::Error, found: &mut dyn FnMut(Found)) {
    let (mut end, mut requests, mut is_torn) = (0, 0, false);
    for (begin, _) in text.match_indices(BEGINNING) {
        if begin < end {
            continue;
        }
        let piece = text.get(begin..).unwrap_or_default();
        let mut values =
            serde_json::Deserializer::from_str(piece).into_iter::<Map<String, Value>>();
        let Some(Ok(members)) = values.next() else {
            is_torn = true;
            continue;
        };
        end = begin + values.byte_offset();
        if is_canonical(&members) {
            requests += 1;
            Search {
                depth: 0,
                found: &mut *found,
            }
            .object(members);
        }
    }
    if is_torn || requests == 0 {
        found(unreadable(error));
    }
}

fn unreadable(error: &serde_json::Error) -> Found {
    Found::PassedOver(PassedOver::Unreadable, error.to_string())
}

fn search_quoted(value: Value, depth: usize, found: &mut dyn FnMut(Found)) {
    if let Value::String(text) = value {
        search_text(&text, depth + 1, found);
    }
}

/// Reads a value and searches what is in it. A value that has nothing in it comes
/// back, because it may be a member of a canonical line; so does a text, which
/// nobody else then searches.
struct Search<'a> {
    depth: usize,
    found: &'a mut dyn FnMut(Found),
}

impl Search<'_> {
    fn again(&mut self) -> Search<'_> {
        Search {
            depth: self.depth,
            found: &mut *self.found,
        }
    }

    /// The members are all that is left to search.
    fn object(&mut self, members: Map<String, Value>) {
        if !is_canonical(&members) {
            return self.quoted_in(members);
        }
        let line = serde_json::from_value::<Line<'static>>(members.into());
        (self.found)(match line {
            Ok(line) => Found::Request(line.event().map(Box::new)),
            Err(error) => unreadable(&error),
        });
    }

    fn quoted_in(&mut self, members: Map<String, Value>) {
        for (_, member) in members {
            search_quoted(member, self.depth, self.found);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Value, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        while let Some(item) = items.next_element_seed(self.again())? {
            search_quoted(item, self.depth, self.found);
        }
        Ok(Value::Null)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        let mut bytes = 0;
        while let Some(name) = items.next_key::<String>()? {
            let member = items.next_value_seed(self.again())?;
            bytes += name.len() + member.as_str().map_or(0, str::len);
            members.insert(name, member);
            if bytes > MAX_LINE_BYTES {
                // None of ours. Nobody has to hold all of it.
                self.quoted_in(std::mem::take(&mut members));
                bytes = 0;
            }
        }
        self.object(members);
        Ok(Value::Null)
    }
}

/// Whether there is a canonical line in it, however deeply quoted: then its quotes
/// have backslashes, or are numbers.
fn mentions_a_request(text: &str) -> bool {
    // Most lines of other kinds end here.
    text.contains("request_id")
        && text
            .replace(['\\', ' '], "")
            .replace("u0022", "\"")
            .contains(r#""message":"request""#)
}

fn is_canonical(members: &Map<String, Value>) -> bool {
    members.get("message").is_some_and(|it| it == line::MESSAGE)
        && members.get("request_id").is_some_and(Value::is_string)
}

/// A text is JSON; or JSON behind a time and a name; or, of JSON that was written
/// over many lines, the one line with ours.
fn parse(text: &str) -> serde_json::Result<Value> {
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

    fn is_the_event(found: &Found) -> bool {
        let Found::Request(Some(event)) = found else {
            return false;
        };
        event.request_id == "req_1" && event.tokens.unwrap().input_tokens == 3
    }

    fn streamed(json: &str) -> (Vec<Found>, serde_json::Result<()>) {
        let mut found = Vec::new();
        let read = find_in(json.as_bytes(), |it| found.push(it));
        (found, read)
    }

    /// However it is read.
    #[track_caller]
    fn holds(text: &str, events: usize) {
        let found = find(text);
        assert_eq!(found.len(), events, "{text}: {found:?}");
        assert!(found.iter().all(is_the_event), "{text}: {found:?}");
        if serde_json::from_str::<Value>(text).is_ok() {
            let (streamed, read) = streamed(text);
            read.unwrap();
            assert_eq!(streamed, found, "{text}");
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
        // One that escapes quotes by their number.
        let quoted = line.replace('"', "\\u0022");
        holds(&format!("{{\"log\":\"{quoted}\"}}"), 1);
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
        // Collected, with what else there was.
        holds(&json!([canonical(), 1, [line], null, 0.5]).to_string(), 2);
    }

    #[test]
    fn what_stands_beside_something_else_is_found() {
        let line = canonical().to_string();
        let line = line.replacen('{', &format!("{BEGINNING}\"2026-11-27T10:00:00Z\","), 1);
        let line = line.replacen(r#","timestamp":"2026-11-27T10:00:00Z""#, "", 1);
        for (text, requests, is_torn) in [
            (format!("{line}{line}"), 2, false),
            (format!("\u{1b}[32m{line}\u{1b}[0m"), 1, false),
            (format!("[proxy {{x}}] {line}"), 1, false),
            (format!("{}{line}", &line[..100]), 1, true),
            (format!("{line}{}", &line[..100]), 1, true),
            (line[..line.len() - 1].to_owned(), 0, true),
        ] {
            let found = find(&text);
            let whole = found.iter().filter(|it| is_the_event(it)).count();
            assert_eq!(whole, requests, "{text}: {found:?}");
            let passed_over = found.len() - whole;
            assert_eq!(passed_over, usize::from(is_torn), "{text}: {found:?}");
        }
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
    fn what_a_client_calls_its_model_is_no_line() {
        let mut line = canonical();
        line["model"] = json!(canonical().to_string());
        holds(&line.to_string(), 1);
    }

    #[track_caller]
    fn is_passed_over(text: &str, why: PassedOver) {
        let found = find(text);
        assert!(
            matches!(found.as_slice(), [Found::PassedOver(it, _)] if *it == why),
            "{text}: {found:?}"
        );
    }

    #[test]
    fn what_is_cut_off_or_changed_is_told() {
        let line = canonical().to_string();
        let (cut, _) = line.split_at(line.len() - 10);
        is_passed_over(cut, PassedOver::Unreadable);
        let mut changed = canonical();
        changed["duration_ms"] = json!("long");
        is_passed_over(&changed.to_string(), PassedOver::Unreadable);
    }

    #[test]
    fn wrappers_without_end_are_given_up_and_told() {
        let mut text = canonical().to_string();
        for _ in 0..MAX_DEPTH {
            text = json!({"log": text}).to_string();
        }
        holds(&text, 1);
        text = json!({"log": text}).to_string();
        is_passed_over(&text, PassedOver::TooDeep);
    }

    #[test]
    fn what_comes_before_the_end_of_broken_json_is_found() {
        let event = json!({"message": canonical().to_string()});
        let whole = json!({"events": [event, event, event]}).to_string();
        let (cut, _) = whole.split_at(whole.len() - 20);
        let (found, read) = streamed(cut);
        assert!(read.unwrap_err().is_eof());
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(is_the_event));
    }

    #[test]
    fn an_object_that_is_longer_than_a_line_is_searched_piece_by_piece() {
        let line = canonical().to_string();
        let members = (0..4_000).map(|number| (number.to_string(), json!(line)));
        let whole = Value::Object(members.collect()).to_string();
        let (found, read) = streamed(&whole);
        read.unwrap();
        assert_eq!(found.len(), 4_000);
    }
}
