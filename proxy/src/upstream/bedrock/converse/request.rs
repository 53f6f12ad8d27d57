//! A Messages body → a call of Converse.

use std::collections::HashMap;

use aws_sdk_bedrockruntime::{
    client::customize::CustomizableOperation,
    operation::{
        converse::{ConverseError, ConverseOutput, builders::ConverseFluentBuilder},
        converse_stream::{
            ConverseStreamError, ConverseStreamOutput, builders::ConverseStreamFluentBuilder,
        },
    },
    types::{
        InferenceConfiguration, JsonSchemaDefinition, Message, OutputConfig, OutputFormat,
        OutputFormatStructure, OutputFormatType, ServiceTier, ServiceTierType, SystemContentBlock,
        ToolConfiguration,
    },
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::{Document, body::SdkBody};
use serde_json::{Value, json};

use super::{
    Family, Invalid, cache,
    documents::Documents,
    dropped::Dropped,
    fields::{Object, list, object, present, required_text, text},
    fractions::Fractions,
    messages,
    names::Names,
    notes::Notes,
    system,
    texts::Texts,
    tools,
};
use crate::upstream::members::Members;

/// Flags for features that are said in another way here, or not at all: without
/// its half in the body a flag is only one more thing to refuse.
const FLAGS_WITHOUT_FEATURE: [&str; 5] = [
    "advanced-tool-use-2025-11-20",
    "tool-search-tool-2025-10-19",
    "mid-conversation-output-config-2026-07-01",
    "mid-conversation-tool-changes-2026-07-01",
    "per-turn-control-2026-07-01",
];

/// `RequestMetadata` of the service model.
const MAX_METADATA: usize = 16;

/// `RequestMetadataKeyString` and `RequestMetadataValueString`.
const MAX_METADATA_LENGTH: usize = 256;

/// `OutputConfigEffortString`.
const MAX_EFFORT_LENGTH: usize = 16;

/// A Messages body in Converse's words.
#[derive(Debug, Clone)]
pub struct Translated {
    pub request: Request,
    /// For the answer, which speaks of the same tools.
    pub names: Names,
    /// What was left out, each feature once.
    pub dropped: Vec<Dropped>,
}

/// What is asked, apart from the model.
#[derive(Debug, Clone)]
pub struct Request {
    messages: Vec<Message>,
    system: Vec<SystemContentBlock>,
    inference_config: Option<InferenceConfiguration>,
    tool_config: Option<ToolConfiguration>,
    output_config: Option<OutputConfig>,
    service_tier: Option<ServiceTier>,
    model_fields: Option<Document>,
    answer_fields: Option<Vec<String>>,
    metadata: Option<HashMap<String, String>>,
    documents: Documents,
    fractions: Fractions,
}

/// Translates `body` for a model of `family`, with the betas of its header.
///
/// # Errors
///
/// The body is not one of the Messages API, or asks for what this model cannot do
/// and must not be left out.
pub fn translate(body: &Members, betas: &[String], family: Family) -> Result<Translated, Invalid> {
    let texts = Texts::of(body);
    let body = &read(body)?;
    let mut notes = Notes::new(family, Names::of(body, family), texts);
    leave_out(body, &mut notes);
    let mut tools = tools::tools(body, &mut notes)?;
    let mut system = system::blocks(body, &mut notes)?;
    let mut messages = messages::turns(body, &mut notes)?;
    cache::limit(&mut tools.declared, &mut system, &mut messages, &mut notes);
    cache::settle(&mut tools.declared, &mut system, &mut messages, &mut notes);
    let mut fields = model_fields(body, betas, &mut notes);
    fields.append(&mut tools.fields);
    let fields = Some(fields).filter(|it| !it.is_empty());
    let mut fractions = Fractions::default();
    let request = Request {
        messages,
        system,
        inference_config: inference(body, &mut fractions)?,
        tool_config: tools.finish()?,
        output_config: output(body, &mut notes)?,
        service_tier: service_tier(body, &mut notes)?,
        model_fields: fields.map(|it| notes.document(None, &Value::Object(it))),
        answer_fields: answer_fields(body, family),
        metadata: metadata(body, &mut notes)?,
        documents: Documents::default(),
        fractions,
    };
    let (names, documents, dropped) = notes.finish();
    Ok(Translated {
        request: Request {
            documents,
            ..request
        },
        names,
        dropped,
    })
}

impl Request {
    /// Puts the request on a call of Converse. The call is to be sent as it is
    /// given back: only then do the client's own JSON objects reach the model in
    /// their own order.
    pub fn converse(
        self,
        call: ConverseFluentBuilder,
    ) -> CustomizableOperation<ConverseOutput, ConverseError, ConverseFluentBuilder> {
        let (documents, fractions) = (self.documents, self.fractions);
        call.set_messages(Some(self.messages))
            .set_system(Some(self.system).filter(|it| !it.is_empty()))
            .set_inference_config(self.inference_config)
            .set_tool_config(self.tool_config)
            .set_output_config(self.output_config)
            .set_service_tier(self.service_tier)
            .set_additional_model_request_fields(self.model_fields)
            .set_additional_model_response_field_paths(self.answer_fields)
            .set_request_metadata(self.metadata)
            .customize()
            .mutate_request(move |request| fill(request, &documents, &fractions))
    }

    /// The same for `ConverseStream`.
    pub fn converse_stream(
        self,
        call: ConverseStreamFluentBuilder,
    ) -> CustomizableOperation<ConverseStreamOutput, ConverseStreamError, ConverseStreamFluentBuilder>
    {
        let (documents, fractions) = (self.documents, self.fractions);
        call.set_messages(Some(self.messages))
            .set_system(Some(self.system).filter(|it| !it.is_empty()))
            .set_inference_config(self.inference_config)
            .set_tool_config(self.tool_config)
            .set_output_config(self.output_config)
            .set_service_tier(self.service_tier)
            .set_additional_model_request_fields(self.model_fields)
            .set_additional_model_response_field_paths(self.answer_fields)
            .set_request_metadata(self.metadata)
            .customize()
            .mutate_request(move |request| fill(request, &documents, &fractions))
    }
}

/// Runs before the request is signed.
fn fill(request: &mut HttpRequest, documents: &Documents, fractions: &Fractions) {
    let Some(body) = request.body().bytes() else {
        return;
    };
    let body = documents.fill(&fractions.write(body.to_vec()));
    let length = body.len().to_string();
    request.headers_mut().insert("content-length", length);
    *request.body_mut() = SdkBody::from(body);
}

fn read(body: &Members) -> Result<Object, Invalid> {
    let member = |name: &str| {
        let value = body.read(name);
        let value = value.ok_or_else(|| Invalid::new(name, "Input should be readable JSON"))?;
        Ok((name.to_owned(), value))
    };
    body.names().map(member).collect()
}

/// Notes the members of the body that no other part of the translation reads.
fn leave_out(body: &Object, notes: &mut Notes) {
    for (name, _) in body.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            // Said elsewhere: in the path, in the operation, in the betas.
            "model" | "stream" | "anthropic_version" | "anthropic_beta" => {}
            "messages" | "system" | "tools" | "tool_choice" | "cache_control" => {}
            "max_tokens" | "temperature" | "top_p" | "top_k" | "stop_sequences" => {}
            "thinking" | "context_management" | "safeguards" => {}
            "output_config" | "output_format" | "service_tier" | "metadata" => {}
            "container" => notes.drop(Dropped::Container),
            "inference_geo" => notes.drop(Dropped::InferenceGeo),
            "mcp_servers" => notes.drop(Dropped::McpServers),
            "speed" => notes.drop(Dropped::Speed),
            _ => notes.drop(Dropped::Body),
        }
    }
}

