//! Commands that documents show can be run: what they name exists.

use std::fs;

use clap::{Command, CommandFactory, error::ErrorKind};
use serde_json::Value;

use crate::{
    markdown::{Document, documents, quoted},
    root,
};

/// Folders of which a command may name a part.
const FOLDERS: [&str; 6] = [
    "charts/",
    "compose/",
    "infra/",
    "observability/",
    "scripts/",
    "testkit/",
];

/// All lines that may be commands, without what the shell does around them.
fn shown(document: &Document) -> Vec<String> {
    let (prose, code) = document.lines();
    let code = code.join("\n").replace("\\\n", " ");
    let spans = prose.iter().flat_map(|line| quoted(line));
    spans
        .chain(code.lines())
        .map(|line| line.split(" #").next().unwrap().to_owned())
        .collect()
}

/// The commands of a line, each as its words up to a redirection.
fn commands(line: &str) -> Vec<Vec<&str>> {
    let parts = line.split(" && ").flat_map(|it| it.split(" | "));
    let words = parts.map(|part| {
        let words = part.split_whitespace().skip_while(|it| is_assignment(it));
        words
            .take_while(|it| !it.starts_with(['<', '>', '|']))
            .collect()
    });
    words.collect()
}

fn is_assignment(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default();
    word.contains('=') && name.chars().all(|it| it.is_ascii_uppercase() || it == '_')
}

/// What is wrong with a command; none: it is not one that is looked at.
fn complaints(words: &[&str], folder: &str) -> Option<Vec<String>> {
    let ours = ours(words);
    let named = match words {
        ["make", rest @ ..] => make(rest),
        ["cargo", rest @ ..] => cargo(rest),
        ["npm", rest @ ..] => npm(rest, folder),
        ["docker", "compose", rest @ ..] => compose(rest),
        ["helm", ..] => Vec::new(),
        [script, ..] if script.starts_with("scripts/") => Vec::new(),
        _ if ours.is_some() => Vec::new(),
        _ => return None,
    };
    Some([named, ours.unwrap_or_default(), lost(words)].concat())
}

/// Files of the repository that are not there.
fn lost(words: &[&str]) -> Vec<String> {
    let files = words
        .iter()
        .filter(|it| FOLDERS.iter().any(|folder| it.starts_with(folder)));
    let lost = files.filter(|it| !root().join(it).exists());
    lost.map(|it| format!("no file {it}")).collect()
}

fn make(words: &[&str]) -> Vec<String> {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let targets = words
        .iter()
        .filter(|it| !it.starts_with('-') && !is_assignment(it));
    let unknown = targets.filter(|it| {
        !makefile
            .lines()
            .any(|line| line.starts_with(&format!("{it}:")))
    });
    unknown.map(|it| format!("no target {it}")).collect()
}

fn cargo(words: &[&str]) -> Vec<String> {
    let after = |option| words.iter().skip_while(move |it| **it != option).nth(1);
    let package = after("-p").copied();
    let mut complaints = Vec::new();
    if let Some(name) = package.filter(|it| !root().join(it).join("Cargo.toml").exists()) {
        complaints.push(format!("no package {name}"));
    }
    if let Some(test) = after("--test") {
        let tests = root().join(package.unwrap_or("testkit")).join("tests");
        if !tests.join(format!("{test}.rs")).exists() && !tests.join(test).join("main.rs").exists()
        {
            complaints.push(format!("no test {test}"));
        }
    }
    complaints
}

/// A script of the package in the folder, or of any where no folder is named.
fn npm(words: &[&str], folder: &str) -> Vec<String> {
    let script = match words {
        ["run", script, ..] => *script,
        ["test", ..] => "test",
        _ => return Vec::new(),
    };
    let packages = ["console", "infra"]
        .iter()
        .filter(|it| folder.is_empty() || **it == folder);
    let has_script = packages.into_iter().any(|package| {
        let package = fs::read(root().join(package).join("package.json")).unwrap();
        let package: Value = serde_json::from_slice(&package).unwrap();
        package["scripts"].get(script).is_some()
    });
    let unknown = (!has_script).then(|| format!("no script {script} of npm"));
    unknown.into_iter().collect()
}

