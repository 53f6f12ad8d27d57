//! Whatever is killed, stopped or cut in the middle: the ledger equals what the API
//! and Bedrock say that they have answered, request by request, nothing is counted
//! twice, and a budget's spending is what its requests have cost.

use std::{
    collections::{HashMap, HashSet},
    fs,
    ops::{Deref, DerefMut},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use futures_util::{
    StreamExt, TryStreamExt,
    future::{try_join, try_join_all},
    stream,
};
use nix::sys::signal::Signal;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use testkit::{
    anthropic::{Gate, Reply, Rule, Usage},
    cutter::Cutter,
    history::History,
    postgres::{self, Storage},
    stack::{self, Builder, Programs, Proxy, ProxyAddresses, admin::IssuedKey, url},
};
use tokio::sync::watch;

use crate::support::{Counted, World, bedrock::OnBedrock, eventually, heard, question, tokens};

/// In the middle of so many something happens.
const REQUESTS: usize = 5_000;

/// How many are under way together.
const CLIENTS: usize = 32;

/// It happens when so many are answered, while others are under way.
const BEFORE: usize = 1_500;

/// So many may be asked until all is well again; the rest comes afterwards.
const UNTIL_WELL: usize = 3_500;

/// Streams that are surely under way when it happens.
const STREAMS: usize = 8;

/// What a proxy says each time that it could not deliver.
const UNDELIVERED: &str = "usage waits, pushing again";

/// Every so many requests are those of a user whom Bedrock answers.
const ON_BEDROCK: usize = 4;

/// A user whom the plan answers, and one with a budget whom Bedrock answers.
struct Scene {
    world: OnBedrock,
    spender: IssuedKey,
}

/// Clients that ask all of it, through all proxies.
struct Load {
    proxies: Vec<String>,
    plan_key: String,
    bedrock_key: String,
    /// How many proxies are asked for one answer: one, or each, as a load balancer
    /// has it when one of them leaves.
    attempts: usize,
    allowed: watch::Sender<usize>,
    /// The complete answers that clients have got, as the API has named them, or for
    /// Bedrock we.
    heard: watch::Sender<Vec<String>>,
}

impl Scene {
    async fn with_proxies(proxies: usize) -> Result<Self> {
        Self::with(|stack| stack.proxies(proxies)).await
    }

    async fn with<'a>(set_up: impl FnOnce(Builder<'a>) -> Builder<'a>) -> Result<Self> {
        let world = OnBedrock::after_the_plan(set_up).await?;
        let (user_id, spender) = world.another("bedrock-api-key-of-grace").await?;
        let path = format!("/admin/users/{user_id}/budget");
        let budget = json!({ "monthly_budget_usd": "1000" });
        let admin = world.stack.admin();
        admin.call(Method::PUT, &path, Some(budget)).await?;
        world.until_in_force().await?;
        Ok(Self { world, spender })
    }
}

impl Deref for Scene {
    type Target = OnBedrock;

    fn deref(&self) -> &OnBedrock {
        &self.world
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut OnBedrock {
        &mut self.world
    }
}

impl Load {
    /// Clients that insist on every answer.
    fn of(scene: &Scene) -> Self {
        let proxies = scene.stack.proxies().iter();
        Self {
            proxies: proxies.map(|it| url(it.addresses.listen)).collect(),
            plan_key: scene.key.raw_key.clone(),
            bedrock_key: scene.spender.raw_key.clone(),
            attempts: 1,
            allowed: watch::Sender::new(UNTIL_WELL),
            heard: watch::Sender::default(),
        }
    }

    /// Clients behind a load balancer, which asks another proxy where one fails.
    fn balanced(scene: &Scene) -> Self {
        Self::of(scene).with_others(&[])
    }

    /// Also through these proxies, when they are there.
    fn with_others(mut self, others: &[ProxyAddresses]) -> Self {
        self.proxies.extend(others.iter().map(|it| url(it.listen)));
        self.attempts = self.proxies.len();
        self
    }

    async fn run(&self) -> Result<()> {
        let client = stack::http_client()?;
        stream::iter(0..REQUESTS)
            .map(|number| self.ask(&client, number))
            .buffer_unordered(CLIENTS)
            .try_collect()
            .await
    }

