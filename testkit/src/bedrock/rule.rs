//! What Converse enforces beyond the shapes of its model.

use std::collections::HashSet;

use serde_json::Value;

const MAX_CACHE_POINTS: usize = 4;
const MAX_DOCUMENTS: usize = 5;
const MAX_IMAGES: usize = 20;

/// Fields of a request to Claude that Converse makes itself.
const OWN_FIELDS: [&str; 8] = [
    "anthropic_version",
    "max_tokens",
    "messages",
    "model",
    "stop_sequences",
    "system",
    "temperature",
    "top_p",
];

/// Looks at a conversation. An error is the message of a ValidationException.
pub(super) fn check(request: &Value) -> Result<(), String> {
    let messages = list(&request["messages"]);
    turns(messages)?;
    for (index, message) in messages.iter().enumerate() {
        content(&format!("messages.{index}"), message)?;
    }
    tool_results(messages)?;
    let uses_tools = blocks(messages)
        .any(|block| block["toolUse"].is_object() || block["toolResult"].is_object());
    if uses_tools && !request["toolConfig"].is_object() {
        return Err(
            "The toolConfig field must be defined when using toolUse and toolResult content blocks."
                .to_owned(),
        );
    }
    tools(request)?;
    documents(messages)?;
    let points = cache_points(request);
    if points > MAX_CACHE_POINTS {
        return Err(format!(
            "You invoked an unsupported number of cache points: {points} were found, at most {MAX_CACHE_POINTS} are allowed."
        ));
    }
    additional_fields(&request["additionalModelRequestFields"])
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn blocks(messages: &[Value]) -> impl Iterator<Item = &Value> {
    messages
        .iter()
        .flat_map(|message| list(&message["content"]))
}

/// Messages of the system may stand between the turns.
fn turns(messages: &[Value]) -> Result<(), String> {
    let roles = messages
        .iter()
        .filter_map(|message| message["role"].as_str());
    let roles: Vec<_> = roles.filter(|role| *role != "system").collect();
    match roles.first() {
        Some(&"user") => {}
        _ => {
            return Err("A conversation must start with a user message. Try again with a conversation that starts with a user message.".to_owned());
        }
    }
    if roles.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err("A conversation must alternate between user and assistant roles. Make sure the conversation alternates between user and assistant roles and try again.".to_owned());
    }
    Ok(())
}

fn content(at: &str, message: &Value) -> Result<(), String> {
    let blocks = list(&message["content"]);
    if blocks.is_empty() {
        return Err(format!(
            "The content field in the Message object at {at} is empty. Add a ContentBlock object to the content field and try again."
        ));
    }
    for (index, block) in blocks.iter().enumerate() {
        if block["text"]
            .as_str()
            .is_some_and(|text| text.trim().is_empty())
        {
            return Err(format!(
                "The text field in the ContentBlock object at {at}.content.{index} is blank. Add text to the text field, and try again."
            ));
        }
        let role_only = [
            ("image", "user"),
            ("document", "user"),
            ("toolResult", "user"),
            ("toolUse", "assistant"),
            ("reasoningContent", "assistant"),
            ("toolAddition", "system"),
            ("toolRemoval", "system"),
        ];
        for (kind, role) in role_only {
            if block[kind].is_object() && message["role"] != role {
                return Err(format!(
                    "The {kind} block at {at}.content.{index} can only be in a message with the role {role}."
                ));
            }
        }
    }
    let has = |kind: &str| blocks.iter().any(|block| !block[kind].is_null());
    if has("document") && !has("text") {
        return Err(format!(
            "A text block is required in the content of {at}, because it has a document."
        ));
    }
    Ok(())
}

/// Each use of a tool is answered in the next message of the user.
fn tool_results(messages: &[Value]) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let ids = |kind: &str| -> Vec<&str> {
            let blocks = list(&message["content"]).iter();
            blocks
                .filter_map(|block| block[kind]["toolUseId"].as_str())
                .collect()
        };
        match message["role"].as_str() {
            Some("user") => {
                let answered = ids("toolResult");
                let missing: Vec<_> = open.iter().filter(|id| !answered.contains(id)).collect();
                if !missing.is_empty() {
                    let missing = missing.into_iter().copied().collect::<Vec<_>>().join(", ");
                    return Err(format!(
                        "Expected toolResult blocks at messages.{index}.content for the following Ids: {missing}"
                    ));
                }
                if answered.len() > open.len() || answered.iter().any(|id| !open.contains(id)) {
                    return Err(format!(
                        "The number of toolResult blocks at messages.{index}.content exceeds the number of toolUse blocks of previous turn."
                    ));
                }
                open.clear();
            }
            Some("assistant") => open = ids("toolUse"),
            _ => {}
        }
    }
    match open.first() {
        Some(id) => Err(format!(
            "Expected toolResult blocks at messages.{}.content for the following Ids: {id}",
            messages.len()
        )),
        None => Ok(()),
    }
}

