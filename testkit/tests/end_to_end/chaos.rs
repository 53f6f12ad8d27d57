//! Ten thousand requests through two proxies, while both providers fail at random.
//!
//! Each request tells in its body what either provider does to it, so that every
//! one of them can be judged by itself, in whichever order they come and wherever
//! the circuits stand.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt, stream};
use rand::{
    RngExt, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, IteratorRandom, SliceRandom},
};
use reqwest::Client;
use serde_json::{Value, json};
use testkit::{
    anthropic::{ApiError, At, How, Reply, Rule, Server, Usage},
    stack,
};

use crate::support::{
    ask_and_hear,
    bedrock::{API_KEY, OnBedrock},
    eventually, question, tokens,
};

const REQUESTS: usize = 10_000;
const IN_FLIGHT: usize = 64;
const ACCESS_KEYS: usize = 12;

/// What a provider does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Healthy,
    UsedUp,
    BackAtOnce,
    Throttled,
    /// And says for how long.
    Waiting,
    Internal,
    Overloaded,
    Dead,
    ErrorFirst,
    CutBefore,
    ClosedBefore,
    /// Says nothing any more, rarely, because that takes its time.
    Silent,
    /// Comes when the client has got content already.
    CutAfter,
    ErrorAfter,
}

impl Fate {
    /// Of which the client must notice nothing.
    const HIDDEN: [Self; 11] = [
        Self::UsedUp,
        Self::BackAtOnce,
        Self::Throttled,
        Self::Waiting,
        Self::Internal,
        Self::Overloaded,
        Self::Dead,
        Self::ErrorFirst,
        Self::CutBefore,
        Self::ClosedBefore,
        Self::Silent,
    ];

    /// Only a stream has a time after its first content.
    const LATE: [Self; 2] = [Self::CutAfter, Self::ErrorAfter];

    fn any(random: &mut StdRng, is_streaming: bool) -> Self {
        let drawn = match random.random_range(0..100) {
            0..50 => None,
            50..53 if is_streaming => Self::LATE.choose(random),
            _ if random.random_ratio(1, 100) => Some(&Self::Silent),
            _ => Self::HIDDEN
                .iter()
                .filter(|it| **it != Self::Silent)
                .choose(random),
        };
        drawn.copied().unwrap_or(Self::Healthy)
    }

    fn is_late(self) -> bool {
        Self::LATE.contains(&self)
    }

    fn is_hidden(self) -> bool {
        Self::HIDDEN.contains(&self)
    }

    fn reply(self) -> Reply {
        let ending = |at, how| Reply::answer().ending(at, how);
        let error = How::Error(ApiError::overloaded());
        match self {
            Self::Healthy => Reply::answer(),
            // For as long as the circuit is kept open.
            Self::UsedUp => Reply::plan_limit(4_102_444_800),
            Self::BackAtOnce => Reply::plan_limit(1),
            Self::Throttled => Reply::error(429),
            Self::Waiting => Reply::error(429).header("retry-after", "1"),
            Self::Internal => Reply::error(500),
            Self::Overloaded => Reply::error(529),
            Self::Dead => ending(At::Start, How::Reset),
            Self::ErrorFirst => ending(At::Start, error),
            Self::CutBefore => ending(At::Bytes(40), How::Reset),
            Self::ClosedBefore => ending(At::Bytes(40), How::Close),
            Self::Silent => ending(At::Bytes(40), How::Silence),
            Self::CutAfter => ending(At::Events(3), How::Reset),
            Self::ErrorAfter => ending(At::Events(3), error),
        }
    }

    /// How a request's body says that this is its fate with a provider.
    fn marker(self, provider: &str) -> String {
        format!("({provider}: {self:?})")
    }
}

/// One of the requests.
#[derive(Debug, Clone)]
struct Request {
    number: usize,
    url: String,
    is_streaming: bool,
    plan: Fate,
    bedrock: Fate,
}