    /// All is well again.
    fn go_on(&self) {
        self.allowed.send_replace(REQUESTS);
    }

    async fn until_heard(&self, answers: usize) -> Result<()> {
        let mut heard = self.heard.subscribe();
        heard.wait_for(|heard| heard.len() >= answers).await?;
        Ok(())
    }

    async fn ask(&self, client: &Client, number: usize) -> Result<()> {
        let mut allowed = self.allowed.subscribe();
        allowed.wait_for(|allowed| number < *allowed).await?;
        let mut failures = Vec::new();
        for attempt in 0..self.attempts {
            let proxy = (number + attempt) % self.proxies.len();
            match self.try_ask(client, proxy, number).await {
                Ok(request_id) => {
                    self.heard.send_modify(|it| it.push(request_id));
                    return Ok(());
                }
                Err(failure) => failures.push(failure),
            }
        }
        anyhow::bail!("no answer to request {number}: {failures:?}")
    }

    async fn try_ask(&self, client: &Client, proxy: usize, number: usize) -> Result<String> {
        let is_streaming = number.is_multiple_of(3);
        let raw_key = match number.is_multiple_of(ON_BEDROCK) {
            true => &self.bedrock_key,
            false => &self.plan_key,
        };
        let proxy = self.proxies.get(proxy).context("no proxy")?;
        let body = question("claude-opus-5-5", is_streaming);
        let answer = post(client, &format!("{proxy}/ak/{raw_key}"), &body).await?;
        let request_id = request_id(&answer)?;
        heard(answer, is_streaming).await?;
        Ok(request_id)
    }
}

async fn post(client: &Client, base_url: &str, body: &Value) -> Result<Response> {
    let request = client.post(format!("{base_url}/v1/messages"));
    let request = request
        .header("x-api-key", "sk-ant-test")
        .header("anthropic-version", "2023-06-01");
    Ok(request.json(body).send().await?)
}

/// As the API has named it, or for Bedrock we.
fn request_id(answer: &Response) -> Result<String> {
    let id = answer.headers().get("request-id");
    Ok(id.context("an answer without an id")?.to_str()?.to_owned())
}

/// Streams that have begun, and go on when they may.
struct Running {
    gates: Vec<Gate>,
    answers: Vec<Response>,
}

impl Running {
    async fn through(proxy: &Proxy, world: &World) -> Result<Self> {
        let client = stack::http_client()?;
        let base_url = proxy.base_url(&world.key.raw_key);
        let gates: Vec<Gate> = (0..STREAMS).map(|_| Gate::closed()).collect();
        let begun = gates.iter().enumerate().map(async |(number, gate)| {
            let mark = format!("(held {number})");
            // With content: until then an answer is held back.
            gate.release(3);
            let reply = Reply::text("the rest of the answer").gate(gate);
            let script = world.simulator.script();
            script.rule(Rule::once(reply).body_contains(&mark));
            let mut body = question("claude-opus-5-5", true);
            let content = body.pointer_mut("/messages/0/content");
            *content.context("no message")? = json!(mark);
            let mut answer = post(&client, &base_url, &body).await?;
            answer.chunk().await?.context("an empty stream")?;
            anyhow::Ok(answer)
        });
        let answers = try_join_all(begun).await?;
        Ok(Self { gates, answers })
    }

    fn request_ids(&self) -> Result<Vec<String>> {
        self.answers.iter().map(request_id).collect()
    }

