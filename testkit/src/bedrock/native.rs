//! What Bedrock takes of a body in the Anthropic API's form.

use serde_json::{Map, Value};

use super::capability::{BetaWording, Capabilities, FieldWording};
use crate::simulator::question;

const MAX_CACHE_MARKS: usize = 4;

/// Who carries the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// `InvokeModel` and `CountTokens`.
    Invoke,
    /// `POST /anthropic/v1/messages`.
    Messages,
    /// `additionalModelRequestFields` of Converse.
    Converse,
}

/// What all of them take.
const FIELDS: [&str; 12] = [
    "max_tokens",
    "messages",
    "metadata",
    "output_config",
    "stop_sequences",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

/// Fields that are known with a beta only.
const BETA_FIELDS: [(&str, &str); 7] = [
    ("context_management", "context-management-2025-06-27"),
    ("safeguards", "dangerous-tool-use-2026-09-03"),
    ("output_config.effort", "effort-2025-11-24"),
    ("output_config.format", "structured-outputs-2025-12-15"),
    ("tools.defer_loading", "tool-search-tool-2025-10-19"),
    ("tools.input_examples", "tool-examples-2025-10-29"),
    (
        "messages.output_config",
        "mid-conversation-output-config-2026-07-01",
    ),
];

/// What a tool of the client's own may have.
const TOOL_FIELDS: [&str; 8] = [
    "cache_control",
    "defer_loading",
    "description",
    "input_examples",
    "input_schema",
    "name",
    "strict",
    "type",
];

/// Tools that the server or the model knows, and the betas of which one is
/// needed; none: no beta.
const SERVER_TOOLS: [(&str, &[&str]); 6] = [
    ("bash_", &[]),
    ("text_editor_", &[]),
    (
        "computer_",
        &[
            "computer-use-2024-10-22",
            "computer-use-2025-01-24",
            "computer-use-2025-11-24",
        ],
    ),
    ("tool_search_tool_", &["tool-search-tool-2025-10-19"]),
    ("web_search_", &["web-search-2025-03-05"]),
    ("mcp_toolset", &["mcp-client-2025-04-04"]),
];

/// A body and what is accepted of it.
struct Check<'a> {
    carrier: Carrier,
    betas: Vec<&'a str>,
    capabilities: &'a Capabilities,
}

/// Looks at a body; `betas` are those of the header. An error is the message of
/// a ValidationException.
pub(super) fn check(
    body: &Value,
    carrier: Carrier,
    betas: &[&str],
    capabilities: &Capabilities,
) -> Result<(), String> {
    let check = Check {
        carrier,
        betas: match carrier {
            Carrier::Messages => betas.to_vec(),
            Carrier::Invoke | Carrier::Converse => betas_of(body)?,
        },
        capabilities,
    };
    let Some(fields) = body.as_object() else {
        return Err(
            "Malformed input request, please reformat your input and try again.".to_owned(),
        );
    };
    check.version(body)?;
    check.known_betas()?;
    check.top(fields)?;
    check.nested(body)?;
    check.messages(body)?;
    check.tools(body)?;
    check.refused(body, "", "")?;
    let marks = count_marks(body);
    if marks > MAX_CACHE_MARKS {
        return Err(format!(
            "A maximum of 4 blocks with cache_control may be provided. Found {marks}."
        ));
    }
    if carrier == Carrier::Converse {
        return Ok(());
    }
    question::messages(body)
        .and_then(|()| question::limits(body))
        .map_err(|error| error.message)
}

fn betas_of(body: &Value) -> Result<Vec<&str>, String> {
    let betas = &body["anthropic_beta"];
    if betas.is_null() {
        return Ok(Vec::new());
    }
    let list = betas
        .as_array()
        .ok_or("anthropic_beta: Input should be a valid list")?;
    let texts = list.iter().map(Value::as_str);
    texts
        .collect::<Option<_>>()
        .ok_or_else(|| "anthropic_beta: Input should be a valid string".to_owned())
}

