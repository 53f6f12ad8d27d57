//! Claude Code itself, in the versions that people have: the newest, and the
//! last one in JavaScript.

use std::{
    fs,
    process::{Command, ExitStatus},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use tempfile::TempDir;
use testkit::bedrock::{self, Operation, Server, Thoughts};

use crate::support::{World, bedrock::OnBedrock, repository};

/// How long one run may take; Claude Code's own patience is longer.
const LIMIT_SECONDS: &str = "120";

/// Claude Code with a home and a working folder of its own.
pub(crate) struct ClaudeCode {
    command: Vec<String>,
    home: TempDir,
    folder: TempDir,
}

/// What came of one run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl ClaudeCode {
    pub(crate) fn install(version: &str) -> Result<Self> {
        let output = Command::new(repository().join("scripts/install-claude-code"))
            .arg(repository().join(".state/claude"))
            .arg(version)
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self {
            command: String::from_utf8(output.stdout)?
                .lines()
                .map(str::to_owned)
                .collect(),
            home: tempfile::tempdir()?,
            folder: tempfile::tempdir()?,
        })
    }

    /// Runs `claude -p` with the lines that a developer is given, and insists on
    /// success.
    pub(crate) async fn run(
        &self,
        environment: &[(String, String)],
        arguments: &[&str],
    ) -> Result<String> {
        let run = self.attempt(environment, arguments).await?;
        ensure!(run.status.success(), "claude {arguments:?}: {run:?}");
        Ok(run.stdout)
    }

    /// The same, whatever comes of it.
    pub(crate) async fn attempt(
        &self,
        environment: &[(String, String)],
        arguments: &[&str],
    ) -> Result<Run> {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", LIMIT_SECONDS])
            .args(&self.command)
            .arg("-p")
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("TMPDIR", self.home.path())
            .env("CLAUDE_CODE_TMPDIR", self.home.path())
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_TELEMETRY", "1")
            .env("DISABLE_ERROR_REPORTING", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(std::process::Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        Ok(Run {
            status: output.status,
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }
}

pub(crate) const VERSIONS: [&str; 2] = ["2.1.328", "2.1.112"];

/// The lines that a developer of this world is given.
fn lines(world: &World) -> Vec<(String, String)> {
    vec![
        ("ANTHROPIC_BASE_URL".to_owned(), world.base_url()),
        ("ANTHROPIC_API_KEY".to_owned(), "sk-ant-test".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_answers_a_question() -> Result<()> {
    let world = World::start(1).await?;
    for version in VERSIONS {
        let claude = ClaudeCode::install(version)?;
        let answer = claude
            .run(&lines(&world), &["say: the proxy works"])
            .await?;
        assert_eq!(answer.trim(), "the proxy works", "Claude Code {version}");
    }
    world.until_all_is_counted().await
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_runs_a_tool() -> Result<()> {
    let world = World::start(1).await?;
    for version in VERSIONS {
        let claude = ClaudeCode::install(version)?;
        let arguments = [
            "run: echo made by a tool | tee made.txt",
            "--allowedTools",
            "Bash",
        ];
        let answer = claude.run(&lines(&world), &arguments).await?;
        let made = fs::read_to_string(claude.folder.path().join("made.txt"))
            .with_context(|| format!("Claude Code {version} ran no tool, but said {answer}"))?;
        assert_eq!(made, "made by a tool\n");
        assert!(
            answer.contains("made by a tool"),
            "Claude Code {version} said {answer}"
        );
    }
    world.until_all_is_counted().await
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_streams_an_answer_with_thinking() -> Result<()> {
    let world = World::start(1).await?;
    for version in VERSIONS {
        let claude = ClaudeCode::install(version)?;
        let arguments = [
            "say: thought about it",
            "--output-format=stream-json",
            "--include-partial-messages",
            "--verbose",
        ];
        let output = claude.run(&lines(&world), &arguments).await?;
        let messages: Vec<Value> = output
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;

        let deltas = messages.iter().map(|message| &message["event"]["delta"]);
        let has_signature = deltas
            .clone()
            .any(|delta| delta["type"] == "signature_delta");
        assert!(
            has_signature,
            "Claude Code {version} saw no thinking: {output}"
        );
        let text: String = deltas.filter_map(|delta| delta["text"].as_str()).collect();
        assert_eq!(text, "thought about it", "Claude Code {version}");
        let result = messages.last().context("no output")?;
        assert_eq!(result["subtype"], "success", "Claude Code {version}");
        assert_eq!(
            result["result"], "thought about it",
            "Claude Code {version}"
        );
    }
    world.until_all_is_counted().await
}

/// A red dot, and a page with nothing on it.
const PNG: &[u8] = include_bytes!("dot.png");
const PDF: &[u8] = include_bytes!("page.pdf");

/// Everything that Claude Code does with a model, through one of Bedrock's APIs.
async fn does_its_work_on_bedrock(api: &str) -> Result<()> {
    let world = OnBedrock::with(|stack| stack.setting("PROXY_BEDROCK_API", api)).await?;
    assert!(world.bedrock.is_strict());
    // Also its thoughts must come back as they were signed.
    world.bedrock.take(Thoughts::Own);
    let mut lines = lines(&world);
    lines.push(("ANTHROPIC_MODEL".to_owned(), "claude-opus-5-5".to_owned()));
    for version in VERSIONS {
        let claude = ClaudeCode::install(version)?;
        says_what_it_is_told(&claude, &lines).await?;
        runs_tools_at_once(&claude, &lines).await?;
        reads_an_image_and_a_document(&claude, &lines, &world).await?;
    }
    let received = world.bedrock.received();
    let questions = received.iter().filter(|it| it.operation.is_message());
    assert_eq!(
        questions.count() as u64,
        world.bedrock.ledger().answers,
        "Bedrock has refused something"
    );
    assert!(world.simulator.received().is_empty(), "the plan was asked");
    world.until_bedrock_is_counted().await
}

async fn says_what_it_is_told(claude: &ClaudeCode, lines: &[(String, String)]) -> Result<()> {
    let arguments = [
        "say: thought about it",
        "--output-format=stream-json",
        "--include-partial-messages",
        "--verbose",
    ];
    let output = claude.run(lines, &arguments).await?;
    for expected in ["\"signature_delta\"", "\"result\":\"thought about it\""] {
        assert!(output.contains(expected), "no {expected} in {output}");
    }
    Ok(())
}

async fn runs_tools_at_once(claude: &ClaudeCode, lines: &[(String, String)]) -> Result<()> {
    let arguments = [
        "run: echo first | tee first.txt\nrun: echo second | tee second.txt",
        "--allowedTools",
        "Bash",
    ];
    let answer = claude.run(lines, &arguments).await?;
    for name in ["first", "second"] {
        let made = fs::read_to_string(claude.folder.path().join(format!("{name}.txt")))
            .with_context(|| format!("the {name} tool did not run: {answer}"))?;
        assert_eq!(made.trim(), name);
    }
    assert!(answer.contains("The tool answered"), "{answer}");
    Ok(())
}

async fn reads_an_image_and_a_document(
    claude: &ClaudeCode,
    lines: &[(String, String)],
    world: &OnBedrock,
) -> Result<()> {
    let asked = world.bedrock.received().len();
    for (name, content) in [("dot.png", PNG), ("page.pdf", PDF)] {
        let file = claude.folder.path().join(name);
        fs::write(&file, content)?;
        let question = format!("use: Read {}", serde_json::json!({ "file_path": file }));
        claude
            .run(lines, &[&question, "--allowedTools", "Read"])
            .await?;
        let sent = BASE64_STANDARD.encode(content);
        let received = world.asked_since(asked);
        let got = received.iter().any(|request| request.contains(&sent));
        assert!(got, "Bedrock never saw {name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_does_its_work_through_invoke() -> Result<()> {
    does_its_work_on_bedrock("invoke").await
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_does_its_work_through_messages() -> Result<()> {
    does_its_work_on_bedrock("messages").await
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_does_its_work_through_converse() -> Result<()> {
    does_its_work_on_bedrock("converse").await
}

/// Neither takes thoughts back that the other has signed, and Claude Code sends
/// all of them.
#[tokio::test(flavor = "multi_thread")]
async fn claude_code_goes_on_when_its_session_changes_between_plan_and_bedrock() -> Result<()> {
    let world = OnBedrock::start().await?;
    world.simulator.take(Thoughts::Own);
    world.bedrock.take(Thoughts::Own);
    let mut lines = lines(&world);
    lines.push(("ANTHROPIC_MODEL".to_owned(), "claude-opus-5-5".to_owned()));
    for version in VERSIONS {
        let claude = ClaudeCode::install(version)?;
        let mut more: &[&str] = &[];
        for strategy in ["plan_first", "bedrock_only", "plan_first", "bedrock_only"] {
            world.stack.admin().route(&world.user_id, strategy).await?;
            world.until_in_force().await?;
            let arguments = [&["say: still here"], more].concat();
            let answer = claude.run(&lines, &arguments).await?;
            assert_eq!(answer.trim(), "still here", "Claude Code {version}");
            more = &["--continue"];
        }
    }
    let (plan, bedrock): (&Server, &Server) = (&world.simulator, &world.bedrock);
    for (name, simulator) in [("the plan", plan), ("Bedrock", bedrock)] {
        let received = simulator.received();
        let questions = received.iter().filter(|it| it.operation.is_message());
        let refused = questions.count() as u64 - simulator.ledger().answers;
        assert!(refused > 0, "{name} saw no thoughts of the other");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_takes_the_simulated_bedrock_for_the_real_one() -> Result<()> {
    let simulator = bedrock::Simulator::start().await?;
    let lines = [
        ("CLAUDE_CODE_USE_BEDROCK", "1"),
        ("ANTHROPIC_BEDROCK_BASE_URL", &simulator.url()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_BEARER_TOKEN_BEDROCK", bedrock::API_KEY),
    ];
    let lines = lines.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for version in VERSIONS {
        let claude = ClaudeCode::install(version)?;
        let arguments = ["run: echo made over Bedrock", "--allowedTools", "Bash"];
        let answer = claude.run(&lines, &arguments).await?;
        assert!(
            answer.contains("made over Bedrock"),
            "Claude Code {version} said {answer}"
        );
    }
    let streamed = |request: &bedrock::Received| request.operation == Operation::InvokeStream;
    assert!(simulator.received().iter().any(streamed));
    Ok(())
}
