//! The operator's upper limits for tokens. Nothing is lengthened by them: only who
//! asks for more than the limit, or for as much as there is, gets the limit.

use serde_json::{Value, json};

use crate::{settings::Caps, upstream::members::Members};

/// Bounds what a request may have for its answer and for thinking. Adaptive thinking
/// has no budget, and stays as it is.
pub fn cap(caps: Caps, body: &mut Members) {
    let mut thinking = caps.max_thinking_tokens;
    if let Some(limit) = caps.max_output_tokens
        && bound(body, limit)
    {
        // Thinking is a part of the answer, and has to leave something of it.
        let rest = limit.saturating_sub(1);
        thinking = Some(thinking.map_or(rest, |it| it.min(rest)));
    }
    if let Some(limit) = thinking {
        let has_budget = |text: &str| text.contains("budget_tokens");
        body.edit("thinking", has_budget, |it| bound_budget(it, limit));
    }
}

/// Whether the answer was to be longer. Without `max_tokens` Converse answers as
/// long as the model likes.
fn bound(body: &mut Members, limit: u32) -> bool {
    let asked: Option<Value> = body.read("max_tokens");
    let is_within = match asked {
        None | Some(Value::Null) => false,
        // What is no number is Bedrock's to refuse.
        Some(asked) => asked.as_f64().is_none_or(|it| it <= limit.into()),
    };
    !is_within && body.set("max_tokens", &limit).is_ok()
}

fn bound_budget(thinking: &mut Value, limit: u32) -> bool {
    let budget = thinking.get_mut("budget_tokens");
    let over = budget.filter(|it| it.as_f64().is_some_and(|it| it > limit.into()));
    match over {
        Some(budget) => {
            *budget = json!(limit);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_lower_and_never_raise() {
        let enabled = |budget: u32| json!({"type": "enabled", "budget_tokens": budget});
        let adaptive = json!({"type": "adaptive", "display": "omitted"});
        let disabled = json!({"type": "disabled"});
        // Limits, what is asked, what is left of it.
        let table = [
            // Nothing is set: nothing is looked at.
            (
                (None, None),
                json!({"max_tokens": 128_000, "thinking": enabled(31_999)}),
                json!({"max_tokens": 128_000, "thinking": enabled(31_999)}),
            ),
            (
                (Some(4096), None),
                json!({"max_tokens": 32_000}),
                json!({"max_tokens": 4096}),
            ),
            (
                (Some(4096), None),
                json!({"max_tokens": 4096}),
                json!({"max_tokens": 4096}),
            ),
            (
                (Some(4096), None),
                json!({"max_tokens": 1}),
                json!({"max_tokens": 1}),
            ),
            // As long as the model likes.
            ((Some(4096), None), json!({}), json!({"max_tokens": 4096})),
            (
                (Some(4096), None),
                json!({"max_tokens": null}),
                json!({"max_tokens": 4096}),
            ),
            // Another way to write a number, and none.
            (
                (Some(4096), None),
                json!({"max_tokens": 1e9}),
                json!({"max_tokens": 4096}),
            ),
            (
                (Some(4096), None),
                json!({"max_tokens": "many"}),
                json!({"max_tokens": "many"}),
            ),
            // A shorter answer has room for less thinking.
            (
                (Some(4096), None),
                json!({"max_tokens": 32_000, "thinking": enabled(31_999)}),
                json!({"max_tokens": 4096, "thinking": enabled(4095)}),
            ),
            (
                (Some(4096), Some(1024)),
                json!({"max_tokens": 32_000, "thinking": enabled(31_999)}),
                json!({"max_tokens": 4096, "thinking": enabled(1024)}),
            ),
            (
                (None, Some(2048)),
                json!({"max_tokens": 32_000, "thinking": enabled(31_999)}),
                json!({"max_tokens": 32_000, "thinking": enabled(2048)}),
            ),
            (
                (None, Some(2048)),
                json!({"thinking": enabled(1024)}),
                json!({"thinking": enabled(1024)}),
            ),
            // What nobody has shortened is between client and Bedrock.
            (
                (Some(4096), None),
                json!({"max_tokens": 2000, "thinking": enabled(3000)}),
                json!({"max_tokens": 2000, "thinking": enabled(3000)}),
            ),
            (
                (Some(4096), Some(1024)),
                json!({"max_tokens": 32_000, "thinking": adaptive}),
                json!({"max_tokens": 4096, "thinking": adaptive}),
            ),
            (
                (Some(4096), Some(1024)),
                json!({"max_tokens": 32_000, "thinking": disabled}),
                json!({"max_tokens": 4096, "thinking": disabled}),
            ),
        ];
        for ((max_output_tokens, max_thinking_tokens), asked, expected) in table {
            let caps = Caps {
                max_output_tokens,
                max_thinking_tokens,
            };
            let mut body: Members = serde_json::from_value(asked.clone()).unwrap();
            cap(caps, &mut body);
            let left: Value = serde_json::from_slice(&body.to_vec().unwrap()).unwrap();
            assert_eq!(left, expected, "{caps:?} {asked}");
        }
    }

    #[test]
    fn what_is_within_the_limits_keeps_its_bytes() {
        let text = r#"{"thinking": {"budget_tokens" :1024},"max_tokens":2e3,"x":[ ]}"#;
        let mut body: Members = serde_json::from_str(text).unwrap();
        let before = body.to_vec().unwrap();
        let caps = Caps {
            max_output_tokens: Some(4096),
            max_thinking_tokens: Some(1024),
        };
        cap(caps, &mut body);
        assert_eq!(body.to_vec().unwrap(), before);
    }
}