impl Check<'_> {
    fn version(&self, body: &Value) -> Result<(), String> {
        if self.carrier != Carrier::Invoke {
            return Ok(());
        }
        match body["anthropic_version"].as_str() {
            Some(version) if self.capabilities.versions.contains(version) => Ok(()),
            Some(_) => Err("anthropic_version: Input should be 'bedrock-2023-05-31'".to_owned()),
            None => Err("anthropic_version: Field required".to_owned()),
        }
    }

    fn known_betas(&self) -> Result<(), String> {
        let unknown: Vec<_> = self
            .betas
            .iter()
            .filter(|beta| !self.capabilities.betas.contains(**beta))
            .map(|beta| format!("`{beta}`"))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(match self.capabilities.beta_wording {
            BetaWording::Named => format!(
                "Unexpected value(s) {} for the `anthropic-beta` header. Please consult our documentation at docs.anthropic.com or try again without the header.",
                unknown.join(", ")
            ),
            BetaWording::Unnamed => "invalid beta flag".to_owned(),
        })
    }

    fn top(&self, fields: &Map<String, Value>) -> Result<(), String> {
        let own: &[&str] = match self.carrier {
            Carrier::Invoke => &["anthropic_version", "anthropic_beta"],
            Carrier::Messages => &["model", "stream"],
            Carrier::Converse => &["anthropic_beta"],
        };
        for name in fields.keys() {
            let is_known = FIELDS.contains(&name.as_str())
                || own.contains(&name.as_str())
                || beta_of(name).is_some();
            if !is_known {
                self.extra("", "", name, name)?;
            }
        }
        Ok(())
    }

    /// Objects of which all fields are known.
    fn nested(&self, body: &Value) -> Result<(), String> {
        for (name, _) in BETA_FIELDS {
            if let Some(field) = name.strip_prefix("output_config.") {
                if !body["output_config"][field].is_null() {
                    self.needs_beta(name, "output_config", field)?;
                }
            } else if !name.contains('.') && !body[name].is_null() {
                self.needs_beta(name, "", name)?;
            }
        }
        self.only(
            &body["output_config"],
            "output_config",
            &["effort", "format"],
        )?;
        self.only(&body["metadata"], "metadata", &["user_id"])?;
        let thinking: &[&str] = match body["thinking"]["type"].as_str() {
            Some("enabled") => &["type", "budget_tokens", "display"],
            Some("adaptive") => &["type", "display"],
            _ => &["type"],
        };
        self.only(&body["thinking"], "thinking", thinking)?;
        self.cache_controls(body, "")
    }

    fn only(&self, object: &Value, path: &str, known: &[&str]) -> Result<(), String> {
        let names = object.as_object().into_iter().flat_map(Map::keys);
        for name in names {
            if !known.contains(&name.as_str()) {
                self.extra(path, path, name, &format!("{path}.{name}"))?;
            }
        }
        Ok(())
    }

    /// Everywhere, at any depth.
    fn cache_controls(&self, value: &Value, at: &str) -> Result<(), String> {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.cache_controls(item, &joined(at, &index.to_string()))?;
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    let at = joined(at, name);
                    if name != "cache_control" {
                        self.cache_controls(field, &at)?;
                        continue;
                    }
                    let names = field.as_object().into_iter().flat_map(Map::keys);
                    for key in names.filter(|key| !["type", "ttl"].contains(&key.as_str())) {
                        let tagged = joined(&at, "ephemeral");
                        self.extra(&at, &tagged, key, &format!("cache_control.{key}"))?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn messages(&self, body: &Value) -> Result<(), String> {
        let messages = body["messages"].as_array().into_iter().flatten();
        for (index, message) in messages.enumerate() {
            let at = format!("messages.{index}");
            let has_beta = self
                .betas
                .contains(&"mid-conversation-tool-changes-2026-07-01");
            let system_role = "messages.role.system";
            let takes_system = !self.is_refused(system_role)
                && (has_beta || self.capabilities.accepted_fields.contains(system_role));
            if message["role"] == "system" && !takes_system {
                return Err(format!(
                    "{at}.role: Input should be \"user\" or \"assistant\""
                ));
            }
            let names = message.as_object().into_iter().flat_map(Map::keys);
            for name in names {
                let path = format!("messages.{name}");
                match name.as_str() {
                    "role" | "content" => {}
                    "output_config" => self.needs_beta(&path, &at, name)?,
                    _ => self.extra(&at, &at, name, &path)?,
                }
            }
            if holds_tool_reference(&message["content"])
                && !self.betas.contains(&"tool-search-tool-2025-10-19")
            {
                return Err(format!(
                    "{at}.content: Input tag 'tool_reference' found using 'type' does not match any of the expected tags: 'document', 'image', 'search_result', 'text'"
                ));
            }
        }
        Ok(())
    }

    fn tools(&self, body: &Value) -> Result<(), String> {
        let tools = body["tools"].as_array().into_iter().flatten();
        for (index, tool) in tools.enumerate() {
            let at = format!("tools.{index}");
            let kind = tool["type"].as_str().unwrap_or("custom");
            if kind != "custom" {
                self.server_tool(&at, kind)?;
                continue;
            }
            let tagged = format!("{at}.custom");
            let names = tool.as_object().into_iter().flat_map(Map::keys);
            for name in names {
                let path = format!("tools.{name}");
                let lacks_beta = beta_of(&path).is_some_and(|beta| !self.betas.contains(&beta));
                if lacks_beta || !TOOL_FIELDS.contains(&name.as_str()) {
                    self.extra(&at, &tagged, name, &path)?;
                }
            }
        }
        Ok(())
    }

    fn server_tool(&self, at: &str, kind: &str) -> Result<(), String> {
        let known = SERVER_TOOLS
            .iter()
            .find(|(prefix, _)| kind.starts_with(prefix));
        match known {
            Some((_, [])) => Ok(()),
            Some((_, betas)) if betas.iter().any(|beta| self.betas.contains(beta)) => Ok(()),
            _ => Err(format!(
                "{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags: 'bash_20250124', 'custom', 'text_editor_20250124', 'text_editor_20250429', 'text_editor_20250728'"
            )),
        }
    }

    /// Refuses what a test has said, wherever it is; `path` has no positions.
    fn refused(&self, value: &Value, at: &str, path: &str) -> Result<(), String> {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.refused(item, &joined(at, &index.to_string()), path)?;
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    let inner = joined(path, name);
                    let marked = format!("cache_control.{name}");
                    let is_mark = path.ends_with("cache_control") && self.is_refused(&marked);
                    if self.is_refused(&inner) || is_mark {
                        return Err(self.worded(at, at, name));
                    }
                    self.refused(field, &joined(at, name), &inner)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn is_refused(&self, path: &str) -> bool {
        self.capabilities.refused_fields.contains(path)
    }

    fn needs_beta(&self, path: &str, at: &str, name: &str) -> Result<(), String> {
        match beta_of(path) {
            Some(beta) if !self.betas.contains(&beta) => self.extra(at, at, name, path),
            _ => Ok(()),
        }
    }

    /// Refuses a field unless a test accepts it: `name` in the object `at`,
    /// which is called `tagged` in the wording with kinds; `path` is its name
    /// without positions.
    fn extra(&self, at: &str, tagged: &str, name: &str, path: &str) -> Result<(), String> {
        match self.capabilities.accepted_fields.contains(path) {
            true => Ok(()),
            false => Err(self.worded(at, tagged, name)),
        }
    }

    fn worded(&self, at: &str, tagged: &str, name: &str) -> String {
        match self.capabilities.field_wording {
            FieldWording::Extra => {
                format!("{}: Extra inputs are not permitted", joined(at, name))
            }
            FieldWording::Tagged => {
                format!("{}: Extra inputs are not permitted", joined(tagged, name))
            }
            FieldWording::Extraneous => {
                let pointer: String = at
                    .split('.')
                    .filter(|part| !part.is_empty())
                    .map(|part| format!("/{part}"))
                    .collect();
                format!(
                    "Malformed input request: #{pointer}: extraneous key [{name}] is not permitted, please reformat your input and try again."
                )
            }
        }
    }
}

fn joined(path: &str, name: &str) -> String {
    match path.is_empty() {
        true => name.to_owned(),
        false => format!("{path}.{name}"),
    }
}

fn beta_of(path: &str) -> Option<&'static str> {
    let found = BETA_FIELDS.iter().find(|(known, _)| *known == path);
    found.map(|(_, beta)| *beta)
}

fn holds_tool_reference(content: &Value) -> bool {
    let blocks = content.as_array().into_iter().flatten();
    blocks
        .into_iter()
        .any(|block| block["type"] == "tool_reference" || holds_tool_reference(&block["content"]))
}

fn count_marks(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(count_marks).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| match name.as_str() {
                "cache_control" if field.is_object() => 1,
                // What a tool is called with is its own business.
                "input" | "input_schema" => 0,
                _ => count_marks(field),
            })
            .sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VERSION: &str = "bedrock-2023-05-31";

    fn body(more: Value) -> Value {
        let mut body = json!({
            "anthropic_version": VERSION,
            "max_tokens": 2000,
            "messages": [{"role": "user", "content": "hi"}],
        });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    }

    fn refusal(more: Value, capabilities: &Capabilities) -> String {
        check(&body(more), Carrier::Invoke, &[], capabilities)
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn everything_that_is_not_known_is_refused() {
        let cases = [
            (json!({}), ""),
            (
                json!({"model": "m"}),
                "model: Extra inputs are not permitted",
            ),
            (
                json!({"stream": true}),
                "stream: Extra inputs are not permitted",
            ),
            (
                json!({"service_tier": "auto"}),
                "service_tier: Extra inputs are not permitted",
            ),
            (
                json!({"anthropic_version": "2023-06-01"}),
                "anthropic_version: Input should be 'bedrock-2023-05-31'",
            ),
            (json!({"max_tokens": null}), "max_tokens: Field required"),
            (json!({"metadata": {"user_id": "u"}}), ""),
            (
                json!({"metadata": {"team": "u"}}),
                "metadata.team: Extra inputs are not permitted",
            ),
            (
                json!({"context_management": {"edits": []}}),
                "context_management: Extra inputs are not permitted",
            ),
            (
                json!({"context_management": {"edits": []}, "anthropic_beta": ["context-management-2025-06-27"]}),
                "",
            ),
            (
                json!({"output_config": {"effort": "high"}}),
                "output_config.effort: Extra inputs are not permitted",
            ),
            (
                json!({"output_config": {"effort": "high"}, "anthropic_beta": ["effort-2025-11-24"]}),
                "",
            ),
            (
                json!({"anthropic_beta": ["oauth-2025-04-20"]}),
                "Unexpected value(s) `oauth-2025-04-20` for the `anthropic-beta` header. Please consult our documentation at docs.anthropic.com or try again without the header.",
            ),
            (
                json!({"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}),
                "",
            ),
            (
                json!({"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "scope": "global"}}]}),
                "system.0.cache_control.scope: Extra inputs are not permitted",
            ),
            (
                json!({"tools": [{"name": "t", "input_schema": {}, "defer_loading": true}]}),
                "tools.0.defer_loading: Extra inputs are not permitted",
            ),
            (
                json!({"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]}),
                "messages.1.role: Input should be \"user\" or \"assistant\"",
            ),
            (
                json!({
                    "messages": [{"role": "system", "content": "b", "output_config": {"effort": "low"}}],
                    "anthropic_beta": ["mid-conversation-tool-changes-2026-07-01"],
                }),
                "messages.0.output_config: Extra inputs are not permitted",
            ),
            (
                json!({"thinking": {"type": "adaptive", "display": "omitted"}}),
                "",
            ),
            (
                json!({"thinking": {"type": "disabled", "display": "omitted"}}),
                "thinking.display: Extra inputs are not permitted",
            ),
            (
                json!({"tools": [{"type": "code_execution_20250522", "name": "code_execution"}]}),
                "tools.0: Input tag 'code_execution_20250522' found using 'type' does not match any of the expected tags: 'bash_20250124', 'custom', 'text_editor_20250124', 'text_editor_20250429', 'text_editor_20250728'",
            ),
        ];
        for (more, expected) in cases {
            assert_eq!(
                refusal(more.clone(), &Capabilities::default()),
                expected,
                "{more}"
            );
        }
    }

    #[test]
    fn a_test_can_narrow_and_widen_what_is_accepted() {
        let effort =
            json!({"output_config": {"effort": "high"}, "anthropic_beta": ["effort-2025-11-24"]});
        let usual = Capabilities::default();
        let cases = [
            (
                json!({"service_tier": "auto"}),
                usual.clone().with_field("service_tier"),
                "",
            ),
            (
                effort.clone(),
                usual.clone().without_field("output_config.effort"),
                "output_config.effort: Extra inputs are not permitted",
            ),
            (
                effort.clone(),
                usual
                    .clone()
                    .without_beta("effort-2025-11-24")
                    .beta_wording(BetaWording::Unnamed),
                "invalid beta flag",
            ),
            (
                json!({"anthropic_beta": ["new-2027-01-01"]}),
                usual.clone().with_beta("new-2027-01-01"),
                "",
            ),
            (
                json!({"tools": [{"name": "t", "input_schema": {}, "defer_loading": true}]}),
                usual.clone().field_wording(FieldWording::Extraneous),
                "Malformed input request: #/tools/0: extraneous key [defer_loading] is not permitted, please reformat your input and try again.",
            ),
            (
                json!({"tools": [{"name": "t", "input_schema": {}, "defer_loading": true}]}),
                usual.clone().field_wording(FieldWording::Tagged),
                "tools.0.custom.defer_loading: Extra inputs are not permitted",
            ),
            (
                json!({"model": "m"}),
                usual.clone().field_wording(FieldWording::Extraneous),
                "Malformed input request: #: extraneous key [model] is not permitted, please reformat your input and try again.",
            ),
        ];
        for (more, capabilities, expected) in cases {
            assert_eq!(refusal(more.clone(), &capabilities), expected, "{more}");
        }
    }

    #[test]
    fn there_are_at_most_four_cache_marks() {
        let block = json!({"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}});
        let marks = |count| json!({"system": vec![block.clone(); count]});
        let usual = Capabilities::default();
        assert_eq!(refusal(marks(4), &usual), "");
        assert!(refusal(marks(5), &usual).contains("Found 5"));
    }

    #[test]
    fn the_carriers_differ_in_what_they_take_care_of() {
        let usual = Capabilities::default();
        let messages = json!({"model": "m", "stream": true, "max_tokens": 1,
            "messages": [{"role": "user", "content": "hi"}]});
        assert_eq!(check(&messages, Carrier::Messages, &[], &usual), Ok(()));
        let refused = check(&messages, Carrier::Messages, &["oauth-2025-04-20"], &usual);
        assert!(refused.unwrap_err().contains("oauth"));
        let additional = json!({"anthropic_beta": ["effort-2025-11-24"], "top_k": 5});
        assert_eq!(check(&additional, Carrier::Converse, &[], &usual), Ok(()));
        let version = json!({"anthropic_version": VERSION});
        assert!(check(&version, Carrier::Converse, &[], &usual).is_err());
    }
}
