//! What an AWS region looks like. It becomes part of a host name, so nothing
//! else may pass for one.

/// Longer than every region there is.
const MAX_CHARS: usize = 32;

/// Whether a text is shaped like a region: `us-east-1`, `us-gov-west-1`.
///
/// Words of lowercase letters joined by hyphens, at least two, the first of two to
/// four letters; then a hyphen and one or two digits.
pub fn is_well_formed(text: &str) -> bool {
    let Some((words, number)) = text.rsplit_once('-') else {
        return false;
    };
    let is_number = matches!(number.len(), 1 | 2) && number.bytes().all(|it| it.is_ascii_digit());
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|it| it.is_ascii_lowercase());
    let mut words = words.split('-');
    let begins = words
        .next()
        .is_some_and(|it| (2..=4).contains(&it.len()) && is_word(it));
    let mut rest = words.peekable();
    text.len() <= MAX_CHARS && is_number && begins && rest.peek().is_some() && rest.all(is_word)
}

/// Prefixes of model ids that stand for a profile across regions.
///
/// Source: "Supported Regions and models for inference profiles", Amazon Bedrock
/// user guide.
const GEOGRAPHIES: [&str; 9] = [
    "us", "eu", "apac", "jp", "au", "in", "ca", "us-gov", "global",
];

/// The geography of an inference profile's id, none for a foundation model's, and
/// the id without it.
pub fn geography(id: &str) -> (Option<&'static str>, &str) {
    let found = GEOGRAPHIES.iter().find_map(|geography| {
        let rest = id.strip_prefix(geography)?.strip_prefix('.')?;
        Some((Some(*geography), rest))
    });
    found.unwrap_or((None, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_told_from_other_texts() {
        for region in [
            "us-east-1",
            "ap-northeast-2",
            "us-gov-west-1",
            "us-iso-east-1",
            "mx-central-1",
            "eusc-de-east-1",
            "ap-southeast-15",
        ] {
            assert!(is_well_formed(region), "{region}");
        }
        for other in [
            "",
            "-",
            "us",
            "us-1",
            "us-east",
            "us-east-",
            "us-east-123",
            "US-EAST-1",
            "us-east-1.evil.example",
            "us-east-1@evil",
            "us-east-1/",
            "us--1",
            "us-éast-1",
            "a-east-1",
            "us-east-1\n",
            "us-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-1",
        ] {
            assert!(!is_well_formed(other), "{other:?}");
        }
    }
}