    /// Lets them go on, and insists on the rest of each.
    async fn finish(self) -> Result<()> {
        self.gates.iter().for_each(Gate::open);
        try_join_all(self.answers.into_iter().map(|answer| heard(answer, true))).await?;
        Ok(())
    }
}

/// What both have reported, by their names of the requests.
fn reported(world: &OnBedrock) -> HashMap<String, Usage> {
    let ledgers = [world.simulator.ledger(), world.bedrock.ledger()];
    let entries = ledgers.into_iter().flat_map(|it| it.entries);
    entries.map(|it| (it.request_id, it.tokens)).collect()
}

/// The rows, by the provider's name of the request: no two of the same.
async fn rows(world: &World) -> Result<HashMap<String, Usage>> {
    let sql = world.sql().await?;
    let columns = "upstream_request_id, input_tokens, output_tokens, cache_read_tokens, \
                   cache_write_5m_tokens, cache_write_1h_tokens";
    let rows = sql
        .query(&format!("select {columns} from token_usage"), &[])
        .await?;
    let count = rows.len();
    let by_id: HashMap<String, Usage> = rows
        .iter()
        .map(|row| {
            let number = |column: usize| row.get::<_, i64>(column).unsigned_abs();
            let tokens = Usage {
                input_tokens: number(1),
                output_tokens: number(2),
                cache_read_tokens: number(3),
                cache_write_5m_tokens: number(4),
                cache_write_1h_tokens: number(5),
            };
            (row.get(0), tokens)
        })
        .collect();
    ensure!(
        by_id.len() == count,
        "{count} rows, {} requests",
        by_id.len()
    );
    Ok(by_id)
}

/// Waits until the providers' own count, request by request, the rows, the
/// aggregates, what control reports and what is spent agree.
async fn until_all_is_equal(world: &OnBedrock) -> Result<()> {
    world.ask_through_each_proxy().await?;
    let expected = Counted::from(world.simulator.ledger()) + world.bedrock.ledger().into();
    world.until_counted(&expected).await?;
    let (rows, reported) = (rows(world).await?, reported(world));
    ensure!(
        rows == reported,
        "{} rows, {} answers; not counted, or otherwise: {:?}",
        rows.len(),
        reported.len(),
        reported
            .iter()
            .find(|(id, tokens)| rows.get(*id) != Some(*tokens))
    );
    aggregates_are_of_rows(world).await?;
    spending_is_of_rows(world).await
}

/// What each budget says that is spent, against a recount of what Bedrock costs.
async fn spending_is_of_rows(world: &World) -> Result<()> {
    let costs = "select user_id::text, sum(estimated_cost_usd)::text
        from token_usage join budgets using (user_id)
        where provider = 'bedrock' group by user_id";
    let costs = world.sql().await?.query(costs, &[]).await?;
    ensure!(!costs.is_empty(), "nothing is spent");
    for row in costs {
        let (user_id, cost): (String, String) = (row.get(0), row.get(1));
        let path = format!("/admin/users/{user_id}/budget");
        let budget = world.stack.admin().get(&path).await?;
        let spent = budget.get("current_usage_usd").and_then(Value::as_str);
        let spent = spent.context("no amount")?;
        ensure!(spent == cost, "{spent} of {cost} is spent");
    }
    Ok(())
}

/// Every sum in every bucket of every kind, against a recount: those of each access
/// key, and those of everybody.
async fn aggregates_are_of_rows(world: &World) -> Result<()> {
    aggregates_of_keys_are_of_rows(world).await?;
    let key = "coalesce(provider, 'none'), pricing_model_id";
    are_of_rows(world, "usage_totals", "array['minute', 'hour', 'day']", key).await
}

async fn aggregates_of_keys_are_of_rows(world: &World) -> Result<()> {
    let key = "user_id, access_key_id, coalesce(provider, 'none'), pricing_model_id";
    are_of_rows(world, "usage_aggregates", "array['hour', 'day']", key).await
}

async fn are_of_rows(world: &World, table: &str, units: &str, key: &str) -> Result<()> {
    let differences = format!(
        "with recount as (
            select
                unit, date_trunc(unit, started_at, 'UTC'), {key},
                count(*),
                count(*) filter (where is_fallback),
                count(*) filter (where outcome = 'complete'),
                count(*) filter (where outcome = 'client_cancelled'),
                count(*) filter (where outcome = 'upstream_failed'),
                count(*) filter (where outcome = 'refused'),
                count(*) filter (where outcome = 'terminated'),
                count(*) filter (where is_estimate),
                count(*) filter (where not priced),
                sum(input_tokens)::bigint, sum(output_tokens)::bigint,
                sum(cache_read_tokens)::bigint, sum(cache_write_5m_tokens)::bigint,
                sum(cache_write_1h_tokens)::bigint,
                sum(estimated_cost_usd), sum(input_cost_usd), sum(output_cost_usd),
                sum(cache_read_cost_usd), sum(cache_write_cost_usd), sum(bedrock_cost_usd)
            from token_usage cross join unnest({units}) as unit
            group by unit, date_trunc(unit, started_at, 'UTC'), {key}
        ), kept as (
            -- An older release has kept other ones, too.
            select * from {table} where bucket_type = any({units})
        ), wrong as (
            (table recount except all table kept)
            union all
            (table kept except all table recount)
        )
        select (select count(*) from wrong), (select count(*) from recount)"
    );
    let row = world.sql().await?.query_one(&*differences, &[]).await?;
    let [wrong, buckets] = [0, 1].map(|column| row.get::<_, i64>(column));
    ensure!(
        wrong == 0 && buckets > 0,
        "{wrong} of {buckets} are wrong in {table}"
    );
    Ok(())
}

