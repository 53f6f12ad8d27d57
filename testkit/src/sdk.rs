//! Runs the official SDKs, so that nobody has to trust our reading of the API.
//!
//! Each runs the same list of checks, `testkit/sdk/checks.*`, against a base URL:
//! the simulator's own, or that of a proxy in front of it. Or it asks for many
//! streams, `testkit/sdk/streams.*`, and tells what an application gets of each.
//! The first use installs the SDKs, which needs the package registries.

use std::{
    io::{Seek, Write},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bedrock;

/// An official SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    Python,
    /// The last one that speaks version 2023-06-01 of the API.
    Python0125,
    TypeScript,
}

/// Where the checks go.
#[derive(Debug, Clone)]
pub struct Target {
    pub base_url: String,
    pub api_key: String,
    /// The simulator that answers in the end, to script faults.
    pub simulator_url: String,
    /// Whether that is Bedrock's, behind a proxy.
    pub is_bedrock: bool,
}

/// A stream to ask for.
#[derive(Debug, Clone, Serialize)]
pub struct Question {
    pub base_url: String,
    /// What the request names as its session.
    pub session: String,
}

/// What an application got that asked for a stream: a message, if not an error.
#[derive(Debug, Deserialize)]
pub struct Heard {
    pub session: String,
    /// How often a message began.
    pub starts: u64,
    pub message: Option<Value>,
    pub error: Option<Raised>,
}

/// An error of an SDK.
#[derive(Debug, Deserialize)]
pub struct Raised {
    pub class: String,
    /// What the API calls it; none when it did not come from the API.
    pub r#type: Option<String>,
}

/// Two simulators of Bedrock, for AWS's own client.
#[derive(Debug, Clone)]
pub struct BedrockTarget {
    pub http_url: String,
    /// With API keys, AWS's client wants TLS.
    pub https_url: String,
    pub ca_file: PathBuf,
    /// The only one that both accept signatures for.
    pub region: String,
}

const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk");

impl Sdk {
    pub const ALL: [Self; 3] = [Self::Python, Self::Python0125, Self::TypeScript];

    /// Installs the SDK if need be, runs its checks and returns what they
    /// printed.
    ///
    /// # Errors
    /// When it cannot be installed, or when a check fails; then the error has
    /// what was printed.
    pub async fn check(self, target: &Target) -> anyhow::Result<String> {
        let target = target.clone();
        tokio::task::spawn_blocking(move || {
            let mut command = self.command("checks")?;
            command
                .env("BASE_URL", &target.base_url)
                .env("API_KEY", &target.api_key)
                .env("SIMULATOR_URL", &target.simulator_url)
                .env(
                    "PROVIDER",
                    if target.is_bedrock { "bedrock" } else { "plan" },
                );
            text("the checks", command.output())
        })
        .await?
    }

    /// Installs the SDK if need be, asks for all these streams in one process,
    /// some at a time, and returns what was heard of each, in any order.
    ///
    /// # Errors
    /// When it cannot be installed, or when the process fails.
    pub async fn ask(self, questions: Vec<Question>) -> anyhow::Result<Vec<Heard>> {
        tokio::task::spawn_blocking(move || {
            let mut command = self.command("streams")?;
            // A file, because nobody writes to a pipe and reads from another.
            let mut lines = tempfile::tempfile()?;
            for question in &questions {
                writeln!(lines, "{}", serde_json::to_string(question)?)?;
            }
            lines.rewind()?;
            command.env("API_KEY", "sk-ant-test").stdin(lines);
            let printed = text("the SDK", command.output())?;
            let heard = printed.lines().map(serde_json::from_str);
            Ok(heard.collect::<Result<_, _>>()?)
        })
        .await?
    }

    /// Where `testkit/sdk/install` puts it.
    fn folder(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Python0125 => "python-0.125",
            Self::TypeScript => "node",
        }
    }

    /// How to run a script of `testkit/sdk`.
    fn command(self, script: &str) -> anyhow::Result<Command> {
        let folder = install(self.folder())?;
        let script = Path::new(SDK).join(script);
        let mut command = match self {
            Self::Python | Self::Python0125 => {
                let mut command = Command::new(folder.join("bin/python"));
                command.arg(script.with_extension("py"));
                command
            }
            Self::TypeScript => {
                let mut command = Command::new("node");
                command
                    .arg(script.with_extension("mjs"))
                    .current_dir(folder);
                command
            }
        };
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("NO_PROXY", "127.0.0.1,localhost");
        Ok(command)
    }
}

impl BedrockTarget {
    /// Runs the checks of boto3 and of the SDK's Bedrock client, with the
    /// credentials that every simulator accepts, and returns what they printed.
    ///
    /// # Errors
    /// When they cannot be installed, or when a check fails; then the error has
    /// what was printed.
    pub async fn check(&self) -> anyhow::Result<String> {
        let target = self.clone();
        tokio::task::spawn_blocking(move || {
            let folder = install("aws")?;
            let mut command = Command::new(folder.join("bin/python"));
            command
                .arg(Path::new(SDK).join("bedrock_checks.py"))
                .env_clear()
                .env("HTTP_URL", &target.http_url)
                .env("HTTPS_URL", &target.https_url)
                .env("CA_FILE", &target.ca_file)
                .env("REGION", &target.region)
                .env("ACCESS_KEY_ID", bedrock::ACCESS_KEY_ID)
                .env("SECRET_ACCESS_KEY", bedrock::SECRET_ACCESS_KEY)
                .env("API_KEY", bedrock::API_KEY)
                .env("PYTHONDONTWRITEBYTECODE", "1");
            text("the checks", command.output())
        })
        .await?
    }
}

/// Installs what is pinned under this name, if need be, and says where it is.
pub(crate) fn install(name: &str) -> anyhow::Result<PathBuf> {
    let output = Command::new(Path::new(SDK).join("install"))
        .arg(name)
        .output();
    text("testkit/sdk/install", output)?;
    Ok(installed(name))
}

/// Where it is, if it is.
pub(crate) fn installed(name: &str) -> PathBuf {
    Path::new(SDK).join("../../.state/sdk").join(name)
}

fn text(what: &str, output: std::io::Result<Output>) -> anyhow::Result<String> {
    let output = output.with_context(|| format!("cannot run {what}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{what} failed ({}):\n{printed}{errors}", output.status);
    }
    Ok(printed)
}
