//! Clients that leave before they have heard everything.

use anyhow::{Result, ensure};
use memchr::memmem;
use serde_json::Value;
use testkit::anthropic::{Gate, Reply, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{World, bedrock::OnBedrock, question, reported, tokens};

/// More words than fit into everything between the provider and the client.
const WORDS: usize = 5_000;

/// A client on a connection of its own, which has asked for a stream.
async fn asking(world: &World) -> Result<TcpStream> {
    let body = question("claude-opus-5-5", true).to_string();
    let head = format!(
        "POST /ak/{}/v1/messages HTTP/1.1\r\nhost: proxy\r\nx-api-key: sk-ant-test\r\n\
         anthropic-version: 2023-06-01\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        world.key.raw_key,
        body.len()
    );
    let mut client = TcpStream::connect(world.proxy().addresses.listen).await?;
    client.write_all(format!("{head}{body}").as_bytes()).await?;
    Ok(client)
}

/// The same, which has got the beginning.
async fn listening(world: &World) -> Result<TcpStream> {
    let mut client = asking(world).await?;
    let mut heard = Vec::new();
    while memmem::find(&heard, b"content_block_start").is_none() {
        let read = client.read_buf(&mut heard).await?;
        ensure!(read > 0, "no stream: {}", String::from_utf8_lossy(&heard));
    }
    Ok(client)
}

/// A long answer: its beginning is there at once, the rest when the gate opens.
fn begun(gate: &Gate) -> Reply {
    gate.release(3);
    Reply::text("word ".repeat(WORDS)).gate(gate)
}

/// What control has counted for the newest of so many requests, and what the
/// provider has reported for it.
async fn newest(world: &World, provider: &Server, requests: usize) -> Result<Value> {
    let mut counted = world.usage_of(&world.key.access_key_id, requests).await?;
    ensure!(counted.len() == requests, "counted {counted:?}");
    let usage = counted.swap_remove(0);
    ensure!(tokens(&usage)? == reported(provider, &usage)?, "{usage}");
    ensure!(usage["outcome"] == "client_cancelled", "{usage}");
    Ok(usage)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_leaves_behind_is_read_to_its_end_and_counted_exactly() -> Result<()> {
    let world = OnBedrock::after_the_plan(|stack| stack.setting("PROXY_DISCONNECT_DRAIN", "60"));
    let world = world.await?;
    let (plan, bedrock): (&Server, &Server) = (&world.simulator, &world.bedrock);
    let ways = [(plan, "plan_first"), (bedrock, "bedrock_only")];
    let mut requests = 0;
    for (provider, strategy) in ways {
        world.stack.admin().route(&world.user_id, strategy).await?;
        world.until_in_force().await?;
        for has_begun in [true, false] {
            let gate = Gate::closed();
            let asked = provider.counts().requests;
            let client = if has_begun {
                provider.script().then(begun(&gate));
                listening(&world).await?
            } else {
                let long = Reply::text("word ".repeat(WORDS));
                provider.script().then(long.head_gate(&gate));
                asking(&world).await?
            };
            provider.until(|it| it.requests > asked).await;
            drop(client);
            gate.open();
            requests += 1;
            let usage = newest(&world, provider, requests).await?;
            assert_eq!(usage["is_estimate"], false, "{usage}");
            let output_tokens = usage["output_tokens"].as_u64();
            assert!(output_tokens > Some(WORDS as u64 / 2), "{usage}");
        }
        let counts = provider.counts();
        assert_eq!(counts.answers_abandoned, 0, "{counts:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_patience_the_provider_is_left_at_once_and_the_rest_estimated() -> Result<()> {
    let world = OnBedrock::after_the_plan(|stack| stack.setting("PROXY_DISCONNECT_DRAIN", "0"));
    let world = world.await?;
    let (plan, bedrock): (&Server, &Server) = (&world.simulator, &world.bedrock);
    let ways = [(plan, "plan_first", 1), (bedrock, "bedrock_only", 2)];
    for (provider, strategy, requests) in ways {
        world.stack.admin().route(&world.user_id, strategy).await?;
        world.until_in_force().await?;
        // Never opened: nothing but the leaving can end this answer.
        let gate = Gate::closed();
        provider.script().then(begun(&gate));
        drop(listening(&world).await?);
        provider.until(|it| it.answers_abandoned > 0).await;
        let usage = newest(&world, provider, requests).await?;
        assert_eq!(usage["is_estimate"], true, "{usage}");
        assert!(usage["input_tokens"].as_u64() > Some(0), "{usage}");
    }
    Ok(())
}