/// How often each proxy has said so far that it could not deliver.
fn undelivered(world: &World) -> Result<Vec<usize>> {
    let proxies = world.stack.proxies().iter();
    let counts = proxies.map(|proxy| {
        let log = fs::read_to_string(proxy.service.log())?;
        Ok(log.matches(UNDELIVERED).count())
    });
    counts.collect()
}

/// Waits until each proxy has tried so often in vain.
async fn until_undelivered(world: &World, times: usize) -> Result<()> {
    let before = undelivered(world)?;
    eventually("every proxy has tried in vain", async || {
        let now = undelivered(world)?;
        let has_failed = now.iter().zip(&before).all(|(it, old)| *it >= old + times);
        Ok(has_failed.then_some(()))
    })
    .await
}

async fn until_pending(world: &World, wanted: impl Fn(u64) -> bool) -> Result<()> {
    eventually("as much usage waits as expected", async || {
        let mut pending = 0;
        for proxy in world.stack.proxies() {
            pending += metric(&url(proxy.addresses.ops), "proxy_outbox_events").await?;
        }
        Ok(wanted(pending).then_some(()))
    })
    .await
}

/// A gauge without labels.
async fn metric(ops_url: &str, name: &str) -> Result<u64> {
    let text = stack::http_client()?
        .get(format!("{ops_url}/metrics"))
        .send()
        .await?
        .text()
        .await?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value
        .with_context(|| format!("no {name} in {text}"))?
        .parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn control_is_killed() -> Result<()> {
    let mut world = Scene::with_proxies(2).await?;
    let load = Load::of(&world);
    let trouble = async {
        load.until_heard(BEFORE).await?;
        world.stack.kill_control().await?;
        until_undelivered(&world, 3).await?;
        load.until_heard(UNTIL_WELL).await?;
        world.stack.start_control().await?;
        load.go_on();
        Ok(())
    };
    try_join(load.run(), trouble).await?;
    until_all_is_equal(&world).await
}

/// Really stopped, until control has noticed and the proxies have tried again and
/// again, longer each time.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_stopped() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Postgres may run as somebody else.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?;
    let storage = Storage::Durable(folder.path().join("postgres"));
    let address = stack::free_address()?;
    let server = postgres::Server::start_at(&storage, address).await?;
    let world = Scene::with(|stack| stack.proxies(2).postgres(&server)).await?;
    let load = Load::of(&world);
    let trouble = async {
        load.until_heard(BEFORE).await?;
        server.stop().await?;
        until_undelivered(&world, 7).await?;
        until_control_is_not_ready(&world).await?;
        let server = postgres::Server::start_at(&storage, address).await?;
        load.go_on();
        Ok(server)
    };
    let ((), _server) = try_join(load.run(), trouble).await?;
    until_all_is_equal(&world).await?;
    drop(world);
    Ok(())
}

async fn until_control_is_not_ready(world: &World) -> Result<()> {
    let client = stack::http_client()?;
    let url = format!("{}/readyz", world.stack.control_ops_url());
    eventually("control is not ready", async || {
        let answer = client.get(&url).send().await?;
        Ok((!answer.status().is_success()).then_some(()))
    })
    .await
}

/// Every connection is reset, and so is every new one.
#[tokio::test(flavor = "multi_thread")]
async fn the_network_refuses() -> Result<()> {
    cut_off(Cutter::down, 4, Cutter::up).await
}

