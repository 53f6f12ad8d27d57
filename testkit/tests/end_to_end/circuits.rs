//! The circuit of an access key, as its requests and an administrator see it.

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use testkit::{
    anthropic::{Gate, Reply, Rule, Server},
    stack,
};

use crate::support::{
    asked,
    bedrock::OnBedrock,
    client::{OWN, say},
    eventually,
};

#[tokio::test(flavor = "multi_thread")]
async fn only_one_request_finds_out_whether_the_plan_is_back() -> Result<()> {
    let world = OnBedrock::after_the_plan(|stack| stack).await?;
    let script = world.simulator.script();
    // Over already, so that the next request finds out.
    script.then(Reply::plan_limit(1));
    let heard = say(&world.base_url(), "too much", true, OWN).await;
    assert!(heard.is_complete("too much"), "{heard:?}");
    let gate = Gate::closed();
    script.rule(Rule::once(Reply::answer().head_gate(&gate)).body_contains("the probe"));
    let before = world.simulator.counts().requests;
    let base_url = world.base_url();
    let probe = say(&base_url, "the probe", true, OWN);
    let others = async {
        world.simulator.until(|it| it.requests > before).await;
        for text in ["one", "two", "three"] {
            let heard = say(&base_url, text, true, OWN).await;
            assert!(heard.is_complete(text), "{heard:?}");
        }
        gate.open();
    };
    let (heard, ()) = tokio::join!(probe, others);
    assert!(heard.is_complete("the probe"), "{heard:?}");
    let heard = say(&base_url, "back again", true, OWN).await;
    assert!(heard.is_complete("back again"), "{heard:?}");
    for (text, providers) in [
        ("the probe", [1, 0]),
        ("two", [0, 1]),
        ("back again", [1, 0]),
    ] {
        let asked = [&world.simulator as &Server, &world.bedrock].map(|it| asked(it, text));
        assert_eq!(asked, providers, "{text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_sees_and_closes_the_circuits_of_an_access_key() -> Result<()> {
    let world = OnBedrock::after_the_plan(|stack| stack.proxies(2)).await?;
    let admin = world.stack.admin();
    let access_key_id = &world.key.access_key_id;
    // Before PROXY_CIRCUIT_RESET_TIMEOUT is over.
    let resets_at = (Utc::now() + TimeDelta::minutes(20)).timestamp();
    let script = world.simulator.script();
    script
        .rule(Rule::always(Reply::plan_limit(resets_at.unsigned_abs())).body_contains("too much"));
    let say_to_each = async |text: &str| {
        for proxy in world.stack.proxies() {
            let heard = say(&proxy.base_url(&world.key.raw_key), text, true, OWN).await;
            assert!(heard.is_complete(text), "{heard:?}");
        }
        [&world.simulator as &Server, &world.bedrock].map(|it| asked(it, text))
    };
    let is_known = async |proxies: u64| {
        eventually("control knows the circuits", async || {
            let path = format!("/admin/access-keys/{access_key_id}/circuits");
            let circuits = admin.get(&path).await?;
            let items = circuits["items"].as_array().context("no circuits")?;
            let path = format!("/admin/users/{}/access-keys", world.user_id);
            let keys = admin.get(&path).await?;
            let summary = keys["items"][0]["circuit"].clone();
            let is_known = items.len() as u64 == proxies
                && summary["proxies"].as_u64().unwrap_or_default() == proxies;
            Ok(is_known.then(|| [items.clone(), vec![summary]].concat()))
        })
        .await
    };

    assert_eq!(is_known(0).await?, [Value::Null]);
    assert_eq!(say_to_each("too much").await, [2, 2]);
    for circuit in is_known(2).await? {
        assert_eq!(circuit["state"], "open", "{circuit}");
        assert_eq!(circuit["cause"], "usage_limit", "{circuit}");
        let until: DateTime<Utc> = serde_json::from_value(circuit["open_until"].clone())?;
        assert_eq!(until.timestamp(), resets_at, "{circuit}");
    }
    assert_eq!(say_to_each("around the plan").await, [0, 2]);
    for proxy in world.stack.proxies() {
        let url = format!("{}/metrics", stack::url(proxy.addresses.ops));
        let metrics = stack::http_client()?.get(url).send().await?.text().await?;
        let gauge = "proxy_circuits{state=\"open\"} 1\n";
        assert!(metrics.contains(gauge), "{metrics}");
    }

    admin.reset_circuit(access_key_id).await?;
    world.until_in_force().await?;
    assert_eq!(say_to_each("to the plan again").await, [2, 0]);
    assert_eq!(is_known(0).await?, [Value::Null]);
    eventually("every change has a line", async || {
        let changes = world.stack.logs()?.matches("\"circuit.changed\"").count();
        Ok((changes == 4).then_some(()))
    })
    .await
}
