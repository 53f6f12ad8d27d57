//! Budgets, from the administrator to the developer's terminal.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::bedrock::{Reply, Usage};

use crate::{
    claude_code::{ClaudeCode, VERSIONS},
    support::{World, ask, ask_and_hear, bedrock::OnBedrock, error_type, eventually, repository},
};

async fn budget(world: &World, monthly_budget_usd: Value) -> Result<()> {
    let path = format!("/admin/users/{}/budget", world.user_id);
    let body = json!({ "monthly_budget_usd": monthly_budget_usd });
    world
        .stack
        .admin()
        .call(Method::PUT, &path, Some(body))
        .await?;
    world.until_in_force().await
}

/// How the user stands, as the proxy tells it.
async fn me(base_url: &str) -> Result<Value> {
    let client = testkit::stack::http_client()?;
    Ok(client
        .get(format!("{base_url}/me"))
        .send()
        .await?
        .json()
        .await?)
}

/// Asks until the budget's verdict is there; the number of answers until then.
async fn until_exhausted(base_url: &str) -> Result<usize> {
    let mut answered = 0;
    eventually("the budget is exhausted", async || {
        let answer = ask(base_url, false).await?;
        match answer.status() {
            StatusCode::OK => answered += 1,
            StatusCode::TOO_MANY_REQUESTS => {
                return Ok((error_type(answer).await? == "billing_error").then_some(()));
            }
            status => anyhow::bail!("{status}: {}", answer.text().await?),
        }
        Ok(None)
    })
    .await?;
    Ok(answered)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_used_up_on_one_proxy_and_stops_all() -> Result<()> {
    let world = OnBedrock::with(|stack| stack.proxies(2)).await?;
    budget(&world, json!("0.01")).await?;
    let base_urls: Vec<String> = world
        .stack
        .proxies()
        .iter()
        .map(|proxy| proxy.base_url(&world.key.raw_key))
        .collect();
    let [first, second] = base_urls.as_slice() else {
        anyhow::bail!("not two proxies");
    };
    let answered = until_exhausted(first).await?;
    ensure!(answered > 0, "nothing was answered");
    // The first one knows of it before the verdict, which is one change for all.
    until_exhausted(second).await?;
    let refused = ask(second, true).await?;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["x-should-retry"], "false");
    assert_eq!(error_type(refused).await?, "billing_error");

    // What every proxy tells the developer is what the ledger has.
    let path = format!("/admin/users/{}/budget", world.user_id);
    for base_url in &base_urls {
        eventually("the amount is known to the proxy", async || {
            let standing = world.stack.admin().get(&path).await?;
            let status = me(base_url).await?;
            let is_known = status["budget"]["spent_usd"] == standing["current_usage_usd"];
            Ok(is_known.then_some(()))
        })
        .await?;
    }

    budget(&world, json!(100)).await?;
    assert_eq!(ask(second, true).await?.status(), StatusCode::OK);
    Ok(())
}

/// At once, and in words that say until when: not after ten attempts.
#[tokio::test(flavor = "multi_thread")]
async fn claude_code_shows_that_the_budget_is_used_up_without_trying_again() -> Result<()> {
    let world = OnBedrock::start().await?;
    budget(&world, json!("0.01")).await?;
    until_exhausted(&world.base_url()).await?;
    let environment = [
        ("ANTHROPIC_BASE_URL".to_owned(), world.base_url()),
        ("ANTHROPIC_API_KEY".to_owned(), "sk-ant-test".to_owned()),
    ];
    for version in VERSIONS {
        let before = world.bedrock.received().len();
        let refused_before = refusals(&world)?;
        let run = ClaudeCode::install(version)?
            .attempt(&environment, &["say: hello"])
            .await?;
        let said = format!("{}{}", run.stdout, run.stderr);
        ensure!(!run.status.success(), "{version}: {said}");
        ensure!(
            said.contains("spend limit reached (monthly; resets "),
            "{version}: {said}"
        );
        assert_eq!(world.bedrock.received().len(), before, "{version}");
        let refused = refusals(&world)? - refused_before;
        // The question, and at most one for the session's title.
        ensure!((1..=2).contains(&refused), "{version}: {refused} requests");
    }
    Ok(())
}

/// What Claude Code tells its user of, when the developer is logged in with a plan.
#[tokio::test(flavor = "multi_thread")]
async fn claude_code_warns_before_the_budget_is_used_up() -> Result<()> {
    let world = OnBedrock::start().await?;
    // Twenty dollars.
    let used = Usage {
        output_tokens: 1_000_000,
        ..Usage::default()
    };
    let reply = Reply::text("much").tokens(used);
    world.bedrock.script().then(reply);
    budget(&world, json!(1_000)).await?;
    ask_and_hear(&world.base_url(), false).await?;
    until_spent(&world, 20.0).await?;
    let environment = [
        ("ANTHROPIC_BASE_URL".to_owned(), world.base_url()),
        (
            "CLAUDE_CODE_OAUTH_TOKEN".to_owned(),
            "sk-ant-oat01-test".to_owned(),
        ),
    ];
    let arguments = ["say: hello", "--output-format=stream-json", "--verbose"];
    for (limit, warnings) in [("80", None), ("25.50", Some(0.75)), ("20.90", Some(0.95))] {
        budget(&world, json!(limit)).await?;
        for version in VERSIONS {
            let claude = ClaudeCode::install(version)?;
            let output = claude.run(&environment, &arguments).await?;
            let messages = output.lines().map(serde_json::from_str::<Value>);
            let messages: Vec<Value> = messages.collect::<Result<_, _>>()?;
            let warned = messages.iter().find(|it| {
                it["type"] == "rate_limit_event"
                    && it["rate_limit_info"]["status"] == "allowed_warning"
            });
            let surpassed =
                warned.and_then(|it| it["rate_limit_info"]["surpassedThreshold"].as_f64());
            ensure!(
                warned.is_some() == warnings.is_some() && surpassed == warnings,
                "{version} with {limit}: {output}"
            );
        }
    }
    Ok(())
}

async fn until_spent(world: &World, usd: f64) -> Result<()> {
    eventually("what was answered is spent", async || {
        let status = me(&world.base_url()).await?;
        let spent = status.pointer("/budget/spent_usd").and_then(Value::as_str);
        let spent = spent.and_then(|it| it.parse::<f64>().ok());
        Ok(spent.is_some_and(|it| it >= usd).then_some(()))
    })
    .await
}

/// How many requests to the first proxy were refused for the budget.
fn refusals(world: &World) -> Result<usize> {
    let log = std::fs::read_to_string(world.proxy().service.log())?;
    Ok(log.matches("\"error\":\"budget_exhausted\"").count())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_line_shows_how_the_developer_stands() -> Result<()> {
    let world = OnBedrock::start().await?;
    let line = || -> Result<String> {
        let output = Command::new(repository().join("scripts/status-line"))
            // As some write it.
            .env("ANTHROPIC_BASE_URL", format!("{}/", world.base_url()))
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    assert_eq!(line()?, "bedrock");
    budget(&world, json!(50)).await?;
    ask(&world.base_url(), false).await?.error_for_status()?;
    let shown = eventually("the status line shows the budget", async || {
        let shown = line()?;
        Ok(shown.contains("$0.").then_some(shown))
    })
    .await?;
    ensure!(shown.starts_with("bedrock · $0.0"), "{shown}");
    ensure!(shown.contains(" of $50.00 (0%)"), "{shown}");
    world.stack.proxies().first().context("no proxy")?;
    Ok(())
}