fn inference(
    body: &Object,
    fractions: &mut Fractions,
) -> Result<Option<InferenceConfiguration>, Invalid> {
    let mut stops = Vec::new();
    for (index, stop) in list(body, "stop_sequences")?.iter().enumerate() {
        match stop.as_str() {
            Some(stop) if !stop.is_empty() => stops.push(stop.to_owned()),
            _ => {
                let at = format!("stop_sequences.{index}");
                let reason = "Input should be a string with at least 1 character";
                return Err(Invalid::new(at, reason));
            }
        }
    }
    let config = InferenceConfiguration::builder()
        .set_max_tokens(max_tokens(body)?)
        .set_temperature(fraction(body, "temperature")?)
        .set_top_p(fraction(body, "top_p")?)
        .set_stop_sequences(Some(stops).filter(|it| !it.is_empty()))
        .build();
    for (name, member) in [("temperature", "temperature"), ("top_p", "topP")] {
        if let Some(said) = present(body, name) {
            fractions.keep(member, said);
        }
    }
    let is_said = config != InferenceConfiguration::builder().build();
    Ok(is_said.then_some(config))
}

fn max_tokens(body: &Object) -> Result<Option<i32>, Invalid> {
    let Some(value) = present(body, "max_tokens") else {
        return Ok(None);
    };
    let tokens = value.as_i64().and_then(|it| i32::try_from(it).ok());
    match tokens {
        Some(tokens) if tokens > 0 => Ok(Some(tokens)),
        _ => {
            let reason = "Input should be an integer greater than or equal to 1";
            Err(Invalid::new("max_tokens", reason))
        }
    }
}

