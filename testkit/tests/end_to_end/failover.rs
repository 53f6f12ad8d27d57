//! When the plan fails: Bedrock answers, and nobody notices.
//!
//! One table says what the plan may do to a request and what follows from it. It
//! is driven twice: by a plain client through every row, and by Claude Code.

use std::{collections::HashMap, fmt};

use anyhow::{Context, Result, ensure};
use chrono::{TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};
use testkit::{
    anthropic::{ApiError, At, Entry, How, Reply, Rule, Server},
    stack::{Builder, admin::IssuedKey},
};

use crate::{
    claude_code::{ClaudeCode, Run, VERSIONS},
    support::{
        World,
        bedrock::{API_KEY, OnBedrock},
        eventually, question, send,
    },
};

const MODEL: &str = "claude-opus-5-5";

/// A developer's own key of the Anthropic API.
const OWN: &str = "sk-ant-test";

/// What the plan does to a request, and what follows from it.
#[derive(Debug, Clone)]
struct Fate {
    name: &'static str,
    reply: Reply,
    says: Says,
    /// How often one request of a client's is sent to the plan.
    asked: usize,
    /// The status of the answer if it is the plan's.
    alone: u16,
    /// What the client sends as its key.
    credential: &'static str,
}

/// What a fate says about the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Healthy,
    /// The client is at fault, or has to know.
    Final,
    /// Somebody else may do better …
    Uncounted,
    /// … and the plan is not well,
    Failing,
    /// or out of its limit.
    UsedUp,
}

/// Where an access key's circuit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Circuit {
    Closed,
    Open,
    HalfOpen,
}

/// A row of the table, with an access key of its own.
#[derive(Debug)]
struct Row {
    fate: Fate,
    has_credential: bool,
    circuit: Circuit,
    key: IssuedKey,
    /// What the model is told to say. Nobody else is told the same.
    text: String,
}

/// What becomes of a row's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outcome {
    asked_of_plan: usize,
    asked_of_bedrock: usize,
    is_fallback: bool,
    status: u16,
}

impl Fate {
    fn new(name: &'static str, says: Says, alone: u16, reply: Reply) -> Self {
        Self {
            name,
            reply,
            says,
            asked: 1,
            alone,
            credential: OWN,
        }
    }

    /// The connection dies unanswered, so another one is tried.
    fn dies(name: &'static str, how: How) -> Self {
        Self {
            asked: 2,
            ..Self::failing(name, 502, Reply::answer().ending(At::Start, how))
        }
    }

    fn failing(name: &'static str, alone: u16, reply: Reply) -> Self {
        Self::new(name, Says::Failing, alone, reply)
    }

    fn refused(name: &'static str, status: u16) -> Self {
        Self::new(name, Says::Final, status, Reply::error(status))
    }

    /// The client sends a dummy, and the company's key is refused.
    fn of_the_operator(name: &'static str, status: u16) -> Self {
        Self {
            credential: "dummy",
            ..Self::new(name, Says::Uncounted, 503, Reply::error(status))
        }
    }
}

/// Everything that the plan may do, short of silence.
fn fates() -> Vec<Fate> {
    let cut = |at, how| Reply::answer().ending(at, how);
    let first_error = |at| cut(at, How::Error(ApiError::overloaded()));
    vec![
        Fate::new("a healthy plan", Says::Healthy, 200, Reply::answer()),
        Fate::new("a used up limit", Says::UsedUp, 429, used_up()),
        Fate::failing("429", 429, Reply::error(429)),
        Fate::failing("500", 500, Reply::error(500)),
        Fate::failing("503", 503, Reply::error(503)),
        Fate::failing("529", 529, Reply::error(529)),
        Fate::failing("an error page", 502, Reply::html(502)),
        Fate::new("408", Says::Uncounted, 408, Reply::error(408)),
        Fate::of_the_operator("401 for the company", 401),
        Fate::of_the_operator("403 for the company", 403),
        Fate::dies("a reset before the head", How::Reset),
        Fate::dies("an end before the head", How::Close),
        Fate::failing("no HTTP", 502, Reply::raw("no HTTP at all\r\n\r\n")),
        Fate::failing("an error event first", 200, first_error(At::Start)),
        Fate::failing(
            "a reset within the start",
            200,
            cut(At::Bytes(40), How::Reset),
        ),
        Fate::failing(
            "an end within the start",
            200,
            cut(At::Bytes(40), How::Close),
        ),
        Fate::refused("400", 400),
        Fate::refused("401", 401),
        Fate::refused("403", 403),
        Fate::refused("404", 404),
        Fate::refused("413", 413),
    ]
}

