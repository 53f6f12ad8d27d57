//! Whatever is killed, stopped or cut in the middle: the ledger equals what the API
//! says that it has answered, to the token, and nothing is counted twice.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, stream};
use nix::sys::signal::Signal;
use testkit::stack::{self, url};

use crate::support::{World, eventually};

/// In the middle of so many something happens.
const REQUESTS: usize = 5_000;

/// How many are under way together.
const CLIENTS: usize = 32;

/// Asks so often, alternately through these proxies, and insists on every answer.
/// When half of it is done, `meanwhile` happens.
async fn under_load(
    base_urls: &[String],
    requests: usize,
    meanwhile: impl Future<Output = Result<()>>,
) -> Result<()> {
    let client = stack::http_client()?;
    let done = AtomicUsize::new(0);
    let question = crate::support::question("claude-opus-5-5", false);
    let asked = stream::iter(0..requests)
        .map(|number| {
            let base_url = base_urls.get(number % base_urls.len());
            let (client, question, done) = (&client, &question, &done);
            async move {
                let base_url = base_url.context("no proxy")?;
                let answer = client
                    .post(format!("{base_url}/v1/messages"))
                    .header("x-api-key", "sk-ant-test")
                    .header("anthropic-version", "2023-06-01")
                    .json(question)
                    .send()
                    .await;
                done.fetch_add(1, Ordering::Relaxed);
                let answer = answer?;
                let status = answer.status();
                let text = answer.text().await?;
                ensure!(status.is_success(), "{status}: {text}");
                anyhow::Ok(())
            }
        })
        .buffer_unordered(CLIENTS)
        .collect::<Vec<_>>();
    let half = eventually("half of the requests are answered", async || {
        Ok((done.load(Ordering::Relaxed) >= requests / 2).then_some(()))
    });
    let something = async {
        half.await?;
        meanwhile.await
    };
    let (asked, happened) = futures_util::future::join(asked, something).await;
    happened?;
    asked.into_iter().collect()
}

fn base_urls(world: &World) -> Vec<String> {
    let proxies = world.stack.proxies().iter();
    proxies
        .map(|proxy| proxy.base_url(&world.key.raw_key))
        .collect()
}

/// Rows, aggregates and the API's own count agree.
async fn until_all_is_equal(world: &World) -> Result<()> {
    world.until_all_is_counted().await?;
    let sql = world.sql().await?;
    let row = sql
        .query_one(
            "select
                (select count(*) from token_usage),
                (select count(distinct event_id) from token_usage),
                (select sum(requests)::bigint from usage_aggregates where bucket_type = 'day'),
                (select sum(output_tokens)::bigint from token_usage),
                (select sum(output_tokens)::bigint from usage_aggregates where bucket_type = 'hour')",
            &[],
        )
        .await?;
    let [rows, distinct, aggregated, tokens, aggregated_tokens] =
        [0, 1, 2, 3, 4].map(|column| row.get::<_, i64>(column));
    ensure!(
        rows == distinct && rows == aggregated && tokens == aggregated_tokens,
        "{rows} rows, {distinct} of them different, {aggregated} in the aggregates; \
         {tokens} and {aggregated_tokens} tokens"
    );
    ensure!(
        i64::try_from(world.simulator.ledger().answers)? == rows,
        "the API has answered {} times, and there are {rows} rows",
        world.simulator.ledger().answers
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn control_is_killed() -> Result<()> {
    let mut world = World::start(2).await?;
    let base_urls = base_urls(&world);
    let stack = &mut world.stack;
    under_load(&base_urls, REQUESTS, async {
        stack.kill_control().await?;
        stack.start_control().await
    })
    .await?;
    world.until_nothing_is_pending().await?;
    until_all_is_equal(&world).await
}

/// For control it is the same whether the server is down or refuses its database:
/// every connection breaks, and there is no other until the end.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_away() -> Result<()> {
    let world = World::start(2).await?;
    let name = world.stack.database_url().rsplit('/').next();
    let name = name
        .and_then(|it| it.split('?').next())
        .context("no database")?;
    let server = world
        .stack
        .database_url()
        .replace(&format!("/{name}"), "/postgres");
    let sql = crate::support::connect(&server).await?;
    under_load(&base_urls(&world), REQUESTS, async {
        sql.batch_execute(&format!("alter database {name} allow_connections false"))
            .await?;
        let gone = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
        );
        sql.batch_execute(&gone).await?;
        // The proxies notice: what they send is not acknowledged any more.
        eventually("usage waits for Postgres", async || {
            let mut pending = 0;
            for proxy in world.stack.proxies() {
                pending += metric(&url(proxy.addresses.ops), "proxy_outbox_events").await?;
            }
            Ok((pending > 500).then_some(()))
        })
        .await?;
        sql.batch_execute(&format!("alter database {name} allow_connections true"))
            .await?;
        Ok(())
    })
    .await?;
    world.until_nothing_is_pending().await?;
    until_all_is_equal(&world).await
}

