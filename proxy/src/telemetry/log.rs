//! Standard output: the canonical line of every request, and what else the
//! process has to say. Written by a thread of its own, so that a slow reader of
//! the log delays no request; when it cannot keep up, lines are dropped and
//! counted.

use std::io::{self, BufWriter, Write};

use proto::line::Line;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::settings::{self, LogFormat, LogLevel};

/// Lines that wait for the writer. Some 50 MiB.
const QUEUED_LINES: usize = 100_000;

/// Writes canonical lines.
#[derive(Debug, Clone)]
pub struct Log {
    writer: NonBlocking,
    format: LogFormat,
}

/// Keeps the writer alive; dropped, it writes what waits.
#[derive(Debug)]
pub struct Guard {
    _worker: WorkerGuard,
}

impl Log {
    /// A log that ends in `to`.
    pub fn to(to: impl Write + Send + 'static, format: LogFormat) -> (Self, Guard) {
        let (writer, worker) = NonBlockingBuilder::default()
            .buffered_lines_limit(QUEUED_LINES)
            .thread_name("log")
            .finish(BufWriter::new(to));
        let guard = Guard { _worker: worker };
        (Self { writer, format }, guard)
    }

    /// The process's log, on standard output.
    ///
    /// # Errors
    ///
    /// There is a subscriber already.
    pub fn start(settings: &settings::Log) -> anyhow::Result<(Self, Guard)> {
        let (log, guard) = Self::to(io::stdout(), settings.format);
        let registry = tracing_subscriber::registry().with(filter(settings.level));
        let layer = fmt::layer().with_writer(log.writer.clone());
        match settings.format {
            LogFormat::Json => registry
                .with(layer.json().flatten_event(true).with_current_span(false))
                .try_init()?,
            LogFormat::Pretty => registry.with(layer).try_init()?,
        }
        Ok((log, guard))
    }

    /// Lines that were dropped because the reader is too slow.
    pub fn dropped(&self) -> ErrorCounter {
        self.writer.error_counter()
    }

    /// Writes one request's line, whatever the log level: it is the record of
    /// what was used.
    pub fn request(&self, line: &Line<'_>) {
        let text = match self.format {
            LogFormat::Json => json(line),
            LogFormat::Pretty => pretty(line),
        };
        // The writer never fails here: it drops and counts.
        let _dropped = self.writer.clone().write_all(&text);
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
