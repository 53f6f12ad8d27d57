//! What the documents say about the code is true.

#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All Rust sources of the workspace's crates, as one text.
fn sources() -> String {
    fn collect(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, text);
            } else if path.extension().is_some_and(|it| it == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    for folder in ["proto", "proxy", "control", "testkit"] {
        collect(&root().join(folder), &mut text);
    }
    text
}

/// The texts between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn every_promise_names_tests_that_exist() {
    let sources = sources();
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let promises: Vec<&str> = architecture
        .lines()
        .skip_while(|line| *line != "## What always holds")
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
        .collect();
    assert!(promises.len() >= 13, "{promises:#?}");
    for promise in promises {
        let tests: Vec<&str> = quoted(promise).collect();
        assert!(!tests.is_empty(), "{promise}");
        for test in tests {
            assert!(sources.contains(&format!("fn {test}(")), "{test}");
        }
    }
}

#[test]
fn every_file_that_the_code_map_names_exists() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut crate_folder = PathBuf::new();
    let mut seen = 0;
    for line in architecture.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            crate_folder = heading.trim_matches('`').into();
        }
        let Some(row) = line.strip_prefix("| ") else {
            continue;
        };
        let names = row.split(" | ").next().unwrap();
        for name in quoted(names).filter(|name| name.ends_with(".rs")) {
            let path = root().join(&crate_folder).join("src").join(name);
            assert!(path.exists(), "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 30, "{seen}");
}
