//! AWS's published model of the service, and requests that do not fit it.
//!
//! The model is a file of botocore, AWS's own client, which is installed for
//! the tests. What it says about a request is all checked here: the real
//! service cannot be asked.

use std::{
    collections::HashMap,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::bufread::GzDecoder;
use regex_lite::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::exception::Exception;
use crate::{
    sdk,
    simulator::{
        record::{Operation, Received},
        reply::ApiError,
    },
};

const FILE: &str = "site-packages/botocore/data/bedrock-runtime/2023-09-30/service-2.json.gz";

/// Read once: it is large, and every simulator of a process needs it.
static SERVICE: OnceLock<Arc<Service>> = OnceLock::new();

/// The operations and shapes of a service.
#[derive(Debug, Deserialize)]
pub(super) struct Service {
    operations: HashMap<String, Described>,
    shapes: HashMap<String, Shape>,
}

#[derive(Debug, Deserialize)]
struct Described {
    input: Member,
}

/// A reference to a shape, from an object's member or a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    shape: String,
    location: Option<String>,
    location_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shape {
    #[serde(rename = "type")]
    kind: Kind,
    members: HashMap<String, Member>,
    required: Vec<String>,
    /// The member that is the whole body.
    payload: Option<String>,
    /// Exactly one of the members must be there.
    union: bool,
    /// Any JSON.
    document: bool,
    member: Option<Member>,
    value: Option<Member>,
    key: Option<Member>,
    #[serde(rename = "enum")]
    values: Vec<String>,
    #[serde(deserialize_with = "pattern")]
    pattern: Option<Pattern>,
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Structure,
    List,
    Map,
    String,
    Blob,
    Boolean,
    Integer,
    Long,
    Float,
    Double,
    Timestamp,
}

/// A regular expression for a whole text, and how the model writes it.
#[derive(Debug)]
struct Pattern {
    text: String,
    /// Made when it is needed: there are many, and making one takes time.
    regex: OnceLock<Option<Regex>>,
}

fn pattern<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Option<Pattern>, D::Error> {
    let text: Option<String> = Option::deserialize(text)?;
    Ok(text.map(|text| Pattern {
        text,
        regex: OnceLock::new(),
    }))
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        let regex = self
            .regex
            .get_or_init(|| Regex::new(&format!("^(?:{})$", self.text)).ok());
        regex.as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

impl Service {
    /// Reads the model, installing botocore if need be.
    pub(super) fn install() -> Result<Arc<Self>> {
        if let Some(service) = SERVICE.get() {
            return Ok(Arc::clone(service));
        }
        let folder = sdk::install("aws")?;
        Self::read(&folder).context("read AWS's model of Bedrock runtime")
    }

    /// Reads the model if it is there.
    pub(super) fn installed() -> Option<Arc<Self>> {
        Self::read(&sdk::installed("aws")).ok()
    }

    fn read(folder: &Path) -> Result<Arc<Self>> {
        if let Some(service) = SERVICE.get() {
            return Ok(Arc::clone(service));
        }
        let file = BufReader::new(File::open(model_file(folder)?)?);
        let service: Self = serde_json::from_reader(BufReader::new(GzDecoder::new(file)))?;
        Ok(Arc::clone(SERVICE.get_or_init(|| Arc::new(service))))
    }

    /// Looks at everything that a request says: its path, headers and body.
    pub(super) fn check(&self, request: &Received) -> Result<(), ApiError> {
        let name = match request.operation {
            Operation::Invoke => "InvokeModel",
            Operation::InvokeStream => "InvokeModelWithResponseStream",
            Operation::Converse => "Converse",
            Operation::ConverseStream => "ConverseStream",
            Operation::CountTokens => "CountTokens",
            // Has the Anthropic API's shape.
            Operation::Messages | Operation::Models | Operation::Other => return Ok(()),
        };
        let input = self
            .operations
            .get(name)
            .and_then(|it| self.shapes.get(&it.input.shape));
        let mut found = Vec::new();
        if let Some(input) = input {
            self.input(request, input, &mut found);
        }
        if found.is_empty() {
            return Ok(());
        }
        let noun = if found.len() == 1 { "error" } else { "errors" };
        Err(Exception::Validation.says(format!(
            "{} validation {noun} detected: {}",
            found.len(),
            found.join("; ")
        )))
    }

    fn input(&self, request: &Received, input: &Shape, found: &mut Vec<String>) {
        for (name, member) in &input.members {
            let said = match member.location.as_deref() {
                Some("uri") => Some(request.model.as_str()),
                Some("header") => {
                    let header = member.location_name.as_deref().unwrap_or(name);
                    request.header(&header.to_ascii_lowercase())
                }
                _ => None,
            };
            if let Some(said) = said {
                self.text(said, name, member, found);
            }
        }
        if let Some(payload) = &input.payload {
            let shape = input
                .members
                .get(payload)
                .and_then(|it| self.shapes.get(&it.shape));
            if let Some(shape) = shape {
                length(request.body.len(), payload, shape, found);
            }
            return;
        }
        match serde_json::from_slice(&request.body) {
            Ok(Value::Object(body)) => self.structure(&body, "", input, found),
            _ => found.push("the body is no JSON object".to_owned()),
        }
    }

    fn text(&self, text: &str, path: &str, member: &Member, found: &mut Vec<String>) {
        self.value(&Value::String(text.to_owned()), path, member, found);
    }

    fn value(&self, value: &Value, path: &str, member: &Member, found: &mut Vec<String>) {
        let Some(shape) = self.shapes.get(&member.shape) else {
            return;
        };
        if shape.document {
            return;
        }
        match (shape.kind, value) {
            (Kind::Structure, Value::Object(fields)) => self.structure(fields, path, shape, found),
            (Kind::List, Value::Array(items)) => {
                length(items.len(), path, shape, found);
                for (index, item) in items.iter().enumerate() {
                    if let Some(member) = &shape.member {
                        self.value(item, &format!("{path}.{index}"), member, found);
                    }
                }
            }
            (Kind::Map, Value::Object(entries)) => {
                length(entries.len(), path, shape, found);
                for (name, entry) in entries {
                    if let Some(key) = &shape.key {
                        self.text(name, &format!("{path}.key"), key, found);
                    }
                    if let Some(member) = &shape.value {
                        self.value(entry, &format!("{path}.{name}"), member, found);
                    }
                }
            }
            (Kind::String, Value::String(text)) => plain(text, path, shape, found),
            (Kind::Blob, Value::String(text)) => match BASE64_STANDARD.decode(text) {
                Ok(bytes) => length(bytes.len(), path, shape, found),
                Err(_not_base64) => found.push(constraint(path, "be base64")),
            },
            (Kind::Integer | Kind::Long, Value::Number(number)) if number.is_i64() => {
                range(number.as_f64(), path, shape, found);
            }
            (Kind::Float | Kind::Double, Value::Number(number)) => {
                range(number.as_f64(), path, shape, found);
            }
            (Kind::Boolean, Value::Bool(_)) | (Kind::Timestamp, Value::Number(_)) => {}
            _ => found.push(constraint(path, &format!("be of type {:?}", shape.kind))),
        }
    }

    fn structure(
        &self,
        fields: &serde_json::Map<String, Value>,
        path: &str,
        shape: &Shape,
        found: &mut Vec<String>,
    ) {
        let path_of = |name: &str| match path.is_empty() {
            true => name.to_owned(),
            false => format!("{path}.{name}"),
        };
        let in_body = |name: &String| {
            let member = shape.members.get(name);
            member.is_some_and(|member| member.location.is_none())
        };
        for name in shape.required.iter().filter(|name| in_body(name)) {
            if !fields.contains_key(name) {
                found.push(constraint(&path_of(name), "not be null"));
            }
        }
        if shape.union && fields.len() != 1 {
            found.push(constraint(path, "have exactly one member set"));
        }
        for (name, field) in fields {
            match shape.members.get(name).filter(|_| in_body(name)) {
                Some(member) => self.value(field, &path_of(name), member, found),
                None => found.push(constraint(&path_of(name), "be known to the service")),
            }
        }
    }
}

/// The folder of a Python environment has its version in its name.
fn model_file(folder: &Path) -> Result<PathBuf> {
    let versions = folder.join("lib").read_dir().context("no botocore")?;
    let files = versions.flatten().map(|version| version.path().join(FILE));
    files
        .into_iter()
        .find(|file| file.exists())
        .context("no service model of botocore")
}

fn constraint(path: &str, what: &str) -> String {
    format!("Value at '{path}' failed to satisfy constraint: Member must {what}")
}

fn plain(text: &str, path: &str, shape: &Shape, found: &mut Vec<String>) {
    length(text.chars().count(), path, shape, found);
    if !shape.values.is_empty() && !shape.values.iter().any(|value| value == text) {
        let values = shape.values.join(", ");
        found.push(constraint(
            path,
            &format!("satisfy enum value set: [{values}]"),
        ));
    }
    if let Some(pattern) = &shape.pattern
        && !pattern.fits(text)
    {
        let what = format!("satisfy regular expression pattern: {}", pattern.text);
        found.push(constraint(path, &what));
    }
}

fn length(length: usize, path: &str, shape: &Shape, found: &mut Vec<String>) {
    #[expect(clippy::cast_precision_loss, reason = "no length is near 2^52")]
    let length = length as f64;
    if let Some(max) = shape.max.filter(|max| length > *max) {
        let what = format!("have length less than or equal to {max}");
        found.push(constraint(path, &what));
    }
    if let Some(min) = shape.min.filter(|min| length < *min) {
        let what = format!("have length greater than or equal to {min}");
        found.push(constraint(path, &what));
    }
}

fn range(number: Option<f64>, path: &str, shape: &Shape, found: &mut Vec<String>) {
    let number = number.unwrap_or_default();
    if let Some(max) = shape.max.filter(|max| number > *max) {
        let what = format!("have value less than or equal to {max}");
        found.push(constraint(path, &what));
    }
    if let Some(min) = shape.min.filter(|min| number < *min) {
        let what = format!("have value greater than or equal to {min}");
        found.push(constraint(path, &what));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(operation: Operation, body: &Value) -> String {
        let head = http::Request::post("/").body(()).unwrap().into_parts().0;
        let mut request = Received::new(head, body.to_string().into(), String::new());
        request.operation = operation;
        "us.anthropic.claude-opus-5-5".clone_into(&mut request.model);
        let service = Service::install().unwrap();
        let refused = service.check(&request).err();
        refused.map_or_else(String::new, |error| error.message)
    }

    fn with_content(content: Value) -> Value {
        json!({"messages": [{"role": "user", "content": content}]})
    }

    #[test]
    fn what_does_not_fit_the_model_is_refused() {
        let image = |bytes: &str| {
            with_content(json!([{"image": {"format": "png", "source": {"bytes": bytes}}}]))
        };
        let tool = |name: &str| {
            let mut body = with_content(json!([{"text": "hi"}]));
            body["toolConfig"] = json!({"tools": [
                {"toolSpec": {"name": name, "inputSchema": {"json": {"any": [1, null]}}}},
            ]});
            body
        };
        let cases = [
            (with_content(json!([{"text": "hi"}])), ""),
            (
                with_content(json!([{"txt": "hi"}])),
                "'messages.0.content.0.txt'",
            ),
            (
                with_content(json!([{"text": "hi", "cachePoint": {"type": "default"}}])),
                "exactly one",
            ),
            (with_content(json!([{}])), "exactly one"),
            (with_content(json!([{"text": 1}])), "of type String"),
            (with_content(json!([{"text": null}])), "of type String"),
            (
                with_content(json!([{"cachePoint": {"type": "ephemeral"}}])),
                "enum value set: [default]",
            ),
            (
                with_content(json!([{"cachePoint": {"type": "default", "ttl": "1h"}}])),
                "",
            ),
            (
                json!({"messages": [{"role": "user"}]}),
                "'messages.0.content' failed to satisfy constraint: Member must not be null",
            ),
            (json!({"messages": [], "stream": true}), "'stream'"),
            (json!({"messages": [], "modelId": "m"}), "'modelId'"),
            (image("AAAA"), ""),
            (image("A"), "base64"),
            (image(""), "length greater than or equal to 1"),
            (tool("get_weather-2"), ""),
            (tool("mcp.get"), "[a-zA-Z0-9_-]+"),
            (tool(&"x".repeat(65)), "less than or equal to 64"),
            (
                json!({"messages": [], "inferenceConfig": {"temperature": 1.5}}),
                "value less than or equal to 1",
            ),
            (
                json!({"messages": [], "inferenceConfig": {"maxTokens": 1.5}}),
                "of type Integer",
            ),
            (
                json!({"messages": [], "inferenceConfig": {"maxTokens": 0}}),
                "value greater than or equal to 1",
            ),
            (
                json!({"messages": [], "toolConfig": {"tools": []}}),
                "length greater than or equal to 1",
            ),
        ];
        for (body, expected) in cases {
            let refused = refusal(Operation::Converse, &body);
            assert_eq!(refused.is_empty(), expected.is_empty(), "{body}: {refused}");
            assert!(refused.contains(expected), "{body}: {refused}");
        }
    }

    #[test]
    fn each_operation_has_its_own_shape() {
        let native = json!({"anything": true});
        assert_eq!(refusal(Operation::Invoke, &native), "");
        let count = json!({"input": {"invokeModel": {"body": "e30="}}});
        assert_eq!(refusal(Operation::CountTokens, &count), "");
        assert!(refusal(Operation::CountTokens, &native).contains("'input'"));
        assert!(refusal(Operation::ConverseStream, &native).contains("'anything'"));
    }

    #[test]
    fn several_errors_are_counted() {
        let refused = refusal(Operation::Converse, &json!({"a": 1, "b": 2}));
        assert!(
            refused.starts_with("2 validation errors detected: "),
            "{refused}"
        );
    }
}
