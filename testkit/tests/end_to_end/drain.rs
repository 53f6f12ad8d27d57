//! A proxy that is told to stop.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use nix::sys::signal::Signal;
use reqwest::Response;
use testkit::anthropic::{Gate, Reply};

use crate::support::{World, ask};

const STREAMS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn running_streams_finish_and_are_counted_when_a_proxy_is_terminated() -> Result<()> {
    let mut world = World::start(1).await?;
    let gates: Vec<Gate> = (0..STREAMS).map(|_| Gate::closed()).collect();
    for gate in &gates {
        gate.release(1); // the first event, so that each stream is under way
        world
            .simulator
            .script()
            .then(Reply::text("the rest of the answer").gate(gate));
    }
    let base_url = world.base_url();
    let streams = try_join_all((0..STREAMS).map(|_| begin(&base_url))).await?;

    let proxy = world.stack.remove_proxy().context("no proxy")?;
    proxy.service.process().signal(Signal::SIGTERM)?;
    world.until_draining(&proxy).await?;
    gates.iter().for_each(Gate::open);

    for answer in try_join_all(streams.into_iter().map(Response::text)).await? {
        assert!(
            answer.contains("event: message_stop"),
            "a stream was cut short: {answer}"
        );
    }
    let status = proxy.service.process().exited().await;
    assert!(status.success(), "the proxy ended with {status}");
    world.until_all_is_counted().await?;
    assert_eq!(world.counted().await?.requests, STREAMS as u64);
    Ok(())
}

/// A stream whose first bytes have arrived.
async fn begin(base_url: &str) -> Result<Response> {
    let mut response = ask(base_url, true).await?;
    let first = response.chunk().await?.context("an empty stream")?;
    anyhow::ensure!(
        first.starts_with(b"event: message_start"),
        "no stream: {first:?}"
    );
    Ok(response)
}
