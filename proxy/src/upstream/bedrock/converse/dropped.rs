//! What a request loses on its way to Converse: all of it, and why.

/// Something of the Messages API without a counterpart. `docs/converse.md` has the
/// same table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dropped {
    Beta,
    Container,
    ContextManagement,
    InferenceGeo,
    McpServers,
    Metadata,
    Effort,
    OutputConfig,
    Safeguards,
    ServiceTier,
    Speed,
    Thinking,
    TopK,
    Body,
    ServerTool,
    DeferredTool,
    Tool,
    ToolChoiceNone,
    ParallelToolUse,
    BillingHeader,
    System,
    MessageOutputConfig,
    Message,
    BlankText,
    TextCitations,
    UnsignedThinking,
    OldThinking,
    ToolError,
    DocumentImage,
    ServerToolBlock,
    ContainerUpload,
    Content,
    CacheControl,
    CacheTtl,
    CacheScope,
    SurplusCache,
}

impl Dropped {
    pub const ALL: [Self; 36] = [
        Self::Beta,
        Self::Container,
        Self::ContextManagement,
        Self::InferenceGeo,
        Self::McpServers,
        Self::Metadata,
        Self::Effort,
        Self::OutputConfig,
        Self::Safeguards,
        Self::ServiceTier,
        Self::Speed,
        Self::Thinking,
        Self::TopK,
        Self::Body,
        Self::ServerTool,
        Self::DeferredTool,
        Self::Tool,
        Self::ToolChoiceNone,
        Self::ParallelToolUse,
        Self::BillingHeader,
        Self::System,
        Self::MessageOutputConfig,
        Self::Message,
        Self::BlankText,
        Self::TextCitations,
        Self::UnsignedThinking,
        Self::OldThinking,
        Self::ToolError,
        Self::DocumentImage,
        Self::ServerToolBlock,
        Self::ContainerUpload,
        Self::Content,
        Self::CacheControl,
        Self::CacheTtl,
        Self::CacheScope,
        Self::SurplusCache,
    ];

    /// The `feature` of `proxy_converse_dropped_total`.
    pub fn label(self) -> &'static str {
        self.row().0
    }

    /// Why there is no counterpart.
    pub fn why(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Beta => (
                "anthropic_beta",
                "flags of features that are left out below, and all of them for models of others",
            ),
            Self::Container => (
                "container",
                "Bedrock has no containers to keep between requests",
            ),
            Self::ContextManagement => (
                "context_management",
                "only Anthropic models edit their context",
            ),
            Self::InferenceGeo => (
                "inference_geo",
                "the region of the endpoint and the inference profile decide where Bedrock works",
            ),
            Self::McpServers => ("mcp_servers", "Bedrock does not call MCP servers"),
            Self::Metadata => (
                "metadata",
                "request metadata of Converse are at most 16 texts of 256 characters from a small alphabet; what fits is sent",
            ),
            Self::Effort => ("output_config.effort", "only Anthropic models document it"),
            Self::OutputConfig => (
                "output_config.other",
                "Converse's output configuration has an effort and a format",
            ),
            Self::Safeguards => ("safeguards", "only Anthropic models know them"),
            Self::ServiceTier => (
                "service_tier",
                "only `auto` and `standard_only` have a counterpart",
            ),
            Self::Speed => ("speed", "Bedrock has no fast mode"),
            Self::Thinking => (
                "thinking",
                "only Anthropic models take Anthropic's thinking settings; nobody documents a translation for others",
            ),
            Self::TopK => (
                "top_k",
                "only Anthropic and Nova models document a name for it",
            ),
            Self::Body => (
                "body.other",
                "Converse has no place for members that the Messages API does not document",
            ),
            Self::ServerTool => (
                "tools.server",
                "Anthropic runs them itself; Anthropic models get them as fields of the model, others do not",
            ),
            Self::DeferredTool => (
                "tools.deferred",
                "Converse cannot load tools later; one that is not loaded yet is invisible to the model anyway",
            ),
            Self::Tool => (
                "tools.other",
                "a tool of Converse has a name, a description, a schema and `strict`",
            ),
            Self::ToolChoiceNone => (
                "tool_choice.none",
                "only Anthropic models take it; Converse needs tools declared while the conversation holds uses of them",
            ),
            Self::ParallelToolUse => (
                "tool_choice.disable_parallel_tool_use",
                "only Anthropic models take it",
            ),
            Self::BillingHeader => (
                "system.billing_header",
                "a line for Anthropic's billing; it differs in each session, so none would find another's prompt cache",
            ),
            Self::System => ("system.other", "a system prompt of Converse is text"),
            Self::MessageOutputConfig => (
                "messages.output_config",
                "Converse has one output configuration per request; the body's is sent",
            ),
            Self::Message => (
                "messages.other",
                "a message of Converse has a role and content",
            ),
            Self::BlankText => (
                "text.blank",
                "Bedrock refuses text without a visible character",
            ),
            Self::TextCitations => (
                "text.citations",
                "Converse takes what an answer cited only together with documents that it can place; the text is sent",
            ),
            Self::UnsignedThinking => (
                "thinking.unsigned",
                "Anthropic models refuse thinking that they have not signed, as another model's is",
            ),
            Self::OldThinking => (
                "thinking.history",
                "models of others do not accept somebody else's reasoning, and not all accept their own",
            ),
            Self::ToolError => (
                "tool_result.is_error",
                "only Anthropic and Nova models take a status; the result's text says what failed",
            ),
            Self::DocumentImage => (
                "document.content",
                "a document of Converse that is made of blocks is made of text",
            ),
            Self::ServerToolBlock => (
                "content.server_tool",
                "uses and results of tools that Anthropic ran; the text that came of them is sent",
            ),
            Self::ContainerUpload => ("content.container_upload", "Bedrock has no containers"),
            Self::Content => ("content.other", "Converse has no such block"),
            Self::CacheControl => (
                "cache_control",
                "prompt caching is documented for Anthropic models, and for Nova except in tools; others refuse it",
            ),
            Self::CacheTtl => (
                "cache_control.ttl",
                "only Anthropic models keep a prompt longer than five minutes, and not behind a point of five minutes",
            ),
            Self::CacheScope => (
                "cache_control.scope",
                "a cache point of Converse has a type and a lifetime",
            ),
            Self::SurplusCache => (
                "cache_control.surplus",
                "Bedrock takes four cache points; the last four are sent",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_documentation_has_the_same_table() {
        let document = include_str!("../../../../../docs/converse.md");
        let (_, table) = document.split_once("## What is left out").unwrap();
        let documented: Vec<&str> = table.lines().filter(|it| it.starts_with("| `")).collect();
        let rows = Dropped::ALL.map(|it| format!("| `{}` | {} |", it.label(), it.why()));
        assert_eq!(documented, rows);
        let labels: HashSet<_> = Dropped::ALL.map(Dropped::label).into();
        assert_eq!(labels.len(), Dropped::ALL.len());
    }
}