/// Nobody is told: packets go nowhere and no connection is closed, until the proxies
/// have given up waiting and tried again. Then what was held back goes on, too.
#[tokio::test(flavor = "multi_thread")]
async fn the_network_swallows_everything() -> Result<()> {
    cut_off(Cutter::pause, 2, Cutter::resume).await
}

/// Cuts the network between proxies and control until each proxy has tried so often
/// in vain.
async fn cut_off(cut: fn(&Cutter), times: usize, mend: fn(&Cutter)) -> Result<()> {
    let world = Scene::with(|stack| stack.proxies(2).cuttable()).await?;
    let cutter = world.stack.cutter().context("nothing to cut")?;
    let load = Load::of(&world);
    let trouble = async {
        load.until_heard(BEFORE).await?;
        cut(cutter);
        until_undelivered(&world, times).await?;
        load.until_heard(UNTIL_WELL).await?;
        mend(cutter);
        load.go_on();
        Ok(())
    };
    try_join(load.run(), trouble).await?;
    until_all_is_equal(&world).await
}

/// It is asked to end while streams and other requests run through it. They are
/// answered to their end and counted; who comes later is sent to the other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_stopped() -> Result<()> {
    let mut world = Scene::with_proxies(2).await?;
    let load = Load::balanced(&world);
    let leaving = world.stack.remove_proxy().context("no proxy")?;
    let running = Running::through(&leaving, &world).await?;
    let trouble = async {
        load.until_heard(BEFORE).await?;
        leaving.service.process().signal(Signal::SIGTERM)?;
        world.until_draining(&leaving).await?;
        running.finish().await?;
        let status = leaving.service.process().exited().await;
        ensure!(status.success(), "{status}");
        load.go_on();
        Ok(())
    };
    try_join(load.run(), trouble).await?;
    until_all_is_equal(&world).await
}

/// Two releases run side by side while one takes over from the other: each has a
/// proxy with the other's control. `PREVIOUS_RELEASE` names the folder of the old
/// one's programs; without it both are ours.
#[tokio::test(flavor = "multi_thread")]
async fn one_release_takes_over_from_another() -> Result<()> {
    let new = Programs::beside_ours()?;
    let old = match std::env::var_os("PREVIOUS_RELEASE") {
        Some(folder) => Programs::in_folder(Path::new(&folder)),
        None => new.clone(),
    };
    let mut world = Scene::with(|stack| stack.programs(old.clone())).await?;
    let addresses = [(); 3].map(|()| ProxyAddresses::free());
    let [old_with_new, new_with_new, new_with_old] = addresses;
    let others = [old_with_new?, new_with_new?, new_with_old?];
    let load = Load::of(&world).with_others(&others);
    let trouble = async {
        load.until_heard(BEFORE).await?;
        let stack = &mut world.stack;
        let control = stack.control_beside(&new).await?;
        let (first, second) = (stack.grpc_address(), control.addresses.grpc);
        let [old_with_new, new_with_new, new_with_old] = others;
        let mut staying = vec![
            stack.proxy_beside(&old, old_with_new, second).await?,
            stack.proxy_beside(&new, new_with_new, second).await?,
        ];
        let leaving = stack.proxy_beside(&new, new_with_old, first).await?;
        load.until_heard(UNTIL_WELL).await?;
        load.go_on();
        // All of the first control's leave, then it does.
        let old_proxy = staying.remove(0);
        let (control, mut proxies) = stack.hand_over(control, staying).await?;
        proxies.push(leaving);
        for proxy in proxies {
            proxy.service.stop().await?;
        }
        control.context("no control")?.stop().await?;
        old_proxy.service.stop().await?;
        Ok(())
    };
    try_join(load.run(), trouble).await?;
    until_all_is_equal(&world).await
}

