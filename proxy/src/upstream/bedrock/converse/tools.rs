//! `tools` and `tool_choice` → the tool configuration.

use std::collections::HashSet;

use aws_sdk_bedrockruntime::types::{
    AnyToolChoice, AutoToolChoice, SpecificToolChoice, Tool, ToolChoice, ToolConfiguration,
    ToolInputSchema, ToolSpecification,
};
use serde_json::{Value, json};

use super::{
    Invalid,
    cache::{self, Place},
    dropped::Dropped,
    fields::{Object, as_object, is_blank, is_true, list, object, present, required_text, text},
    notes::Notes,
};

/// What the request says about tools, in Converse's words.
#[derive(Debug, Default)]
pub(super) struct Tools {
    pub(super) declared: Vec<Tool>,
    pub(super) choice: Option<ToolChoice>,
    /// `tools` and `tool_choice` for fields of the model: what Converse cannot say
    /// and an Anthropic model understands.
    pub(super) fields: Object,
}

impl Tools {
    pub(super) fn finish(self) -> Result<Option<ToolConfiguration>, Invalid> {
        if self.declared.is_empty() {
            return Ok(None);
        }
        let config = ToolConfiguration::builder()
            .set_tools(Some(self.declared))
            .set_tool_choice(self.choice);
        Ok(Some(config.build()?))
    }
}

/// What of the conversation matters for its tools.
#[derive(Debug, Default)]
struct History<'a> {
    /// Tools that were used, in order, each once.
    used: Vec<&'a str>,
    /// Tools that a search has found.
    found: HashSet<&'a str>,
}

impl<'a> History<'a> {
    fn of(body: &'a Object) -> Self {
        let mut history = Self::default();
        for block in members(body, "messages").flat_map(|it| members(it, "content")) {
            match kind(block) {
                "tool_use" => {
                    let name = block.get("name").and_then(Value::as_str);
                    let name = name.filter(|name| !history.used.contains(name));
                    history.used.extend(name);
                }
                "tool_result" => {
                    let inner = members(block, "content");
                    let references = inner.filter(|it| kind(it) == "tool_reference");
                    let names = references.filter_map(|it| it.get("tool_name")?.as_str());
                    history.found.extend(names);
                }
                _ => {}
            }
        }
        history
    }
}

fn members<'a>(object: &'a Object, name: &str) -> impl Iterator<Item = &'a Object> {
    let list = object.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_object)
}

/// Custom when it does not say.
fn kind(object: &Object) -> &str {
    let kind = object.get("type").and_then(Value::as_str);
    kind.unwrap_or("custom")
}

pub(super) fn tools(body: &Object, notes: &mut Notes) -> Result<Tools, Invalid> {
    let history = History::of(body);
    let choice = object(body, "tool_choice")?;
    let mut tools = Tools::default();
    // Without uses in the conversation, not declaring tools forbids them.
    let is_forbidden = choice.is_some_and(|it| kind(it) == "none");
    if is_forbidden && history.used.is_empty() {
        return Ok(tools);
    }
    let mut others = Vec::new();
    for (index, tool) in list(body, "tools")?.iter().enumerate() {
        let at = format!("tools.{index}");
        let tool = as_object(tool, &at)?;
        match kind(tool) {
            "custom" => {
                let declared = declare((index, tool), body, &history, &mut tools.declared, notes);
                declared.map_err(|it| it.within(at))?;
            }
            kind if notes.family.is_anthropic() && is_for_the_model(kind) => {
                others.push(without_cache_control(tool));
            }
            _ => notes.drop(Dropped::ServerTool),
        }
    }
    if tools.declared.is_empty() && others.is_empty() {
        refuse_without_the_only_tool(body)?;
    }
    if tools.declared.is_empty() {
        tools.declared = remembered(&history, &others, notes)?;
    }
    if !others.is_empty() {
        tools.fields.insert("tools".to_owned(), others.into());
    }
    let is_empty = tools.declared.is_empty() && tools.fields.is_empty();
    if let Some(choice) = choice.filter(|_| !is_empty) {
        choose(choice, &mut tools, notes).map_err(|it| it.within("tool_choice"))?;
    }
    Ok(tools)
}

/// Whether an Anthropic model may know this tool by its type. It cannot search
/// tools that Converse declares, nor call MCP servers from Bedrock.
fn is_for_the_model(kind: &str) -> bool {
    !kind.starts_with("tool_search_tool") && !kind.starts_with("mcp_")
}

fn without_cache_control(tool: &Object) -> Value {
    let mut tool = tool.clone();
    tool.shift_remove("cache_control");
    Value::Object(tool)
}

