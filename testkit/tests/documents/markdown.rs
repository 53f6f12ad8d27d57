//! What is what in a document.

use std::{fs, path::PathBuf};

use crate::root;

/// A document, and its path below the root.
pub(crate) struct Document {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Every document that people read.
pub(crate) fn documents() -> Vec<Document> {
    let mut paths = vec!["README.md".to_owned(), "ARCHITECTURE.md".to_owned()];
    for folder in ["docs", "infra", "charts/claude-code-proxy"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        let documents = names.filter(|name| name.ends_with(".md"));
        paths.extend(documents.map(|name| format!("{folder}/{name}")));
    }
    let read = |path: String| {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        Document { path, text }
    };
    paths.into_iter().map(read).collect()
}

impl Document {
    /// Where its relative links begin.
    pub(crate) fn folder(&self) -> PathBuf {
        root().join(&self.path).parent().unwrap().to_owned()
    }

    /// The lines that are text, and those that are shown as they are.
    pub(crate) fn lines(&self) -> (Vec<&str>, Vec<&str>) {
        let mut is_fenced = false;
        self.text.lines().partition(|line| {
            let is_fence = line.starts_with("```");
            is_fenced ^= is_fence;
            !is_fenced && !is_fence && !line.starts_with("    ")
        })
    }
}

/// The texts between backticks.
pub(crate) fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The rest.
pub(crate) fn unquoted(line: &str) -> String {
    line.split('`').step_by(2).collect()
}
