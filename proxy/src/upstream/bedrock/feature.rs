//! Parts of a request that Bedrock may refuse and that can be left out.

use std::{fmt, str::FromStr};

/// A beta, or a member of the body.
///
/// As a text: `beta:context-1m-2025-08-07`, `field:context_management`,
/// `field:output_config.effort=xhigh`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// A flag of `anthropic-beta`.
    Beta(Box<str>),
    Field {
        /// Names of members joined by dots; positions in lists are left out.
        /// What begins with `cache_control.` is meant wherever it stands.
        path: Box<str>,
        /// Only this value is refused, not every.
        value: Option<Box<str>>,
    },
}

/// Messages with the role `system` among the others.
pub const SYSTEM_ROLE: &str = "messages.role.system";

/// References to tools that were found, in results of tools.
pub const TOOL_REFERENCE: &str = "tool_reference";

/// Betas, and the members of the body that mean nothing without them. Half of a
/// pair is refused like a stranger, so they go together.
///
/// Source: recorded requests of Claude Code, and the API's documentation of each
/// beta. `extended-cache-ttl` is no pair: Bedrock takes `ttl` without it.
const HALVES: [(&str, &[&str]); 14] = [
    ("context-management-2025-06-27", &["context_management"]),
    ("effort-2025-11-24", &["output_config.effort"]),
    (
        "structured-outputs-2025-12-15",
        &["output_config.format", "output_format"],
    ),
    (
        "structured-outputs-2025-11-13",
        &["output_config.format", "output_format"],
    ),
    (
        "tool-search-tool-2025-10-19",
        &["tools.defer_loading", TOOL_REFERENCE],
    ),
    ("tool-examples-2025-10-29", &["tools.input_examples"]),
    ("per-turn-control-2026-07-01", &["messages.output_config"]),
    (
        "mid-conversation-output-config-2026-07-01",
        &["messages.output_config"],
    ),
    ("mid-conversation-tool-changes-2026-07-01", &[SYSTEM_ROLE]),
    ("dangerous-tool-use-2026-09-03", &["safeguards"]),
    ("mcp-client-2025-04-04", &["mcp_servers"]),
    ("mcp-client-2025-11-20", &["mcp_servers"]),
    ("prompt-caching-scope-2026-01-05", &["cache_control.scope"]),
    ("fast-mode-2026-02-01", &["speed"]),
];

/// Betas about the client's own login, product or bill with Anthropic. They make
/// no sense on Bedrock and never leave.
const FOREIGN: [&str; 4] = ["oauth-", "claude-code-", "afk-mode-", "fallback-credit-"];

/// Betas that have another name on Bedrock.
///
/// Source: Amazon Bedrock user guide, "Tool search tool".
const ALIASES: [(&str, &str); 1] = [(
    "advanced-tool-use-2025-11-20",
    "tool-search-tool-2025-10-19",
)];

/// Betas that somebody has seen Bedrock take, from some model in some region.
///
/// Source: the lists that other gateways publish, and what Claude Code sends when
/// it speaks to Bedrock itself.
const TAKEN: [&str; 25] = [
    "interleaved-thinking-2025-05-14",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "computer-use-2025-01-24",
    "computer-use-2024-10-22",
    "computer-use-2025-11-24",
    "fine-grained-tool-streaming-2025-05-14",
    "token-efficient-tools-2025-02-19",
    "output-128k-2025-02-19",
    "dev-full-thinking-2025-05-14",
    "tool-search-tool-2025-10-19",
    "tool-examples-2025-10-29",
    "effort-2025-11-24",
    "compact-2026-01-12",
    "dangerous-tool-use-2026-09-03",
    "thinking-binding-controls-2026-08-01",
    "thinking-display-updates-2026-08-18",
    "mid-conversation-output-config-2026-07-01",
    "mid-conversation-tool-changes-2026-07-01",
    "structured-outputs-2025-12-15",
    "token-counting-2024-11-01",
    "web-search-2025-03-05",
    "mcp-client-2025-04-04",
    "pdfs-2024-09-25",
    "search-results-2025-06-09",
];

/// Whether Bedrock is known to take a beta somewhere. It is sent either way.
pub fn is_taken(flag: &str) -> bool {
    TAKEN.contains(&flag)
}

impl Feature {
    pub fn beta(flag: &str) -> Self {
        Self::Beta(flag.into())
    }

