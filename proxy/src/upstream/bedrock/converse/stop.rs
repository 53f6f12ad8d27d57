//! Why a model stopped.

use aws_sdk_bedrockruntime::types::StopReason;
use aws_smithy_types::Document;

/// The Messages API's word for `reason`. Only its own words leave; what it has no
/// word for is the end of a turn, so that a conversation can go on.
pub(super) fn reason(reason: &StopReason, has_tool_use: bool) -> &'static str {
    match reason {
        StopReason::MaxTokens => "max_tokens",
        StopReason::StopSequence => "stop_sequence",
        StopReason::ModelContextWindowExceeded => "model_context_window_exceeded",
        StopReason::GuardrailIntervened | StopReason::ContentFiltered => "refusal",
        // Some models end their turn with a tool use in it, and one whose use did
        // not come through waits for nothing.
        _ if has_tool_use => "tool_use",
        _ => "end_turn",
    }
}

/// The stop sequence that a model met, when it says so.
pub(super) fn sequence(fields: Option<&Document>) -> Option<&str> {
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
                let reason = reason(&StopReason::from(*word), has_tool_use);
                assert!(known.contains(&reason), "{word}");
            }
        }
        assert_eq!(reason(&StopReason::EndTurn, true), "tool_use");
        assert_eq!(reason(&StopReason::ToolUse, false), "end_turn");
        assert_eq!(reason(&StopReason::from("something_new"), true), "tool_use");
        assert_eq!(reason(&StopReason::MaxTokens, true), "max_tokens");
        assert_eq!(reason(&StopReason::ContentFiltered, false), "refusal");
    }
}
