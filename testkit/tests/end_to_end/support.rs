//! A stack in front of a simulator, with a user and a key, and what tests ask of it.

pub(crate) mod bedrock;
pub(crate) mod client;
pub(crate) mod collector;

use std::{mem, ops::Add, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use testkit::{
    anthropic::{Ledger, Server, Simulator, Usage},
    stack::{self, Builder, Proxy, Stack, admin::IssuedKey},
};
use tokio_postgres::{Client, NoTls};

/// When a thing that must happen has not happened by then, it never will.
const DEADLINE: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Everything that most tests need.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) simulator: Simulator,
    pub(crate) user_id: String,
    pub(crate) key: IssuedKey,
}

/// What control has counted.
#[derive(Debug, PartialEq)]
pub(crate) struct Counted {
    pub(crate) requests: u64,
    pub(crate) tokens: Usage,
}

impl World {
    pub(crate) async fn start(proxies: usize) -> Result<Self> {
        Self::with(|stack| stack.proxies(proxies)).await
    }

    /// With a stack that is set up otherwise.
    pub(crate) async fn with<'a>(set_up: impl FnOnce(Builder<'a>) -> Builder<'a>) -> Result<Self> {
        // Nobody else takes its address when it is closed.
        let simulator = Simulator::builder().listen(stack::free_address()?);
        let simulator = simulator.start().await?;
        let stack = set_up(Stack::builder(&simulator.url())).start().await?;
        let user_id = stack.admin().create_user("Ada").await?;
        let key = stack.admin().issue_key(&user_id).await?;
        let world = Self {
            stack,
            simulator,
            user_id,
            key,
        };
        world.until_in_force().await?;
        Ok(world)
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.stack.proxies()[0]
    }

    /// Lets the plan refuse connections from now on.
    pub(crate) async fn close_the_plan(&mut self) -> Result<()> {
        let unheard_of = Simulator::start().await?;
        mem::replace(&mut self.simulator, unheard_of).stop().await;
        Ok(())
    }

    /// What a developer sets `ANTHROPIC_BASE_URL` to.
    pub(crate) fn base_url(&self) -> String {
        self.proxy().base_url(&self.key.raw_key)
    }

    /// Waits until every proxy has applied the newest change.
    pub(crate) async fn until_in_force(&self) -> Result<()> {
        let proxies = self.stack.proxies().len() as u64;
        self.stack.admin().until_in_force(proxies).await
    }

    /// Waits until control has counted what the simulator has reported: every
    /// answer and every token, not less and not more.
    pub(crate) async fn until_all_is_counted(&self) -> Result<()> {
        self.until_counted(&self.simulator.ledger().into()).await
    }

    /// Waits until control has counted this, not less and not more.
    pub(crate) async fn until_counted(&self, expected: &Counted) -> Result<()> {
        let counted = self
            .until_counted_enough(expected, |counted| counted.requests >= expected.requests)
            .await?;
        ensure!(
            counted == *expected,
            "counted {counted:?} instead of {expected:?}"
        );
        Ok(())
    }

    /// The same for the tokens alone, where there are requests without any.
    pub(crate) async fn until_tokens_are_counted(&self, expected: &Counted) -> Result<()> {
        self.until_counted_enough(expected, |counted| counted.tokens == expected.tokens)
            .await
            .map(drop)
    }

    async fn until_counted_enough(
        &self,
        expected: &Counted,
        enough: impl Fn(&Counted) -> bool,
    ) -> Result<Counted> {
        let mut last = None;
        let found = eventually("control has counted everything", async || {
            let counted = self.counted().await?;
            if enough(&counted) {
                return Ok(Some(counted));
            }
            last = Some(counted);
            Ok(None)
        })
        .await;
        found.with_context(|| format!("counted {last:?} instead of {expected:?}"))
    }

    /// Waits until all is counted that any proxy still has to deliver, again or
    /// for the first time: a proxy delivers in order, so a last request through
    /// each comes after all of it.
    pub(crate) async fn until_nothing_is_pending(&self) -> Result<()> {
        self.ask_through_each_proxy().await?;
        self.until_all_is_counted().await
    }

    pub(crate) async fn ask_through_each_proxy(&self) -> Result<()> {
        for proxy in self.stack.proxies() {
            ask_and_hear(&proxy.base_url(&self.key.raw_key), false).await?;
        }
        Ok(())
    }

    /// Waits until a proxy that was told to stop takes no new requests.
    pub(crate) async fn until_draining(&self, proxy: &Proxy) -> Result<()> {
        let client = stack::http_client()?;
        let url = format!("{}/readyz", stack::url(proxy.addresses.ops));
        eventually("the proxy is not ready any more", async || {
            let is_ready = client
                .get(&url)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success());
            Ok((!is_ready).then_some(()))
        })
        .await
    }

    /// A connection to control's database.
    pub(crate) async fn sql(&self) -> Result<Client> {
        connect(self.stack.database_url()).await
    }

    /// What control has counted for an access key, newest first; waits until it
    /// is at least as many requests as given.
    pub(crate) async fn usage_of(
        &self,
        access_key_id: &str,
        requests: usize,
    ) -> Result<Vec<Value>> {
        let path = format!("/admin/usage/requests?limit=200&access_key_id={access_key_id}");
        eventually("the requests of an access key are counted", async || {
            let mut usage = self.stack.admin().get(&path).await?;
            let Value::Array(rows) = usage["items"].take() else {
                bail!("no requests in {usage}");
            };
            Ok((rows.len() >= requests).then_some(rows))
        })
        .await
    }

    pub(crate) async fn counted(&self) -> Result<Counted> {
        let usage = self.stack.admin().get("/admin/usage").await?;
        let total = |name: &str| usage[format!("total_{name}")].clone();
        let names = [
            "input_tokens",
            "output_tokens",
            "cache_read_tokens",
            "cache_write_5m_tokens",
            "cache_write_1h_tokens",
        ];
        let totals: Value = names.iter().map(|name| (*name, total(name))).collect();
        Ok(Counted {
            requests: total("requests")
                .as_u64()
                .with_context(|| format!("no requests in {usage}"))?,
            tokens: tokens(&totals)?,
        })
    }
}

