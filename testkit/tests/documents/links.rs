//! Relative links lead somewhere.

use std::{fs, path::Path};

use regex_lite::Regex;

use crate::markdown::{Document, documents, unquoted};

/// What links look like: `](target)`.
fn targets(document: &Document) -> Vec<String> {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let (prose, _) = document.lines();
    let prose = prose
        .into_iter()
        .map(unquoted)
        .collect::<Vec<_>>()
        .join("\n");
    let all = link.captures_iter(&prose).map(|it| it[1].to_owned());
    all.filter(|target| !target.contains("://")).collect()
}

fn complaint(document: &Document, target: &str) -> Option<String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match path {
        "" => crate::root().join(&document.path),
        path => document.folder().join(path),
    };
    if !path.exists() {
        return Some(format!("{}: no file {target}", document.path));
    }
    if anchor.is_empty() || headings(&path).filter(|it| it == anchor).count() == 1 {
        return None;
    }
    Some(format!(
        "{}: not exactly one heading {target}",
        document.path
    ))
}

/// The anchors of a document's headings.
fn headings(path: &Path) -> impl Iterator<Item = String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let document = Document {
        path: String::new(),
        text,
    };
    let (prose, _) = document.lines();
    let headings = prose.into_iter().filter(|line| line.starts_with('#'));
    let anchors: Vec<String> = headings.map(anchor).collect();
    anchors.into_iter()
}

/// As GitHub makes it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|it| it.is_alphanumeric() || " -_".contains(*it));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut seen = 0;
    let mut complaints = Vec::new();
    for document in documents() {
        let targets = targets(&document);
        seen += targets.len();
        complaints.extend(targets.iter().filter_map(|it| complaint(&document, it)));
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(seen >= 90, "{seen}");
}

#[test]
fn a_broken_link_is_noticed() {
    let text = "# One `two`, three\n\n    [code](nowhere.md)\n\n\
                `[code](nowhere.md)` [here](#one-two-three) [there](../README.md) \
                [away](https://example.com) [`lost`](lost.md) [no](../README.md#no-such)";
    let document = Document {
        path: "docs/budgets.md".to_owned(),
        text: text.to_owned(),
    };
    let found = targets(&document);
    assert_eq!(
        found,
        [
            "#one-two-three",
            "../README.md",
            "lost.md",
            "../README.md#no-such"
        ]
    );
    assert_eq!(anchor("# One `two`, three"), "one-two-three");
    for (target, is_broken) in [
        ("../README.md", false),
        ("../README.md#five-minutes", false),
        ("../README.md#no-such", true),
        ("lost.md", true),
        ("#no-such", true),
    ] {
        assert_eq!(
            complaint(&document, target).is_some(),
            is_broken,
            "{target}"
        );
    }
}
