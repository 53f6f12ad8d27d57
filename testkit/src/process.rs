//! Child processes that do not outlive us, whatever happens to us.
//!
//! A destructor does not run when a test process ends or a launcher is killed.
//! So each child comes with a *leash*: a shell that waits for its standard
//! input, a pipe that only we hold, to close. It then stops the child and
//! removes the child's scratch folder.

use std::{
    fs,
    io::{self, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tokio::sync::watch;

/// How long a child may take to stop when we drop it.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// How many lines of a log an error shows.
const LOG_LINES: usize = 15;

/// What the leash does; `$1` process, `$2` signal, `$3` scratch folder or nothing.
///
/// A line on its input says that the process has ended, so that its number,
/// which may belong to somebody else by then, is not signalled. A dead process
/// that nobody reaps looks alive, hence the bound.
const LEASH: &str = r#"
if ! read -r _; then
    kill -s "$2" "$1"
    tries=0
    while kill -0 "$1" && [ $((tries += 1)) -le 100 ]; do sleep 0.1; done
    kill -KILL "$1"
fi
[ -z "$3" ] || rm -rf -- "$3"
"#;

/// A running child process; dropping it stops it and waits for its end.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    stop_signal: Signal,
    exit: watch::Receiver<Option<ExitStatus>>,
    /// Closed when the child has ended and its leash has cleaned up.
    ended: Mutex<mpsc::Receiver<()>>,
    waiter: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `command` in its own process group, so that a Ctrl-C in the
    /// terminal reaches us alone and we decide the order in which things stop.
    ///
    /// `stop_signal` is how it is asked to end; `scratch` is removed after it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(
        command: &mut Command,
        stop_signal: Signal,
        scratch: Option<&Path>,
    ) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        let pid = Pid::from_raw(child.id().try_into().map_err(io::Error::other)?);
        let leash = match leash(pid, stop_signal, scratch) {
            Ok(leash) => leash,
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        };
        let (exit_sender, exit) = watch::channel(None);
        let (ended_sender, ended) = mpsc::sync_channel(0);
        let waiter = std::thread::spawn(move || {
            let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(-1));
            exit_sender.send_replace(Some(status));
            release(leash);
            drop(ended_sender);
        });
        Ok(Self {
            pid,
            stop_signal,
            exit,
            ended: Mutex::new(ended),
            waiter: Some(waiter),
        })
    }

    #[must_use]
    pub fn id(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Sends a signal; a process that has ended already takes none.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.exit.borrow().is_some() {
            return Ok(());
        }
        match signal::kill(self.pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the process to end, in its own way and at its own pace.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop(&self) -> io::Result<()> {
        self.signal(self.stop_signal)
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits until the process has ended.
    pub async fn exited(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or_default(),
            Err(_) => ExitStatus::default(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop();
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(STOP_TIMEOUT) {
            let _ = self.signal(Signal::SIGKILL);
        }
        if let Some(waiter) = self.waiter.take() {
            let _ = waiter.join();
        }
    }
}

/// The end of a log, to be shown in an error.
#[must_use]
pub fn log_end(log: &Path) -> String {
    let content = fs::read(log).unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    let lines: Vec<&str> = content.lines().collect();
    let end = lines
        .get(lines.len().saturating_sub(LOG_LINES)..)
        .unwrap_or_default();
    format!("The end of {}:\n{}", log.display(), end.join("\n"))
}

fn leash(pid: Pid, stop_signal: Signal, scratch: Option<&Path>) -> io::Result<Child> {
    let signal_name = stop_signal.as_str().trim_start_matches("SIG");
    Command::new("/bin/sh")
        .args(["-c", LEASH, "leash", &pid.to_string(), signal_name])
        .arg(scratch.unwrap_or(Path::new("")))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Tells the leash that its process has ended, and lets it clean up.
fn release(mut leash: Child) {
    if let Some(mut input) = leash.stdin.take() {
        let _ = input.write_all(b"ended\n");
    }
    let _ = leash.wait();
}