fn fraction(body: &Object, name: &str) -> Result<Option<f32>, Invalid> {
    let Some(value) = present(body, name) else {
        return Ok(None);
    };
    match value.as_f64() {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "Converse has no more digits, and the range is checked"
        )]
        Some(number) if (0.0..=1.0).contains(&number) => Ok(Some(number as f32)),
        _ => Err(Invalid::new(name, "Input should be a number from 0 to 1")),
    }
}

fn output(body: &Object, notes: &mut Notes) -> Result<Option<OutputConfig>, Invalid> {
    let mut config = OutputConfig::builder();
    // The name that `output_config.format` had before.
    if let Some(format) = object(body, "output_format")? {
        let format = text_format(format).map_err(|it| it.within("output_format"))?;
        config = config.text_format(format);
    }
    if let Some(output) = object(body, "output_config")? {
        if let Some(format) = object(output, "format").map_err(|it| it.within("output_config"))? {
            let format = text_format(format).map_err(|it| it.within("output_config.format"))?;
            config = config.text_format(format);
        }
        if let Some(effort) = effort(output).map_err(|it| it.within("output_config"))? {
            if notes.family.is_anthropic() {
                config = config.effort(effort);
            } else {
                notes.drop(Dropped::Effort);
            }
        }
        if output.keys().any(|it| it != "format" && it != "effort") {
            notes.drop(Dropped::OutputConfig);
        }
    }
    let config = config.build();
    let is_said = config != OutputConfig::builder().build();
    Ok(is_said.then_some(config))
}

fn effort(output: &Object) -> Result<Option<&str>, Invalid> {
    match text(output, "effort")? {
        Some(effort) if effort.len() > MAX_EFFORT_LENGTH => {
            let reason = "Input should be 'low', 'medium', 'high', 'xhigh' or 'max'";
            Err(Invalid::new("effort", reason))
        }
        effort => Ok(effort),
    }
}

fn text_format(format: &Object) -> Result<OutputFormat, Invalid> {
    if required_text(format, "type")? != "json_schema" {
        return Err(Invalid::new("type", "Input should be 'json_schema'"));
    }
    let Some(schema) = object(format, "schema")? else {
        return Err(Invalid::missing("schema"));
    };
    let schema = JsonSchemaDefinition::builder()
        .schema(json!(schema).to_string())
        .set_name(text(format, "name")?.map(str::to_owned))
        .build()?;
    let format = OutputFormat::builder()
        .r#type(OutputFormatType::JsonSchema)
        .structure(OutputFormatStructure::JsonSchema(schema));
    Ok(format.build()?)
}

