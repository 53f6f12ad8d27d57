//! What was read, and what came of it.

use std::fmt;

use super::lines::PassedOver;
use crate::{ingest::Ingested, money::Usd};

/// What was read, and what came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Nothing was stored.
    pub is_dry_run: bool,
    pub lines: u64,
    /// Requests that were found, metered or not.
    pub requests: u64,
    /// Events that were missing and are stored now, or would be.
    pub new: u64,
    /// Events that were there already.
    pub known: u64,
    /// Events that never can be stored.
    pub rejected: u64,
    /// Tokens of the new events, whatever their kind.
    pub new_tokens: u64,
    /// What the new events cost.
    pub new_cost: Usd,
    /// Lines of another kind.
    pub other_lines: u64,
    /// What looks like a request and cannot be read.
    pub unreadable: u64,
    /// Requests in quotes within quotes, more than are looked into.
    pub too_deep: u64,
    /// Lines that are too long, and no JSON that can be read in parts.
    pub too_long: u64,
    /// Files that could not be read to their end.
    pub unread_files: u64,
}

impl Summary {
    pub(super) fn new(is_dry_run: bool) -> Self {
        Self {
            is_dry_run,
            ..Self::default()
        }
    }

    /// Whether every request is counted that may be in what was given.
    pub fn is_complete(&self) -> bool {
        let missed = [
            self.rejected,
            self.unreadable,
            self.too_deep,
            self.too_long,
            self.unread_files,
        ];
        missed.iter().all(|it| *it == 0)
    }

    pub(super) fn line(&mut self, has_requests: bool) {
        self.lines += 1;
        self.other_lines += u64::from(!has_requests);
    }

    pub(super) fn passed_over(&mut self, why: PassedOver) {
        *match why {
            PassedOver::Unreadable => &mut self.unreadable,
            PassedOver::TooDeep => &mut self.too_deep,
            PassedOver::TooLong => &mut self.too_long,
        } += 1;
    }

    pub(super) fn add(&mut self, ingested: &Ingested) {
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
        let new = match self.is_dry_run {
            true => "usage missing       ",
            false => "usage put back      ",
        };
        writeln!(f, "lines read           {}", self.lines)?;
        writeln!(f, "requests found       {}", self.requests)?;
        writeln!(f, "{new} {}", self.new)?;
        writeln!(f, "  tokens             {}", self.new_tokens)?;
        writeln!(f, "  cost (USD)         {}", self.new_cost)?;
        writeln!(f, "usage there already  {}", self.known)?;
        writeln!(f, "usage rejected       {}", self.rejected)?;
        writeln!(f, "passed over")?;
        writeln!(f, "  lines of others    {}", self.other_lines)?;
        writeln!(f, "  not readable       {}", self.unreadable)?;
        writeln!(f, "  quoted too often   {}", self.too_deep)?;
        writeln!(f, "  too long           {}", self.too_long)?;
        write!(f, "  rest of files      {}", self.unread_files)
    }
}
