//! One of our programs, running: its log, whether it is ready, how it ends.

use std::{
    ffi::OsString,
    fmt,
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::process::{Process, log_end};

/// How long a service may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often we look whether it is.
const POLL_INTERVAL: Duration = Duration::from_millis(30);

/// What to start, and how to know that it is ready.
#[derive(Clone)]
pub struct Recipe {
    pub name: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// The whole environment: nothing is inherited. It holds secrets.
    pub environment: Vec<(OsString, OsString)>,
    /// Appended to, standard output and standard error alike.
    pub log: PathBuf,
    /// Answers 200 when the service is ready.
    pub ready_url: String,
}

/// A running service; dropping it stops it.
#[derive(Debug)]
pub struct Service {
    recipe: Recipe,
    process: Process,
}

impl Recipe {
    /// Starts the service. It may not be ready yet.
    ///
    /// # Errors
    /// When the program is missing or cannot be started.
    pub fn start(self) -> Result<Service> {
        ensure!(
            self.program.exists(),
            "{} is missing: build it with `cargo build --workspace --all-targets`",
            self.program.display()
        );
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("open {}", self.log.display()))?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = Process::spawn(&mut command, Signal::SIGTERM, None)
            .with_context(|| format!("start {}", self.program.display()))?;
        Ok(Service {
            recipe: self,
            process,
        })
    }
}

impl Service {
    fn name(&self) -> &'static str {
        self.recipe.name
    }

    /// The file that it writes its log to.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.recipe.log
    }

    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until the service says that it is ready.
    ///
    /// # Errors
    /// When it ends before, or takes too long; the error holds the end of its log.
    pub async fn ready(&self) -> Result<()> {
        let client = super::http_client()?;
        let ready = async {
            while !self.is_ready(&client).await {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        tokio::select! {
            () = ready => Ok(()),
            status = self.process.exited() => bail!("{}", self.obituary(status)),
            () = tokio::time::sleep(START_TIMEOUT) => {
                bail!("{} is not ready after {START_TIMEOUT:?}. {}", self.name(), log_end(&self.recipe.log))
            }
        }
    }

    async fn is_ready(&self, client: &reqwest::Client) -> bool {
        client
            .get(&self.recipe.ready_url)
            .timeout(Duration::from_secs(2))
            .send()
            .await
            .is_ok_and(|response| response.status().is_success())
    }

    /// Waits until the service has ended, which it was not asked to do.
    pub async fn died(&self) -> anyhow::Error {
        let status = self.process.exited().await;
        anyhow::anyhow!(self.obituary(status))
    }

    /// Asks the service to end, and waits until it has.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn stop(self) -> Result<ExitStatus> {
        self.process.stop()?;
        Ok(self.process.exited().await)
    }

    fn obituary(&self, status: ExitStatus) -> String {
        format!(
            "{} ended ({status}). {}",
            self.name(),
            log_end(&self.recipe.log)
        )
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipe")
            .field("program", &self.program)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}
