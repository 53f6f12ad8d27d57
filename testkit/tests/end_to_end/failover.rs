//! When the plan fails: Bedrock answers, and nobody notices.
//!
//! One table says what the plan may do to a request and what follows from it. It
//! is driven twice: by a plain client through every row, and by Claude Code.

use std::{collections::HashMap, fmt};

use anyhow::{Context, Result, ensure};
use chrono::{TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::Value;
use testkit::{
    anthropic::{ApiError, At, Gate, How, Reply, Rule, Server},
    bedrock::Exception,
    stack::{Builder, admin::IssuedKey},
};

use crate::{
    claude_code::{ClaudeCode, Run, VERSIONS},
    support::{
        World, asked,
        bedrock::{API_KEY, OnBedrock},
        client::{MODEL, OWN, say},
        eventually, question, reported, send, tokens,
    },
};

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

/// Everything that the plan may do, short of not being there, which has a test of
/// its own.
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
        Fate::failing("a stall before the head", 504, cut(At::Start, How::Silence)),
        Fate::failing(
            "a stall within the start",
            200,
            cut(At::Bytes(40), How::Silence),
        ),
        Fate::failing("302", 302, Reply::html(302)),
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
        Fate::failing("a stall after the start", 200, after_start(How::Silence)),
    ]
}

/// The plan's limit, which it has back after the tests.
fn used_up() -> Reply {
    let in_an_hour = Utc::now() + TimeDelta::hours(1);
    Reply::plan_limit(in_an_hour.timestamp().unsigned_abs())
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
            // Nobody else could be asked.
            (false, _, _) => Circuit::Closed,
            (true, Circuit::Closed, Says::UsedUp) => Circuit::Open,
            (true, Circuit::HalfOpen, Says::Healthy) => Circuit::Closed,
            (true, Circuit::HalfOpen, Says::Failing | Says::UsedUp) => Circuit::Open,
            // A refusal says that somebody is there, not that the plan answers.
            (true, circuit, _) => circuit,
        }
    }
}