fn compose(words: &[&str]) -> Vec<String> {
    let file = fs::read_to_string(root().join("compose.yaml")).unwrap();
    let services = file.lines().skip_while(|it| *it != "services:").skip(1);
    let services = services.take_while(|it| it.is_empty() || it.starts_with([' ', '#']));
    let services: Vec<&str> = services
        .filter_map(|it| it.strip_prefix("  ")?.split(':').next())
        .collect();
    let mut rest = words;
    while let ["-f" | "--file" | "--profile", value, after @ ..] = rest {
        if !root().join(value).exists() && !file.contains(&format!("profiles: [{value}]")) {
            return vec![format!("no file or profile {value}")];
        }
        rest = after;
    }
    let [command, rest @ ..] = rest else {
        return Vec::new();
    };
    let named = rest.iter().filter(|it| !it.starts_with('-'));
    let many = match *command {
        "exec" | "run" => 1,
        "up" | "stop" | "start" | "restart" | "logs" | "build" | "down" | "ps" => usize::MAX,
        other => return vec![format!("compose {other} is not looked at")],
    };
    let unknown = named.clone().take(many).filter(|it| !services.contains(it));
    let unknown = unknown.map(|it| format!("no service {it}"));
    // Its image runs control.
    let one_off = match (*command, named.copied().collect::<Vec<_>>().as_slice()) {
        ("run", ["migrate", arguments @ ..]) if !arguments.is_empty() => {
            parsed(control::settings::Cli::command(), arguments)
        }
        _ => Vec::new(),
    };
    unknown.chain(one_off).collect()
}

/// What one of our programs says to the words after its name, also when it is
/// started in a container; none: it is not started.
fn ours(words: &[&str]) -> Option<Vec<String>> {
    let at = words
        .iter()
        .position(|it| ["claude-code-proxy", "claude-code-control"].contains(it))?;
    let is_run = at == 0 || ["docker", "kubectl"].contains(&words[0]);
    let program = match words[at] {
        _ if !is_run => return None,
        "claude-code-proxy" => proxy::settings::Settings::command(),
        _ => control::settings::Cli::command(),
    };
    Some(parsed(program, &words[at + 1..]))
}

/// What is missing may come from the environment; what is unknown stays unknown.
fn parsed(program: Command, arguments: &[&str]) -> Vec<String> {
    let words = std::iter::once("program").chain(arguments.iter().copied());
    let error = program.try_get_matches_from(words).err();
    let unknown = error.filter(|it| {
        !matches!(
            it.kind(),
            ErrorKind::MissingRequiredArgument
                | ErrorKind::DisplayHelp
                | ErrorKind::DisplayVersion
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        )
    });
    unknown.iter().map(ToString::to_string).collect()
}

/// How many commands a document shows, and what is wrong with them.
fn checked(document: &Document) -> (usize, Vec<String>) {
    let mut seen = 0;
    let mut all = Vec::new();
    for line in shown(document) {
        let mut folder = "";
        for words in commands(&line) {
            if let ["cd", into] = words.as_slice() {
                folder = into;
            }
            let Some(found) = complaints(&words, folder) else {
                continue;
            };
            seen += 1;
            let shown = words.join(" ");
            all.extend(
                found
                    .iter()
                    .map(|it| format!("{}: {shown}: {it}", document.path)),
            );
        }
    }
    (seen, all)
}

#[test]
fn every_command_names_what_exists() {
    let checked: Vec<(usize, Vec<String>)> = documents().iter().map(checked).collect();
    let complaints: Vec<&String> = checked.iter().flat_map(|(_, it)| it).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let seen: usize = checked.iter().map(|(seen, _)| seen).sum();
    assert!(seen >= 60, "{seen}");
}

#[test]
fn a_broken_command_is_noticed() {
    for (command, is_broken) in [
        ("make run PROFILE=release", false),
        ("make tea", true),
        ("scripts/status-line", false),
        ("scripts/tea", true),
        ("cargo test -p testkit --test documents", false),
        ("cargo test -p tea", true),
        ("cargo test -p testkit --test tea", true),
        ("cd console && npm ci && npm run e2e", false),
        ("cd infra && npm run e2e", true),
        ("npm run tea", true),
        (
            "A=b docker compose -f compose.yaml -f compose/tls.yaml up --detach proxy-1",
            false,
        ),
        ("docker compose -f compose/tea.yaml up", true),
        ("docker compose --profile tea up", true),
        ("docker compose up tea", true),
        ("docker compose run --rm migrate new-epoch", false),
        ("docker compose run --rm migrate tea", true),
        (
            "docker compose exec -T control claude-code-control hash-password",
            false,
        ),
        (
            "docker compose exec -T control claude-code-control tea",
            true,
        ),
        ("kubectl exec it -- claude-code-control new-epoch", false),
        (
            "kubectl exec it -- claude-code-control new-epoch --tea",
            true,
        ),
        (
            "claude-code-control usage import --dry-run proxy.log < file",
            false,
        ),
        ("claude-code-control usage import --tea", true),
        ("claude-code-proxy --help", false),
        ("claude-code-proxy --tea", true),
        (
            "helm upgrade a charts/claude-code-proxy --values own.yaml",
            false,
        ),
        ("helm upgrade a charts/tea", true),
    ] {
        let document = Document {
            path: "it".to_owned(),
            text: format!("    {command}\n"),
        };
        let (seen, complaints) = checked(&document);
        assert!(seen >= 1, "{command}");
        assert_eq!(
            !complaints.is_empty(),
            is_broken,
            "{command}: {complaints:?}"
        );
    }
}