fn tools(request: &Value) -> Result<(), String> {
    let tools = list(&request["toolConfig"]["tools"]);
    let mut names = HashSet::new();
    for tool in tools {
        let name = tool["toolSpec"]["name"].as_str();
        if let Some(name) = name.filter(|name| !names.insert(*name)) {
            return Err(format!("The tool name {name} is used more than once."));
        }
        let schema = &tool["toolSpec"]["inputSchema"]["json"];
        if tool["toolSpec"].is_object() && schema["type"] != "object" {
            return Err(format!(
                "The value at toolConfig.tools.toolSpec.inputSchema.json.type must be one of the following: object. ({})",
                name.unwrap_or_default()
            ));
        }
    }
    let chosen = request["toolConfig"]["toolChoice"]["tool"]["name"].as_str();
    match chosen.filter(|name| !names.contains(name)) {
        Some(name) => Err(format!("The tool {name} of the toolChoice is not defined.")),
        None => Ok(()),
    }
}

fn documents(messages: &[Value]) -> Result<(), String> {
    let mut names = HashSet::new();
    let (mut documents, mut images) = (0, 0);
    let results = blocks(messages).flat_map(|block| list(&block["toolResult"]["content"]));
    for block in blocks(messages).chain(results) {
        images += usize::from(block["image"].is_object());
        let Some(name) = block["document"]["name"].as_str() else {
            continue;
        };
        documents += 1;
        if !is_document_name(name) {
            return Err("The document file name can only contain alphanumeric characters, whitespace characters, hyphens, parentheses, and square brackets. The name can't contain more than one consecutive whitespace character.".to_owned());
        }
        if !names.insert(name) {
            return Err(format!("The document name {name} is used more than once."));
        }
    }
    if documents > MAX_DOCUMENTS || images > MAX_IMAGES {
        return Err(format!(
            "There are {documents} documents and {images} images; at most {MAX_DOCUMENTS} and {MAX_IMAGES} are allowed."
        ));
    }
    Ok(())
}

fn is_document_name(name: &str) -> bool {
    let is_allowed = |char: char| {
        char.is_ascii_alphanumeric() || char.is_ascii_whitespace() || "-()[]".contains(char)
    };
    let has_gap = name
        .as_bytes()
        .windows(2)
        .any(|pair| pair.iter().all(u8::is_ascii_whitespace));
    name.chars().all(is_allowed) && !has_gap
}

/// Also those in the results of tools.
fn cache_points(request: &Value) -> usize {
    let of = |items: &[Value]| {
        items
            .iter()
            .filter(|item| item["cachePoint"].is_object())
            .count()
    };
    let in_messages = list(&request["messages"]).iter();
    of(list(&request["system"]))
        + of(list(&request["toolConfig"]["tools"]))
        + in_messages
            .map(|message| of(list(&message["content"])))
            .sum::<usize>()
}