/// A world with a company's key, in which the plan does to each row's request
/// what the row says, and every circuit stands where the row says.
async fn set_up(rows: Vec<(Fate, bool, Circuit)>) -> Result<(OnBedrock, Vec<Row>)> {
    let set_up = |stack: Builder<'static>| {
        stack
            .setting("PROXY_PLAN_API_KEY", "sk-ant-api03-of-the-company")
            // Long enough for whoever answers, on a busy machine too.
            .setting("PROXY_FIRST_BYTE_TIMEOUT", "10")
            .setting("PROXY_IDLE_TIMEOUT", "10")
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
        let is_exact = tokens(&usage)? == reported(simulator, &usage)?;
        ensure!(is_exact, "{row}: {usage}");
    } else {
        ensure!(usage["outcome"] == "upstream_failed", "{usage}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_table_holds() -> Result<()> {
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
        // Most of those that take long wait for the end of a stall.
        .buffered(32);
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
    let base_url = world.proxy().base_url(&row.key.raw_key);
    let run = run(version, &base_url, row.fate.credential, &row.text, &[]).await?;
    let notices_nothing = run.shows_nothing_but(&row.text);
    ensure!(notices_nothing, "{row}, Claude Code {version}: {run:?}");
    Ok(())
}

/// Claude Code at this address, told what to say.
async fn run(
    version: &str,
    base_url: &str,
    credential: &str,
    text: &str,
    more: &[(&str, &str)],
) -> Result<Run> {
    let mut lines = vec![
        ("ANTHROPIC_BASE_URL", base_url),
        ("ANTHROPIC_API_KEY", credential),
        ("ANTHROPIC_MODEL", MODEL),
    ];
    lines.extend(more);
    let lines = lines.iter();
    let lines = lines.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let claude = ClaudeCode::install(version)?;
    let told = format!("say: {text}");
    claude.attempt(&lines.collect::<Vec<_>>(), &[&told]).await
}

impl Run {
    fn shows_nothing_but(&self, text: &str) -> bool {
        self.status.success() && self.stdout.trim() == text && self.stderr.is_empty()
    }
}

/// What Claude Code makes of a refusal that is its own to hear: the words that it
/// shows, and how many requests it may take for them.
#[tokio::test(flavor = "multi_thread")]
async fn claude_code_hears_what_only_the_developer_can_mend() -> Result<()> {
    let fate = |name: &str| {
        let mut fates = fates().into_iter();
        fates.find(|it| it.name == name).context("no such fate")
    };
    let [newest, oldest] = VERSIONS;
    let limit = "exceed your account's rate limit";
    let cases = [
        // It leaves something out, each time.
        (newest, "400", true, "messages.0: something is invalid", 6),
        (newest, "401", true, "Invalid API key", 1),
        (newest, "403", true, "does not have permission", 1),
        (newest, "a used up limit", false, limit, 1),
        (oldest, "403", true, "does not have permission", 1),
        (oldest, "a used up limit", false, limit, 1),
    ];
    let rows = cases.map(|(_, name, has_credential, ..)| {
        fate(name).map(|it| (it, has_credential, Circuit::Closed))
    });
    let (world, rows) = set_up(rows.into_iter().collect::<Result<_>>()?).await?;
    let tried = stream::iter(rows.iter().zip(cases))
        .map(async |(row, (version, _, _, words, at_most))| {
            // Else it tries a 401 for three minutes.
            let once = [("CLAUDE_CODE_MAX_RETRIES", "0")];
            let base_url = world.proxy().base_url(&row.key.raw_key);
            let run = run(version, &base_url, OWN, &row.text, &once).await?;
            let is_told = !run.status.success() && run.stdout.contains(words);
            ensure!(is_told, "{row}, Claude Code {version}: {run:?}");
            let requests = asked(&world.simulator, &row.text);
            ensure!(requests <= at_most, "{row}: {requests} requests");
            ensure!(
                asked(&world.bedrock, &row.text) == 0,
                "{row}: asked Bedrock"
            );
            let counted = world.usage_of(&row.key.access_key_id, requests).await?;
            ensure!(counted.len() == requests, "{row}: {counted:?}");
            let is_plan = |it: &Value| it["provider"] == "plan" && it["is_fallback"] == false;
            ensure!(counted.iter().all(is_plan), "{row}: {counted:?}");
            Ok(())
        })
        .buffered(3);
    tried.try_collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn bedrock_answers_when_the_plan_refuses_connections() -> Result<()> {
    let mut world = OnBedrock::after_the_plan(|stack| stack).await?;
    let alone = world.stack.admin().issue_key(&world.user_id).await?;
    world.until_in_force().await?;
    world.close_the_plan().await?;
    for is_streaming in [false, true] {
        let heard = say(&world.base_url(), "still here", is_streaming, OWN).await;
        assert!(heard.is_complete("still here"), "{heard:?}");
        let base_url = world.proxy().base_url(&alone.raw_key);
        let heard = say(&base_url, "nobody here", is_streaming, OWN).await;
        assert!(heard.is_error(502), "{heard:?}");
    }
    let run = run(VERSIONS[0], &world.base_url(), OWN, "still here", &[]).await?;
    assert!(run.shows_nothing_but("still here"), "{run:?}");
    assert_eq!(asked(&world.bedrock, "still here"), 3);
    assert_eq!(asked(&world.bedrock, "nobody here"), 0);
    for (key, provider, requests) in [(&world.key, "bedrock", 3), (&alone, "plan", 2)] {
        let counted = world.usage_of(&key.access_key_id, requests).await?;
        let is_right = |it: &Value| it["provider"] == provider;
        assert!(
            counted.len() == requests && counted.iter().all(is_right),
            "{counted:?}"
        );
    }
    Ok(())
}

/// Before the head, and between the start and the first content.
#[tokio::test(flavor = "multi_thread")]
async fn bedrock_answers_when_the_plan_falls_silent() -> Result<()> {
    let world = OnBedrock::after_the_plan(|stack| {
        stack
            .setting("PROXY_FIRST_BYTE_TIMEOUT", "5")
            .setting("PROXY_PING_INTERVAL", "1")
            // All of it with one access key.
            .setting("PROXY_CIRCUIT_FAILURE_THRESHOLD", "1000")
    })
    .await?;
    let silences = [("before", At::Start), ("within", At::Events(1))];
    for (place, at) in silences {
        let silent = Reply::answer().ending(at, How::Silence);
        let rule = Rule::always(silent).body_contains(&format!("silence {place}"));
        world.simulator.script().rule(rule);
    }
    let base_url = world.base_url();
    let plain = async |place: &str, is_streaming: bool| {
        let text = format!("no silence {place} a client, streaming: {is_streaming}");
        let heard = say(&base_url, &text, is_streaming, OWN).await;
        ensure!(heard.is_complete(&text), "{heard:?}");
        Ok(text)
    };
    let claude_code = async |place: &str, version: &str| {
        let text = format!("no silence {place} Claude Code {version}");
        let run = run(version, &base_url, OWN, &text, &[]).await?;
        ensure!(run.shows_nothing_but(&text), "{run:?}");
        Ok(text)
    };
    let [newest, oldest] = VERSIONS;
    let said: [String; 6] = tokio::try_join!(
        plain("before", false),
        plain("before", true),
        plain("within", true),
        claude_code("before", newest),
        claude_code("before", oldest),
        claude_code("within", newest),
    )?
    .into();
    for text in &said {
        let asked = [&world.simulator as &Server, &world.bedrock].map(|it| asked(it, text));
        assert_eq!(asked, [1, 1], "{text}");
    }
    let counted = world.usage_of(&world.key.access_key_id, said.len()).await?;
    let is_right = |it: &Value| it["outcome"] == "complete" && it["is_fallback"] == true;
    assert!(
        counted.len() == said.len() && counted.iter().all(is_right),
        "{counted:?}"
    );
    Ok(())
}

/// The promise is a head and a ping; what follows is Bedrock's answer from its
/// beginning.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_told_to_wait_gets_what_bedrock_says() -> Result<()> {
    let world = OnBedrock::after_the_plan(|stack| stack.setting("PROXY_PING_INTERVAL", "1"));
    let world = world.await?;
    let gate = Gate::closed();
    let script = world.simulator.script();
    script.then(Reply::error(529).head_gate(&gate));
    let body = question(MODEL, true);
    let mut response = send(&world.base_url(), &body, &[("x-api-key", OWN)]).await?;
    let first = response.chunk().await?.context("an empty stream")?;
    assert!(first.starts_with(b"event: ping\n"), "{first:?}");
    gate.open();
    let rest = response.text().await?;
    assert!(rest.contains("msg_bdrk_"), "{rest}");
    assert_eq!(rest.matches("event: message_start\n").count(), 1, "{rest}");
    assert!(
        rest.ends_with("\n\n") && rest.contains("event: message_stop\n"),
        "{rest}"
    );
    assert!(!rest.contains("event: error\n"), "{rest}");
    Ok(())
}

/// When both have failed, the client gets the answer that helps it most, and the
/// plan is asked after all when its circuit is open.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_hears_the_more_useful_of_two_failures() -> Result<()> {
    Box::pin(both_fail(true)).await?;
    Box::pin(both_fail(false)).await
}

