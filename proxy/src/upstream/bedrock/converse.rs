//! Between the Messages API and Bedrock's Converse, in both directions, for the
//! models that do not speak the Anthropic format themselves.
//!
//! [`request`] makes a call out of a Messages body, [`answer`] a message out of
//! what comes back, [`stream`] the events of one that comes bit by bit. Nothing
//! here touches the network or the clock. What has no counterpart is left out on
//! purpose, and only what [`dropped`] lists; `docs/converse.md` shows it all.

pub mod answer;
pub mod dropped;
pub mod names;
pub mod request;
pub mod stream;

mod attachment;
mod cache;
mod citations;
mod content;
mod documents;
mod fields;
mod invalid;
mod messages;
mod notes;
mod stop;
mod system;
mod tools;
mod usage;

pub use invalid::Invalid;

/// Whose model is asked: what it takes beyond Converse's common ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Anthropic,
    /// Amazon Nova: cache points, `top_k` and failed tool results, documented as such.
    Nova,
    /// Every other model: the common ground only.
    Other,
}

impl Family {
    /// The family that a Bedrock model id, an inference profile or an ARN names.
    /// The ARN of an application inference profile names none.
    pub fn of(model: &str) -> Self {
        if model.contains("anthropic.") {
            return Self::Anthropic;
        }
        if model.contains("amazon.nova") {
            return Self::Nova;
        }
        Self::Other
    }

    fn is_anthropic(self) -> bool {
        self == Self::Anthropic
    }
}

#[cfg(test)]
mod tests {
    use super::Family;

    #[test]
    fn a_model_id_names_its_family() {
        for (model, family) in [
            ("anthropic.claude-opus-5-5", Family::Anthropic),
            (
                "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                Family::Anthropic,
            ),
            (
                "arn:aws:bedrock:us-east-1:111122223333:inference-profile/eu.anthropic.claude-opus-5-5",
                Family::Anthropic,
            ),
            ("amazon.nova-pro-v1:0", Family::Nova),
            ("apac.amazon.nova-lite-v1:0", Family::Nova),
            ("amazon.titan-text-express-v1", Family::Other),
            ("meta.llama4-maverick-17b-instruct-v1:0", Family::Other),
            (
                "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc",
                Family::Other,
            ),
        ] {
            assert_eq!(Family::of(model), family, "{model}");
        }
    }
}
