//! What Bedrock does not like about a request, read from its own words.

use std::sync::LazyLock;

use regex::Regex;

use super::{
    feature::{self, Feature, SYSTEM_ROLE},
    shape::Shaped,
};

/// Members that a request means something else without, wherever they stand: a
/// complaint about them is the client's to hear.
const NEEDED: [&str; 33] = [
    "anthropic_version",
    "cache_control",
    "citations",
    "content",
    "context",
    "data",
    "description",
    "id",
    "input",
    "input_schema",
    "is_error",
    "max_tokens",
    "media_type",
    "messages",
    "model",
    "name",
    "properties",
    "role",
    "signature",
    "source",
    "stop_sequences",
    "system",
    "temperature",
    "text",
    "title",
    "tool_choice",
    "tool_name",
    "tool_use_id",
    "tools",
    "top_k",
    "top_p",
    "type",
    "url",
];

/// What a refusal names and the request has.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// Empty: the refusal is about something else.
    pub features: Vec<Feature>,
    /// Whether it is a lesson for other requests. Otherwise it is a guess.
    pub is_certain: bool,
}

impl Named {
    pub fn in_words(words: &str, sent: &Shaped) -> Self {
        let flags = betas_in(words, sent);
        if flags.is_empty() && words.to_ascii_lowercase().contains("invalid beta flag") {
            return Self::suspects(sent);
        }
        let features: Vec<Feature> = if !flags.is_empty() {
            flags.into_iter().map(Feature::beta).collect()
        } else if is_about_system_role(words) {
            vec![Feature::field(SYSTEM_ROLE)]
        } else {
            let fields = extra_fields(&without_quotes(words)).into_iter();
            fields.chain(refused_value(words, sent)).collect()
        };
        Self {
            is_certain: !features.iter().any(|it| it.lacks_its_beta(&sent.betas)),
            features,
        }
    }

    /// One of the betas is refused, and nobody says which: those that Bedrock is
    /// not known to take; where it takes all of them, any.
    fn suspects(sent: &Shaped) -> Self {
        let (known, novel): (Vec<&String>, Vec<&String>) =
            sent.betas.iter().partition(|flag| feature::is_taken(flag));
        let is_certain = !novel.is_empty();
        let suspects = if is_certain { novel } else { known };
        Self {
            features: suspects.into_iter().map(|it| Feature::beta(it)).collect(),
            is_certain,
        }
    }
}

/// ``Unexpected value(s) `a`, `b` for the `anthropic-beta` header``
fn betas_in<'a>(words: &str, sent: &'a Shaped) -> Vec<&'a str> {
    if !words.to_ascii_lowercase().contains("beta") {
        return Vec::new();
    }
    let flags = sent.betas.iter().map(String::as_str);
    flags.filter(|flag| words.contains(flag)).collect()
}

/// The words less what they quote, which the client may have written.
fn without_quotes(words: &str) -> String {
    static QUOTED: LazyLock<Regex> = LazyLock::new(|| pattern(r#"`[^`]*`|"[^"]*"|'[^']*'"#));
    QUOTED.replace_all(words, "").into_owned()
}

#[expect(clippy::expect_used, reason = "a test compiles all of them")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is written below")
}

/// `messages.1.role: Input should be "user" or "assistant"`, or
/// `messages: Unexpected role "system"`.
fn is_about_system_role(words: &str) -> bool {
    static ROLE: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r#"messages\.\d+\.role\b.*(user.*assistant|system)|[Uu]nexpected role .?system"#)
    });
    ROLE.is_match(words)
}

/// `tools.0.custom.defer_loading: Extra inputs are not permitted`, or
/// `#/tools/0: extraneous key [defer_loading] is not permitted`.
fn extra_fields(words: &str) -> Vec<Feature> {
    static EXTRA: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"([A-Za-z_][\w.-]*): Extra inputs are not permitted"));
    static EXTRANEOUS: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"#([\w/-]*): extraneous key \[([\w-]+)\] is not permitted"));
    let extra = EXTRA
        .captures_iter(words)
        .filter_map(|found| Some(found.get(1)?.as_str().to_owned()));
    let extraneous = EXTRANEOUS.captures_iter(words).filter_map(|found| {
        let (place, key) = (found.get(1)?.as_str(), found.get(2)?.as_str());
        Some(
            format!("{place}/{key}")
                .trim_start_matches('/')
                .replace('/', "."),
        )
    });
    extra
        .chain(extraneous)
        .filter_map(|path| field(&path))
        .collect()
}

/// `output_config.effort: Input should be 'low', 'medium' or 'high'`: this value
/// is refused, not the member.
fn refused_value(words: &str, sent: &Shaped) -> Option<Feature> {
    static VALUE: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"([A-Za-z_]\w*)\.([a-z_]\w*): Input should be '"));
    let found = VALUE.captures(words)?;
    let (member, name) = (found.get(1)?.as_str(), found.get(2)?.as_str());
    if name == "type" {
        return field(member);
    }
    let inside: serde_json::Value = sent.body.read(member)?;
    let value = inside.get(name)?.as_str()?;
    Some(Feature::Field {
        path: format!("{member}.{name}").into(),
        value: Some(value.into()),
    })
}

