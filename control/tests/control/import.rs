//! `usage import`: exactly what is missing is put back, and nothing is passed over
//! in silence.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use control::{
    import::{Import, Summary},
    store::Store,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::TestApp;

/// A canonical line; of a price that anybody can multiply.
fn line() -> Value {
    json!({
        "timestamp": chrono::Utc::now(),
        "level": "INFO",
        "message": proto::line::MESSAGE,
        "event_id": Uuid::now_v7(),
        "request_id": "req_1",
        "endpoint": "messages",
        "started_at": chrono::Utc::now(),
        "duration_ms": 5,
        "provider": "bedrock",
        "model": "claude-sonnet-4-5",
        "upstream_model": "claude-sonnet-4-5-20250929",
        "bedrock_model": "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "bedrock_region": "eu-central-1",
        "outcome": "complete",
        "status": 200,
        "input_tokens": 1_000_000,
    })
}

fn log(lines: &str) -> tempfile::NamedTempFile {
    let log = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(log.path(), lines).unwrap();
    log
}

async fn import(app: &TestApp, files: &[&Path], is_dry_run: bool) -> Summary {
    let store = Store::new(app.database.url().parse().unwrap()).unwrap();
    let mut import = Import::into(store, is_dry_run).await.unwrap();
    let files = files.iter().map(PathBuf::from).collect();
    import.files(files).await.unwrap();
    import.summary().clone()
}

/// The command, as an operator starts it.
fn run(app: &TestApp, arguments: &[&str], input: &str) -> (Output, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_claude-code-control"))
        .args(["usage", "import"])
        .args(arguments)
        .env_clear()
        .env("PROXY_DATABASE_URL", app.database.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    (output, stdout, stderr)
}

async fn rows(app: &TestApp) -> i64 {
    let sql = app.sql().await;
    let row = sql.query_one("select count(*) from token_usage", &[]).await;
    row.unwrap().get(0)
}

/// As when rotated logs overlap.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_stands_twice_in_a_log_is_put_back_once() {
    let app = TestApp::start().await;
    let line = line();
    let log = log(&format!("{line}\n{line}\n"));
    let summary = import(&app, &[log.path()], false).await;
    assert_eq!((summary.new, summary.known), (1, 1), "{summary}");
    assert_eq!(summary.new_tokens, 1_000_000, "{summary}");
    assert_eq!(summary.new_cost.to_string(), "3.000000", "{summary}");
    assert!(summary.is_complete(), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_is_missing_and_changes_nothing() {
    let app = TestApp::start().await;
    let stored = log(&format!("{}\n", line()));
    import(&app, &[stored.path()], false).await;
    // More than one batch, and one of the first in the last once more.
    let lines: Vec<String> = (0..700).map(|_| line().to_string()).collect();
    let missing = log(&format!("{}\n{}\n", lines.join("\n"), lines[0]));
    let files = [stored.path(), missing.path()];

    let foreseen = import(&app, &files, true).await;
    assert_eq!((foreseen.new, foreseen.known), (700, 2), "{foreseen}");
    assert_eq!(rows(&app).await, 1);
    let done = import(&app, &files, false).await;
    let is_dry_run = true;
    assert_eq!(foreseen, Summary { is_dry_run, ..done });
    assert_eq!(rows(&app).await, 701);

    let (output, stdout, _) = run(&app, &["--dry-run"], &line().to_string());
    assert!(output.status.success());
    assert!(stdout.contains("usage missing        1\n"), "{stdout}");
    assert_eq!(rows(&app).await, 701);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_log_group_on_one_long_line_is_put_back() {
    let app = TestApp::start().await;
    let events: Vec<_> = (0..3_000)
        .map(|_| json!({"logStreamName": "s", "message": line().to_string()}))
        .collect();
    let answer = json!({"events": events}).to_string();
    let (output, stdout, stderr) = run(&app, &[], &answer);
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.contains("lines read           1\n"), "{stdout}");
    assert!(stdout.contains("usage put back       3000\n"), "{stdout}");
    assert_eq!(rows(&app).await, 3_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_over_is_counted_and_told_with_its_place() {
    let app = TestApp::start().await;
    let mut deep = line().to_string();
    for _ in 0..9 {
        deep = json!({"log": deep}).to_string();
    }
    let cut = line().to_string().replace("}", "");
    let mut strange = line();
    strange["event_id"] = json!(Uuid::nil());
    strange["started_at"] = json!("0000-01-01T00:00:00Z");
    let long = "x".repeat(2 << 20);
    let lines = format!(
        "{}\n{{\"message\":\"ready\"}}\n\n{deep}\n{cut}\n{long}\n{strange}\n{}\n",
        line(),
        line()
    );
    let log = log(&lines);
    let path = log.path().to_str().unwrap();
    let (output, stdout, stderr) = run(&app, &[path], "");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for counted in [
        "lines read           8\n",
        "usage put back       2\n",
        "usage rejected       1\n",
        "lines of others    2\n",
        "not readable       1\n",
        "quoted too often   1\n",
        "too long           1\n",
        "rest of files      0\n",
    ] {
        assert!(stdout.contains(counted), "no {counted:?} in {stdout}");
    }
    for number in [4, 5, 6, 7] {
        let place = format!("{path}:{number}: ");
        assert!(stderr.contains(&place), "no {place:?} in {stderr}");
    }
    assert_eq!(rows(&app).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_keeps_no_other_from_being_counted() {
    let app = TestApp::start().await;
    let first = log(&format!("{}\n", line()));
    let last = log(&format!("{}\n", line()));
    let files = [first.path(), Path::new("/nowhere/at/all"), last.path()];
    let files = files.map(|it| it.to_str().unwrap());
    let (output, stdout, stderr) = run(&app, &files, "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout.contains("usage put back       2\n"), "{stdout}");
    assert!(stdout.contains("rest of files      1\n"), "{stdout}");
    assert!(stderr.contains("/nowhere/at/all:0: "), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_is_printed_also_when_storing_fails() {
    let app = TestApp::start().await;
    let sql = app.sql().await;
    sql.batch_execute(
        "create function refuse() returns trigger language plpgsql as
            $$ begin raise exception 'not today'; end $$;
        create trigger refuse before insert on token_usage_default
            for each row execute function refuse()",
    )
    .await
    .unwrap();
    // Of a month that has no partition: the others are stored.
    let mut old = line();
    old["started_at"] = json!("2001-01-01T00:00:00Z");
    let mut lines: Vec<String> = (0..500).map(|_| line().to_string()).collect();
    lines.push(old.to_string());
    let (output, stdout, stderr) = run(&app, &[], &lines.join("\n"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout.contains("usage put back       500\n"), "{stdout}");
    assert!(stderr.contains("store usage"), "{stderr}");
}