/// What only a stream can do.
fn fates_of_streams() -> Vec<Fate> {
    let after_start = |how| Reply::answer().ending(At::Events(1), how);
    let error = How::Error(ApiError::of_status(500));
    vec![
        Fate::failing("an error event after the start", 200, after_start(error)),
        Fate::failing("a reset after the start", 200, after_start(How::Reset)),
        Fate::failing("an end after the start", 200, after_start(How::Close)),
        Fate::failing("a clean end after the start", 200, after_start(How::Clean)),
    ]
}

/// The plan's limit, which it has back after the tests.
fn used_up() -> Reply {
    Reply::plan_limit(in_an_hour())
}

fn in_an_hour() -> u64 {
    (Utc::now() + TimeDelta::hours(1))
        .timestamp()
        .unsigned_abs()
}

impl Row {
    fn outcome(&self) -> Outcome {
        let is_blocked = self.has_credential && self.circuit == Circuit::Open;
        let moves_on = !matches!(self.fate.says, Says::Healthy | Says::Final);
        let is_fallback = self.has_credential && (is_blocked || moves_on);
        Outcome {
            asked_of_plan: if is_blocked { 0 } else { self.fate.asked },
            asked_of_bedrock: usize::from(is_fallback),
            is_fallback,
            status: if is_fallback { 200 } else { self.fate.alone },
        }
    }

    fn is_answered(&self) -> bool {
        self.outcome().is_fallback || self.fate.says == Says::Healthy
    }

    /// Where the circuit stands after one request.
    fn circuit_after(&self) -> Circuit {
        match (self.has_credential, self.circuit, self.fate.says) {
            (true, Circuit::Closed, Says::UsedUp) => Circuit::Open,
            // A refusal is an answer, too.
            (true, Circuit::HalfOpen, Says::Healthy | Says::Final) => Circuit::Closed,
            (true, Circuit::HalfOpen, Says::Failing | Says::UsedUp) => Circuit::Open,
            (_, circuit, _) => circuit,
        }
    }
}

/// A world with a company's key, in which the plan does to each row's request
/// what the row says, and every circuit stands where the row says.
async fn set_up(rows: Vec<(Fate, bool, Circuit)>) -> Result<(OnBedrock, Vec<Row>)> {
    let set_up = |stack: Builder<'static>| {
        stack.setting("PROXY_PLAN_API_KEY", "sk-ant-api03-of-the-company")
    };
    let world = OnBedrock::after_the_plan(set_up).await?;
    let rows = stream::iter(rows).map(|row| prepared(&world, row));
    let rows: Vec<Row> = rows.buffered(8).try_collect().await?;
    world.until_in_force().await?;
    for row in &rows {
        world
            .simulator
            .script()
            .rule(Rule::always(row.fate.reply.clone()).body_contains(&row.text));
        turn(&world, &row.key, row.circuit).await?;
    }
    let admin = world.stack.admin();
    for row in rows.iter().filter(|row| !row.has_credential) {
        let path = format!("/admin/access-keys/{}/bedrock-key", row.key.access_key_id);
        admin.call(Method::DELETE, &path, None).await?;
    }
    world.until_in_force().await?;
    Ok((world, rows))
}