fn additional_fields(fields: &Value) -> Result<(), String> {
    match OWN_FIELDS.iter().find(|name| !fields[**name].is_null()) {
        Some(name) => Err(format!(
            "The additional field {name} conflicts with an existing field."
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(request: &Value) -> String {
        check(request).err().unwrap_or_default()
    }

    fn conversation(messages: Value) -> Value {
        json!({
            "messages": messages,
            "toolConfig": {"tools": [
                {"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}},
            ]},
        })
    }

    fn of(role: &str, blocks: Value) -> Value {
        json!({"role": role, "content": blocks})
    }

    fn document(name: &str) -> Value {
        json!({"document": {"name": name, "format": "pdf", "source": {"bytes": "AAAA"}}})
    }

    #[test]
    fn turns_and_their_content() {
        let text = || json!([{"text": "hi"}]);
        let call = || json!([{"toolUse": {"toolUseId": "1", "name": "t", "input": {}}}]);
        let result = |id: &str| json!([{"toolResult": {"toolUseId": id, "content": []}}]);
        let cases = [
            (json!([of("user", text())]), ""),
            (
                json!([
                    of("user", text()),
                    of("system", text()),
                    of("assistant", text())
                ]),
                "",
            ),
            (json!([]), "must start with a user message"),
            (
                json!([of("assistant", text())]),
                "must start with a user message",
            ),
            (
                json!([of("user", text()), of("user", text())]),
                "must alternate",
            ),
            (
                json!([of("user", json!([]))]),
                "content field in the Message object at messages.0 is empty",
            ),
            (
                json!([of("user", json!([{"text": " \n"}]))]),
                "messages.0.content.0 is blank",
            ),
            (json!([of("user", call())]), "role assistant"),
            (
                json!([
                    of("user", text()),
                    of("assistant", call()),
                    of("user", result("1"))
                ]),
                "",
            ),
            (
                json!([
                    of("user", text()),
                    of("assistant", call()),
                    of("user", text())
                ]),
                "Expected toolResult blocks at messages.2.content for the following Ids: 1",
            ),
            (
                json!([of("user", text()), of("assistant", call())]),
                "Expected toolResult blocks at messages.2.content",
            ),
            (
                json!([
                    of("user", text()),
                    of("assistant", call()),
                    of("user", result("2"))
                ]),
                "Expected toolResult blocks",
            ),
            (
                json!([of("user", result("1"))]),
                "exceeds the number of toolUse blocks",
            ),
        ];
        for (messages, expected) in cases {
            let refused = refusal(&conversation(messages.clone()));
            assert_eq!(
                refused.is_empty(),
                expected.is_empty(),
                "{messages}: {refused}"
            );
            assert!(refused.contains(expected), "{messages}: {refused}");
        }
    }

    #[test]
    fn documents_need_a_name_of_their_own_and_a_text() {
        let asked = |documents: &[&str]| {
            let documents = documents.iter().map(|name| document(name));
            let blocks: Vec<_> = documents.chain([json!({"text": "read"})]).collect();
            refusal(&conversation(json!([of("user", json!(blocks))])))
        };
        assert_eq!(asked(&["a report (1) [b]"]), "");
        assert!(asked(&["report.pdf"]).contains("can only contain"));
        assert!(asked(&["a  b"]).contains("can only contain"));
        assert!(asked(&["a", "a"]).contains("more than once"));
        assert!(asked(&["a", "b", "c", "d", "e", "f"]).contains("6 documents"));
        let alone = conversation(json!([of("user", json!([document("a")]))]));
        assert!(refusal(&alone).contains("text block is required"));
    }

    #[test]
    fn tools_cache_points_and_additional_fields() {
        let with = |more: Value| {
            let mut request = json!({"messages": [of("user", json!([{"text": "hi"}]))]});
            request
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            refusal(&request)
        };
        let tool = |name: &str, kind: &str| json!({"toolSpec": {"name": name, "inputSchema": {"json": {"type": kind}}}});
        let point = json!({"cachePoint": {"type": "default"}});
        let cases = [
            (
                json!({"toolConfig": {"tools": [tool("a", "object"), tool("b", "object")]}}),
                "",
            ),
            (
                json!({"toolConfig": {"tools": [tool("a", "object"), tool("a", "object")]}}),
                "more than once",
            ),
            (
                json!({"toolConfig": {"tools": [tool("a", "string")]}}),
                "must be one of the following: object",
            ),
            (
                json!({"toolConfig": {"tools": [tool("a", "object")], "toolChoice": {"tool": {"name": "b"}}}}),
                "not defined",
            ),
            (json!({"system": vec![point.clone(); 4]}), ""),
            (json!({"system": vec![point; 5]}), "number of cache points"),
            (json!({"additionalModelRequestFields": {"top_k": 1}}), ""),
            (
                json!({"additionalModelRequestFields": {"max_tokens": 1}}),
                "max_tokens conflicts",
            ),
        ];
        for (more, expected) in cases {
            let refused = with(more.clone());
            assert_eq!(refused.is_empty(), expected.is_empty(), "{more}: {refused}");
            assert!(refused.contains(expected), "{more}: {refused}");
        }
        let messages = json!([
            of("user", json!([{"text": "hi"}])),
            of(
                "assistant",
                json!([{"toolUse": {"toolUseId": "1", "name": "t", "input": {}}}])
            ),
            of(
                "user",
                json!([{"toolResult": {"toolUseId": "1", "content": []}}])
            )
        ]);
        let refused = refusal(&json!({"messages": messages}));
        assert!(
            refused.contains("toolConfig field must be defined"),
            "{refused}"
        );
    }
}