impl From<Ledger> for Counted {
    fn from(ledger: Ledger) -> Self {
        Self {
            requests: ledger.answers,
            tokens: ledger.tokens,
        }
    }
}

impl Add for Counted {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            tokens: self.tokens + other.tokens,
        }
    }
}

/// A connection to a database.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is its own shutdown: its runtime ends with it"
)]
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Ends with the client.
    tokio::spawn(connection);
    Ok(client)
}

/// Looks again and again until `look` finds something.
pub(crate) async fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let found = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(DEADLINE, found)
        .await
        .with_context(|| format!("waited in vain: {what}"))?
}

/// A body for `/v1/messages`.
pub(crate) fn question(model: &str, is_streaming: bool) -> Value {
    json!({
        "model": model,
        "max_tokens": 256,
        "stream": is_streaming,
        "messages": [{ "role": "user", "content": "say: one two three" }],
    })
}

/// Sends a body as a client does whose base URL this is.
pub(crate) async fn send(
    base_url: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> Result<Response> {
    let mut request = stack::http_client()?
        .post(format!("{base_url}/v1/messages"))
        .header("anthropic-version", "2023-06-01")
        .json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.send().await?)
}

/// Sends one question as a client does whose base URL this is.
pub(crate) async fn ask(base_url: &str, is_streaming: bool) -> Result<Response> {
    let question = question("claude-opus-5-5", is_streaming);
    send(base_url, &question, &[("x-api-key", "sk-ant-test")]).await
}

/// Asks, and insists on a complete answer.
pub(crate) async fn ask_and_hear(base_url: &str, is_streaming: bool) -> Result<()> {
    heard(ask(base_url, is_streaming).await?, is_streaming).await
}

/// Insists on a complete answer.
pub(crate) async fn heard(response: Response, is_streaming: bool) -> Result<()> {
    ensure!(
        response.status() == StatusCode::OK,
        "{}: {}",
        response.status(),
        response.text().await?
    );
    let text = response.text().await?;
    let end = if is_streaming {
        "message_stop"
    } else {
        "end_turn"
    };
    ensure!(text.contains(end), "an incomplete answer: {text}");
    Ok(())
}

/// The type of the error in an answer in the API's envelope.
pub(crate) async fn error_type(response: Response) -> Result<String> {
    let body: Value = response.json().await?;
    Ok(body["error"]["type"]
        .as_str()
        .with_context(|| format!("no error in {body}"))?
        .to_owned())
}

/// How many questions with this text a simulator has received.
pub(crate) fn asked(simulator: &Server, text: &str) -> usize {
    let received = simulator.received();
    let asked = received
        .iter()
        .filter(|it| it.operation.is_message() && it.contains(text));
    asked.count()
}

/// What a simulator has reported for a request, of which this is what control has
/// counted.
pub(crate) fn reported(simulator: &Server, usage: &Value) -> Result<Usage> {
    let ledger = simulator.ledger();
    let mut entries = ledger.entries.iter().rev();
    let entry = entries.find(|it| usage["upstream_request_id"] == *it.request_id);
    let entry = entry.with_context(|| format!("nobody has reported anything for {usage}"))?;
    Ok(entry.tokens)
}

/// The tokens that control has counted for a request.
pub(crate) fn tokens(usage: &Value) -> Result<Usage> {
    let number = |name: &str| {
        let number = usage[name].as_u64();
        number.with_context(|| format!("no {name} in {usage}"))
    };
    Ok(Usage {
        input_tokens: number("input_tokens")?,
        output_tokens: number("output_tokens")?,
        cache_read_tokens: number("cache_read_tokens")?,
        cache_write_5m_tokens: number("cache_write_5m_tokens")?,
        cache_write_1h_tokens: number("cache_write_1h_tokens")?,
    })
}

pub(crate) fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
