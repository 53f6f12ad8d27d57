//! What the documents say about the code is true.

#![cfg(test)]

mod api_reference;
mod commands;
mod links;
mod markdown;

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, Command, CommandFactory};
use markdown::quoted;
use regex_lite::Regex;
use telemetry::catalog::Metric;

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

/// With `UPDATE_DOCUMENTS` set, writes what is made from the code; else looks whether
/// it is current.
fn is_made(document: &str, current: &str) {
    let path = root().join("docs").join(document);
    if fs::read_to_string(&path).unwrap_or_default() == current {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_DOCUMENTS").is_some(),
        "docs/{document} is stale; run UPDATE_DOCUMENTS=1 cargo test -p testkit --test documents"
    );
    fs::write(path, current).unwrap();
}

#[test]
fn the_list_of_metrics_is_current() {
    let mut text = "# Metrics\n\nMade from `proxy/src/telemetry/metrics.rs` and \
                    `control/src/telemetry/metrics.rs`.\n\n\
                    Both processes show theirs at `/metrics` on the operators' port, send them \
                    to an OpenTelemetry collector when `OTEL_EXPORTER_OTLP_ENDPOINT` is set, and \
                    write those that have a name there for CloudWatch when \
                    `PROXY_CLOUDWATCH_METRICS` is `true`, in the namespace `ClaudeCodeProxy`.\n\
                    Labels have closed sets of values, but `route`, which has one for each route \
                    of the admin API.\n"
        .to_owned();
    for (title, catalog) in [
        ("The proxy", proxy::telemetry::metrics::CATALOG),
        ("Control", control::telemetry::metrics::CATALOG),
    ] {
        write!(text, "\n## {title}\n\n").unwrap();
        text +=
            "| name | type | labels | unit | meaning | CloudWatch |\n|---|---|---|---|---|---|\n";
        for metric in catalog {
            text += &row(metric);
        }
    }
    is_made("metrics.md", &text);
}

/// Where spans are made.
const TRACING: [&str; 6] = [
    "telemetry/src/trace.rs",
    "proxy/src/telemetry/trace.rs",
    "control/src/http/observe.rs",
    "control/src/grpc.rs",
    "control/src/grpc/config.rs",
    "control/src/grpc/usage.rs",
];

#[test]
fn the_list_of_what_spans_say_is_current() {
    let sources = TRACING.map(|file| fs::read_to_string(root().join(file)).unwrap());
    let log = Regex::new(r"tracing::\w+!\([^;]*;").unwrap();
    let sources = sources.concat();
    let sources = log.replace_all(&sources, "");
    let name = Regex::new(r#""([a-z_]+(?:\.[a-z_]+)+)""#).unwrap();
    let said = name.captures_iter(&sources).map(|it| it[1].to_owned());
    let said: BTreeSet<String> = said.collect();
    assert!(said.len() > 30, "{said:?}");

    let document = fs::read_to_string(root().join("docs/traces.md")).unwrap();
    let listed: Vec<String> = document
        .lines()
        .flat_map(quoted)
        .filter(|it| !it.ends_with(".md"))
        .map(|it| format!("\"{it}\""))
        .collect();
    let listed = listed.iter().flat_map(|it| name.captures(it));
    let listed: BTreeSet<String> = listed.map(|it| it[1].to_owned()).collect();
    assert_eq!(said, listed);
}

fn row(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
    let on_cloudwatch = metric.cloudwatch.map_or_else(String::new, |it| {
        let dimensions = it.dimensions.iter().map(|(_, dimension)| *dimension);
        let dimensions: Vec<&str> = dimensions.collect();
        let by = match dimensions.as_slice() {
            [] => "Service".to_owned(),
            all => all.join(", "),
        };
        let only = it.only.map_or_else(String::new, |(label, value)| {
            format!(", only `{label}` `{value}`")
        });
        format!("`{}` by {by}{only}", it.name)
    });
    format!(
        "| `{}` | {} | {} | {} | {} | {on_cloudwatch} |\n",
        metric.name,
        metric.kind.label(),
        labels.join(", "),
        metric.unit.as_str(),
        metric.meaning,
    )
}

#[test]
fn the_reference_of_the_admin_api_is_current() {
    let description = control::http::document().to_json().unwrap();
    let description = serde_json::from_str(&description).unwrap();
    is_made("api.md", &api_reference::written(&description));
}

#[test]
fn the_list_of_settings_is_current() {
    let mut text = "# Settings\n\nMade from `proxy/src/settings.rs` and \
                    `control/src/settings.rs`; `--help` says the same.\n\
                    A value that cannot be used ends the process before a port is bound, with \
                    exit code 78 and one line that names the variable.\n"
        .to_owned();
    let control = control::settings::Cli::command();
    let serve = control.find_subcommand("serve").unwrap();
    for (program, commands) in [
        (
            "claude-code-proxy",
            vec![&proxy::settings::Settings::command()],
        ),
        ("claude-code-control serve", vec![serve, &control]),
    ] {
        write!(text, "\n## `{program}`\n\n").unwrap();
        text += "| variable | default | meaning |\n|---|---|---|\n";
        for command in commands {
            text += &variables(command);
        }
    }
    is_made("configuration.md", &text);
}

fn variables(command: &Command) -> String {
    let shown = command.get_arguments().filter(|it| !it.is_hide_set());
    shown.filter_map(setting).collect()
}

fn setting(argument: &Arg) -> Option<String> {
    let variable = argument.get_env()?.to_string_lossy();
    let defaults = argument.get_default_values().iter();
    let default = match (argument.is_required_set(), argument.get_default_values()) {
        (true, _) => "required".to_owned(),
        (false, []) => "–".to_owned(),
        (false, _) => {
            let values: Vec<String> = defaults
                .map(|it| format!("`{}`", it.to_string_lossy()))
                .collect();
            values.join(", ")
        }
    };
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let help = help.replace('\n', " ").replace('|', "\\|");
    let choices = argument.get_possible_values();
    let names = choices.iter().map(|it| format!("`{}`", it.get_name()));
    let one_of = match names.collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        names => format!(": {}", names.join(", ")),
    };
    Some(format!("| `{variable}` | {default} | {help}{one_of} |\n"))
}
