//! Recorded requests of Claude Code, for tests to send again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/claude-code");

/// One recorded request.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// As its file is called, without the ending: `new__bash__01`.
    pub name: String,
    pub method: String,
    /// Path and query; `ACCESS_KEY` stands for the key.
    pub path: String,
    /// In the order in which they were sent, without `content-length`, which
    /// the fillers have made untrue.
    pub headers: Vec<(String, String)>,
    /// As it was sent, without white space between its parts; empty when there
    /// was none.
    pub body: Bytes,
}

#[derive(Deserialize)]
struct Recorded {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Box<RawValue>>,
}

/// All of them, by name.
///
/// # Errors
/// When one cannot be read.
pub fn all() -> Result<Vec<Fixture>> {
    let mut files = fs::read_dir(FOLDER)
        .context(FOLDER)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

/// The one that is called so.
///
/// # Errors
/// When there is none.
pub fn named(name: &str) -> Result<Fixture> {
    read(&Path::new(FOLDER).join(format!("{name}.json")))
}

fn read(file: &Path) -> Result<Fixture> {
    let text = fs::read(file).with_context(|| file.display().to_string())?;
    let mut recorded: Recorded =
        serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
    recorded
        .headers
        .retain(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
    let name = file.file_stem().unwrap_or_default();
    Ok(Fixture {
        name: name.to_string_lossy().into_owned(),
        method: recorded.method,
        path: recorded.path,
        headers: recorded.headers,
        body: recorded
            .body
            .map(|body| compact(body.get()).into())
            .unwrap_or_default(),
    })
}

impl Fixture {
    /// The first header of this name, however it is written.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// A question to a model, in contrast to a probe or a count.
    #[must_use]
    pub fn is_message(&self) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        path.ends_with("/v1/messages")
    }

    /// # Errors
    /// When there is no body.
    pub fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
    }
}

/// JSON without the white space between its parts, and otherwise the very same:
/// numbers and escapes stay as they are written.
fn compact(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let (mut is_text, mut is_escaped) = (false, false);
    for char in json.chars() {
        if is_text || !char.is_ascii_whitespace() {
            compact.push(char);
        }
        match char {
            '"' if !is_escaped => is_text = !is_text,
            '\\' if is_text && !is_escaped => {
                is_escaped = true;
                continue;
            }
            _ => {}
        }
        is_escaped = false;
    }
    compact
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_left_out_of_the_form_and_kept_in_texts() {
        let json = "{\n \"a b\": [1.50, \"c \\\" d\", \"\\\\\"], \"é\": \"\\u00e9 \"\n}";
        let expected = "{\"a b\":[1.50,\"c \\\" d\",\"\\\\\"],\"é\":\"\\u00e9 \"}";
        assert_eq!(compact(json), expected);
    }

    #[test]
    fn all_can_be_sent_again() {
        let fixtures = all().unwrap();
        assert!(fixtures.iter().filter(|it| it.is_message()).count() > 20);
        for fixture in fixtures {
            let has_body = fixture.method == "POST";
            assert_eq!(fixture.json().is_ok(), has_body, "{}", fixture.name);
            assert!(fixture.header("User-Agent").is_some(), "{}", fixture.name);
        }
    }

    #[test]
    fn one_is_found_by_its_name() {
        let fixture = named("new__first__01").unwrap();
        assert!(fixture.is_message());
        assert_eq!(fixture.method, "POST");
        assert_eq!(fixture.json().unwrap()["stream"], true);
        assert!(named("no_such_fixture").is_err());
    }
}
