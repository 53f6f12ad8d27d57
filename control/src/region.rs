//! The names of AWS regions: they become part of host names.

/// Longer ones do not exist.
const MAX_CHARS: usize = 32;

/// Whether a text has the shape of a region's name: two letters, words, and one
/// digit, joined by hyphens.
pub fn is_region(text: &str) -> bool {
    let Some((words, number)) = text.rsplit_once('-') else {
        return false;
    };
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|it| it.is_ascii_lowercase());
    let mut words = words.split('-');
    let is_country = words
        .next()
        .is_some_and(|word| word.len() == 2 && is_word(word));
    let rest: Vec<&str> = words.collect();
    text.len() <= MAX_CHARS
        && is_country
        && !rest.is_empty()
        && rest.into_iter().all(is_word)
        && number.len() == 1
        && number.bytes().all(|it| it.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_told_from_what_could_lead_elsewhere() {
        for (text, expected) in [
            ("us-east-1", true),
            ("ap-northeast-2", true),
            ("ap-southeast-5", true),
            ("mx-central-1", true),
            ("us-gov-west-1", true),
            ("us-iso-east-1", true),
            ("", false),
            ("-", false),
            ("us-east", false),
            ("us-1", false),
            ("useast-1", false),
            ("usa-east-1", false),
            ("us-east-11", false),
            ("us-east-1-", false),
            ("us--east-1", false),
            ("US-EAST-1", false),
            ("us-east-1 ", false),
            ("us-east-1\n", false),
            ("us-east-1.evil.test", false),
            ("us-east-1/", false),
            ("us-east-1@evil", false),
            ("us-eäst-1", false),
            ("us-east-١", false),
            ("us-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-1", false),
        ] {
            assert_eq!(is_region(text), expected, "{text:?}");
        }
    }
}
