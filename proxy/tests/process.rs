//! The program itself, as an operator starts it.

#![cfg(test)]

use std::process::{Command, Output};

fn proxy(variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_claude-code-proxy"))
        .env_clear()
        .env("PROXY_KEY_HASHER_SECRET", "a secret of sixteen or more")
        .env("PROXY_SYNC_TOKEN", "another secret of sixteen")
        .env("PROXY_LISTEN_ADDR", "127.0.0.1:0")
        .env("PROXY_OPS_ADDR", "127.0.0.1:0")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn a_bad_setting_ends_the_process_with_one_line_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (variable, value) in [
        ("PROXY_LISTEN_ADDR", "8080"),
        ("PROXY_LISTEN_ADDR", taken.as_str()),
        ("PROXY_OPS_ADDR", taken.as_str()),
        ("PROXY_PLAN_API_URL", "ftp://api"),
        ("PROXY_CONTROL_URL", "control:8001"),
        ("PROXY_DRAIN_TIMEOUT", "1m"),
        ("PROXY_MAX_BODY_BYTES", "-1"),
        ("PROXY_KEY_HASHER_SECRET", "short"),
        ("PROXY_PLAN_CA_BUNDLE", "/does/not/exist"),
        ("PROXY_LOG_LEVEL", "loud"),
    ] {
        let output = proxy(&[(variable, value)]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{variable}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(variable), "{text}");
    }
}

#[test]
fn help_is_the_manual() {
    let output = Command::new(env!("CARGO_BIN_EXE_claude-code-proxy"))
        .arg("--help")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for variable in [
        "PROXY_LISTEN_ADDR",
        "PROXY_OPS_ADDR",
        "PROXY_CONTROL_URL",
        "PROXY_PLAN_API_URL",
        "PROXY_MAX_STALENESS",
        "PROXY_LOG_FORMAT",
    ] {
        assert!(text.contains(variable), "{variable}");
    }
}
