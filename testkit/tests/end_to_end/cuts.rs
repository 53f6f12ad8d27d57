//! An answer of the plan that is cut: at every byte, in every way, for every SDK.
//!
//! A cut is the name of the client's session. So the simulator knows where to
//! cut, and the usage row says which cut it is of.

use std::{collections::HashMap, io::Write, iter};

use anyhow::{Context, Result, ensure};
use flate2::write::GzDecoder;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testkit::{
    anthropic::{ApiError, At, Encoding, How, Received, Reply, Simulator, Usage, Writes},
    sdk::{Heard, Question, Sdk},
};
use tokio_postgres::Row;

use crate::support::{
    World,
    bedrock::{API_KEY, OnBedrock},
    eventually, question,
};

/// Where an answer of the plan is cut, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Cut {
    way: Way,
    /// The bytes of the body that are sent; of an `error` event, the events
    /// before it.
    at: usize,
    is_compressed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// The body ends as if it were complete.
    Clean,
    /// The connection is closed, in the orderly way, within the body.
    Close,
    Reset,
    /// An `error` event, and a proper end.
    ErrorEvent,
}

/// The answer of the plan when nobody cuts it.
#[derive(Debug)]
struct Whole {
    bytes: Vec<u8>,
    compressed: Vec<u8>,
    /// Where each event ends.
    ends: Vec<usize>,
}

/// How much of the answer there is before the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Nothing,
    /// No whole event.
    Bytes,
    /// `message_start`, which states the input.
    Started,
    /// The first event that must not come twice.
    Content,
    /// `message_delta`, which states the output. Most clients need no more.
    Stopped,
    /// `message_stop`.
    Ended,
}

