//! What `make run` and `make demo` start, and how it ends.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, ExitStatus},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::StatusCode;
use tempfile::TempDir;
use testkit::{
    anthropic::Simulator,
    process::Process,
    stack::{ControlAddresses, ProxyAddresses, admin::Admin, free_address},
};

use crate::{
    claude_code::ClaudeCode,
    support::{ask, ask_and_hear, eventually},
};

/// A state folder and addresses, for one launcher after the other.
struct Place {
    folder: TempDir,
    addresses: BTreeMap<&'static str, SocketAddr>,
}

/// A launcher that has said everything is running.
struct Launcher {
    process: Process,
    greeting: String,
    /// All processes below it.
    descendants: Vec<Pid>,
}

impl Place {
    fn new() -> Result<Self> {
        let control = ControlAddresses::free()?;
        let proxy = ProxyAddresses::free()?;
        Ok(Self {
            folder: tempfile::tempdir()?,
            addresses: BTreeMap::from([
                ("PROXY_LISTEN_ADDR", proxy.listen),
                ("PROXY_OPS_ADDR", proxy.ops),
                ("PROXY_ADMIN_ADDR", control.admin),
                ("PROXY_GRPC_ADDR", control.grpc),
                ("PROXY_CONTROL_OPS_ADDR", control.ops),
                ("SIMULATOR_ADDR", free_address()?),
                ("SIMULATOR_BEDROCK_ADDR", free_address()?),
            ]),
        })
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn command(&self, mode: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
        command.args([mode, "--state"]).arg(self.state()).envs(
            self.addresses
                .iter()
                .map(|(name, address)| (name, address.to_string())),
        );
        command
    }

    /// Starts a launcher, and waits until it has said how to start Claude Code.
    async fn launch(&self, mode: &str) -> Result<Launcher> {
        self.launch_with(&mut self.command(mode)).await
    }

    async fn launch_with(&self, command: &mut Command) -> Result<Launcher> {
        command
            .stdout(File::create(self.output())?)
            .stderr(File::create(self.errors())?);
        let process = Process::spawn(command, Signal::SIGTERM, None)?;
        let greeting = eventually("the launcher says that all is running", async || {
            if let Some(status) = process.exit_status() {
                bail!(
                    "the launcher ended ({status}): {}",
                    fs::read_to_string(self.errors())?
                );
            }
            let output = fs::read_to_string(self.output())?;
            Ok(output
                .contains("Ctrl-C stops everything.")
                .then_some(output))
        })
        .await?;
        let descendants = descendants(process.id())?;
        Ok(Launcher {
            process,
            greeting,
            descendants,
        })
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    fn errors(&self) -> PathBuf {
        self.folder.path().join("errors")
    }
}

impl Launcher {
    /// Sends a signal and waits for the end.
    async fn end(&self, signal: Signal) -> Result<ExitStatus> {
        self.process.signal(signal)?;
        Ok(self.process.exited().await)
    }

    /// The variables that the developer is told to export.
    fn exports(&self) -> Vec<(String, String)> {
        let lines = self
            .greeting
            .lines()
            .filter_map(|line| line.trim().strip_prefix("export "));
        lines
            .filter_map(|line| line.split_whitespace().next()?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn said(&self, word: &str) -> Option<&str> {
        self.greeting
            .lines()
            .find_map(|line| line.trim().strip_prefix(word))
            .map(str::trim)
    }

    fn base_url(&self) -> Result<String> {
        let exports = self.exports();
        let url = exports
            .iter()
            .find(|(name, _)| name == "ANTHROPIC_BASE_URL");
        Ok(url.context("no base URL was printed")?.1.clone())
    }

    async fn sign_in(&self) -> Result<Admin> {
        let console = self.said("Console").context("no console was printed")?;
        let user = self.said("User").context("no user was printed")?;
        let password = self.said("Password").context("no password was printed")?;
        Admin::sign_in(console, user, password).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_has_traffic_and_its_printed_lines_start_claude_code() -> Result<()> {
    let place = Place::new()?;
    let demo = place.launch("demo").await?;
    let admin = demo.sign_in().await?;
    let usage = async || admin.get("/admin/usage").await;
    let requests = async || anyhow::Ok(usage().await?["total_requests"].as_u64());
    let traffic = eventually("the demo's own traffic is counted", async || {
        Ok(requests().await?.filter(|requests| *requests >= 18))
    })
    .await?;

    let by_provider = usage().await?["by_provider"].take();
    let by_bedrock = by_provider
        .as_array()
        .and_then(|all| all.iter().find(|it| it["provider"] == "bedrock"));
    let by_bedrock = by_bedrock.context("Bedrock has answered nobody")?;
    assert_eq!(by_bedrock["requests"], 6);
    assert!(demo.said("Linus is answered by a simulated").is_some());

    let answer = ClaudeCode::install("2.1.328")?
        .run(&demo.exports(), &["say: hello demo"])
        .await?;
    assert_eq!(answer.trim(), "hello demo");
    eventually("the answer is counted", async || {
        Ok(requests().await?.filter(|requests| *requests > traffic))
    })
    .await?;

    assert!(demo.end(Signal::SIGINT).await?.success());
    assert_gone(&demo.descendants);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn second_start_has_the_same_password_and_key() -> Result<()> {
    let upstream = Simulator::start().await?;
    let place = Place::new()?;
    let mut command = place.command("run");
    command.env("PROXY_PLAN_API_URL", upstream.url());

    let first = place.launch_with(&mut command).await?;
    ask_and_hear(&first.base_url()?, true).await?;
    assert!(first.end(Signal::SIGTERM).await?.success());

    let second = place.launch_with(&mut command).await?;
    assert_eq!(second.greeting, first.greeting);
    ask_and_hear(&second.base_url()?, false).await?;
    let users = second.sign_in().await?.get("/admin/users").await?;
    assert_eq!(users["total"], 1, "the second start made another user");
    assert!(second.end(Signal::SIGTERM).await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shell_has_for_claude_code_limits_no_proxy() -> Result<()> {
    let place = Place::new()?;
    // It switches thinking off there, and is no limit here.
    let mut command = place.command("run");
    let run = place
        .launch_with(command.env("MAX_THINKING_TOKENS", "0"))
        .await?;
    let said = fs::read_to_string(place.errors())?;
    assert!(
        said.contains("MAX_THINKING_TOKENS is for Claude Code here"),
        "{said}"
    );
    run.end(Signal::SIGTERM).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn taken_port_is_named_before_anything_starts() -> Result<()> {
    let place = Place::new()?;
    let taken = place.addresses["PROXY_LISTEN_ADDR"];
    let _owner = TcpListener::bind(taken)?;
    let output = place.command("run").output()?;
    let complaint = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "Port {} is taken (PROXY_LISTEN_ADDR={taken}).",
        taken.port()
    );
    assert!(complaint.contains(&expected), "{complaint}");
    assert!(
        complaint.contains(&format!("PROXY_LISTEN_ADDR={}:", taken.ip())),
        "{complaint}"
    );
    assert!(
        !place.state().join("postgres").exists(),
        "Postgres was started"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn second_launcher_on_the_same_state_is_refused() -> Result<()> {
    let place = Place::new()?;
    let running = place.launch("run").await?;
    let output = place.command("run").output()?;
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr)?;
    assert!(complaint.contains("Already running"), "{complaint}");
    assert!(running.end(Signal::SIGTERM).await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_launcher_takes_everything_with_it_and_can_start_again() -> Result<()> {
    let place = Place::new()?;
    let launcher = place.launch("run").await?;
    launcher.end(Signal::SIGKILL).await?;
    eventually("all processes are gone", async || {
        Ok(launcher
            .descendants
            .iter()
            .all(|pid| is_gone(*pid))
            .then_some(()))
    })
    .await?;

    let again = place.launch("run").await?;
    assert_eq!(again.greeting, launcher.greeting);
    assert!(again.end(Signal::SIGTERM).await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_part_is_named_and_stops_the_rest() -> Result<()> {
    let place = Place::new()?;
    let launcher = place.launch("run").await?;
    let proxy = launcher
        .descendants
        .iter()
        .find(|pid| name(**pid).is_some_and(|name| name.starts_with("claude-code-pro")))
        .context("no proxy among the processes")?;
    kill(*proxy, Signal::SIGKILL)?;
    assert_eq!(launcher.process.exited().await.code(), Some(1));
    assert_gone(&launcher.descendants);
    let complaint = fs::read_to_string(place.errors())?;
    assert!(
        complaint.contains("proxy ended (signal: 9 (SIGKILL))"),
        "{complaint}"
    );
    assert!(complaint.contains("proxy.log"), "{complaint}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn state_of_the_launcher_is_for_its_owner_only() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new()?;
    let launcher = place.launch("run").await?;
    for name in ["secrets.json", "members.json"] {
        let mode = fs::metadata(place.state().join(name))?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let wrong = format!("{}x", launcher.base_url()?);
    assert_eq!(ask(&wrong, false).await?.status(), StatusCode::UNAUTHORIZED);
    assert!(launcher.end(Signal::SIGTERM).await?.success());
    Ok(())
}

/// The children of a process, their children, and so on.
fn descendants(ancestor: i32) -> Result<Vec<Pid>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else {
            continue;
        };
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![ancestor];
    let mut seen = 0;
    while let Some(pid) = found.get(seen) {
        found.extend(children.remove(pid).unwrap_or_default());
        seen += 1;
    }
    let descendants: Vec<Pid> = found.into_iter().skip(1).map(Pid::from_raw).collect();
    ensure!(
        descendants.len() >= 3,
        "the launcher has started too little: {descendants:?}"
    );
    Ok(descendants)
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()
}

fn name(pid: Pid) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok()
}

/// A process that nobody has reaped yet is gone, too.
fn is_gone(pid: Pid) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return true;
    };
    status.lines().any(|line| line.starts_with("State:\tZ"))
}

fn assert_gone(processes: &[Pid]) {
    for pid in processes {
        assert!(
            is_gone(*pid),
            "process {pid} ({:?}) is still there",
            name(*pid)
        );
    }
}