/// A request for nothing but a tool that the model will not have, as Claude Code's
/// web search is, would be answered with inventions.
fn refuse_without_the_only_tool(body: &Object) -> Result<(), Invalid> {
    let tools = list(body, "tools")?;
    let kinds = || tools.iter().filter_map(Value::as_object).map(kind);
    match kinds().next() {
        Some(first) if kinds().all(|it| it != "custom") => {
            let reason = format!("'{first}' is not available for this model on Amazon Bedrock");
            Err(Invalid::new("tools.0.type", reason))
        }
        _ => Ok(()),
    }
}

fn declare(
    (index, tool): (usize, &Object),
    body: &Object,
    history: &History<'_>,
    declared: &mut Vec<Tool>,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    let name = required_text(tool, "name")?;
    if is_true(tool, "defer_loading") && is_hidden(name, body, history) {
        notes.drop(Dropped::DeferredTool);
        return Ok(());
    }
    for (member, value) in tool {
        match member.as_str() {
            "type" | "name" | "description" | "input_schema" | "strict" => {}
            "cache_control" | "defer_loading" => {}
            _ if value.is_null() => {}
            _ => notes.drop(Dropped::Tool),
        }
    }
    let Some(schema) = present(tool, "input_schema") else {
        return Err(Invalid::missing("input_schema"));
    };
    as_object(schema, "input_schema")?;
    let schema = {
        let text = notes.texts.schema(index);
        notes.document(text, schema)
    };
    let description = text(tool, "description")?.filter(|it| !is_blank(it));
    let specification = ToolSpecification::builder()
        .name(notes.names.tool_there(name))
        .set_description(description.map(str::to_owned))
        .input_schema(ToolInputSchema::Json(schema))
        .set_strict(is_true(tool, "strict").then_some(true));
    declared.push(Tool::ToolSpec(specification.build()?));
    let point = cache::point(tool, Place::Tools, notes)?;
    cache::push(declared, point);
    Ok(())
}

/// Whether the model cannot see a deferred tool yet. It sees one that was found or
/// used before or that it must use, and all of them where a search of Anthropic's
/// would find them, because here none does.
fn is_hidden(name: &str, body: &Object, history: &History<'_>) -> bool {
    let choice = body.get("tool_choice").and_then(Value::as_object);
    let chosen = choice.and_then(|it| it.get("name")?.as_str());
    let has_search = members(body, "tools").any(|it| kind(it).starts_with("tool_search_tool"));
    !has_search
        && chosen != Some(name)
        && !history.found.contains(name)
        && !history.used.contains(&name)
}

/// Converse wants tools declared while the conversation holds uses of them.
fn remembered(
    history: &History<'_>,
    others: &[Value],
    notes: &mut Notes,
) -> Result<Vec<Tool>, Invalid> {
    let mut remembered = Vec::new();
    for name in &history.used {
        if others.iter().any(|other| other["name"] == *name) {
            continue;
        }
        let schema = notes.document(None, &json!({"type": "object"}));
        let specification = ToolSpecification::builder()
            .name(notes.names.tool_there(name))
            .input_schema(ToolInputSchema::Json(schema));
        remembered.push(Tool::ToolSpec(specification.build()?));
    }
    Ok(remembered)
}

fn choose(choice: &Object, tools: &mut Tools, notes: &mut Notes) -> Result<(), Invalid> {
    let kind = required_text(choice, "type")?;
    let name = match kind {
        "tool" => {
            let name = required_text(choice, "name")?;
            Some(notes.names.tool_there(name).to_owned())
        }
        "auto" | "any" => None,
        "none" if !notes.family.is_anthropic() => {
            notes.drop(Dropped::ToolChoiceNone);
            return Ok(());
        }
        "none" => None,
        _ => {
            let reason = "Input should be 'auto', 'any', 'tool' or 'none'";
            return Err(Invalid::new("type", reason));
        }
    };
    let one_at_a_time = is_true(choice, "disable_parallel_tool_use");
    let is_declared = name
        .as_deref()
        .is_none_or(|it| declares(&tools.declared, it));
    let is_sayable = kind != "none" && !one_at_a_time && is_declared && !tools.declared.is_empty();
    if notes.family.is_anthropic() && !is_sayable {
        let mut choice = choice.clone();
        if let Some(name) = name {
            choice.insert("name".to_owned(), name.into());
        }
        let choice = Value::Object(choice);
        tools.fields.insert("tool_choice".to_owned(), choice);
        return Ok(());
    }
    if one_at_a_time {
        notes.drop(Dropped::ParallelToolUse);
    }
    tools.choice = Some(match (kind, name) {
        (_, Some(name)) => ToolChoice::Tool(SpecificToolChoice::builder().name(name).build()?),
        ("any", _) => ToolChoice::Any(AnyToolChoice::builder().build()),
        _ => ToolChoice::Auto(AutoToolChoice::builder().build()),
    });
    Ok(())
}

fn declares(declared: &[Tool], name: &str) -> bool {
    let mut specifications = declared.iter().filter_map(|it| it.as_tool_spec().ok());
    specifications.any(|it| it.name == name)
}
