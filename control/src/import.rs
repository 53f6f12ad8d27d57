//! `usage import`: puts back what a killed proxy had not delivered, from its log.
//!
//! Every canonical line carries its event, and an event is counted once however it
//! comes. So whole logs can be given: exactly what is missing is stored.

pub mod lines;

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::Context;
use chrono_tz::Tz;
use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use proto::{MAX_BATCH_EVENTS, sync::UsageEvent};

use self::lines::{Found, find};
use crate::{
    alerts::Alerts,
    ingest::{Ingested, Ledger},
    money::Usd,
    pricing::Pricing,
    settings,
    store::{Store, aggregates},
};

/// A longer line is none of ours.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// What begins a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What was read, and what came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Summary {
    pub lines: u64,
    /// Requests that were found, metered or not.
    pub requests: u64,
    /// Events that were missing and are stored now.
    pub new: u64,
    /// Events that were there already.
    pub known: u64,
    /// Events that never can be stored.
    pub rejected: u64,
    /// Lines that look like a request's and cannot be read.
    pub broken: u64,
    /// Tokens of the new events, whatever their kind.
    pub new_tokens: u64,
    /// What the new events cost.
    pub new_cost: Usd,
}

/// Reads logs into the ledger.
#[derive(Debug)]
pub struct Import {
    ledger: Ledger,
    batch: Vec<UsageEvent>,
    summary: Summary,
}

impl Import {
    /// Prices and time zone are those that control has put into the database.
    ///
    /// # Errors
    /// When the database cannot be used, or control has never served it.
    pub async fn into(store: Store) -> anyhow::Result<Self> {
        let timezone = aggregates::timezone(&mut *store.connection().await?)
            .await
            .context(
                "read from the database; `claude-code-control migrate` brings it to this version",
            )?
            .context(
                "control has never served this database: start `claude-code-control serve` once",
            )?;
        let timezone: Tz = timezone
            .parse()
            .map_err(|_unknown| anyhow::anyhow!("{timezone} is no time zone of this version"))?;
        let pricing = Pricing::new(store.clone(), None);
        pricing.refresh().await?;
        Ok(Self {
            ledger: Ledger {
                // A running control tells of what is crossed.
                alerts: Alerts::new(store.clone(), &settings::Webhook::default())?,
                store,
                pricing,
                timezone,
            },
            batch: Vec::new(),
            summary: Summary::default(),
        })
    }

    /// Reads these files one after the other; `-` is standard input.
    ///
    /// # Errors
    /// When something cannot be read or stored. What was stored before stays; it
    /// does no harm to give everything again.
    pub async fn files(mut self, paths: &[PathBuf]) -> anyhow::Result<Summary> {
        for path in paths {
            self.file(path)
                .await
                .with_context(|| format!("read {}", path.display()))?;
        }
        self.flush().await?;
        Ok(self.summary)
    }

    async fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let (input, progress) = if path == Path::new("-") {
            let spinner = ProgressBar::new_spinner();
            (Box::new(io::stdin()) as Box<dyn Read + Send>, spinner)
        } else {
            let file = File::open(path)?;
            let bar = ProgressBar::new(file.metadata()?.len());
            (Box::new(file) as Box<dyn Read + Send>, bar)
        };
        // On a terminal only.
        let style = "{wide_bar} {bytes} of {total_bytes}, {elapsed}";
        progress.set_style(ProgressStyle::with_template(style)?);
        let mut input = unpacked(progress.wrap_read(input))?;
        let mut number = 0_u64;
        let mut line = Vec::new();
        while next(&mut input, &mut line)? {
            number += 1;
            self.line(path, number, &String::from_utf8_lossy(&line))
                .await?;
        }
        progress.finish_and_clear();
        Ok(())
    }

    async fn line(&mut self, path: &Path, number: u64, line: &str) -> anyhow::Result<()> {
        self.summary.lines += 1;
        for found in find(line) {
            match found {
                Found::Request(event) => {
                    self.summary.requests += 1;
                    self.batch.extend(event.map(|event| *event));
                }
                Found::Broken(reason) => {
                    self.summary.broken += 1;
                    eprintln!("{}, line {number}: {reason}", path.display());
                }
            }
            if self.batch.len() >= MAX_BATCH_EVENTS {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let ingested = self.ledger.ingest(batch).await.context("store usage")?;
        self.summary.add(&ingested);
        Ok(())
    }
}

impl Summary {
    fn add(&mut self, ingested: &Ingested) {
        let count = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        self.new += count(ingested.new);
        self.known += count(ingested.duplicates);
        self.rejected += count(ingested.rejected.len());
        self.new_tokens += ingested.new_tokens;
        self.new_cost += ingested.new_cost;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "lines read           {}", self.lines)?;
        writeln!(f, "requests found       {}", self.requests)?;
        writeln!(f, "usage put back       {}", self.new)?;
        writeln!(f, "  tokens             {}", self.new_tokens)?;
        writeln!(f, "  cost (USD)         {}", self.new_cost)?;
        writeln!(f, "usage there already  {}", self.known)?;
        writeln!(f, "usage rejected       {}", self.rejected)?;
        write!(f, "lines not understood {}", self.broken)
    }
}

/// What is compressed is unpacked.
fn unpacked(input: impl Read + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    let mut input = BufReader::new(input);
    let is_gzip = input.fill_buf()?.starts_with(&GZIP);
    Ok(if is_gzip {
        Box::new(BufReader::new(MultiGzDecoder::new(input)))
    } else {
        Box::new(input)
    })
}

/// The next line, or as much of it as is kept; false at the end.
fn next(input: &mut Box<dyn BufRead + Send>, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = input.take(MAX_LINE_BYTES).read_until(b'\n', line)?;
    if u64::try_from(read).is_ok_and(|it| it == MAX_LINE_BYTES) && !line.ends_with(b"\n") {
        // Too long to be ours: the rest is passed over, piece by piece.
        line.clear();
        let mut rest = Vec::new();
        while input.take(MAX_LINE_BYTES).read_until(b'\n', &mut rest)? > 0 && !rest.ends_with(b"\n")
        {
            rest.clear();
        }
    }
    Ok(read > 0)
}