    pub fn field(path: &str) -> Self {
        Self::Field {
            path: path.into(),
            value: None,
        }
    }

    /// Whether this is half of a pair whose other half is not among `betas`: what
    /// was refused then is the client's mistake, not the feature.
    pub fn lacks_its_beta(&self, betas: &[String]) -> bool {
        let mut halves = self.other_halves().peekable();
        let is_field = matches!(self, Self::Field { .. });
        let is_there = |half: Self| match half {
            Self::Beta(flag) => betas.iter().any(|it| **it == *flag),
            Self::Field { .. } => false,
        };
        is_field && halves.peek().is_some() && !halves.any(is_there)
    }

    /// What has to go when this goes.
    pub fn other_halves(&self) -> impl Iterator<Item = Self> {
        HALVES.iter().flat_map(move |(flag, paths)| {
            let (fields, betas) = match self {
                Self::Beta(it) if &**it == *flag => (*paths, None),
                Self::Field { path, value: None } if paths.contains(&&**path) => {
                    (&[][..], Some(*flag))
                }
                _ => (&[][..], None),
            };
            let fields = fields.iter().map(|path| Self::field(path));
            fields.chain(betas.map(Self::beta))
        })
    }
}

/// The betas that a client asks for, as Bedrock knows them.
pub fn known_to_bedrock<'a>(asked: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut betas: Vec<String> = Vec::new();
    for flag in asked {
        if !is_flag(flag) || FOREIGN.iter().any(|foreign| flag.starts_with(foreign)) {
            continue;
        }
        let alias = ALIASES.iter().find(|(name, _)| *name == flag);
        let flag = alias.map_or(flag, |(_, alias)| alias);
        if !betas.iter().any(|it| it == flag) {
            betas.push(flag.to_owned());
        }
    }
    betas
}

/// A flag is a name. What is none could make a refusal that quotes it name
/// something else.
fn is_flag(text: &str) -> bool {
    let is_part = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    !text.is_empty() && text.bytes().all(is_part)
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beta(flag) => write!(f, "beta:{flag}"),
            Self::Field { path, value: None } => write!(f, "field:{path}"),
            Self::Field {
                path,
                value: Some(value),
            } => write!(f, "field:{path}={value}"),
        }
    }
}

/// The text is no feature.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown;

impl FromStr for Feature {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        match text.split_once(':') {
            Some(("beta", flag)) if !flag.is_empty() => Ok(Self::beta(flag)),
            Some(("field", rest)) if !rest.is_empty() => Ok(match rest.split_once('=') {
                Some((path, value)) => Self::Field {
                    path: path.into(),
                    value: Some(value.into()),
                },
                None => Self::field(rest),
            }),
            _ => Err(Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_survives_being_written_down() {
        for text in ["beta:a-1", "field:a.b", "field:a.b=c=d"] {
            assert_eq!(text.parse::<Feature>().unwrap().to_string(), text);
        }
        for text in ["", "beta:", "field:", "a", "x:y"] {
            assert_eq!(text.parse::<Feature>(), Err(Unknown), "{text}");
        }
    }

    #[test]
    fn halves_go_together() {
        let halves = |text: &str| -> Vec<String> {
            let feature: Feature = text.parse().unwrap();
            feature.other_halves().map(|it| it.to_string()).collect()
        };
        assert_eq!(
            halves("beta:context-management-2025-06-27"),
            ["field:context_management"]
        );
        assert_eq!(
            halves("field:context_management"),
            ["beta:context-management-2025-06-27"]
        );
        assert_eq!(
            halves("field:mcp_servers"),
            ["beta:mcp-client-2025-04-04", "beta:mcp-client-2025-11-20"]
        );
        assert!(halves("field:output_config.effort=xhigh").is_empty());
        assert!(halves("beta:context-1m-2025-08-07").is_empty());
    }

    #[test]
    fn what_is_for_anthropic_alone_never_leaves() {
        let asked = "claude-code-20250219,oauth-2025-04-20,afk-mode-2026-01-31,,fallback-credit-2026-06-01,\
             z tools: Extra inputs are not permitted,advanced-tool-use-2025-11-20,context-1m-2025-08-07,tool-search-tool-2025-10-19";
        assert_eq!(
            known_to_bedrock(asked.split(',')),
            ["tool-search-tool-2025-10-19", "context-1m-2025-08-07"]
        );
    }
}
