//! How many tokens a text may be, where nobody says it.

/// On the low side for code and prose, so that the tokens are on the high side.
const BYTES_PER_TOKEN: u64 = 3;

/// No prompt is longer, however large an image's bytes are.
const MAX_PROMPT_TOKENS: u64 = 1_000_000;

/// Of a request's body.
pub fn prompt(bytes: usize) -> u64 {
    (size(bytes) / BYTES_PER_TOKEN).min(MAX_PROMPT_TOKENS)
}

/// Of the text of an answer.
pub fn answer(bytes: usize) -> u64 {
    size(bytes).div_ceil(BYTES_PER_TOKEN)
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_tokens() {
        for (bytes, of_prompt, of_answer) in [
            (0, 0, 0),
            (1, 0, 1),
            (3_000, 1_000, 1_000),
            (usize::MAX, 1_000_000, u64::MAX / 3),
        ] {
            assert_eq!(
                (prompt(bytes), answer(bytes)),
                (of_prompt, of_answer),
                "{bytes}"
            );
        }
    }
}
