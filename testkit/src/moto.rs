//! moto, which stands in for AWS: KMS and Secrets Manager, in memory.
//!
//! Any region and any credentials will do. The first use installs it, which
//! needs the package registry.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let moto = testkit::moto::Moto::start().await?;
//! let key_id = moto.create_key("us-east-1").await?;
//! // … `AWS_ENDPOINT_URL_KMS` is `moto.url()`, `PROXY_KMS_KEY_ID` is `key_id`
//! # Ok(())
//! # }
//! ```

use std::{
    io::{self, BufRead, BufReader, PipeReader},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{process::Process, sdk, stack::http_client};

/// How long the server may take to listen; Python has much to load.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What the server prints before its URL.
const ANNOUNCEMENT: &str = "Running on ";

/// A running server; dropping it stops it, and forgets all that was in it.
#[derive(Debug)]
pub struct Moto {
    url: String,
    _process: Process,
}

impl Moto {
    /// Starts it on a free port of the loopback interface.
    ///
    /// # Errors
    /// When it cannot be installed or does not listen; then the error has what
    /// it printed.
    pub async fn start() -> Result<Self> {
        let folder = tokio::task::spawn_blocking(|| sdk::install("aws")).await??;
        let (printed, output) = io::pipe()?;
        let mut command = Command::new(folder.join("bin/moto_server"));
        command
            .args(["--host", "127.0.0.1", "--port", "0"])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .stdout(output.try_clone()?)
            .stderr(output);
        let process =
            Process::spawn(&mut command, Signal::SIGTERM, None).context("start moto's server")?;
        // It holds the writing ends, and the end of the pipe is to be seen.
        drop(command);
        let (announce, announced) = oneshot::channel();
        std::thread::spawn(move || follow(printed, announce));
        let url = tokio::time::timeout(START_TIMEOUT, announced)
            .await
            .context("moto's server does not listen")???;
        Ok(Self {
            url,
            _process: process,
        })
    }

    /// For `AWS_ENDPOINT_URL_KMS` and `AWS_ENDPOINT_URL_SECRETS_MANAGER`;
    /// without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes a symmetric KMS key and returns its id.
    ///
    /// # Errors
    /// When moto refuses.
    pub async fn create_key(&self, region: &str) -> Result<String> {
        let action = "TrentService.CreateKey";
        let answer = self.call("kms", region, action, &json!({})).await?;
        string(&answer, "/KeyMetadata/KeyId")
    }

    /// Makes a secret and returns its ARN.
    ///
    /// # Errors
    /// When moto refuses.
    pub async fn create_secret(&self, region: &str, name: &str, text: &str) -> Result<String> {
        let action = "secretsmanager.CreateSecret";
        let input = json!({
            "Name": name,
            "SecretString": text,
            "ClientRequestToken": uuid::Uuid::new_v4(),
        });
        let answer = self.call("secretsmanager", region, action, &input).await?;
        string(&answer, "/ARN")
    }

    /// Calls any action of a service that speaks AWS's JSON protocol.
    ///
    /// # Errors
    /// When moto refuses.
    pub async fn call(
        &self,
        service: &str,
        region: &str,
        action: &str,
        input: &Value,
    ) -> Result<Value> {
        // moto looks at the scope and not at the signature.
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/{region}/{service}/aws4_request, \
             SignedHeaders=host, Signature=none"
        );
        let response = http_client()?
            .post(&self.url)
            .header("authorization", authorization)
            .header("x-amz-target", action)
            .header("content-type", "application/x-amz-json-1.1")
            .body(input.to_string())
            .send()
            .await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{action} was answered with {status}: {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }
}

/// Reads what the server prints to its end, so that it can go on printing.
fn follow(printed: PipeReader, announce: oneshot::Sender<Result<String>>) {
    let mut announce = Some(announce);
    let mut before = String::new();
    for line in BufReader::new(printed).lines().map_while(Result::ok) {
        if announce.is_none() {
            continue;
        }
        if let Some((_, url)) = line.split_once(ANNOUNCEMENT) {
            // Nobody waits when the start took too long.
            let _ = announce.take().map(|it| it.send(Ok(url.trim().to_owned())));
        }
        before += &line;
        before.push('\n');
    }
    if let Some(announce) = announce {
        let _ = announce.send(Err(anyhow::anyhow!("moto's server ended: {before}")));
    }
}

fn string(answer: &Value, pointer: &str) -> Result<String> {
    let text = answer.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned)
        .with_context(|| format!("moto's answer has no {pointer}: {answer}"))
}
