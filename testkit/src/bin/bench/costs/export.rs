//! What an export of many requests takes: control's memory must not grow with it.

use anyhow::{Context, Result, ensure};
use chrono::{SecondsFormat, TimeDelta, Utc};
use futures_util::TryStreamExt;
use serde::Serialize;
use testkit::load::usage;
use tokio::time::Instant;

use crate::system::{Control, pid};

/// A million requests of a history of ten million.
const RANGE: TimeDelta = TimeDelta::days(9);

/// How often control's memory is looked at, in bytes of the export.
const LOOK_EVERY: u64 = 16 << 20;

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) rows: usize,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// How much more memory control had at most than after the first piece.
    pub(crate) growth_bytes: u64,
}

pub(super) async fn measure(control: &Control) -> Result<Results> {
    let to = Utc::now();
    let [from, to] = [to - RANGE, to].map(|it| it.to_rfc3339_opts(SecondsFormat::Millis, true));
    let path = format!("/admin/usage/export?format=ndjson&from={from}&to={to}");
    let rss = || -> Result<u64> { Ok(usage(&[pid(&control.service)?])?.rss_bytes) };
    let begin = Instant::now();
    let mut pieces = control.admin.open(&path).await?.bytes_stream();
    let first = pieces.try_next().await?.context("an empty export")?;
    let lines = |piece: &[u8]| memchr::memchr_iter(b'\n', piece).count();
    let (mut rows, mut bytes) = (lines(&first), first.len() as u64);
    let at_first = rss()?;
    let (mut most, mut looked) = (at_first, bytes);
    while let Some(piece) = pieces.try_next().await? {
        rows += lines(&piece);
        bytes += piece.len() as u64;
        if bytes - looked >= LOOK_EVERY {
            looked = bytes;
            most = most.max(rss()?);
        }
    }
    ensure!(rows > 0, "an export without rows");
    Ok(Results {
        rows,
        bytes,
        seconds: begin.elapsed().as_secs_f64(),
        growth_bytes: most - at_first,
    })
}
