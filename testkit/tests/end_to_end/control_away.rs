//! Changes reach every proxy; and what happens while control is away.

use anyhow::Result;
use reqwest::StatusCode;

use crate::support::{World, ask, ask_and_hear, error_type};

#[tokio::test(flavor = "multi_thread")]
async fn revoked_key_is_refused_by_every_proxy() -> Result<()> {
    let world = World::start(2).await?;
    for proxy in world.stack.proxies() {
        ask_and_hear(&proxy.base_url(&world.key.raw_key), false).await?;
    }

    world
        .stack
        .admin()
        .revoke_key(&world.key.access_key_id)
        .await?;
    world.until_in_force().await?;

    for proxy in world.stack.proxies() {
        let refusal = ask(&proxy.base_url(&world.key.raw_key), false).await?;
        assert_eq!(refusal.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(refusal.headers()["x-should-retry"], "false");
        assert_eq!(error_type(refusal).await?, "authentication_error");
    }
    assert_eq!(
        world.simulator.counts().requests,
        2,
        "a refused request went upstream"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_made_while_control_is_away_is_counted_once_when_it_is_back() -> Result<()> {
    let mut world = World::start(2).await?;
    world.stack.stop_control().await?;
    for proxy in world.stack.proxies() {
        for is_streaming in [false, true, true] {
            ask_and_hear(&proxy.base_url(&world.key.raw_key), is_streaming).await?;
        }
    }
    world.stack.start_control().await?;
    world.until_nothing_is_pending().await?;
    assert_eq!(world.counted().await?.requests, 8);
    Ok(())
}

/// Killed, control cannot acknowledge what it has just committed, so proxies
/// send that again.
#[tokio::test(flavor = "multi_thread")]
async fn usage_is_counted_once_although_control_is_killed_again_and_again() -> Result<()> {
    let mut world = World::start(2).await?;
    for _ in 0..4 {
        let asked = world.stack.proxies().iter().flat_map(|proxy| {
            let base_url = proxy.base_url(&world.key.raw_key);
            (0..10).map(move |number| {
                let base_url = base_url.clone();
                async move { ask_and_hear(&base_url, number % 2 == 0).await }
            })
        });
        futures_util::future::try_join_all(asked).await?;
        world.stack.kill_control().await?;
        world.stack.start_control().await?;
    }
    world.until_nothing_is_pending().await?;
    assert_eq!(world.counted().await?.requests, 82);
    Ok(())
}
