//! How soon a budget that is used up stops every proxy, and what is spent too much.

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use reqwest::{Client, Method, StatusCode, header::RETRY_AFTER};
use serde::Serialize;
use serde_json::{Value, json};
use testkit::stack::{self, Proxy, admin::IssuedKey};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::{
    spread::sorted,
    system::{Control, System, api_key, delivered},
};

/// A request to Bedrock takes a second and costs 3 cents here, more than the smallest
/// budget. The estimate of what it may cost is 10 cents, for `MAX_TOKENS`.
const PRICES: &str = r#"{"bedrock": {"us-east-1": {
    "claude-sonnet-4-6": {"input_price_per_million": "3", "output_price_per_million": "100"},
    "bench-paced": {"input_price_per_million": "3", "output_price_per_million": "100"}
}}}"#;

const MODEL: &str = "anthropic.bench-paced";

const MAX_TOKENS: u32 = 1_024;

const SMALLEST_BUDGET: &str = "0.01";

/// Room for a few requests.
const NEARLY_EMPTY: &str = "0.50";

/// Between two questions whether a budget is used up.
const POLL: Duration = Duration::from_millis(5);

/// A verdict that is not in force by then will never be.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// From the end of the request that has used up a budget until both proxies refuse,
    /// sorted.
    pub(crate) refused_after_ms: Vec<f64>,
    pub(crate) overshoot: Overshoot,
}

/// What many requests at once have made of a budget.
#[derive(Debug, Serialize)]
pub(crate) struct Overshoot {
    pub(crate) parallel: usize,
    pub(crate) budget_usd: f64,
    pub(crate) answered: usize,
    pub(crate) spent_usd: f64,
}

/// How a request went.
enum Answer {
    Answered,
    /// For now, for so long.
    Later(Duration),
    UsedUp,
}

/// A developer on Bedrock.
struct Spender {
    user_id: String,
    key: IssuedKey,
}

pub(super) async fn measure(system: &System, verdicts: usize, parallel: usize) -> Result<Results> {
    let settings = [("PROXY_MODEL_PRICING", PRICES)];
    let control = system.another_control("budgets", &settings).await?;
    let proxies = [
        system.proxy_of("budgets-1", control.grpc, &[])?,
        system.proxy_of("budgets-2", control.grpc, &[])?,
    ];
    for proxy in &proxies {
        proxy.service.ready().await?;
    }
    let client = stack::http_client()?;

    eprintln!("Using up {verdicts} budgets …");
    let mut refused_after_ms = Vec::new();
    for number in 0..verdicts {
        let name = format!("Spender {number}");
        let spender = Spender::new(&control, &name, SMALLEST_BUDGET).await?;
        control.admin.until_in_force(2).await?;
        refused_after_ms.push(verdict(&client, &proxies, &spender.key).await?);
    }

    eprintln!("Sending {parallel} requests on a budget that is nearly used up …");
    let spender = Spender::new(&control, "Many", NEARLY_EMPTY).await?;
    control.admin.until_in_force(2).await?;
    let overshoot = overshoot(&client, &control, &proxies, &spender, parallel).await?;
    Ok(Results {
        refused_after_ms: sorted(refused_after_ms),
        overshoot,
    })
}

impl Spender {
    async fn new(control: &Control, name: &str, monthly_budget_usd: &str) -> Result<Self> {
        let user_id = control.admin.create_user(name).await?;
        let key = control.key_of_bedrock(&user_id, api_key()).await?;
        let path = format!("/admin/users/{user_id}/budget");
        let budget = json!({ "monthly_budget_usd": monthly_budget_usd });
        control.admin.call(Method::PUT, &path, Some(budget)).await?;
        Ok(Self { user_id, key })
    }
}

/// Milliseconds from the end of the first request, which uses up the budget, until the
/// last proxy says so.
async fn verdict(client: &Client, proxies: &[Proxy], key: &IssuedKey) -> Result<f64> {
    let [first, ..] = proxies else {
        bail!("no proxy");
    };
    let Answer::Answered = ask(client, first, key).await? else {
        bail!("the first request within a budget was refused");
    };
    let ended = Instant::now();
    let refusals = proxies.iter().map(|proxy| refusal(client, proxy, key));
    let refused = timeout(PATIENCE, try_join_all(refusals))
        .await
        .context("a budget that is used up stops nobody")??;
    let last = refused.into_iter().max().unwrap_or(ended);
    Ok(last.saturating_duration_since(ended).as_secs_f64() * 1e3)
}

/// When the proxy has refused for the budget. Asking how the developer stands costs
/// nothing; what is refused is one request at the end.
async fn refusal(client: &Client, proxy: &Proxy, key: &IssuedKey) -> Result<Instant> {
    let url = format!("{}/me", proxy.base_url(&key.raw_key));
    loop {
        let standing: Value = client.get(&url).send().await?.json().await?;
        if standing.pointer("/budget/is_exhausted") == Some(&Value::Bool(true))
            && matches!(ask(client, proxy, key).await?, Answer::UsedUp)
        {
            return Ok(Instant::now());
        }
        sleep(POLL).await;
    }
}

/// All at once, through both proxies in turns, each as often as it is told to come
/// again.
async fn overshoot(
    client: &Client,
    control: &Control,
    proxies: &[Proxy],
    spender: &Spender,
    parallel: usize,
) -> Result<Overshoot> {
    let clients = proxies.iter().cycle().take(parallel);
    let clients = clients.map(|proxy| insist(client, proxy, &spender.key));
    let answered = timeout(PATIENCE, try_join_all(clients))
        .await
        .context("a budget that is nearly used up never is")??;
    for proxy in proxies {
        delivered(proxy.addresses.ops).await?;
    }
    let path = format!("/admin/users/{}/budget", spender.user_id);
    let standing = control.admin.get(&path).await?;
    let spent = standing.get("current_usage_usd").and_then(Value::as_str);
    Ok(Overshoot {
        parallel,
        budget_usd: NEARLY_EMPTY.parse()?,
        answered: answered.into_iter().filter(|it| *it).count(),
        spent_usd: spent.context("no amount")?.parse()?,
    })
}

/// Whether it was answered in the end.
async fn insist(client: &Client, proxy: &Proxy, key: &IssuedKey) -> Result<bool> {
    loop {
        match ask(client, proxy, key).await? {
            Answer::Answered => return Ok(true),
            Answer::UsedUp => return Ok(false),
            Answer::Later(wait) => sleep(wait).await,
        }
    }
}

async fn ask(client: &Client, proxy: &Proxy, key: &IssuedKey) -> Result<Answer> {
    let body = json!({
        "model": MODEL,
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": "hi"}],
        "stream": true,
    });
    let url = format!("{}/v1/messages", proxy.base_url(&key.raw_key));
    let answer = client
        .post(url)
        .header("x-api-key", "sk-ant-bench")
        .header("anthropic-version", "2023-06-01")
        .json(&body)
        .send()
        .await?;
    let status = answer.status();
    let wait = answer.headers().get(RETRY_AFTER).cloned();
    let text = answer.text().await?;
    if status == StatusCode::OK {
        return Ok(Answer::Answered);
    }
    let error: Value = serde_json::from_str(&text)?;
    match error.pointer("/error/type").and_then(Value::as_str) {
        Some("billing_error") => Ok(Answer::UsedUp),
        Some("rate_limit_error") => {
            let seconds = wait.context("refused without a time")?.to_str()?.parse()?;
            Ok(Answer::Later(Duration::from_secs(seconds)))
        }
        _ => bail!("{status}: {text}"),
    }
}
