//! The binary, as it is started.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, Write},
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use testkit::process::Process;

use crate::support::{eventually, http_client, sql};

/// What `serve` needs, with a database that is not there.
const SETTINGS: [(&str, &str); 9] = [
    (
        "PROXY_DATABASE_URL",
        "postgresql+asyncpg://me:hunter22@127.0.0.1:1/proxy",
    ),
    ("PROXY_KEY_HASHER_SECRET", "0123456789abcdef"),
    ("PROXY_SYNC_TOKEN", "0123456789abcdef"),
    ("PROXY_JWT_SECRET", "0123456789abcdef"),
    ("PROXY_ADMIN_USERNAME", "admin"),
    (
        "PROXY_ADMIN_PASSWORD_HASH",
        "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
    ),
    ("PROXY_ADMIN_ADDR", "127.0.0.1:0"),
    ("PROXY_GRPC_ADDR", "127.0.0.1:0"),
    ("PROXY_CONTROL_OPS_ADDR", "127.0.0.1:0"),
];

/// How the process ended and what it said.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn control() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claude-code-control"));
    command.env_clear();
    command
}

async fn output(mut command: Command) -> Ended {
    let mut stdout = tempfile::tempfile().unwrap();
    let mut stderr = tempfile::tempfile().unwrap();
    command
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap());
    let process = Process::spawn(&mut command, Signal::SIGKILL, None).unwrap();
    let status = eventually(process.exited()).await;
    Ended {
        code: status.code(),
        stdout: text(&mut stdout),
        stderr: text(&mut stderr),
    }
}

