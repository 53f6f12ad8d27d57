//! Which model of Bedrock is meant, and how it is asked.

use proto::{region::geography, sync::BedrockApi};

use crate::index::{Index, ModelMapping};

/// A model on Bedrock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// A model id, inference profile id or ARN, as Bedrock is asked.
    pub id: String,
    /// How a mapping wants it to be asked.
    pub api: Option<BedrockApi>,
    /// Whether it takes a body of the Messages API.
    pub is_anthropic: bool,
}

/// Mappings from the environment, which win over those of administrators.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay(std::collections::BTreeMap<String, String>);

impl Overlay {
    /// Reads `PROXY_BEDROCK_MODEL_MAPPING`.
    ///
    /// # Errors
    ///
    /// The text is no JSON object of texts, or one of them is empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        let overlay: std::collections::BTreeMap<String, String> = serde_json::from_str(text)
            .map_err(|err| {
                format!(
                    r#"must be JSON such as {{"claude-x": "global.anthropic.claude-x"}}: {err}"#
                )
            })?;
        match overlay
            .iter()
            .find(|(from, to)| from.is_empty() || to.is_empty())
        {
            Some((from, _)) => Err(format!("the mapping of {from:?} is empty")),
            None => Ok(Self(overlay)),
        }
    }

    /// The models that are mapped here, in order.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The model of Bedrock for the model that a client asks for: a mapping of
/// exactly this name, else a name of Bedrock's own. None is never somebody
/// else's model.
pub fn resolve(asked: &str, overlay: &Overlay, index: &Index) -> Option<Model> {
    if let Some(id) = overlay.0.get(asked) {
        return Some(mapped(asked, id, None));
    }
    if let Some(mapping) = index.mapping(asked) {
        let ModelMapping {
            bedrock_model,
            bedrock_api,
            ..
        } = &**mapping;
        return Some(mapped(asked, bedrock_model, *bedrock_api));
    }
    is_bedrocks_own(asked).then(|| Model {
        id: asked.to_owned(),
        api: None,
        is_anthropic: names_anthropic(asked),
    })
}

fn mapped(asked: &str, id: &str, api: Option<BedrockApi>) -> Model {
    // The ARN of an application's inference profile does not say what is behind
    // it; who maps a Claude to it says so.
    let is_opaque = id.starts_with("arn:") && !is_known_vendor(id);
    Model {
        id: id.to_owned(),
        api,
        is_anthropic: names_anthropic(id) || (is_opaque && asked.starts_with("claude")),
    }
}

/// `anthropic.claude-…`, `us.amazon.nova-…`, `arn:aws:bedrock:…`: what Bedrock
/// itself takes for a model.
fn is_bedrocks_own(name: &str) -> bool {
    if name.starts_with("arn:") {
        return name.split(':').nth(2) == Some("bedrock");
    }
    let Some((vendor, model)) = geography(name).1.split_once('.') else {
        return false;
    };
    let is_word = |it: &str| {
        it.chars()
            .all(|it| it.is_ascii_alphanumeric() || "-_.:".contains(it))
    };
    !vendor.is_empty()
        && !model.is_empty()
        && is_word(vendor)
        && is_word(model)
        && starts_with_letter(vendor)
}

/// `claude-3.5` has a dot too, but no vendor before it.
fn starts_with_letter(vendor: &str) -> bool {
    vendor.starts_with(|it: char| it.is_ascii_alphabetic())
        && vendor.chars().all(|it| it.is_ascii_alphanumeric())
}

fn names_anthropic(id: &str) -> bool {
    last_part(id).starts_with("anthropic.")
}

/// Whether an ARN ends in a model's id rather than in a name of its own.
fn is_known_vendor(arn: &str) -> bool {
    last_part(arn).contains('.')
}

/// What names the model: of an ARN the part behind the last slash.
fn last_part(id: &str) -> &str {
    geography(id.rsplit('/').next().unwrap_or(id)).1
}

/// The foundation model's id, as CountTokens wants it; none for an ARN that does
/// not name it.
pub fn foundation(id: &str) -> Option<&str> {
    let id = last_part(id);
    id.contains('.').then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(asked: &str) -> Option<(String, bool)> {
        let overlay = r#"{
            "mapped": "global.anthropic.claude-x",
            "claude-opaque": "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
            "opaque": "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
            "claude-but-nova": "us.amazon.nova-pro-v1:0"
        }"#;
        let overlay = Overlay::parse(overlay).unwrap();
        resolve(asked, &overlay, &Index::default()).map(|it| (it.id, it.is_anthropic))
    }

    #[test]
    fn names_lead_to_models() {
        let profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc";
        let system = "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-x-v1:0";
        for (asked, expected) in [
            ("mapped", Some(("global.anthropic.claude-x", true))),
            ("claude-opaque", Some((profile, true))),
            ("opaque", Some((profile, false))),
            ("claude-but-nova", Some(("us.amazon.nova-pro-v1:0", false))),
            (
                "anthropic.claude-x-v1:0",
                Some(("anthropic.claude-x-v1:0", true)),
            ),
            (
                "us.anthropic.claude-x",
                Some(("us.anthropic.claude-x", true)),
            ),
            (
                "us-gov.anthropic.claude-x",
                Some(("us-gov.anthropic.claude-x", true)),
            ),
            (
                "apac.amazon.nova-lite-v1:0",
                Some(("apac.amazon.nova-lite-v1:0", false)),
            ),
            ("deepseek.v3-v1:0", Some(("deepseek.v3-v1:0", false))),
            (profile, Some((profile, false))),
            (system, Some((system, true))),
            ("claude-opus-5-5", None),
            ("claude-3.5", None),
            ("Mapped", None),
            ("mapped ", None),
            ("", None),
            (".", None),
            ("us.", None),
            ("us.anthropic", None),
            ("anthropic.claude/../x", None),
            ("anthropic.claude x", None),
            ("arn:aws:s3:::bucket", None),
        ] {
            let expected = expected.map(|(id, it)| (id.to_owned(), it));
            assert_eq!(model(asked), expected, "{asked}");
        }
    }

    #[test]
    fn tokens_are_counted_by_foundation_models() {
        for (id, expected) in [
            ("anthropic.claude-x", Some("anthropic.claude-x")),
            ("global.anthropic.claude-x", Some("anthropic.claude-x")),
            (
                "arn:aws:bedrock:r:1:inference-profile/eu.anthropic.c",
                Some("anthropic.c"),
            ),
            (
                "arn:aws:bedrock:r:1:application-inference-profile/abc",
                None,
            ),
        ] {
            assert_eq!(foundation(id), expected, "{id}");
        }
    }

    #[test]
    fn a_mapping_that_says_nothing_is_refused() {
        for text in ["", "[]", r#"{"a": 1}"#, r#"{"a": ""}"#, r#"{"": "a"}"#] {
            assert!(Overlay::parse(text).is_err(), "{text}");
        }
        assert_eq!(Overlay::parse("{}").unwrap(), Overlay::default());
    }
}