/// What it had not delivered is in its log, but for what was running: a line is
/// written before its client has heard the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_proxys_log_restores_what_was_lost() -> Result<()> {
    let mut world = Scene::with_proxies(2).await?;
    let load = Load::balanced(&world);
    let killed = world.stack.remove_proxy().context("no proxy")?;
    let log = killed.service.log().to_owned();
    let running = Running::through(&killed, &world).await?;
    let trouble = async {
        load.until_heard(BEFORE).await?;
        // What comes now is not delivered.
        world.stack.kill_control().await?;
        load.until_heard(BEFORE + 1_000).await?;
        killed.service.process().signal(Signal::SIGKILL)?;
        killed.service.process().exited().await;
        world.stack.start_control().await?;
        load.go_on();
        Ok(())
    };
    try_join(load.run(), trouble).await?;
    until_pending(&world, |pending| pending == 0).await?;

    let mut logged_by_both = logged(world.proxy().service.log())?;
    logged_by_both.extend(logged(&log)?);
    let put_back = logged_by_both.len() - rows(&world).await?.len();
    ensure!(put_back > 0, "nothing was lost");
    let log = fs::read(&log)?;
    let said = world.stack.run_control(&["usage", "import"], &log)?;
    ensure!(
        said.contains(&format!("usage put back       {put_back}\n")),
        "{put_back}: {said}"
    );

    let rows = rows(&world).await?;
    ensure!(rows == logged_by_both, "the ledger is not what was logged");
    let reported = reported(&world);
    let wrong = rows
        .iter()
        .find(|(id, tokens)| reported.get(*id) != Some(*tokens));
    ensure!(wrong.is_none(), "nobody has reported {wrong:?}");
    let known = names(&world).await?;
    let heard = load.heard.borrow();
    let lost = heard.iter().find(|id| !known.contains(*id));
    ensure!(lost.is_none(), "{lost:?} was heard and is lost");
    // The rest was running.
    let unlogged: HashSet<&String> = reported
        .keys()
        .filter(|id| !rows.contains_key(*id))
        .collect();
    ensure!(unlogged.len() <= STREAMS + CLIENTS, "{}", unlogged.len());
    let running = running.request_ids()?;
    ensure!(
        running.iter().all(|id| unlogged.contains(id)),
        "{unlogged:?}"
    );
    aggregates_are_of_rows(&world).await?;
    spending_is_of_rows(&world).await?;

    let again = world.stack.run_control(&["usage", "import", "-"], &log)?;
    ensure!(again.contains("usage put back       0\n"), "{again}");
    aggregates_are_of_rows(&world).await
}

/// What the requests in the ledger are called, by us and by the provider.
async fn names(world: &World) -> Result<HashSet<String>> {
    let names = "select unnest(array[request_id, upstream_request_id]) from token_usage";
    let rows = world.sql().await?.query(names, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The metered requests in a proxy's log, by the API's name of each. A process that
/// is killed may leave half a line.
fn logged(log: &Path) -> Result<HashMap<String, Usage>> {
    let log = fs::read_to_string(log)?;
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let metered = lines.filter(|line| line["message"] == "request" && line["event_id"].is_string());
    metered
        .map(|line| {
            let id = line.get("upstream_request_id").and_then(Value::as_str);
            let id = id.with_context(|| format!("nobody has answered {line}"))?;
            Ok((id.to_owned(), tokens(&line)?))
        })
        .collect()
}

/// What benchmarks are measured with is as good as what control has stored itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_the_same_for_its_seed_and_is_summed_up() -> Result<()> {
    let world = World::start(1).await?;
    let sql = world.sql().await?;
    let history = History {
        rows: 3_000,
        users: 20,
        keys: 30,
        seed: 7,
        until: "2026-11-20T12:00:00Z".parse()?,
    };
    let mut digests = Vec::new();
    for _ in 0..2 {
        sql.batch_execute("truncate token_usage; delete from users where name like 'Developer %'")
            .await?;
        history.write(world.stack.database_url(), |_| {}).await?;
        aggregates_of_keys_are_of_rows(&world).await?;
        let digest =
            "select md5(string_agg(row::text, ',' order by event_id)) from token_usage row";
        let digest: String = sql.query_one(digest, &[]).await?.get(0);
        digests.push(digest);
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "{digests:?}");

    let range = "from=2026-08-01T00:00:00Z&to=2026-12-01T00:00:00Z&bucket_type=day";
    let path = format!("/admin/usage?{range}");
    let report = world.stack.admin().get(&path).await?;
    let requests = report.pointer("/totals/requests");
    assert_eq!(requests, Some(&json!(3_000)), "{report}");
    Ok(())
}
