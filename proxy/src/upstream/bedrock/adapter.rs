//! Which of Bedrock's APIs a model is asked through.

use clap::ValueEnum;
use proto::sync::BedrockApi;

use super::model::Model;

/// `PROXY_BEDROCK_API`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preference {
    /// `invoke` for Anthropic's models, `converse` for all others.
    Auto,
    /// Bedrock's own Messages API for Anthropic's models.
    Messages,
    /// `InvokeModel` for Anthropic's models.
    Invoke,
    /// `Converse` for every model.
    Converse,
}

/// How a model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapter {
    /// `InvokeModel`, with the client's own body: nothing is lost.
    Invoke,
    /// `/anthropic/v1/messages`, with the client's own body.
    Messages,
    /// `Converse`: translated, for models that know no other language.
    Converse,
}

impl Adapter {
    /// The mapping decides, then the setting; but only Anthropic's models take
    /// the client's own body, so all others are asked through Converse.
    pub fn choose(preference: Preference, model: &Model) -> Self {
        let wanted = match (model.api, preference) {
            (Some(BedrockApi::Invoke), _) => Self::Invoke,
            (Some(BedrockApi::Messages), _) => Self::Messages,
            (Some(BedrockApi::Converse), _) | (_, Preference::Converse) => Self::Converse,
            (_, Preference::Messages) => Self::Messages,
            (_, Preference::Invoke | Preference::Auto) => Self::Invoke,
        };
        // What a mapping says of a model that cannot be told from its id, such
        // as an application's profile, is to be believed.
        let is_told = matches!(model.api, Some(BedrockApi::Invoke | BedrockApi::Messages));
        if model.is_anthropic || is_told {
            wanted
        } else {
            Self::Converse
        }
    }

    /// The name in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Messages => "messages",
            Self::Converse => "converse",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_mapping_and_model_choose_together() {
        use Adapter as A;
        use BedrockApi as M;
        use Preference as P;
        // Setting, what the mapping says, the adapter for Anthropic's models, for others.
        for (preference, api, anthropic, other) in [
            (P::Auto, None, A::Invoke, A::Converse),
            (P::Messages, None, A::Messages, A::Converse),
            (P::Invoke, None, A::Invoke, A::Converse),
            (P::Converse, None, A::Converse, A::Converse),
            (P::Auto, Some(M::Invoke), A::Invoke, A::Invoke),
            (P::Auto, Some(M::Messages), A::Messages, A::Messages),
            (P::Auto, Some(M::Converse), A::Converse, A::Converse),
            (P::Messages, Some(M::Invoke), A::Invoke, A::Invoke),
            (P::Messages, Some(M::Converse), A::Converse, A::Converse),
            (P::Invoke, Some(M::Messages), A::Messages, A::Messages),
            (P::Invoke, Some(M::Converse), A::Converse, A::Converse),
            (P::Converse, Some(M::Invoke), A::Invoke, A::Invoke),
            (P::Converse, Some(M::Messages), A::Messages, A::Messages),
            (P::Auto, Some(M::Unspecified), A::Invoke, A::Converse),
        ] {
            for (is_anthropic, expected) in [(true, anthropic), (false, other)] {
                let id = "x".to_owned();
                let model = Model {
                    id,
                    api,
                    is_anthropic,
                };
                let chosen = Adapter::choose(preference, &model);
                assert_eq!(chosen, expected, "{preference:?} {model:?}");
            }
        }
    }
}
