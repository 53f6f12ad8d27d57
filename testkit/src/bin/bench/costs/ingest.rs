//! How many usage events control stores in a second: real batches over real streams,
//! as fast as they are acknowledged.

use std::{collections::HashMap, net::SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use chrono::{TimeDelta, Utc};
use futures_util::future::try_join_all;
use proto::{
    MAX_BATCH_EVENTS,
    line::timestamp,
    sync::{
        Hello, Node, Outcome, Provider, PushRequest, PushResponse, Tokens, UsageBatch, UsageEvent,
        push_request, push_response, usage_service_client::UsageServiceClient,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde::Serialize;
use testkit::{
    history::History,
    load::usage,
    postgres::{Server, Storage},
    stack,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_postgres::Client;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    metadata::{Ascii, MetadataValue},
};
use uuid::Uuid;

use super::database::Database;
use crate::system::{Control, System, pid};

/// As many as a proxy has under way.
const WINDOW: usize = 4;

const WRITERS: [usize; 2] = [1, 8];

/// Events of each case that do not count.
const WARM_UP: usize = 5_000;

/// Of the people who send them.
const SEED: u32 = 1;

/// Sessions that a key has under way.
const SESSIONS: u32 = 3;

/// What is written into.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Kind {
    /// Whether Postgres waits for the disk.
    pub(crate) is_synced: bool,
    /// Whether every user has a budget, against which each batch is held.
    pub(crate) has_budgets: bool,
}

/// One number of writers, with one kind of database.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) writers: usize,
    pub(crate) kind: Kind,
    pub(crate) events: usize,
    pub(crate) seconds: f64,
    pub(crate) postgres_cpu_us: u64,
    pub(crate) control_cpu_us: u64,
    pub(crate) deadlocks: i64,
    /// Rows that are not there, or should not be.
    pub(crate) wrong_rows: i64,
    /// The same of requests in the sums.
    pub(crate) wrong_sums: i64,
}

pub(crate) async fn measure(system: &System, events: usize) -> Result<Vec<Results>> {
    let mut all = Vec::new();
    let mut kind = Kind {
        is_synced: false,
        has_budgets: false,
    };
    let control = system.another_control("ingest", &[]).await?;
    all.extend(measure_in(system, &control, events, kind).await?);
    let synced = Server::start(Storage::SyncedScratch).await?;
    kind.is_synced = true;
    for (name, has_budgets) in [("ingest_synced", false), ("ingest_budgets", true)] {
        kind.has_budgets = has_budgets;
        let control = system.control_in(&synced, name, &[]).await?;
        all.extend(measure_in(system, &control, events, kind).await?);
    }
    Ok(all)
}

/// One for every user, which is not used up.
async fn give_budgets(database: &Client) -> Result<()> {
    let statement = "insert into budgets (user_id, monthly_budget_usd, period_start, period_end)
        select id, 900000, month.start, month.stop from users, month_of(now(), 'UTC') as month";
    database.execute(statement, &[]).await?;
    Ok(())
}

async fn measure_in(
    system: &System,
    control: &Control,
    events: usize,
    kind: Kind,
) -> Result<Vec<Results>> {
    let people = History::of(0, SEED, Utc::now());
    people.write(&control.database_url, |_| {}).await?;
    let database = Database::open(&control.database_url).await?;
    if kind.has_budgets {
        give_budgets(&database.client).await?;
    }
    let keys = keys(&database.client).await?;
    let mut all = Vec::new();
    for writers in WRITERS {
        eprintln!("Storing {events} events of {writers} proxies, {kind:?} …");
        let mut proxies = Vec::new();
        for seed in 0..writers {
            let company = Company {
                draw: StdRng::seed_from_u64(seed.try_into()?),
                keys: keys.clone(),
            };
            let token = &system.secrets().sync_token;
            proxies.push(Writer::open(control.grpc, token, company).await?);
        }
        write(&mut proxies, WARM_UP).await?;

        let before = Usage::of(control, &database.client).await?;
        let stored_before = stored(&database.client).await?;
        let begin = Instant::now();
        let written = write(&mut proxies, events).await?;
        let seconds = begin.elapsed().as_secs_f64();
        let after = Usage::of(control, &database.client).await?;
        let (rows, sums) = stored(&database.client).await?;
        let expected = i64::try_from(written)?;
        all.push(Results {
            writers,
            kind,
            events: written,
            seconds,
            postgres_cpu_us: after.postgres_since(&before),
            control_cpu_us: after.control_us - before.control_us,
            deadlocks: deadlocks(&database.client).await?,
            wrong_rows: (rows - stored_before.0 - expected).abs(),
            wrong_sums: (sums - stored_before.1 - expected).abs(),
        });
    }
    Ok(all)
}

/// Shares so many events among the writers; how many they were.
async fn write(writers: &mut [Writer], events: usize) -> Result<usize> {
    let batches = events.div_ceil(MAX_BATCH_EVENTS * writers.len());
    try_join_all(writers.iter_mut().map(|it| it.write(batches))).await?;
    Ok(batches * MAX_BATCH_EVENTS * writers.len())
}

/// What a proxy's sync is to control, without the proxy.
struct Writer {
    requests: mpsc::Sender<PushRequest>,
    responses: Streaming<PushResponse>,
    sequence: u64,
    company: Company,
}

impl Writer {
    async fn open(control: SocketAddr, sync_token: &str, company: Company) -> Result<Self> {
        let mut client = UsageServiceClient::connect(stack::url(control)).await?;
        let (requests, outgoing) = mpsc::channel(WINDOW + 1);
        let mut call = Request::new(ReceiverStream::new(outgoing));
        let token: MetadataValue<Ascii> = format!("Bearer {sync_token}").parse()?;
        call.metadata_mut().insert("authorization", token);
        let hello = Hello {
            node: Some(Node {
                instance_id: Uuid::new_v4().to_string(),
                version: "bench".to_owned(),
                ..Node::default()
            }),
        };
        let hello = push_request::Message::Hello(hello);
        requests
            .send(PushRequest {
                message: Some(hello),
            })
            .await?;
        let responses = client.push(call).await?.into_inner();
        Ok(Self {
            requests,
            responses,
            sequence: 0,
            company,
        })
    }

    /// Sends so many whole batches, and waits until all of them are acknowledged.
    async fn write(&mut self, batches: usize) -> Result<()> {
        let mut sent = 0;
        let mut acknowledged = 0;
        while acknowledged < batches {
            while sent < batches && sent - acknowledged < WINDOW {
                self.send().await?;
                sent += 1;
            }
            let response = self.responses.message().await?;
            match response.context("control ended the stream")?.message {
                Some(push_response::Message::Ack(ack)) => {
                    ensure!(
                        ack.rejected.is_empty(),
                        "control rejected {:?}",
                        ack.rejected
                    );
                    acknowledged += 1;
                }
                other => bail!("control answered {other:?}"),
            }
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<()> {
        self.sequence += 1;
        let events = (0..MAX_BATCH_EVENTS)
            .filter_map(|_| self.company.event())
            .collect();
        let batch = push_request::Message::Batch(UsageBatch {
            traceparent: String::new(),
            sequence: self.sequence,
            events,
        });
        let request = PushRequest {
            message: Some(batch),
        };
        self.requests.send(request).await?;
        Ok(())
    }
}

/// People at work, as one proxy sees them.
struct Company {
    draw: StdRng,
    keys: Vec<Key>,
}

#[derive(Debug, Clone)]
struct Key {
    access_key_id: String,
    user_id: String,
    is_bedrock_only: bool,
}

async fn keys(client: &Client) -> Result<Vec<Key>> {
    let statement = "select id::text, user_id::text from access_keys order by id";
    let rows = client.query(statement, &[]).await?;
    // A third of them.
    let keys = rows.iter().enumerate().map(|(number, row)| Key {
        access_key_id: row.get(0),
        user_id: row.get(1),
        is_bedrock_only: number.is_multiple_of(3),
    });
    Ok(keys.collect())
}

/// What is asked for, who answers, and what Bedrock is asked for.
const MODELS: [(&str, &str, &str); 3] = [
    (
        "claude-opus-5-5",
        "claude-opus-5-5",
        "global.anthropic.claude-opus-5-5",
    ),
    (
        "claude-sonnet-5-5",
        "claude-sonnet-5-5",
        "eu.anthropic.claude-sonnet-5-5",
    ),
    (
        "claude-haiku-4-5",
        "claude-haiku-4-5-20251001",
        "global.anthropic.claude-haiku-4-5-20251001-v1:0",
    ),
];

impl Company {
    /// A request that has just ended; none without keys.
    fn event(&mut self) -> Option<UsageEvent> {
        let draw = &mut self.draw;
        let key = self.keys.choose(draw)?;
        let (model, upstream_model, bedrock_model) = *MODELS.choose(draw)?;
        let is_fallback = !key.is_bedrock_only && draw.random_bool(0.1);
        let is_bedrock = key.is_bedrock_only || is_fallback;
        let provider = if is_bedrock {
            Provider::Bedrock
        } else {
            Provider::Plan
        };
        let duration_ms = draw.random_range(800..40_000);
        let started_at = Utc::now() - TimeDelta::milliseconds(duration_ms);
        let session = draw.random_range(0..SESSIONS);
        let of_bedrock = |text: &str| {
            if is_bedrock {
                text.to_owned()
            } else {
                String::new()
            }
        };
        Some(UsageEvent {
            event_id: Uuid::now_v7().as_bytes().to_vec().into(),
            request_id: format!("req_{}", Uuid::from_u128(draw.random()).simple()),
            upstream_request_id: format!("req_{}", Uuid::from_u128(draw.random()).simple()),
            access_key_id: key.access_key_id.clone(),
            user_id: key.user_id.clone(),
            started_at: Some(timestamp(started_at)),
            duration_ms: duration_ms.unsigned_abs(),
            first_byte_ms: Some(700),
            provider: provider.into(),
            is_fallback,
            model: model.to_owned(),
            upstream_model: upstream_model.to_owned(),
            outcome: Outcome::Complete.into(),
            status: 200,
            is_streaming: true,
            tokens: Some(Tokens {
                input_tokens: draw.random_range(3..400),
                output_tokens: draw.random_range(1..3_000),
                cache_read_tokens: draw.random_range(0..150_000),
                cache_write_5m_tokens: draw.random_range(0..8_000),
                cache_write_1h_tokens: 0,
            }),
            session_id: format!("{}-{session}", key.access_key_id),
            agent_id: String::new(),
            is_estimate: false,
            bedrock_model: of_bedrock(bedrock_model),
            bedrock_region: of_bedrock("eu-central-1"),
        })
    }
}

/// CPU time so far.
struct Usage {
    control_us: u64,
    /// Of each process of Postgres.
    postgres_us: HashMap<u32, u64>,
}

impl Usage {
    async fn of(control: &Control, database: &Client) -> Result<Self> {
        let mut postgres_us = HashMap::new();
        for pid in processes(database).await? {
            // One that has just ended has done nothing for us.
            if let Ok(usage) = usage(&[pid]) {
                postgres_us.insert(pid, usage.cpu_us);
            }
        }
        Ok(Self {
            control_us: usage(&[pid(&control.service)?])?.cpu_us,
            postgres_us,
        })
    }

    /// Processes that are new have begun with nothing.
    fn postgres_since(&self, before: &Self) -> u64 {
        let since = self
            .postgres_us
            .iter()
            .map(|(pid, us)| us - before.postgres_us.get(pid).copied().unwrap_or_default());
        since.sum()
    }
}

/// The processes of Postgres that a connection has to do with, or that write for all.
async fn processes(database: &Client) -> Result<Vec<u32>> {
    let rows = database
        .query(
            "select pid from pg_stat_activity where pid <> pg_backend_pid()",
            &[],
        )
        .await?;
    let pids = rows.iter().map(|row| u32::try_from(row.get::<_, i32>(0)));
    Ok(pids.collect::<Result<_, _>>()?)
}

/// How many requests there are: rows, and in the sums of everybody.
async fn stored(database: &Client) -> Result<(i64, i64)> {
    let statement = "select
        (select count(*) from token_usage),
        (select coalesce(sum(requests), 0)::bigint from usage_totals where bucket_type = 'day')";
    let row = database.query_one(statement, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

async fn deadlocks(database: &Client) -> Result<i64> {
    let statement = "select deadlocks from pg_stat_database where datname = current_database()";
    let row = database.query_one(statement, &[]).await?;
    Ok(row.get(0))
}

impl Results {
    /// Every event has become one row, and is in the sums once.
    pub(crate) fn is_sound(&self) -> bool {
        self.wrong_rows == 0 && self.wrong_sums == 0
    }

    pub(crate) fn events_per_second(&self) -> f64 {
        self.count() / self.seconds
    }

    pub(crate) fn postgres_us_per_event(&self) -> f64 {
        self.per_event(self.postgres_cpu_us)
    }

    pub(crate) fn control_us_per_event(&self) -> f64 {
        self.per_event(self.control_cpu_us)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "measured numbers are far below 2^52"
    )]
    fn per_event(&self, us: u64) -> f64 {
        us as f64 / self.count()
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "measured numbers are far below 2^52"
    )]
    fn count(&self) -> f64 {
        self.events as f64
    }
}
