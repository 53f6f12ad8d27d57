//! The admin API's OpenAPI description as a document for people.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Map, Value};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// What so many routes answer is said once.
const MANY: usize = 11;

/// Status and meaning of what many routes answer.
type Usual<'a> = Vec<(&'a str, &'a str)>;

pub(crate) fn written(description: &Value) -> String {
    let mut text = format!(
        "# The admin API\n\nMade from the routes in `control/src/http`; `GET /openapi.json` says \
         the same to programs.\n\n{}\n\n\
         Scripts send `Authorization: Bearer <access_token>`, which `POST /admin/auth/login` \
         answers; the console has a cookie, and sends `x-requested-with` with every change.\n\
         A refusal is an [ErrorBody](#errorbody), whose `code` is for programs and whose `message` \
         is for people.\n",
        description["info"]["description"].as_str().unwrap()
    );
    let usual = usual(description);
    text += "Many routes answer these, too:\n\n| answer | meaning |\n|---|---|\n";
    for (status, meaning) in &usual {
        writeln!(text, "| {status} | {meaning} |").unwrap();
    }
    for tag in tags(description) {
        write!(text, "\n## Routes: {tag}\n").unwrap();
        for (path, method, operation) in operations(description) {
            if operation["tags"][0] == tag {
                text += &one_operation(path, method, operation, &usual);
            }
        }
    }
    text += "\n## Objects\n\nFields that are not marked with * may be absent.\n";
    for (name, schema) in members(&description["components"]["schemas"]) {
        text += &one_object(name, schema);
    }
    text
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn operations(description: &Value) -> impl Iterator<Item = (&String, &'static str, &Value)> {
    members(&description["paths"]).flat_map(|(path, item)| {
        let all = METHODS
            .iter()
            .map(move |method| (*method, item.get(method)));
        all.filter_map(move |(method, it)| Some((path, method, it?)))
    })
}

/// In the alphabet's order.
fn tags(description: &Value) -> Vec<&str> {
    let tags = operations(description).map(|(_, _, it)| it["tags"][0].as_str().unwrap());
    let mut tags: Vec<&str> = tags.collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn usual(description: &Value) -> Usual<'_> {
    let mut counted: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (_, _, operation) in operations(description) {
        for (status, answer) in members(&operation["responses"]) {
            let meaning = answer["description"].as_str().unwrap();
            *counted.entry((status, meaning)).or_default() += 1;
        }
    }
    let many = counted.into_iter().filter(|(_, count)| *count >= MANY);
    many.map(|(answer, _)| answer).collect()
}

fn one_operation(path: &str, method: &str, operation: &Value, usual: &Usual<'_>) -> String {
    let summary = operation["summary"].as_str().unwrap();
    let method = method.to_uppercase();
    let mut text = format!("\n### {summary}\n\n`{method} {path}`");
    match operation["security"][0].as_object().map(Map::len) {
        Some(0) => text += ", without signing in",
        Some(_) => text += ", with name and password (Basic)",
        None => {}
    }
    text += "\n";
    if let Some(more) = operation["description"].as_str() {
        write!(text, "\n{more}\n").unwrap();
    }
    let parameters: Vec<&Value> = items(&operation["parameters"]).collect();
    if !parameters.is_empty() {
        text += "\n| parameter | in | type | meaning |\n|---|---|---|---|\n";
    }
    for it in parameters {
        let (place, schema) = (it["in"].as_str().unwrap(), &it["schema"]);
        let meaning = it["description"]
            .as_str()
            .or(schema["description"].as_str());
        let (name, is) = (it["name"].as_str().unwrap(), kind(schema));
        writeln!(text, "| `{name}` | {place} | {is} | {} |", cell(meaning)).unwrap();
    }
    if let Some(body) = operation.get("requestBody") {
        write!(text, "\nBody: {}", content(body)).unwrap();
        text += match body["required"] == true {
            true => "\n",
            false => ", or none\n",
        };
    }
    text += "\n| answer | meaning | body |\n|---|---|---|\n";
    let mut also = Vec::new();
    for (status, answer) in members(&operation["responses"]) {
        let meaning = answer["description"].as_str().unwrap();
        if usual.contains(&(status, meaning)) {
            also.push(status.as_str());
            continue;
        }
        writeln!(text, "| {status} | {meaning} | {} |", content(answer)).unwrap();
    }
    if !also.is_empty() {
        write!(text, "\nAnd {}.\n", also.join(", ")).unwrap();
    }
    text
}

fn one_object(name: &str, schema: &Value) -> String {
    let mut text = format!("\n### {name}\n");
    if let Some(meaning) = schema["description"].as_str() {
        write!(text, "\n{meaning}\n").unwrap();
    }
    let parts: Vec<&Value> = items(&schema["allOf"]).collect();
    let others = parts.iter().filter(|it| it.get("$ref").is_some());
    let others: Vec<String> = others.map(|it| kind(it)).collect();
    if !others.is_empty() {
        write!(text, "\nAll of {}, and:\n", others.join(", ")).unwrap();
    }
    if schema["type"] == "string" {
        write!(text, "\n{}\n", kind(schema)).unwrap();
        return text;
    }
    text += "\n| field | type | meaning |\n|---|---|---|\n";
    for part in parts.into_iter().chain([schema]) {
        for (field, it) in members(&part["properties"]) {
            let star = if items(&part["required"]).any(|name| name == field) {
                "*"
            } else {
                ""
            };
            let of_ref = it["oneOf"][0]["description"].as_str();
            let meaning = cell(it["description"].as_str().or(of_ref));
            writeln!(text, "| `{field}`{star} | {} | {meaning} |", kind(it)).unwrap();
        }
    }
    text
}

/// What a body is, in each form that it may have.
fn content(body: &Value) -> String {
    let forms = members(&body["content"]).map(|(form, it)| match form.as_str() {
        "application/json" => kind(&it["schema"]),
        other => format!("`{other}`"),
    });
    forms.collect::<Vec<_>>().join(", ")
}

/// A type, in the order: what it is called, what it may be, how it is bounded.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    let one_of: Vec<String> = items(&schema["oneOf"]).map(kind).collect();
    if !one_of.is_empty() {
        return one_of.join(" or ");
    }
    let values: Vec<String> = items(&schema["enum"])
        .map(|it| format!("`{}`", it.as_str().unwrap_or("null")))
        .collect();
    if !values.is_empty() {
        return values.join(", ");
    }
    let names = match &schema["type"] {
        Value::String(one) => one.clone(),
        several => items(several)
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" or "),
    };
    match (schema["format"].as_str(), names.as_str()) {
        (_, "array") => format!("list of {}", kind(&schema["items"])),
        (Some(format), names) if names.starts_with("string") => names.replacen("string", format, 1),
        _ => names,
    }
}

/// What can stand in a table.
fn cell(text: Option<&str>) -> String {
    text.unwrap_or_default()
        .replace('\n', " ")
        .replace('|', "\\|")
}
