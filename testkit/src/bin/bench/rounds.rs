//! Load on one target after the other, in turns, so that whatever else the
//! machine does meets all of them alike.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use testkit::load::{Report, Shape, usage};

use crate::system::{Name, System, Target};

/// Before anything counts: connections are made and memory is found.
const WARM_UP_SECONDS: &str = "0.3";

/// One kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    #[serde(skip)]
    shape: Shape,
    body_bytes: usize,
    connections: usize,
    /// Requests per second, arriving at random; none: as many as can be.
    pub(crate) rate: Option<u32>,
}

/// One target under one load, once.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) scenario: &'static str,
    pub(crate) round: usize,
    pub(crate) target: Name,
    pub(crate) report: Report,
    /// What the delivery of usage cost when the load was over.
    pub(crate) delivery_cpu_us: u64,
    /// Usage events that the proxy gave up, because it was offered more for
    /// longer than its outbox holds.
    pub(crate) given_up: f64,
}

pub(crate) const SMALL: Scenario = closed("small", Shape::Json, 200, 64);
pub(crate) const LARGE: Scenario = closed("150 KB", Shape::Json, 150_000, 32);
pub(crate) const STREAM: Scenario = closed("one event per write", Shape::Stream, 200, 64);
pub(crate) const BURST: Scenario = closed("ten events per write", Shape::Burst, 200, 64);
pub(crate) const PACED: Scenario = closed("an event every 10 ms", Shape::Paced, 200, 100);
pub(crate) const SLOW: Scenario = open("200 requests/s", 200);
pub(crate) const FAST: Scenario = open("2000 requests/s", 2_000);

const ALL: [Scenario; 7] = [SMALL, LARGE, STREAM, BURST, PACED, SLOW, FAST];

impl Scenario {
    /// What signing adds is added to a request, once.
    fn is_for(self, name: Name) -> bool {
        name != Name::Signed || self == SMALL || self == LARGE
    }
}

const fn closed(
    name: &'static str,
    shape: Shape,
    body_bytes: usize,
    connections: usize,
) -> Scenario {
    Scenario {
        name,
        shape,
        body_bytes,
        connections,
        rate: None,
    }
}

const fn open(name: &'static str, rate: u32) -> Scenario {
    Scenario {
        rate: Some(rate),
        ..closed(name, Shape::Json, 200, 64)
    }
}

pub(crate) async fn measure(
    system: &System,
    rounds: usize,
    length: Duration,
) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for round in 0..rounds {
        for scenario in ALL {
            eprintln!("Round {} of {rounds}: {} …", round + 1, scenario.name);
            let targets = system.targets.iter();
            let mut turns: Vec<&Target> = targets.filter(|it| scenario.is_for(it.name)).collect();
            let first = round % turns.len();
            turns.rotate_left(first);
            for target in turns {
                samples.push(sample(system, target, scenario, round, length).await?);
            }
        }
    }
    Ok(samples)
}

async fn sample(
    system: &System,
    target: &Target,
    scenario: Scenario,
    round: usize,
    length: Duration,
) -> Result<Sample> {
    let mut arguments = vec![
        ("--body-bytes", scenario.body_bytes.to_string()),
        ("--connections", scenario.connections.to_string()),
        ("--seconds", length.as_secs_f64().to_string()),
        ("--warm-up-seconds", WARM_UP_SECONDS.to_owned()),
    ];
    if let Some(rate) = scenario.rate {
        arguments.push(("--rate", rate.to_string()));
    }
    let given_up = target.given_up().await?;
    let report = system.load(target, scenario.shape, &arguments).await?;
    target.delivered().await?;
    let delivered = usage(&[target.pid])?;
    Ok(Sample {
        scenario: scenario.name,
        round,
        target: target.name,
        delivery_cpu_us: delivered.cpu_us - report.cpu_us_at_end,
        report,
        given_up: target.given_up().await? - given_up,
    })
}

impl Sample {
    pub(crate) fn is_valid(&self) -> bool {
        self.report.errors == 0 && self.report.dropped == 0 && self.report.requests > 0
    }

    pub(crate) fn cpu_us_per_request(&self) -> f64 {
        self.cpu_us_per(self.report.requests)
    }

    pub(crate) fn cpu_us_per_event(&self) -> f64 {
        self.cpu_us_per(self.report.events)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "measured numbers are far below 2^52"
    )]
    fn cpu_us_per(&self, count: u64) -> f64 {
        (self.report.cpu_us + self.delivery_cpu_us) as f64 / count.max(1) as f64
    }
}