/// What the Messages API calls `auto` is what Bedrock does when nothing is said.
fn service_tier(body: &Object, notes: &mut Notes) -> Result<Option<ServiceTier>, Invalid> {
    match text(body, "service_tier")? {
        None | Some("auto") => Ok(None),
        Some("standard_only") => {
            let tier = ServiceTier::builder().r#type(ServiceTierType::Default);
            Ok(Some(tier.build()?))
        }
        Some(_) => {
            notes.drop(Dropped::ServiceTier);
            Ok(None)
        }
    }
}

/// What a model takes beyond Converse's common ground, under the names that its
/// maker documents.
fn model_fields(body: &Object, betas: &[String], notes: &mut Notes) -> Object {
    let mut fields = Object::new();
    let is_anthropic = notes.family.is_anthropic();
    for (name, dropped) in [
        ("thinking", Dropped::Thinking),
        ("context_management", Dropped::ContextManagement),
        ("safeguards", Dropped::Safeguards),
    ] {
        match present(body, name) {
            Some(value) if is_anthropic => {
                fields.insert(name.to_owned(), value.clone());
            }
            Some(_) => notes.drop(dropped),
            None => {}
        }
    }
    if let Some(top_k) = present(body, "top_k") {
        match notes.family {
            Family::Anthropic => {
                fields.insert("top_k".to_owned(), top_k.clone());
            }
            Family::Nova => {
                let inference = json!({"topK": top_k});
                fields.insert("inferenceConfig".to_owned(), inference);
            }
            Family::Other => notes.drop(Dropped::TopK),
        }
    }
    let is_kept = |it: &&String| is_anthropic && !FLAGS_WITHOUT_FEATURE.contains(&it.as_str());
    let kept: Vec<&String> = betas.iter().filter(is_kept).collect();
    if kept.len() < betas.len() {
        notes.drop(Dropped::Beta);
    }
    if !kept.is_empty() {
        fields.insert("anthropic_beta".to_owned(), json!(kept));
    }
    fields
}

/// Which stop sequence it was is told on request only.
fn answer_fields(body: &Object, family: Family) -> Option<Vec<String>> {
    let stops = body.get("stop_sequences").and_then(Value::as_array);
    let is_asked = family.is_anthropic() && stops.is_some_and(|it| !it.is_empty());
    is_asked.then(|| vec!["/stop_sequence".to_owned()])
}

/// Texts that fit. Claude Code's user id is a JSON object in a text, and what is in
/// it fits.
fn metadata(body: &Object, notes: &mut Notes) -> Result<Option<HashMap<String, String>>, Invalid> {
    let mut fitting = HashMap::new();
    let Some(metadata) = object(body, "metadata")? else {
        return Ok(None);
    };
    for (name, value) in metadata.iter().filter(|(_, value)| !value.is_null()) {
        let inner = value.as_str().map(serde_json::from_str::<Object>);
        match inner {
            Some(Ok(inner)) => {
                for (name, value) in &inner {
                    keep(&mut fitting, name, value, notes);
                }
            }
            _ => keep(&mut fitting, name, value, notes),
        }
    }
    Ok(Some(fitting).filter(|it| !it.is_empty()))
}

fn keep(fitting: &mut HashMap<String, String>, name: &str, value: &Value, notes: &mut Notes) {
    match value.as_str() {
        Some("") => {}
        Some(value)
            if fits(name) && !name.is_empty() && fits(value) && fitting.len() < MAX_METADATA =>
        {
            fitting.insert(name.to_owned(), value.to_owned());
        }
        _ => notes.drop(Dropped::Metadata),
    }
}

fn fits(text: &str) -> bool {
    let is_allowed = |byte: u8| {
        byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b":_@$#=/+,-.".contains(&byte)
    };
    text.len() <= MAX_METADATA_LENGTH && text.bytes().all(is_allowed)
}