async fn prepared(
    world: &OnBedrock,
    (fate, has_credential, circuit): (Fate, bool, Circuit),
) -> Result<Row> {
    let key = world.stack.admin().issue_key(&world.user_id).await?;
    world.equip(&key, API_KEY).await?;
    Ok(Row {
        text: format!("{} did not stop {}", fate.name, key.access_key_id),
        fate,
        has_credential,
        circuit,
        key,
    })
}

/// Brings an access key's circuit there, with one request.
async fn turn(world: &OnBedrock, key: &IssuedKey, circuit: Circuit) -> Result<()> {
    let base_url = world.proxy().base_url(&key.raw_key);
    let limit = match circuit {
        Circuit::Closed => return Ok(()),
        Circuit::Open => used_up(),
        // Over already, so that the next request finds out.
        Circuit::HalfOpen => Reply::plan_limit(1),
    };
    let opening = format!("to open {}", key.access_key_id);
    let script = world.simulator.script();
    script.rule(Rule::once(limit).body_contains(&opening));
    let heard = say(&base_url, &opening, false, OWN).await;
    ensure!(heard.is_complete(&opening), "{heard:?}");
    Ok(())
}

/// All that a client gets.
#[derive(Debug, Default)]
struct Heard {
    /// None: the connection broke before.
    status: Option<u16>,
    headers: HeaderMap,
    body: String,
    is_broken: bool,
}

/// Tells the model what to say, and listens to the end.
async fn say(base_url: &str, text: &str, is_streaming: bool, credential: &str) -> Heard {
    let mut body = question(MODEL, is_streaming);
    body["messages"][0]["content"] = json!(format!("say: {text}"));
    let mut heard = Heard::default();
    let Ok(mut response) = send(base_url, &body, &[("x-api-key", credential)]).await else {
        heard.is_broken = true;
        return heard;
    };
    heard.status = Some(response.status().as_u16());
    heard.headers = response.headers().clone();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => heard.body += &String::from_utf8_lossy(&piece),
            Ok(None) => return heard,
            Err(_) => {
                heard.is_broken = true;
                return heard;
            }
        }
    }
}

impl Heard {
    fn is_stream(&self) -> bool {
        self.body.starts_with("event: ")
    }

    /// One answer with this text, from its beginning to its end, and no word of
    /// an error.
    fn is_complete(&self, text: &str) -> bool {
        self.status == Some(200) && !self.is_broken && self.said().as_deref() == Some(text)
    }

    fn said(&self) -> Option<String> {
        if !self.is_stream() {
            let message: Value = serde_json::from_str(&self.body).ok()?;
            return Some(message["content"][0]["text"].as_str()?.to_owned());
        }
        let count = |name: &str| self.body.matches(&format!("event: {name}\n")).count();
        let is_one = count("message_start") == 1 && count("message_stop") == 1;
        (is_one && count("error") == 0).then(|| {
            let data = self.body.lines().filter_map(|it| it.strip_prefix("data: "));
            let events = data.filter_map(|it| serde_json::from_str::<Value>(it).ok());
            let texts = events.filter_map(|it| Some(it["delta"]["text"].as_str()?.to_owned()));
            texts.collect()
        })
    }