/// How a request must end for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With all of this message, once.
    Message(Provider),
    /// With an error of this type, from the API.
    ApiError(&'static str),
    /// With one of [`BROKEN`], because nothing of ours fits into the body.
    Broken,
    /// Compressed, with either: Python goes by `message_delta`, TypeScript by
    /// `message_stop`.
    MessageOrBroken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Provider {
    Plan,
    Bedrock,
}

/// What must be booked of a request.
#[derive(Debug, PartialEq)]
struct Booked {
    provider: Option<String>,
    is_fallback: bool,
    outcome: String,
    status: i32,
    is_estimate: bool,
    tokens: Usage,
}

/// What the plan's `message_delta` states in the end.
const PLAN: Usage = Usage {
    input_tokens: 12,
    output_tokens: 90,
    cache_read_tokens: 345,
    cache_write_5m_tokens: 67,
    cache_write_1h_tokens: 8,
};

/// What the plan's `message_start` states.
const PLAN_SO_FAR: Usage = Usage {
    output_tokens: 1,
    ..PLAN
};

const BEDROCK: Usage = Usage {
    input_tokens: 1_000,
    output_tokens: 200,
    cache_read_tokens: 30,
    cache_write_5m_tokens: 4,
    cache_write_1h_tokens: 0,
};

/// Where not every byte is a cut, every so many are. A prime, so that every place
/// within the events has its turn.
const STRIDE: usize = 7;

/// So many failures open a circuit, which keeps the plan from being asked: the
/// most that can be set.
const FAILURE_THRESHOLD: usize = 1_000;

/// Of what is wrong, which may be everything.
const MAX_SHOWN: usize = 50;

/// What the SDKs raise when a stream has no end: TypeScript's, and Python's
/// within the body and before it.
const BROKEN: [&str; 3] = [
    "AnthropicError",
    "RemoteProtocolError",
    "APIConnectionError",
];

const SESSION: &str = "x-claude-code-session-id";

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cut_at_any_byte_is_an_error_or_complete_and_booked_as_such() -> Result<()> {
    let world = World::start(1).await?;
    let whole = Whole::of(&world.simulator).await?;
    let base_urls = iter::repeat(world.base_url());
    ask_and_judge(&world, &whole, base_urls, |cut| whole.fate(cut)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cut_before_its_first_content_is_bedrocks_and_booked_as_such() -> Result<()> {
    let threshold = FAILURE_THRESHOLD.to_string();
    let world =
        OnBedrock::with(|stack| stack.setting("PROXY_CIRCUIT_FAILURE_THRESHOLD", &threshold))
            .await?;
    let admin = world.stack.admin();
    admin.route(&world.user_id, "plan_first").await?;
    let message = Reply::message(Provider::Bedrock.message()).tokens(BEDROCK);
    world.bedrock.script().always(message);
    let whole = Whole::of(&world.simulator).await?;

    // So many keys that no circuit opens.
    let asked: usize = Sdk::ALL.iter().map(|it| whole.cuts_for(*it).len()).sum();
    let mut base_urls = Vec::new();
    for _ in 0..asked.div_ceil(FAILURE_THRESHOLD - 1) {
        let key = admin.issue_key(&world.user_id).await?;
        world.equip(&key, API_KEY).await?;
        base_urls.push(world.proxy().base_url(&key.raw_key));
    }
    world.until_in_force().await?;
    let base_urls = base_urls.into_iter().cycle();
    ask_and_judge(&world, &whole, base_urls, |cut| {
        whole.fate_beside_bedrock(cut)
    })
    .await
}

/// Lets every SDK ask for its cuts, and compares with their fate what it heard
/// and what was booked.
async fn ask_and_judge(
    world: &World,
    whole: &Whole,
    mut base_urls: impl Iterator<Item = String>,
    fate: impl Fn(Cut) -> (End, Booked),
) -> Result<()> {
    let before = world.simulator.counts().requests;
    let mut unbooked: HashMap<Cut, i64> = HashMap::new();
    let mut asking = Vec::new();
    for sdk in Sdk::ALL {
        let cuts = whole.cuts_for(sdk);
        for cut in &cuts {
            *unbooked.entry(*cut).or_default() += 1;
        }
        let questions = cuts
            .iter()
            .zip(&mut base_urls)
            .map(|(cut, base_url)| Question {
                base_url,
                session: cut.session(),
            });
        asking.push(sdk.ask(questions.collect()));
    }
    let heard = try_join_all(asking).await?;
    let asked = heard.iter().map(Vec::len).sum();
    let rows = rows(world, asked).await?;

    let mut wrong = Vec::new();
    for (sdk, heard) in Sdk::ALL.iter().zip(&heard) {
        for heard in heard {
            let cut = Cut::of(&heard.session).context("an unknown session was heard")?;
            let (end, _) = fate(cut);
            if !end.is(heard, whole.stage(cut)) {
                wrong.push(format!("{sdk:?} {cut:?}: {heard:?} instead of {end:?}"));
            }
        }
    }
    for row in &rows {
        let cut = Cut::of(row.get("session_id")).context("an unknown session was booked")?;
        let (booked, (_, expected)) = (Booked::from(row), fate(cut));
        if booked != expected {
            wrong.push(format!("{cut:?}: {booked:?} instead of {expected:?}"));
        }
        *unbooked.entry(cut).or_default() -= 1;
    }
    let count = wrong.len();
    wrong.truncate(MAX_SHOWN);
    assert_eq!(count, 0, "wrong, of {asked}:\n{}", wrong.join("\n"));
    unbooked.retain(|_, rows| *rows != 0);
    assert!(unbooked.is_empty(), "booked twice or not: {unbooked:?}");
    let received = world.simulator.counts().requests - before;
    assert_eq!(received, asked as u64, "the plan was asked again");
    Ok(())
}

/// What is booked, when everything is.
async fn rows(world: &World, asked: usize) -> Result<Vec<Row>> {
    let sql = world.sql().await?;
    eventually("every request is booked", async || {
        let rows = sql.query("select * from token_usage", &[]).await?;
        Ok((rows.len() >= asked).then_some(rows))
    })
    .await
}

impl Cut {
    fn of(session: &str) -> Option<Self> {
        serde_json::from_str(session).ok()
    }

    fn session(self) -> String {
        json!(self).to_string()
    }

    /// The answer to a request that names one.
    fn answer(request: &Received) -> Reply {
        let answer = Reply::message(Provider::Plan.message()).tokens(PLAN);
        match request.header(SESSION).and_then(Self::of) {
            Some(cut) => cut.made_in(answer),
            None => answer,
        }
    }

    fn made_in(self, answer: Reply) -> Reply {
        let answer = match self.is_compressed {
            true => answer.encoding(Encoding::Gzip),
            false => answer,
        };
        // What comes before it comes at once, or event by event.
        let answer = match self.at % 4 < 2 {
            true => answer.writes(Writes::AtOnce),
            false => answer,
        };
        let at = At::Bytes(self.at);
        match self.way {
            Way::Clean => answer.ending(at, How::Clean),
            Way::Close => answer.ending(at, How::Close),
            Way::Reset => answer.ending(at, How::Reset),
            Way::ErrorEvent => {
                answer.ending(At::Events(self.at), How::Error(ApiError::overloaded()))
            }
        }
    }
}

impl Whole {
    /// Has the simulator answer with it from now on, cut where a request says so.
    async fn of(simulator: &Simulator) -> Result<Self> {
        simulator.script().otherwise(Cut::answer);
        let client = reqwest::Client::builder().no_proxy().no_gzip().build()?;
        let body = async |is_compressed| {
            let cut = Cut {
                way: Way::Clean,
                at: usize::MAX,
                is_compressed,
            };
            let request = client
                .post(format!("{}/v1/messages", simulator.url()))
                .header("anthropic-version", "2023-06-01")
                .header("x-api-key", "sk-ant-test")
                .header(SESSION, cut.session())
                .json(&question("claude-sonnet-4-6", true));
            let bytes = request.send().await?.bytes().await?;
            Ok::<_, anyhow::Error>(bytes.to_vec())
        };
        let bytes = body(false).await?;
        let compressed = body(true).await?;
        ensure!(decoded(&compressed) == bytes.len(), "another answer");
        let ends = memchr::memmem::find_iter(&bytes, "\n\n").map(|at| at + 2);
        Ok(Self {
            ends: ends.collect(),
            bytes,
            compressed,
        })
    }

    /// Where and how an SDK has it cut: cleanly at every byte for the newest ones,
    /// because that is what can be taken for a success. From a close or a reset
    /// a proxy makes the same bytes as from a clean end, so samples have to do
    /// but for the faster one; and for the older SDK, which reads as the newest.
    fn cuts_for(&self, sdk: Sdk) -> Vec<Cut> {
        let mut cuts = Vec::new();
        let mut add = |way, is_compressed, last: usize, stride| {
            cuts.extend((0..=last).step_by(stride).map(|at| Cut {
                way,
                at,
                is_compressed,
            }));
        };
        // First, because each takes longer the more connections there have been.
        add(Way::Reset, false, self.bytes.len(), STRIDE);
        add(Way::ErrorEvent, false, self.ends.len(), 1);
        add(Way::Clean, true, self.compressed.len(), STRIDE);
        add(Way::Close, true, self.compressed.len(), STRIDE);
        let (clean, close) = match sdk {
            Sdk::Python => (1, STRIDE),
            Sdk::TypeScript => (1, 1),
            Sdk::Python0125 => (STRIDE, STRIDE),
        };
        add(Way::Clean, false, self.bytes.len(), clean);
        add(Way::Close, false, self.bytes.len(), close);
        cuts
    }

    fn stage(&self, cut: Cut) -> Stage {
        let whole_events = match (cut.way, cut.is_compressed) {
            (Way::ErrorEvent, _) => cut.at,
            (_, false) => self.events_in(cut.at),
            (_, true) => self.events_in(decoded(
                self.compressed.get(..cut.at).unwrap_or(&self.compressed),
            )),
        };
        match whole_events {
            0 if cut.at == 0 && cut.way != Way::ErrorEvent => Stage::Nothing,
            0 => Stage::Bytes,
            1 => Stage::Started,
            events if events == self.ends.len() => Stage::Ended,
            events if events + 1 == self.ends.len() => Stage::Stopped,
            _ => Stage::Content,
        }
    }

    fn events_in(&self, bytes: usize) -> usize {
        self.ends.iter().filter(|end| **end <= bytes).count()
    }

    /// What must become of a cut answer when there is nobody else to ask.
    fn fate(&self, cut: Cut) -> (End, Booked) {
        let stage = self.stage(cut);
        let has_stopped = stage >= Stage::Stopped;
        let is_told = !cut.is_compressed;
        let end = match (cut.way, stage) {
            (Way::ErrorEvent, _) => End::ApiError("overloaded_error"),
            (Way::Clean, Stage::Ended) => End::Message(Provider::Plan),
            _ if has_stopped && is_told => End::Message(Provider::Plan),
            _ if has_stopped => End::MessageOrBroken,
            _ if is_told => End::ApiError("api_error"),
            _ => End::Broken,
        };
        let is_complete = match cut.way {
            Way::Clean => has_stopped,
            Way::Close | Way::Reset => has_stopped && is_told,
            Way::ErrorEvent => false,
        };
        let outcome = match is_complete {
            true => "complete",
            false => "upstream_failed",
        };
        let tokens = match stage {
            Stage::Nothing | Stage::Bytes => Usage::default(),
            Stage::Started | Stage::Content => PLAN_SO_FAR,
            Stage::Stopped | Stage::Ended => PLAN,
        };
        // Nothing is charged for an answer that has not begun.
        let is_refused = cut.way == Way::ErrorEvent && stage < Stage::Started;
        let booked = Booked {
            provider: Some("plan".to_owned()),
            is_fallback: false,
            outcome: outcome.to_owned(),
            status: 200,
            is_estimate: stage != Stage::Nothing && !has_stopped && !is_refused,
            tokens,
        };
        (end, booked)
    }

    /// What must become of it when there is Bedrock too.
    fn fate_beside_bedrock(&self, cut: Cut) -> (End, Booked) {
        if self.stage(cut) >= Stage::Content {
            return self.fate(cut);
        }
        let booked = Booked {
            provider: Some("bedrock".to_owned()),
            is_fallback: true,
            outcome: "complete".to_owned(),
            status: 200,
            is_estimate: false,
            tokens: BEDROCK,
        };
        (End::Message(Provider::Bedrock), booked)
    }
}

/// The bytes that a reader has of the beginning of a compressed body.
fn decoded(compressed: &[u8]) -> usize {
    let mut decoder = GzDecoder::new(Vec::new());
    // Of what is left behind the last whole block nobody has anything.
    let _ = decoder.write_all(compressed).and_then(|()| decoder.flush());
    decoder.get_ref().len()
}

impl End {
    fn is(self, heard: &Heard, stage: Stage) -> bool {
        let is_complete = |provider: Provider| {
            let said = heard.message.as_ref();
            heard.starts == 1 && said.is_some_and(|it| provider.has_said(it))
        };
        let error = heard.error.as_ref().filter(|_| heard.message.is_none());
        let has_started = u64::from(stage >= Stage::Started);
        match self {
            Self::Message(provider) => is_complete(provider),
            Self::ApiError(kind) => {
                let is_it = error.is_some_and(|it| it.r#type.as_deref() == Some(kind));
                is_it && heard.starts == has_started
            }
            Self::Broken => {
                let is_it = error.is_some_and(|it| BROKEN.contains(&it.class.as_str()));
                is_it && heard.starts <= has_started
            }
            Self::MessageOrBroken => is_complete(Provider::Plan) || Self::Broken.is(heard, stage),
        }
    }
}

impl Provider {
    /// What it answers.
    fn message(self) -> Value {
        match self {
            Self::Plan => json!({
                "id": "msg_plan",
                "content": [
                    { "type": "thinking", "thinking": "Rain?", "signature": "EqMBplan" },
                    { "type": "text", "text": "Wait." },
                    {
                        "type": "tool_use",
                        "id": "toolu_plan",
                        "name": "weather",
                        "input": { "city": "San Marino" },
                    },
                ],
                "stop_reason": "tool_use",
            }),
            Self::Bedrock => json!({
                "id": "msg_bedrock",
                "content": [{ "type": "text", "text": "It rains." }],
                "stop_reason": "end_turn",
            }),
        }
    }

    /// Whether a message has all of it.
    fn has_said(self, message: &Value) -> bool {
        let expected = self.message();
        let tokens = match self {
            Self::Plan => PLAN,
            Self::Bedrock => BEDROCK,
        };
        let is_whole = ["id", "content", "stop_reason"]
            .iter()
            .all(|field| message.get(field) == expected.get(field));
        let stated = message.pointer("/usage/output_tokens");
        is_whole && stated == Some(&tokens.output_tokens.into())
    }
}

impl From<&Row> for Booked {
    fn from(row: &Row) -> Self {
        let tokens = |name| u64::try_from(row.get::<_, i64>(name)).unwrap_or(u64::MAX);
        Self {
            provider: row.get("provider"),
            is_fallback: row.get("is_fallback"),
            outcome: row.get("outcome"),
            status: row.get("status"),
            is_estimate: row.get("is_estimate"),
            tokens: Usage {
                input_tokens: tokens("input_tokens"),
                output_tokens: tokens("output_tokens"),
                cache_read_tokens: tokens("cache_read_tokens"),
                cache_write_5m_tokens: tokens("cache_write_5m_tokens"),
                cache_write_1h_tokens: tokens("cache_write_1h_tokens"),
            },
        }
    }
}
