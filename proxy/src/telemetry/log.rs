//! Standard output: the canonical line of every request, and what else the
//! process has to say.
//!
//! A line is written at once where that takes no waiting: a request's is out before
//! its client has heard the end, so that it is there to be imported even if this
//! process is killed then. Otherwise a thread writes it, so that a slow reader of
//! the log delays no request; when it cannot keep up, lines are dropped and
//! counted.

use std::{
    fmt,
    io::{self, Write},
    mem,
    os::fd::AsFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use proto::line::Line;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::settings::{self, LogFormat, LogLevel};

/// Text that waits for the writer; some ten thousand lines.
const MAX_WAITING_BYTES: usize = 16 << 20;

/// What fits into a pipe that has room at all, in one piece.
///
/// Source: POSIX, `write`: of PIPE_BUF bytes at most, to a pipe that poll says is
/// writable.
const MAX_DIRECT_BYTES: usize = libc::PIPE_BUF;

/// Takes lines. Clones belong together.
#[derive(Debug, Clone)]
pub struct Log {
    queue: Arc<Queue>,
    format: LogFormat,
}

/// Keeps the writer alive; dropped, it writes what waits.
#[derive(Debug)]
pub struct Guard {
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

struct Queue {
    waiting: Mutex<Waiting>,
    /// Told when there is something to do for the thread.
    waits: Condvar,
    /// Taken for long only by the thread, and never without having had `waiting`.
    to: Mutex<Box<dyn Write + Send>>,
    /// Whether it takes some bytes now.
    has_room: fn() -> bool,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    is_ending: bool,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

impl Log {
    /// A log that ends in `to`, which is written to at once when it `has_room`: a
    /// few thousand bytes, without waiting.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn to(
        to: impl Write + Send + 'static,
        has_room: fn() -> bool,
        format: LogFormat,
    ) -> io::Result<(Self, Guard)> {
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            waits: Condvar::new(),
            to: Mutex::new(Box::new(to)),
            has_room,
            dropped: AtomicU64::default(),
        });
        let writer = thread::Builder::new().name("log".to_owned()).spawn({
            let queue = queue.clone();
            move || queue.write_until_end()
        })?;
        let guard = Guard {
            queue: queue.clone(),
            writer: Some(writer),
        };
        Ok((Self { queue, format }, guard))
    }

    /// The process's log, on standard output.
    ///
    /// # Errors
    ///
    /// There is a subscriber already.
    pub fn start(settings: &settings::Log) -> anyhow::Result<(Self, Guard)> {
        let (log, guard) = Self::to(io::stdout(), stdout_has_room, settings.format)?;
        let registry = tracing_subscriber::registry().with(filter(settings.level));
        let writer = log.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        match settings.format {
            LogFormat::Json => registry
                .with(layer.json().flatten_event(true).with_current_span(false))
                .try_init()?,
            LogFormat::Pretty => registry.with(layer).try_init()?,
        }
        Ok((log, guard))
    }

    /// Lines that were dropped because the reader is too slow.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped.load(Ordering::Relaxed)
    }

    /// Writes one request's line, whatever the log level: it is the record of
    /// what was used.
    pub fn request(&self, line: &Line<'_>) {
        self.queue.push(&match self.format {
            LogFormat::Json => json(line),
            LogFormat::Pretty => pretty(line),
        });
    }
}

impl Log {
    /// Lines that are whole already.
    pub fn lines(&self, lines: &[u8]) {
        self.queue.push(lines);
    }
}