    /// An error with this status that no client takes for an answer. One that is
    /// relayed may come too late for the status.
    fn is_error(&self, status: u16) -> bool {
        match self.status {
            Some(200) => status == 200 && (self.is_broken || self.body.contains("event: error\n")),
            Some(found) => {
                let is_envelope = self.body.contains(r#""type":"error""#);
                found == status && (is_envelope || self.body.starts_with("<html>"))
            }
            None => status == 200,
        }
    }
}

/// The requests with this text that a simulator has received.
fn asked(simulator: &Server, text: &str) -> usize {
    let received = simulator.received();
    let asked = received
        .iter()
        .filter(|it| it.operation.is_message() && it.contains(text));
    asked.count()
}

/// What control has counted for the one request of a row.
async fn usage_of(world: &World, row: &Row) -> Result<Value> {
    let others = usize::from(row.circuit != Circuit::Closed);
    let access_key_id = &row.key.access_key_id;
    let mut counted = world.usage_of(access_key_id, others + 1).await?;
    ensure!(counted.len() == others + 1, "counted {counted:?}");
    Ok(counted.swap_remove(0))
}

/// What the simulators and control say of a row's request, compared with the
/// table.
async fn judge(world: &OnBedrock, row: &Row) -> Result<()> {
    let expected = row.outcome();
    let usage = usage_of(world, row)
        .await
        .with_context(|| row.to_string())?;
    let found = Outcome {
        asked_of_plan: asked(&world.simulator, &row.text),
        asked_of_bedrock: asked(&world.bedrock, &row.text),
        is_fallback: usage["is_fallback"] == true,
        status: usage["status"].as_u64().unwrap_or_default().try_into()?,
    };
    ensure!(
        found == expected,
        "{row}: {found:?} instead of {expected:?}"
    );
    let provider = if expected.is_fallback {
        "bedrock"
    } else {
        "plan"
    };
    ensure!(usage["provider"] == provider, "{usage}");
    if row.is_answered() {
        ensure!(usage["outcome"] == "complete", "{usage}");
        ensure!(usage["is_estimate"] == false, "{usage}");
        let simulator: &Server = if expected.is_fallback {
            &world.bedrock
        } else {
            &world.simulator
        };
        let entry = entry_of(simulator, &usage)?;
        ensure!(
            usage["input_tokens"] == entry.tokens.input_tokens,
            "{usage}"
        );
        ensure!(
            usage["output_tokens"] == entry.tokens.output_tokens,
            "{usage}"
        );
    } else {
        ensure!(usage["outcome"] == "upstream_failed", "{usage}");
    }
    Ok(())
}

/// What a simulator has reported to have cost what control has counted.
fn entry_of(simulator: &Server, usage: &Value) -> Result<Entry> {
    let mut entries = simulator.ledger().entries.into_iter();
    entries
        .find(|it| usage["upstream_request_id"] == *it.request_id)
        .with_context(|| format!("nobody has reported {usage}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn bedrock_answers_whatever_the_plan_does() -> Result<()> {
    let mut asked = Vec::new();
    for is_streaming in [false, true] {
        let mut fates = fates();
        fates.extend(is_streaming.then(fates_of_streams).into_iter().flatten());
        for fate in fates {
            for circuit in [Circuit::Closed, Circuit::Open, Circuit::HalfOpen] {
                for has_credential in [true, false] {
                    asked.push((is_streaming, (fate.clone(), has_credential, circuit)));
                }
            }
        }
    }
    let (forms, rows): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    let (world, rows) = set_up(rows).await?;
    let tried = stream::iter(rows.iter().zip(forms))
        .map(|(row, is_streaming)| try_out(&world, row, is_streaming))
        .buffered(8);
    let tried: Vec<_> = tried.collect().await;
    let mut failures: Vec<_> = tried.into_iter().filter_map(Result::err).collect();
    for row in &rows {
        failures.extend(judge(&world, row).await.err());
    }
    assert!(failures.is_empty(), "{failures:#?}");

    let mut differing = Vec::new();
    eventually("control knows where all circuits stand", async || {
        let known = circuits(&world).await?;
        let differs = |row: &&Row| {
            let known = known.get(&row.key.access_key_id).map(String::as_str);
            known != row.circuit_after().label()
        };
        differing = rows.iter().filter(differs).map(Row::to_string).collect();
        Ok(differing.is_empty().then_some(()))
    })
    .await
    .with_context(|| format!("{differing:#?}"))
}

/// Asks as a row says, and listens.
async fn try_out(world: &OnBedrock, row: &Row, is_streaming: bool) -> Result<()> {
    let base_url = world.proxy().base_url(&row.key.raw_key);
    let heard = say(&base_url, &row.text, is_streaming, row.fate.credential).await;
    let is_as_expected = if row.is_answered() {
        heard.is_complete(&row.text)
    } else {
        heard.is_error(row.outcome().status)
    };
    ensure!(
        is_as_expected,
        "{row}, streaming: {is_streaming}: {heard:?}"
    );
    let is_limit = row.fate.says == Says::UsedUp && !row.is_answered();
    let tells_limit = heard
        .headers
        .contains_key("anthropic-ratelimit-unified-representative-claim");
    ensure!(tells_limit || !is_limit, "{row}: {heard:?}");
    Ok(())
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fate, circuit, has_credential) = (self.fate.name, self.circuit, self.has_credential);
        write!(
            f,
            "{fate}, circuit {circuit:?}, credential: {has_credential}"
        )
    }
}

impl Circuit {
    /// None: nobody speaks of it.
    fn label(self) -> Option<&'static str> {
        match self {
            Self::Closed => None,
            Self::Open => Some("open"),
            Self::HalfOpen => Some("half_open"),
        }
    }
}

