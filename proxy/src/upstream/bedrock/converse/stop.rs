//! Why a model stopped.

use aws_sdk_bedrockruntime::types::StopReason;
use aws_smithy_types::Document;

/// The model has made something that is no answer and no use of a tool. Carried
/// out, it would be the wrong thing; asked again, the model mostly does better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model's answer is malformed")]
pub struct Malformed;

/// The Messages API's word for `reason`. Only its own words leave; what it has no
/// word for is the end of a turn, so that a conversation can go on.
pub(super) fn reason(reason: &StopReason, has_tool_use: bool) -> Result<&'static str, Malformed> {
    Ok(match reason {
        StopReason::MalformedModelOutput | StopReason::MalformedToolUse => return Err(Malformed),
        StopReason::MaxTokens => "max_tokens",
        StopReason::StopSequence => "stop_sequence",
        StopReason::ModelContextWindowExceeded => "model_context_window_exceeded",
        StopReason::GuardrailIntervened | StopReason::ContentFiltered => "refusal",
        // Some models end their turn with a tool use in it, and one whose use did
        // not come through waits for nothing.
        _ if has_tool_use => "tool_use",
        _ => "end_turn",
    })
}

/// The stop sequence that a model met, when it says so.
pub(super) fn sequence<'a>(reason: &StopReason, fields: Option<&'a Document>) -> Option<&'a str> {
    let fields = fields.filter(|_| *reason == StopReason::StopSequence);
    fields?.as_object()?.get("stop_sequence")?.as_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_bedrocks_leaks() {
        let known = [
            "end_turn",
            "tool_use",
            "max_tokens",
            "stop_sequence",
            "refusal",
            "model_context_window_exceeded",
        ];
        let reasons = StopReason::values().iter().chain(&["something_new"]);
        for word in reasons {
            for has_tool_use in [false, true] {
                match reason(&StopReason::from(*word), has_tool_use) {
                    Ok(reason) => assert!(known.contains(&reason), "{word}"),
                    Err(Malformed) => assert!(word.starts_with("malformed"), "{word}"),
                }
            }
        }
        for (word, has_tool_use, expected) in [
            ("end_turn", true, Ok("tool_use")),
            ("tool_use", true, Ok("tool_use")),
            ("tool_use", false, Ok("end_turn")),
            ("something_new", true, Ok("tool_use")),
            ("something_new", false, Ok("end_turn")),
            ("max_tokens", true, Ok("max_tokens")),
            ("content_filtered", false, Ok("refusal")),
            ("malformed_tool_use", true, Err(Malformed)),
            ("malformed_model_output", false, Err(Malformed)),
        ] {
            let reason = reason(&StopReason::from(word), has_tool_use);
            assert_eq!(reason, expected, "{word}");
        }
    }
}
