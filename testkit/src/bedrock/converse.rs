//! Between Converse and the messages that the small model understands.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use crate::simulator::{reply::UsageIn, usage::Usage};

/// A request of Converse as one of the Anthropic API.
pub(super) fn question(model: &str, request: &Value) -> Value {
    let mut question = json!({
        "model": model,
        "messages": array(&request["messages"]).map(turn).collect::<Vec<_>>(),
        "system": blocks(&request["system"]),
        "tools": tools(&request["toolConfig"]["tools"]),
    });
    let config = &request["inferenceConfig"];
    if config["maxTokens"].is_u64() {
        question["max_tokens"] = config["maxTokens"].clone();
    }
    let choice = &request["toolConfig"]["toolChoice"];
    if choice["any"].is_object() {
        question["tool_choice"] = json!({"type": "any"});
    } else if choice["tool"].is_object() {
        question["tool_choice"] = json!({"type": "tool", "name": choice["tool"]["name"]});
    }
    let schema = &request["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"];
    if let Some(schema) = schema.as_str() {
        let schema: Value = serde_json::from_str(schema).unwrap_or_default();
        question["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}});
    }
    // What Converse does not know goes to the model as it is.
    if let (Some(question), Some(more)) = (
        question.as_object_mut(),
        request["additionalModelRequestFields"].as_object(),
    ) {
        question.extend(more.clone());
    }
    question
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn turn(message: &Value) -> Value {
    json!({"role": message["role"], "content": blocks(&message["content"])})
}

/// Blocks, with each cache point as a mark on the block before it.
fn blocks(content: &Value) -> Vec<Value> {
    marked(content, block)
}

fn tools(tools: &Value) -> Vec<Value> {
    marked(tools, |tool| {
        let spec = &tool["toolSpec"];
        json!({
            "name": spec["name"],
            "description": spec["description"],
            "input_schema": spec["inputSchema"]["json"],
        })
    })
}

fn marked(items: &Value, translate: impl Fn(&Value) -> Value) -> Vec<Value> {
    let mut translated: Vec<Value> = Vec::new();
    for item in array(items) {
        let point = &item["cachePoint"];
        if !point.is_object() {
            translated.push(translate(item));
            continue;
        }
        if let Some(Value::Object(last)) = translated.last_mut() {
            let mut mark = json!({"type": "ephemeral"});
            if point["ttl"].is_string() {
                mark["ttl"] = point["ttl"].clone();
            }
            last.insert("cache_control".to_owned(), mark);
        }
    }
    translated
}

fn block(block: &Value) -> Value {
    let Some((kind, value)) = block.as_object().and_then(|block| block.iter().next()) else {
        return Value::Null;
    };
    match kind.as_str() {
        "text" => json!({"type": "text", "text": value}),
        "guardContent" => json!({"type": "text", "text": value["text"]["text"]}),
        "json" => json!({"type": "text", "text": value.to_string()}),
        "toolUse" => json!({
            "type": "tool_use",
            "id": value["toolUseId"],
            "name": value["name"],
            "input": value["input"],
        }),
        "toolResult" => json!({
            "type": "tool_result",
            "tool_use_id": value["toolUseId"],
            "content": blocks(&value["content"]),
        }),
        "reasoningContent" => match &value["reasoningText"] {
            Value::Null => json!({
                "type": "redacted_thinking",
                "data": unwrapped(&value["redactedContent"]),
            }),
            text => json!({
                "type": "thinking",
                "thinking": text["text"],
                "signature": text["signature"],
            }),
        },
        // Images, documents and what comes after them only cost.
        kind => json!({"type": kind, "source": value}),
    }
}

/// The text in a blob.
fn unwrapped(blob: &Value) -> String {
    let bytes = BASE64_STANDARD.decode(blob.as_str().unwrap_or_default());
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// The answer of Converse that carries this message.
pub(super) fn answer(message: &Value, tokens: Usage, usage_in: UsageIn, request: &Value) -> Value {
    let content: Vec<_> = array(&message["content"]).map(part).collect();
    let mut answer = json!({
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop_reason(message),
        "metrics": {"latencyMs": 420},
    });
    if usage_in != UsageIn::Nowhere {
        answer["usage"] = usage(tokens, usage_in);
    }
    if let Some(fields) = additional(message, request) {
        answer["additionalModelResponseFields"] = fields;
    }
    answer
}

fn part(block: &Value) -> Value {
    match block["type"].as_str() {
        Some("text") => json!({"text": block["text"]}),
        Some("tool_use") => json!({"toolUse": {
            "toolUseId": tool_use_id(block),
            "name": block["name"],
            "input": block["input"],
        }}),
        Some("thinking") => json!({"reasoningContent": {"reasoningText": {
            "text": block["thinking"],
            "signature": block["signature"],
        }}}),
        Some("redacted_thinking") => json!({"reasoningContent": {
            "redactedContent": BASE64_STANDARD.encode(block["data"].as_str().unwrap_or_default()),
        }}),
        // A member that nobody knows yet.
        kind => json!({kind.unwrap_or("unknown"): block}),
    }
}

/// The events of `ConverseStream` that carry this message.
pub(super) fn events(
    message: &Value,
    tokens: Usage,
    usage_in: UsageIn,
    request: &Value,
) -> Vec<(String, Value)> {
    let mut events = vec![event("messageStart", json!({"role": "assistant"}))];
    for (index, block) in array(&message["content"]).enumerate() {
        // As the real one: only the use of a tool has a start.
        if block["type"] == "tool_use" {
            let start =
                json!({"toolUse": {"toolUseId": tool_use_id(block), "name": block["name"]}});
            events.push(event(
                "contentBlockStart",
                json!({"contentBlockIndex": index, "start": start}),
            ));
        }
        events.extend(deltas(block).into_iter().map(|delta| {
            event(
                "contentBlockDelta",
                json!({"contentBlockIndex": index, "delta": delta}),
            )
        }));
        events.push(event(
            "contentBlockStop",
            json!({"contentBlockIndex": index}),
        ));
    }
    let mut stop = json!({"stopReason": stop_reason(message)});
    if let Some(fields) = additional(message, request) {
        stop["additionalModelResponseFields"] = fields;
    }
    events.push(event("messageStop", stop));
    if usage_in != UsageIn::Nowhere {
        let metadata = json!({
            "usage": usage(tokens, usage_in),
            "metrics": {"latencyMs": 420},
        });
        events.push(event("metadata", metadata));
    }
    events
}

fn event(name: &str, data: Value) -> (String, Value) {
    (name.to_owned(), data)
}

fn deltas(block: &Value) -> Vec<Value> {
    let words = |text: &Value, delta: fn(&str) -> Value| -> Vec<Value> {
        let text = text.as_str().unwrap_or_default();
        text.split_inclusive(' ').map(delta).collect()
    };
    match block["type"].as_str() {
        Some("text") => words(&block["text"], |word| json!({"text": word})),
        Some("tool_use") => words(
            &json!(block["input"].to_string()),
            |piece| json!({"toolUse": {"input": piece}}),
        ),
        Some("thinking") => {
            let mut deltas = words(
                &block["thinking"],
                |word| json!({"reasoningContent": {"text": word}}),
            );
            deltas.push(json!({"reasoningContent": {"signature": block["signature"]}}));
            deltas
        }
        _ => vec![part(block)],
    }
}

/// Bedrock makes ids of its own.
fn tool_use_id(block: &Value) -> String {
    block["id"]
        .as_str()
        .unwrap_or_default()
        .replacen("toolu_", "tooluse_", 1)
}

/// Two of the API's reasons have another name here.
fn stop_reason(message: &Value) -> &str {
    match message["stop_reason"].as_str().unwrap_or_default() {
        "refusal" => "content_filtered",
        "pause_turn" => "end_turn",
        reason => reason,
    }
}

/// The fields of the model's own answer that a request has asked for.
fn additional(message: &Value, request: &Value) -> Option<Value> {
    let paths = array(&request["additionalModelResponseFieldPaths"]).filter_map(Value::as_str);
    let fields: Map<_, _> = paths
        .filter_map(|path| {
            let name = path.strip_prefix('/')?;
            Some((name.to_owned(), message.pointer(path)?.clone()))
        })
        .collect();
    (!fields.is_empty()).then_some(Value::Object(fields))
}

fn usage(tokens: Usage, usage_in: UsageIn) -> Value {
    let written = tokens.cache_write_5m_tokens + tokens.cache_write_1h_tokens;
    let mut usage = json!({
        "inputTokens": tokens.input_tokens,
        "outputTokens": tokens.output_tokens,
        "totalTokens": tokens.input_tokens + tokens.output_tokens + tokens.cache_read_tokens + written,
        "cacheReadInputTokens": tokens.cache_read_tokens,
        "cacheWriteInputTokens": written,
    });
    let details: Vec<_> = [
        ("1h", tokens.cache_write_1h_tokens),
        ("5m", tokens.cache_write_5m_tokens),
    ]
    .into_iter()
    .filter(|(_, written)| *written > 0)
    .map(|(ttl, written)| json!({"ttl": ttl, "inputTokens": written}))
    .collect();
    if usage_in != UsageIn::WithoutSplit && !details.is_empty() {
        usage["cacheDetails"] = json!(details);
    }
    usage
}

/// What a reader knows of the usage from this object.
pub(super) fn reported(usage: &Value) -> Option<Usage> {
    let count = |usage: &Value, name: &str| usage[name].as_u64().unwrap_or_default();
    if !usage.is_object() {
        return None;
    }
    let details = &usage["cacheDetails"];
    let of = |ttl: &str| {
        array(details)
            .filter(|detail| detail["ttl"] == ttl)
            .map(|detail| count(detail, "inputTokens"))
            .sum()
    };
    let (written_5m, written_1h) = match details.is_array() {
        true => (of("5m"), of("1h")),
        false => (count(usage, "cacheWriteInputTokens"), 0),
    };
    Some(Usage {
        input_tokens: count(usage, "inputTokens"),
        output_tokens: count(usage, "outputTokens"),
        cache_read_tokens: count(usage, "cacheReadInputTokens"),
        cache_write_5m_tokens: written_5m,
        cache_write_1h_tokens: written_1h,
    })
}