/// The circuits that are not closed, as administrators see them.
async fn circuits(world: &World) -> Result<HashMap<String, String>> {
    let mut circuits = HashMap::new();
    let mut path = "/admin/circuits?limit=200".to_owned();
    loop {
        let page = world.stack.admin().get(&path).await?;
        for item in page["items"].as_array().context("no circuits")? {
            let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
            circuits.insert(text("access_key_id"), text("state"));
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/admin/circuits?limit=200&cursor={cursor}"),
            None => return Ok(circuits),
        }
    }
}

/// Claude Code sends one request for one answer, and shows nothing but that.
#[tokio::test(flavor = "multi_thread")]
async fn claude_code_does_not_notice_that_the_plan_fails() -> Result<()> {
    let mut asked = Vec::new();
    for fate in fates().into_iter().chain(fates_of_streams()) {
        if fate.says == Says::Final {
            continue;
        }
        let is_decisive = [
            "a used up limit",
            "529",
            "a reset before the head",
            "an error event first",
            "a clean end after the start",
        ]
        .contains(&fate.name);
        let [newest, oldest] = VERSIONS;
        asked.push((newest, (fate.clone(), true, Circuit::Closed)));
        if is_decisive {
            asked.push((oldest, (fate.clone(), true, Circuit::Closed)));
            asked.push((newest, (fate, true, Circuit::HalfOpen)));
        }
    }
    for version in VERSIONS {
        let healthy = fates().swap_remove(0);
        asked.push((version, (healthy.clone(), true, Circuit::Open)));
        asked.push((version, (healthy, true, Circuit::HalfOpen)));
    }
    let (versions, rows): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    let (world, rows) = set_up(rows).await?;
    let tried = stream::iter(rows.iter().zip(versions))
        .map(|(row, version)| does_not_notice(&world, row, version))
        .buffered(3);
    let tried: Vec<_> = tried.collect().await;
    let mut failures: Vec<_> = tried.into_iter().filter_map(Result::err).collect();
    for row in &rows {
        failures.extend(judge(&world, row).await.err());
    }
    assert!(failures.is_empty(), "{failures:#?}");
    Ok(())
}

async fn does_not_notice(world: &OnBedrock, row: &Row, version: &str) -> Result<()> {
    let run = run(world, row, version).await?;
    let is_quiet = run.status.success() && run.stderr.is_empty();
    let is_as_expected = is_quiet && run.stdout.trim() == row.text;
    ensure!(is_as_expected, "{row}, Claude Code {version}: {run:?}");
    Ok(())
}

/// Claude Code with a row's access key and credential, told what to say.
async fn run(world: &OnBedrock, row: &Row, version: &str) -> Result<Run> {
    let base_url = world.proxy().base_url(&row.key.raw_key);
    let lines = [
        ("ANTHROPIC_BASE_URL", &*base_url),
        ("ANTHROPIC_API_KEY", row.fate.credential),
        ("ANTHROPIC_MODEL", MODEL),
    ];
    let lines = lines.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let claude = ClaudeCode::install(version)?;
    claude
        .attempt(&lines, &[&format!("say: {}", row.text)])
        .await
}
