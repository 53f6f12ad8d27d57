//! What it takes to hold a healthy answer until its first content.

use anyhow::Result;
use serde::Serialize;
use testkit::load::Shape;

use crate::{
    spread::{differences, median_interval},
    system::{System, api_key, delivered},
    turns::{Client, take_turns},
};

const BODY_BYTES: usize = 200;

/// Each round's times to the first content, in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// Of a client whom Bedrock may answer: the plan's answer is held.
    pub(crate) held_us: Vec<f64>,
    /// Of one whom only the plan may answer: nothing is held.
    pub(crate) passed_us: Vec<f64>,
    /// Of another such client, which shows how much two alike differ.
    pub(crate) passed_too_us: Vec<f64>,
}

pub(crate) async fn measure(system: &System, rounds: usize) -> Result<Results> {
    eprintln!("Holding healthy answers until their first content …");
    let control = &system.control;
    let held = control.client_of_both("Dorothy", api_key()).await?;
    let passed = control.client("Mary").await?;
    let passed_too = control.client("Annie").await?;
    let proxy = system.proxy("rescue")?;
    proxy.service.ready().await?;
    control.admin.until_in_force(1).await?;

    let client = async |key: &str| {
        let url = proxy.base_url(key);
        Client::new(&url, Shape::Brief, 200, BODY_BYTES).await
    };
    let clients = [
        client(&held.raw_key).await?,
        client(&passed.raw_key).await?,
        client(&passed_too.raw_key).await?,
    ];
    let [held_us, passed_us, passed_too_us] = take_turns(clients, rounds).await?;
    delivered(proxy.addresses.ops).await?;
    proxy.service.stop().await?;
    Ok(Results {
        held_us,
        passed_us,
        passed_too_us,
    })
}

impl Results {
    /// What holding took, sorted.
    pub(crate) fn added_us(&self) -> Vec<f64> {
        differences(&self.held_us, &self.passed_us)
    }

    /// By what two differ of whom neither is held, sorted.
    pub(crate) fn noise_us(&self) -> Vec<f64> {
        differences(&self.passed_too_us, &self.passed_us)
    }

    /// Whether holding takes more than two differ by of whom neither is held:
    /// where the median may be of the one is above where it may be of the other.
    pub(crate) fn is_measurable(&self) -> Option<bool> {
        let (low, _) = median_interval(&self.added_us())?;
        let (_, high) = median_interval(&self.noise_us())?;
        Some(low > high.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(added: f64, noise: f64) -> Results {
        let wave = |base: f64| (0..100).map(|it| base + f64::from(it % 10)).collect();
        Results {
            held_us: wave(added),
            passed_us: vec![0.0; 100],
            passed_too_us: wave(noise),
        }
    }

    #[test]
    fn more_time_than_between_two_alike_is_measurable() {
        assert_eq!(results(20.0, -5.0).is_measurable(), Some(true));
        assert_eq!(results(-5.0, -5.0).is_measurable(), Some(false));
        assert_eq!(results(20.0, 20.0).is_measurable(), Some(false));
        assert_eq!(results(-40.0, -90.0).is_measurable(), Some(false));
    }
}
