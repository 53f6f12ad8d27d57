//! What it takes to fail over: a plan that refuses at once, and Bedrock after it.

use anyhow::{Result, ensure};
use serde::Serialize;
use testkit::load::Shape;

use crate::{
    spread::differences,
    system::{System, api_key, delivered, metric},
    turns::{Client, take_turns},
};

/// The plan fails every request here, and yet is to be asked first.
const CLOSED_CIRCUIT: [(&str, &str); 1] = [("PROXY_CIRCUIT_FAILURE_THRESHOLD", "100000")];

/// A small request, and one like Claude Code's.
const BODY_BYTES: [usize; 2] = [200, 150_000];

/// Each round's times, in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) body_bytes: usize,
    /// To the plan's refusal, for a client whom nobody else may answer.
    pub(crate) refused_us: Vec<f64>,
    /// To the first content, for a client of Bedrock only.
    pub(crate) bedrock_us: Vec<f64>,
    /// To the first content, for a client who gets it after the plan's refusal.
    pub(crate) failed_over_us: Vec<f64>,
}

pub(crate) async fn measure(system: &System, rounds: usize) -> Result<Vec<Results>> {
    eprintln!("Failing over …");
    let control = &system.control;
    let refused = control.client("Hedy").await?;
    let bedrock = control.client_of_bedrock("Joan", api_key()).await?;
    let both = control.client_of_both("Katherine", api_key()).await?;
    let proxy = system.proxy_of("failover", control.grpc, &CLOSED_CIRCUIT)?;
    proxy.service.ready().await?;
    control.admin.until_in_force(1).await?;

    let mut all = Vec::new();
    for body_bytes in BODY_BYTES {
        let client = async |key: &str, status| {
            let url = proxy.base_url(key);
            Client::new(&url, Shape::Overloaded, status, body_bytes).await
        };
        let clients = [
            client(&refused.raw_key, 529).await?,
            client(&bedrock.raw_key, 200).await?,
            client(&both.raw_key, 200).await?,
        ];
        let [refused_us, bedrock_us, failed_over_us] = take_turns(clients, rounds).await?;
        all.push(Results {
            body_bytes,
            refused_us,
            bedrock_us,
            failed_over_us,
        });
    }
    let open = metric(proxy.addresses.ops, r#"proxy_circuits{state="open"}"#).await?;
    ensure!(open == 0.0, "a circuit opened, so the plan was not asked");
    delivered(proxy.addresses.ops).await?;
    proxy.service.stop().await?;
    Ok(all)
}

impl Results {
    /// What failing over took beyond the failed attempt itself, sorted: without
    /// the plan's refusal and without Bedrock's answer.
    pub(crate) fn added_us(&self) -> Vec<f64> {
        let both = self.refused_us.iter().zip(&self.bedrock_us);
        let alone: Vec<f64> = both.map(|(refused, bedrock)| refused + bedrock).collect();
        differences(&self.failed_over_us, &alone)
    }

    /// The same with the failed attempt, sorted.
    pub(crate) fn later_us(&self) -> Vec<f64> {
        differences(&self.failed_over_us, &self.bedrock_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_neither_the_refusal_nor_the_answer() {
        let results = Results {
            body_bytes: 200,
            refused_us: vec![10.0, 20.0],
            bedrock_us: vec![100.0, 100.0],
            failed_over_us: vec![115.0, 121.0],
        };
        assert_eq!(results.added_us(), [1.0, 5.0]);
        assert_eq!(results.later_us(), [15.0, 21.0]);
    }
}