async fn both_fail(is_streaming: bool) -> Result<()> {
    let busy = || ApiError::from(Exception::Throttling);
    let invalid = || Exception::Validation.says("something is invalid");
    let too_long = || Exception::Validation.says("Input is too long for requested model.");
    let failing = || Fate::failing("529", 529, Reply::error(529));
    let limited = || Fate::new("a used up limit", Says::UsedUp, 429, used_up());
    let healthy = || Fate::new("a healthy plan", Says::Healthy, 200, Reply::answer());
    let (closed, open) = (Circuit::Closed, Circuit::Open);
    let cases = [
        (failing(), closed, busy(), 529, "plan"),
        (failing(), closed, too_long(), 400, "bedrock"),
        (failing(), open, busy(), 529, "plan"),
        // Bedrock may soon answer, the plan not for an hour.
        (limited(), closed, busy(), 429, "bedrock"),
        (limited(), closed, invalid(), 429, "plan"),
        (healthy(), open, busy(), 200, "plan"),
        (healthy(), open, invalid(), 200, "plan"),
    ];
    let rows = cases
        .iter()
        .map(|(fate, circuit, ..)| (fate.clone(), true, *circuit));
    let (world, rows) = set_up(rows.collect()).await?;
    for (row, (_, _, refusal, status, provider)) in rows.iter().zip(cases) {
        let rule = Rule::always(Reply::refusal(refusal)).body_contains(&row.text);
        world.bedrock.script().rule(rule);
        let base_url = world.proxy().base_url(&row.key.raw_key);
        let heard = say(&base_url, &row.text, is_streaming, OWN).await;
        let usage = usage_of(&world, row).await?;
        let asked = [&world.simulator as &Server, &world.bedrock].map(|it| asked(it, &row.text));
        assert_eq!(asked, [1, 1], "{row}");
        assert_eq!(usage["provider"], provider, "{row}: {usage}");
        assert_eq!(
            usage["is_fallback"],
            provider == "bedrock",
            "{row}: {usage}"
        );
        if status == 200 {
            assert!(heard.is_complete(&row.text), "{row}: {heard:?}");
            continue;
        }
        assert!(heard.is_error(status), "{row}: {heard:?}");
        let error: Value = serde_json::from_str(&heard.body)?;
        assert_eq!(error["request_id"], usage["request_id"], "{row}: {heard:?}");
        let is_hopeless = provider == "plan" && row.fate.says == Says::UsedUp;
        let should_retry = heard.headers.get("x-should-retry");
        assert_eq!(should_retry.is_some(), is_hopeless, "{row}: {heard:?}");
    }
    Ok(())
}
