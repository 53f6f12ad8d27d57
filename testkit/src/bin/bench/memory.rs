//! What open streams hold.

use anyhow::Result;
use serde::Serialize;
use testkit::load::{Report, Shape};

use crate::system::{Name, System};

/// How long the streams are open before memory is read.
const OPEN_SECONDS: &str = "2";

/// Streams that were open together, each after its first content.
#[derive(Debug, Serialize)]
pub(crate) struct Held {
    pub(crate) target: Name,
    pub(crate) streams: usize,
    pub(crate) report: Report,
}

pub(crate) async fn measure(system: &System, streams: usize) -> Result<Vec<Held>> {
    let mut all = Vec::new();
    for target in &system.targets {
        // A signed stream is like any other.
        if matches!(target.name, Name::Direct | Name::Signed) {
            continue;
        }
        eprintln!("Holding {streams} streams through {:?} …", target.name);
        let report = system
            .load(
                target,
                Shape::Held,
                &[
                    ("--connections", streams.to_string()),
                    ("--seconds", OPEN_SECONDS.to_owned()),
                ],
            )
            .await?;
        target.delivered().await?;
        all.push(Held {
            target: target.name,
            streams,
            report,
        });
    }
    Ok(all)
}