/// For everything that the process says beside the lines of requests.
impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        // The others wait for this one, so that theirs are written at once, too.
        if waiting.text.is_empty() && self.write_now(line) {
            return;
        }
        if waiting.text.len() + line.len() > MAX_WAITING_BYTES {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.text.extend_from_slice(line);
        self.waits.notify_one();
    }

    /// False: not without waiting.
    fn write_now(&self, line: &[u8]) -> bool {
        if line.len() > MAX_DIRECT_BYTES {
            return false;
        }
        let mut to = match self.to.try_lock() {
            Ok(to) => to,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        if !(self.has_room)() {
            return false;
        }
        self.write(&mut *to, line);
        true
    }

    /// Writes what waits until the log ends.
    fn write_until_end(&self) {
        let mut text = Vec::new();
        loop {
            let waiting = self
                .waits
                .wait_while(self.waiting(), |it| it.text.is_empty() && !it.is_ending);
            let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
            if waiting.text.is_empty() {
                return;
            }
            mem::swap(&mut text, &mut waiting.text);
            // While nobody can write what comes behind it.
            let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
            drop(waiting);
            self.write(&mut *to, &text);
            text.clear();
        }
    }

    fn write(&self, to: &mut dyn Write, text: &[u8]) {
        if to.write_all(text).and_then(|()| to.flush()).is_err() {
            // There is nowhere to say it but in the metric.
            let lines = memchr::memchr_iter(b'\n', text).count();
            self.dropped.fetch_add(lines as u64, Ordering::Relaxed);
        }
    }

    /// Nothing under this lock waits for a reader, or panics.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.queue.waiting().is_ending = true;
        self.queue.waits.notify_one();
        if let Some(writer) = self.writer.take() {
            let _panicked = writer.join();
        }
    }
}

/// Where nobody knows, the thread waits in the place of a request.
fn stdout_has_room() -> bool {
    let stdout = io::stdout();
    let mut stdout = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
    poll(&mut stdout, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
        && stdout
            .iter()
            .all(|it| it.revents() == Some(PollFlags::POLLOUT))
}

/// The level holds for our own crate; libraries warn at most.
fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("proxy", level)
        // The program's own crate.
        .with_target("claude_code_proxy", level)
}

fn json(line: &Line<'_>) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    if serde_json::to_writer(&mut text, line).is_ok() {
        text.push(b'\n');
    }
    text
}

fn pretty(line: &Line<'_>) -> Vec<u8> {
    let Line {
        timestamp,
        endpoint,
        status,
        outcome,
        model,
        input_tokens,
        output_tokens,
        duration_ms,
        ..
    } = line;
    let error = line.error.as_deref().unwrap_or_default();
    // Both come from outside and go to a terminal.
    let (model, error) = (model.escape_debug(), error.escape_debug());
    format!(
        "{timestamp:?} {endpoint} {status} {outcome} {model} \
         {input_tokens} tokens in, {output_tokens} out, {duration_ms} ms {error}\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A reader that takes nothing before it is told to.
    struct Slow {
        go_on: mpsc::Receiver<()>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _told = self.go_on.recv();
            self.text.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn where_there_is_room_a_line_is_written_at_once_and_in_its_turn() {
        let (tell, go_on) = mpsc::channel();
        drop(tell);
        let text = Arc::default();
        let quick = Slow {
            go_on,
            text: Arc::clone(&text),
        };
        let (log, guard) = Log::to(quick, || true, LogFormat::Json).unwrap();
        log.lines(b"first\n");
        assert_eq!(*text.lock().unwrap(), b"first\n");
        // Longer than what surely fits: the thread's.
        let long = [b'x'; MAX_DIRECT_BYTES + 1];
        log.lines(&long);
        log.lines(b"last\n");
        drop(guard);
        let expected = [b"first\n", &long[..], b"last\n"].concat();
        assert_eq!(*text.lock().unwrap(), expected);
    }

    #[test]
    fn a_slow_reader_delays_nobody_and_what_is_dropped_is_counted() {
        let (tell, go_on) = mpsc::channel();
        let text = Arc::default();
        let slow = Slow {
            go_on,
            text: Arc::clone(&text),
        };
        let (mut log, guard) = Log::to(slow, || false, LogFormat::Json).unwrap();
        let line = [b'x'; 1 << 20];
        let lines = 3 * MAX_WAITING_BYTES / line.len();
        for _ in 0..lines {
            log.write_all(&line).unwrap();
        }
        assert!(log.dropped() > 0);
        drop(tell);
        drop(guard);
        let written = text.lock().unwrap().len() / line.len();
        assert_eq!(written as u64 + log.dropped(), lines as u64);
    }
}