fn text(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_bad_setting_ends_the_process_with_one_line_that_names_it() {
    for (variable, value) in [
        ("PROXY_DATABASE_URL", "mysql://me:hunter22@db/proxy"),
        ("PROXY_KEY_HASHER_SECRET", "hunter22"),
        ("PROXY_SYNC_TOKEN", ""),
        ("PROXY_JWT_SECRET", "hunter22"),
        ("PROXY_ADMIN_USERNAME", ""),
        ("PROXY_ADMIN_PASSWORD_HASH", "hunter22"),
        ("PROXY_ADMIN_ADDR", "localhost"),
        ("PROXY_GRPC_ADDR", "0.0.0.0:99999"),
        ("PROXY_CONTROL_OPS_ADDR", ""),
        ("PROXY_USAGE_RETENTION_DAYS", "0"),
        ("PROXY_USAGE_RETENTION_DAYS", "-1"),
        ("PROXY_USAGE_RETENTION_DAYS", "many"),
        ("PROXY_SYNC_TLS_CERT", "/nonexistent.pem"),
        ("PROXY_SYNC_TLS_CERT", "/dev/null"),
        ("PROXY_PUBLIC_URL", "proxy"),
        ("PROXY_LOG_FORMAT", "xml"),
        ("PROXY_LOG_LEVEL", "loud"),
        ("PROXY_LOG_LEVEL", "info,control=debug"),
    ] {
        let mut command = control();
        command.arg("serve").envs(SETTINGS).env(variable, value);
        let output = output(command).await;
        let line = output.stderr;
        assert_eq!(output.code, Some(78), "{variable}={value}: {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.contains(variable), "{variable}={value}: {line}");
        assert!(!line.contains("hunter22"), "a secret is shown: {line}");
        assert_eq!(output.stdout, "");
    }
}

#[tokio::test]
async fn missing_settings_are_all_named_at_once() {
    let mut command = control();
    command.arg("serve");
    let output = output(command).await;
    let line = output.stderr;
    assert_eq!(output.code, Some(78));
    assert_eq!(line.lines().count(), 1, "{line}");
    for variable in [
        "PROXY_DATABASE_URL",
        "PROXY_KEY_HASHER_SECRET",
        "PROXY_SYNC_TOKEN",
        "PROXY_JWT_SECRET",
        "PROXY_ADMIN_USERNAME",
        "PROXY_ADMIN_PASSWORD_HASH",
    ] {
        assert!(line.contains(variable), "{variable} is not in {line}");
    }
}

#[tokio::test]
async fn half_of_a_certificate_is_refused() {
    let pem = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(pem.path(), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let mut command = control();
    command
        .arg("serve")
        .envs(SETTINGS)
        .env("PROXY_SYNC_TLS_CERT", pem.path());
    let output = output(command).await;
    let line = output.stderr;
    assert_eq!(output.code, Some(78), "{line}");
    assert!(line.contains("PROXY_SYNC_TLS_KEY"), "{line}");
}

#[tokio::test]
async fn a_certificate_that_is_none_is_named() {
    let pem = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(pem.path(), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    let mut command = control();
    command
        .arg("serve")
        .envs(SETTINGS)
        .env("PROXY_SYNC_TLS_CERT", pem.path())
        .env("PROXY_SYNC_TLS_KEY", pem.path());
    let output = output(command).await;
    let line = output.stderr;
    assert_eq!(output.code, Some(78));
    assert!(line.contains("PROXY_SYNC_TLS_CERT"), "{line}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = control();
    command
        .arg("serve")
        .envs(SETTINGS)
        .env("PROXY_GRPC_ADDR", &address);
    let output = output(command).await;
    let line = output.stderr;
    assert_eq!(output.code, Some(78));
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.contains("PROXY_GRPC_ADDR") && line.contains(&address),
        "{line}"
    );
}

#[test]
fn a_reader_that_has_left_is_no_failure_and_a_full_disk_is() {
    for subcommand in ["openapi", "hash-password"] {
        let run = |stdout: Stdio| {
            let mut child = control()
                .arg(subcommand)
                .stdin(Stdio::piped())
                .stdout(stdout)
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // Who does not read it may be gone.
            let _gone = child.stdin.take().unwrap().write_all(b"a password\n");
            let output = child.wait_with_output().unwrap();
            (
                output.status.code(),
                String::from_utf8(output.stderr).unwrap(),
            )
        };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(writer.into()), (Some(0), String::new()));

        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, line) = run(full.into());
        assert_eq!(code, Some(1), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.contains("standard output"), "{line}");
    }
}

#[tokio::test]
async fn help_is_a_manual_without_secrets() {
    let mut command = control();
    command.args(["serve", "--help"]).envs(SETTINGS);
    let output = output(command).await;
    let help = output.stdout;
    assert!(output.code == Some(0));
    for variable in [
        "PROXY_DATABASE_URL",
        "PROXY_SYNC_TLS_CA",
        "PROXY_LOG_FORMAT",
    ] {
        assert!(help.contains(variable), "{variable}");
    }
    assert!(
        !help.contains("hunter22") && !help.contains("0123456789abcdef"),
        "{help}"
    );
}

#[test]
fn a_hashed_password_comes_from_standard_input() {
    let hash_password = |password: &[u8]| {
        let mut command = control();
        let mut child = command
            .arg("hash-password")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(password).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = hash_password(b"secret\n");
    let printed = String::from_utf8(output.stdout).unwrap();
    let hash: control::password::PasswordHash = printed.trim().parse().unwrap();
    assert!(hash.verify(&secrecy::SecretString::from("secret")));
    assert!(!hash_password(b"\n").status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_waits_for_the_database_and_ends_well_on_sigterm() {
    let (log, writer) = std::io::pipe().unwrap();
    let mut command = control();
    command.arg("serve").envs(SETTINGS).stdout(writer);
    let process = Process::spawn(&mut command, Signal::SIGTERM, None).unwrap();
    drop(command);
    let mut lines = BufReader::new(log)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap());
    let started = lines.find(|line| line["message"] == "control.started");
    let started = started.expect("the log ended before the start");
    let waiting = lines.find(|line| line["message"] == "database.waiting");
    let waiting = waiting.expect("the log ended before the waiting");
    assert!(!waiting.to_string().contains("hunter22"), "{waiting}");
    let ops = started["ops_addr"].as_str().unwrap();
    let admin = started["admin_addr"].as_str().unwrap();

    let client = http_client();
    let status = async |url: String| client.get(url).send().await.unwrap().status().as_u16();
    assert_eq!(status(format!("http://{ops}/livez")).await, 200);
    assert_eq!(status(format!("http://{ops}/readyz")).await, 503);
    assert_eq!(status(format!("http://{admin}/health")).await, 200);
    let login = client
        .post(format!("http://{admin}/admin/auth/login"))
        .basic_auth("admin", Some("secret"));
    // Nothing is done that cannot be written down.
    crate::support::answer(login)
        .await
        .assert_error(503, "starting");

    process.stop().unwrap();
    let status = eventually(process.exited()).await;
    assert_eq!(status.code(), Some(0));
    let again = lines.filter(|line| line["message"] == "database.waiting");
    assert_eq!(again.count(), 0, "it says once what it waits for");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_level_holds_for_us_and_libraries_are_quiet() {
    let (log, writer) = std::io::pipe().unwrap();
    let mut command = control();
    command
        .arg("serve")
        .envs(SETTINGS)
        .env("PROXY_LOG_LEVEL", "trace")
        .stdout(writer);
    let process = Process::spawn(&mut command, Signal::SIGTERM, None).unwrap();
    drop(command);
    let mut lines = BufReader::new(log)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap())
        .inspect(|line| {
            let is_ours = line["target"].as_str().unwrap().starts_with("control");
            let is_bad = line["level"] == "WARN" || line["level"] == "ERROR";
            assert!(is_ours || is_bad, "{line}");
        });
    let started = lines.find(|line| line["message"] == "control.started");
    let admin = started.unwrap()["admin_addr"].as_str().unwrap().to_owned();
    let health = http_client().get(format!("http://{admin}/health"));
    assert_eq!(health.send().await.unwrap().status(), 200);
    let answered = lines.find(|line| line["message"] == "http.answered");
    assert_eq!(answered.unwrap()["level"], "DEBUG");
    process.stop().unwrap();
    eventually(process.exited()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_and_new_epoch_do_their_work_and_end() {
    let database = testkit::postgres::Database::create().await.unwrap();
    let run = async |subcommand: &str| {
        let mut command = control();
        command
            .arg(subcommand)
            .env("PROXY_DATABASE_URL", database.url());
        let output = output(command).await;
        assert!(output.code == Some(0), "{}", output.stderr);
        output.stdout
    };
    run("migrate").await;
    let client = sql(database.url()).await;
    let epoch = async || {
        let row = client.query_one("select epoch::text from sync_head", &[]);
        row.await.unwrap().get::<_, String>(0)
    };
    let before = epoch().await;
    let printed = run("new-epoch").await;
    let after = epoch().await;
    assert_ne!(before, after);
    assert_eq!(printed.trim(), after);

    let mut unreachable = control();
    unreachable.arg("migrate").env(
        "PROXY_DATABASE_URL",
        "postgres://me:hunter22@127.0.0.1:1/proxy",
    );
    let output = output(unreachable).await;
    let line = output.stderr;
    assert!(output.code != Some(0));
    assert!(!line.contains("hunter22"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}