/// A cut that nobody is told of: packets go nowhere, no connection is closed.
#[tokio::test(flavor = "multi_thread")]
async fn the_network_between_proxies_and_control_is_cut() -> Result<()> {
    let world = World::start(2).await?;
    under_load(&base_urls(&world), REQUESTS, async {
        let control = world.stack.control().context("control is not running")?;
        control.process().signal(Signal::SIGSTOP)?;
        eventually("usage waits for control", async || {
            let mut pending = 0;
            for proxy in world.stack.proxies() {
                pending += metric(&url(proxy.addresses.ops), "proxy_outbox_events").await?;
            }
            Ok((pending > 500).then_some(()))
        })
        .await?;
        control.process().signal(Signal::SIGCONT)?;
        Ok(())
    })
    .await?;
    world.until_nothing_is_pending().await?;
    until_all_is_equal(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_stopped() -> Result<()> {
    let mut world = World::start(2).await?;
    let base_urls = base_urls(&world);
    let leaving = world.stack.remove_proxy().context("no proxy")?;
    let leaving_url = leaving.base_url(&world.key.raw_key);
    let client = stack::http_client()?;
    let question = crate::support::question("claude-opus-5-5", true);
    // Its clients stop coming when it is asked to end, as a load balancer has it.
    let through_it = async {
        for _ in 0..20 {
            let asked = (0..CLIENTS).map(|_| async {
                let request = client.post(format!("{leaving_url}/v1/messages"));
                let request = request
                    .header("x-api-key", "sk-ant-test")
                    .header("anthropic-version", "2023-06-01")
                    .json(&question);
                anyhow::Ok(request.send().await?.error_for_status()?.text().await?)
            });
            futures_util::future::try_join_all(asked).await?;
        }
        anyhow::Ok(())
    };
    let staying = base_urls.first().cloned().into_iter().collect::<Vec<_>>();
    let (loaded, left) =
        futures_util::future::join(under_load(&staying, REQUESTS, async { Ok(()) }), async {
            through_it.await?;
            let status = leaving.service.stop().await?;
            ensure!(status.success(), "{status}");
            anyhow::Ok(())
        })
        .await;
    loaded?;
    left?;
    world.until_nothing_is_pending().await?;
    until_all_is_equal(&world).await
}

/// What it had not delivered is in its log.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_proxys_log_restores_what_was_lost() -> Result<()> {
    let mut world = World::start(2).await?;
    let base_urls = base_urls(&world);
    // Some of it is delivered, the rest is not.
    under_load(&base_urls, 1_000, async { Ok(()) }).await?;
    world.stack.kill_control().await?;
    under_load(&base_urls, 500, async { Ok(()) }).await?;
    let killed = world.stack.remove_proxy().context("no proxy")?;
    let log = killed.service.log().to_owned();
    let lines =
        || fs::read_to_string(&log).map(|log| log.matches("\"message\":\"request\"").count());
    // A line is written a moment after its answer.
    eventually("the killed proxy's lines are written", async || {
        Ok((lines()? >= 750).then_some(()))
    })
    .await?;
    killed.service.process().signal(Signal::SIGKILL)?;
    killed.service.process().exited().await;
    world.stack.start_control().await?;

    let other = url(world.proxy().addresses.ops);
    eventually("the other proxy has delivered its own", async || {
        let pending = metric(&other, "proxy_outbox_events").await?;
        Ok((pending == 0).then_some(()))
    })
    .await?;
    let missing = world.simulator.ledger().answers;
    let kept = world.counted().await?.requests;
    ensure!(kept < missing, "nothing was lost: {kept} of {missing}");

    let log = fs::read(&log)?;
    let said = world.stack.run_control(&["usage", "import"], &log)?;
    let put_back = missing - kept;
    ensure!(
        said.contains(&format!("usage put back       {put_back}\n")),
        "{said}"
    );
    until_all_is_equal(&world).await?;
    let again = world.stack.run_control(&["usage", "import", "-"], &log)?;
    ensure!(again.contains("usage put back       0\n"), "{again}");
    until_all_is_equal(&world).await
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
