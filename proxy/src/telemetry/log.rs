//! Standard output: the canonical line of every request, and what else the
//! process has to say. Written by a thread of its own, so that a slow reader of
//! the log delays no request; when it cannot keep up, lines are dropped and
//! counted.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use proto::line::Line;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::settings::{self, LogFormat, LogLevel};

/// Text that waits for the writer; some ten thousand lines.
const MAX_WAITING_BYTES: usize = 16 << 20;

/// How often the writer looks. It is not woken, which would cost more than all
/// else about a line.
const INTERVAL: Duration = Duration::from_millis(50);

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

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Vec<u8>>,
    dropped: AtomicU64,
    is_ending: AtomicBool,
}

impl Log {
    /// A log that ends in `to`.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn to(to: impl Write + Send + 'static, format: LogFormat) -> io::Result<(Self, Guard)> {
        let queue = Arc::new(Queue::default());
        let writer = thread::Builder::new().name("log".to_owned()).spawn({
            let queue = queue.clone();
            move || queue.write_all_to(to)
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
        let (log, guard) = Self::to(io::stdout(), settings.format)?;
        let registry = tracing_subscriber::registry().with(filter(settings.level));
        let writer = log.clone();
        let layer = fmt::layer().with_writer(move || writer.clone());
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
        if waiting.len() + line.len() > MAX_WAITING_BYTES {
            drop(waiting);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.extend_from_slice(line);
    }

    /// Writes until the log ends.
    fn write_all_to(&self, mut to: impl Write) {
        let mut text = Vec::new();
        loop {
            let is_last = self.is_ending.load(Ordering::Acquire);
            mem::swap(&mut text, &mut self.waiting());
            if !text.is_empty() {
                if to.write_all(&text).and_then(|()| to.flush()).is_err() {
                    // There is nowhere to say it but in the metric.
                    let lines = memchr::memchr_iter(b'\n', &text).count();
                    self.dropped.fetch_add(lines as u64, Ordering::Relaxed);
                }
                text.clear();
            }
            if is_last {
                return;
            }
            thread::park_timeout(INTERVAL);
        }
    }

    /// Nothing under this lock waits or panics.
    fn waiting(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.queue.is_ending.store(true, Ordering::Release);
        if let Some(writer) = self.writer.take() {
            writer.thread().unpark();
            let _panicked = writer.join();
        }
    }
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
    fn a_slow_reader_delays_nobody_and_what_is_dropped_is_counted() {
        let (tell, go_on) = mpsc::channel();
        let text = Arc::default();
        let slow = Slow {
            go_on,
            text: Arc::clone(&text),
        };
        let (mut log, guard) = Log::to(slow, LogFormat::Json).unwrap();
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