/// What stands between a position and a member: the kind of the element.
const KINDS: [&str; 9] = [
    "custom",
    "text",
    "image",
    "document",
    "search_result",
    "thinking",
    "tool_use",
    "tool_result",
    "ephemeral",
];

/// A path as features write it, unless nothing may be taken out there.
fn field(path: &str) -> Option<Feature> {
    let parts: Vec<&str> = path.split('.').filter(|it| !it.is_empty()).collect();
    let last = *parts.last()?;
    let is_position = |it: &str| it.parse::<u32>().is_ok();
    let mut names: Vec<&str> = Vec::with_capacity(parts.len());
    let mut before = "";
    for (at, part) in parts.iter().enumerate() {
        let is_kind = is_position(before) && KINDS.contains(part) && at + 1 < parts.len();
        if !is_position(part) && !is_kind {
            names.push(part);
        }
        before = part;
    }
    let path = match names.iter().position(|name| *name == "cache_control") {
        Some(at) if at + 1 < names.len() => format!("cache_control.{last}"),
        _ => names.join("."),
    };
    (!NEEDED.contains(&last)).then(|| Feature::field(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> Shaped {
        let body = r#"{"output_config":{"effort":"xhigh"},"thinking":{"type":"adaptive"}}"#;
        Shaped {
            body: serde_json::from_str(body).unwrap(),
            betas: vec!["context-1m-2025-08-07".into(), "novel-2031-01-01".into()],
            left_out: std::collections::BTreeSet::new(),
        }
    }

    #[test]
    fn refusals_name_features() {
        for (words, expected) in [
            (
                "context_management: Extra inputs are not permitted",
                &["field:context_management"][..],
            ),
            (
                "tools.0.custom.defer_loading: Extra inputs are not permitted",
                &["field:tools.defer_loading"],
            ),
            (
                "The model returned the following errors: system.1.cache_control.ephemeral.scope: Extra inputs are not permitted",
                &["field:cache_control.scope"],
            ),
            (
                "messages.2.content.0.tool_result.content.1.text.novel: Extra inputs are not permitted",
                &["field:messages.content.content.novel"],
            ),
            (
                "a.b: Extra inputs are not permitted, safeguards: Extra inputs are not permitted",
                &["field:a.b", "field:safeguards"],
            ),
            (
                "Malformed input request: #: extraneous key [context_management] is not permitted, please reformat your input and try again.",
                &["field:context_management"],
            ),
            (
                "Malformed input request: #/tools/0: extraneous key [defer_loading] is not permitted#/messages/3: extraneous key [output_config] is not permitted",
                &["field:tools.defer_loading", "field:messages.output_config"],
            ),
            (
                "Unexpected value(s) `context-1m-2025-08-07` for the `anthropic-beta` header. Please consult our documentation.",
                &["beta:context-1m-2025-08-07"],
            ),
            ("invalid beta flag", &["beta:novel-2031-01-01"]),
            (
                r#"messages.1.role: Input should be "user" or "assistant""#,
                &["field:messages.role.system"],
            ),
            (
                r#"messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter"#,
                &["field:messages.role.system"],
            ),
            (
                "output_config.effort: Input should be 'low', 'medium' or 'high'",
                &["field:output_config.effort=xhigh"],
            ),
            (
                "thinking.type: Input should be 'enabled' or 'disabled'",
                &["field:thinking"],
            ),
            // The client's own mistakes.
            ("max_tokens: Extra inputs are not permitted", &[]),
            ("messages.0.content: Field required", &[]),
            (
                "messages.0.content.0.text: Extra inputs are not permitted",
                &[],
            ),
            (
                "max_tokens: 128001 > 128000, which is the maximum allowed number of output tokens",
                &[],
            ),
            ("prompt is too long: 210000 tokens > 200000 maximum", &[]),
            ("Input is too long for requested model.", &[]),
            ("beta: you may not", &[]),
            (
                "messages.1.content.0.thinking.cache_control: Extra inputs are not permitted",
                &[],
            ),
            (
                "messages.2.content.0.tool_result.name: Extra inputs are not permitted",
                &[],
            ),
            (
                "tools.0.name: `a: Extra inputs are not permitted` is no name",
                &[],
            ),
            ("", &[]),
        ] {
            let named = Named::in_words(words, &sent());
            let features: Vec<String> = named.features.iter().map(Feature::to_string).collect();
            assert_eq!(features, expected, "{words}");
        }
    }

    #[test]
    fn half_of_a_pair_is_the_clients_mistake_and_no_lesson() {
        let words = "context_management: Extra inputs are not permitted";
        let mut sent = sent();
        assert!(!Named::in_words(words, &sent).is_certain);
        sent.betas.push("context-management-2025-06-27".to_owned());
        assert!(Named::in_words(words, &sent).is_certain);
    }

    #[test]
    fn a_guess_is_no_lesson() {
        let mut sent = sent();
        sent.betas.pop();
        let named = Named::in_words("invalid beta flag", &sent);
        assert_eq!(named.features, [Feature::beta("context-1m-2025-08-07")]);
        assert!(!named.is_certain);
    }
}
