//! Between the Messages API and Bedrock's Converse, in both directions, for the
//! models that do not speak the Anthropic format themselves.
//!
//! [`request`] makes a call out of a Messages body, [`answer`] a message out of
//! what comes back, [`stream`] the events of one that comes bit by bit. Only
//! [`call`] touches the network. What has no counterpart is left out on
//! purpose, and only what [`dropped`] lists; `docs/converse.md` shows it all.

pub mod answer;
pub mod call;
pub mod dropped;
pub mod names;
pub mod original;
pub mod request;
pub mod stream;

mod attachment;
mod cache;
mod citations;
mod content;
mod documents;
mod fields;
mod fractions;
mod invalid;
mod messages;
mod notes;
mod stop;
mod system;
mod texts;
mod tools;
mod usage;

pub use invalid::Invalid;
pub use stop::Malformed;

use super::model::Model;

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
    /// The family of a model, as far as its id or its mapping tells it.
    pub fn of(model: &Model) -> Self {
        if model.is_anthropic {
            return Self::Anthropic;
        }
        if model.id.contains("amazon.nova") {
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
    use super::{Family, Model};

    #[test]
    fn a_model_id_names_its_family() {
        for (id, family) in [
            ("amazon.nova-pro-v1:0", Family::Nova),
            ("apac.amazon.nova-lite-v1:0", Family::Nova),
            ("amazon.titan-text-express-v1", Family::Other),
            ("meta.llama4-maverick-17b-instruct-v1:0", Family::Other),
            (
                "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc",
                Family::Other,
            ),
        ] {
            let mut model = Model {
                id: id.to_owned(),
                api: None,
                is_anthropic: false,
            };
            assert_eq!(Family::of(&model), family, "{id}");
            model.is_anthropic = true;
            assert_eq!(Family::of(&model), Family::Anthropic, "{id}");
        }
    }
}