/// What a client has got.
#[derive(Debug)]
enum Seen {
    /// All of an answer, which says that it took so many tokens.
    Answer(&'static str, Usage),
    /// The beginning of one, and that it is no more.
    Torn(&'static str),
    Error,
}

impl Request {
    fn any(number: usize, urls: &[String], random: &mut StdRng) -> Result<Self> {
        let is_streaming = random.random();
        Ok(Self {
            number,
            url: urls.choose(random).context("no access key")?.clone(),
            is_streaming,
            plan: Fate::any(random, is_streaming),
            bedrock: Fate::any(random, is_streaming),
        })
    }

    fn fate(&self, provider: &str) -> Fate {
        match provider {
            "plan" => self.plan,
            _ => self.bedrock,
        }
    }

    fn body(&self) -> Value {
        let (plan, bedrock) = (self.plan.marker("plan"), self.bedrock.marker("bedrock"));
        let mut body = question("claude-opus-5-5", self.is_streaming);
        let filler = "x".repeat(self.number % 977);
        body["messages"][0]["content"] = json!(format!("{plan} {bedrock} {filler}"));
        body
    }

    /// Asks, and tells what came of it.
    async fn ask(&self, client: &Client) -> Result<Seen> {
        let request = client
            .post(format!("{}/v1/messages", self.url))
            .header("x-api-key", "sk-ant-test")
            .header("anthropic-version", "2023-06-01")
            // By this it is found again.
            .header("x-claude-code-agent-id", self.number.to_string())
            .json(&self.body());
        let mut response = request.send().await?;
        let is_success = response.status().is_success();
        let mut body = Vec::new();
        let is_broken = loop {
            match response.chunk().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        let body = String::from_utf8(body)?;
        match is_success {
            true if self.is_streaming => seen_of_stream(&body, is_broken),
            true => seen_of_message(&serde_json::from_str(&body)?),
            false => {
                let error: Value = serde_json::from_str(&body)?;
                ensure!(error["type"] == "error" && !is_broken, "{body}");
                Ok(Seen::Error)
            }
        }
    }

    /// Whether this may come of it.
    fn judge(&self, seen: &Seen) -> Result<()> {
        let is_right = match seen {
            Seen::Answer(provider, _) => self.fate(provider) == Fate::Healthy,
            Seen::Torn(provider) => self.fate(provider).is_late(),
            Seen::Error => self.plan.is_hidden() && self.bedrock.is_hidden(),
        };
        ensure!(is_right, "the client has got {seen:?}");
        Ok(())
    }

    /// Whether what control has counted is what the client has got.
    fn audit(&self, seen: &Seen, usage: &Value, ledgers: &Ledgers) -> Result<()> {
        let provider = usage["provider"].as_str().context("no provider")?;
        ensure!(usage["is_fallback"] == (provider == "bedrock"), "{usage}");
        ensure!(usage["is_streaming"] == self.is_streaming, "{usage}");
        let counted = tokens(usage)?;
        let id = usage["upstream_request_id"].as_str().unwrap_or_default();
        match seen {
            Seen::Answer(from, tokens) => {
                ensure!(
                    *from == provider && usage["outcome"] == "complete",
                    "{usage}"
                );
                ensure!(counted == *tokens, "{tokens:?}: {usage}");
                ensure!(ledgers.get(id) == Some(tokens), "{usage}");
                ensure!(usage["is_estimate"] == false, "{usage}");
            }
            Seen::Torn(from) => {
                ensure!(
                    *from == provider && usage["outcome"] == "upstream_failed",
                    "{usage}"
                );
                ensure!(ledgers.get(id) == Some(&counted), "{usage}");
                ensure!(usage["is_estimate"] == true, "{usage}");
            }
            Seen::Error => {
                ensure!(usage["outcome"] == "upstream_failed", "{usage}");
                ensure!(counted == Usage::default(), "{usage}");
                ensure!(usage["is_estimate"] == false, "{usage}");
            }
        }
        Ok(())
    }
}

fn seen_of_message(message: &Value) -> Result<Seen> {
    ensure!(message["stop_reason"] == "end_turn", "{message}");
    Ok(Seen::Answer(author(message)?, usage(&message["usage"])))
}

fn seen_of_stream(body: &str, is_broken: bool) -> Result<Seen> {
    let data = body.lines().filter_map(|it| it.strip_prefix("data: "));
    let events: Vec<Value> = data.map(serde_json::from_str).collect::<Result<_, _>>()?;
    let find = |name: &str| {
        events
            .iter()
            .filter(|it| it["type"] == name)
            .collect::<Vec<_>>()
    };
    let starts = find("message_start");
    let is_error = !find("error").is_empty();
    match (starts.as_slice(), find("message_stop").len()) {
        ([start], 1) if !is_error && !is_broken => {
            let delta = find("message_delta");
            let delta = delta.first().context("no message_delta")?;
            Ok(Seen::Answer(
                author(&start["message"])?,
                usage(&delta["usage"]),
            ))
        }
        ([start], 0) if is_error || is_broken => Ok(Seen::Torn(author(&start["message"])?)),
        ([], 0) if is_error => Ok(Seen::Error),
        _ => bail!("broken: {is_broken}, {body}"),
    }
}

fn author(message: &Value) -> Result<&'static str> {
    let id = message["id"].as_str().context("a message without an id")?;
    Ok(match id.starts_with("msg_bdrk_") {
        true => "bedrock",
        false => "plan",
    })
}

/// As the API says it; nothing here is cached.
fn usage(usage: &Value) -> Usage {
    Usage {
        input_tokens: usage["input_tokens"].as_u64().unwrap_or_default(),
        output_tokens: usage["output_tokens"].as_u64().unwrap_or_default(),
        ..Usage::default()
    }
}

/// What both simulators have reported, by the id of their request.
type Ledgers = HashMap<String, Usage>;

fn ledgers(simulators: [&Server; 2]) -> Ledgers {
    let entries = simulators.into_iter().flat_map(|it| it.ledger().entries);
    entries.map(|it| (it.request_id, it.tokens)).collect()
}

/// The addresses of several people's access keys, on all proxies.
async fn urls(world: &OnBedrock) -> Result<Vec<String>> {
    let admin = world.stack.admin();
    let mut urls = Vec::new();
    let mut user_id = world.user_id.clone();
    for number in 0..ACCESS_KEYS {
        if number % 3 == 0 {
            user_id = admin.create_user(&format!("developer {number}")).await?;
        }
        let key = admin.issue_key(&user_id).await?;
        world.equip(&key, API_KEY).await?;
        let proxies = world.stack.proxies().iter();
        urls.extend(proxies.map(|it| it.base_url(&key.raw_key)));
    }
    world.until_in_force().await?;
    Ok(urls)
}

/// Everything that control has counted, by the number of its request.
async fn counted(world: &OnBedrock) -> Result<HashMap<usize, Vec<Value>>> {
    eventually("all requests are counted", async || {
        let counted = world.counted().await?;
        Ok((counted.requests >= REQUESTS as u64).then_some(()))
    })
    .await?;
    // What comes twice comes before these.
    for proxy in world.stack.proxies() {
        ask_and_hear(&proxy.base_url(&world.key.raw_key), false).await?;
    }
    let last = world.stack.proxies().len();
    world.usage_of(&world.key.access_key_id, last).await?;

    let mut rows: HashMap<usize, Vec<Value>> = HashMap::new();
    let mut path = "/admin/usage/requests?limit=200".to_owned();
    loop {
        let mut page = world.stack.admin().get(&path).await?;
        let Value::Array(items) = page["items"].take() else {
            bail!("no requests in {page}");
        };
        for usage in items {
            if usage["access_key_id"] != *world.key.access_key_id {
                let number = usage["agent_id"].as_str().unwrap_or_default().parse();
                rows.entry(number?).or_default().push(usage);
            }
        }
        let text = |name: &str| page[name].as_str();
        let (Some(from), Some(to), Some(cursor)) = (text("from"), text("to"), text("next_cursor"))
        else {
            return Ok(rows);
        };
        path = format!("/admin/usage/requests?limit=200&from={from}&to={to}&cursor={cursor}");
    }
}

/// Another one each time, unless it is named: then the same requests are drawn.
#[expect(
    clippy::disallowed_methods,
    reason = "who looks for the cause of a failure names its seed"
)]
fn seed() -> Result<u64> {
    match std::env::var("CHAOS_SEED") {
        Ok(seed) => seed.parse().context("CHAOS_SEED is not a number"),
        Err(_) => Ok(rand::random()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_see_no_error_but_where_both_have_failed_and_all_is_counted_once() -> Result<()> {
    // The harness shows it when the test fails.
    let seed = seed()?;
    println!("CHAOS_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let world = OnBedrock::after_the_plan(|stack| {
        // So that circuits open and close all the time.
        let stack = stack.proxies(2).setting("PROXY_CIRCUIT_RESET_TIMEOUT", "1");
        // Long enough for whoever answers, on a busy machine too.
        stack.setting("PROXY_FIRST_BYTE_TIMEOUT", "10")
    })
    .await?;
    let simulators: [(&Server, &str); 2] =
        [(&world.simulator, "plan"), (&world.bedrock, "bedrock")];
    for (simulator, provider) in simulators {
        let fates = Fate::HIDDEN.iter().chain(&Fate::LATE);
        let rules = fates.map(|it| Rule::always(it.reply()).body_contains(&it.marker(provider)));
        simulator.script().replace(rules);
    }
    let urls = urls(&world).await?;
    let requests = (0..REQUESTS).map(|number| Request::any(number, &urls, &mut random));
    let mut requests = requests.collect::<Result<Vec<_>>>()?;
    requests.shuffle(&mut random);

    let client = stack::http_client()?;
    let asked = stream::iter(&requests)
        .map(async |request| (request, request.ask(&client).await))
        .buffer_unordered(IN_FLIGHT);
    let asked: Vec<_> = asked.collect().await;

    let mut counted = counted(&world).await?;
    let ledgers = ledgers(simulators.map(|(simulator, _)| simulator));
    let mut failures = Vec::new();
    for (request, seen) in asked {
        let rows = counted.remove(&request.number).unwrap_or_default();
        let judged = seen.and_then(|seen| {
            request.judge(&seen)?;
            let [usage] = rows.as_slice() else {
                bail!("counted as {rows:?}");
            };
            request.audit(&seen, usage, &ledgers)
        });
        failures.extend(judged.err().map(|it| format!("{request:?}: {it:#}")));
    }
    assert!(counted.is_empty(), "nobody has asked {counted:?}");
    let first: Vec<_> = failures.iter().take(10).collect();
    assert!(
        failures.is_empty(),
        "{} of them: {first:#?}",
        failures.len()
    );
    Ok(())
}
