//! How long it takes from the end of a request until its row is there.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use testkit::{
    load::{Connection, Provider, Request, Shape},
    stack::Proxy,
};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, MissedTickBehavior, interval, timeout},
};

use super::database::{Database, Heard};
use crate::{
    spread::sorted,
    system::{CLIENT_CREDENTIAL, System},
};

const BODY_BYTES: usize = 200;

const CONNECTIONS: usize = 8;

/// Between two requests of a connection: all of them send 200 a second.
const PACE: Duration = Duration::from_millis(40);

/// A row that is not there by then will never be.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets the database tell the sessions of new rows when they are committed.
const TELLING: &str = "
    create function tell_stored() returns trigger language plpgsql as $$ begin
        perform pg_notify('stored', session_id) from added;
        return null;
    end $$;
    create trigger zz_tell_stored after insert on token_usage referencing new table as added
        for each statement execute function tell_stored();
    listen stored";

/// Every request is a session of its own, by which its row is known.
pub(super) async fn measure(system: &System, requests: usize) -> Result<Vec<f64>> {
    eprintln!("Waiting for the rows of {requests} requests …");
    let control = system.another_control("delay", &[]).await?;
    let key = control.client("Ada").await?;
    let proxy = system.proxy_of("delay", control.grpc, &[])?;
    proxy.service.ready().await?;
    control.admin.until_in_force(1).await?;
    let (database, mut heard) = Database::listen(&control.database_url).await?;
    database.client.batch_execute(TELLING).await?;

    let numbers: Vec<usize> = (0..requests).collect();
    let share = requests.div_ceil(CONNECTIONS).max(1);
    let shares = numbers.chunks(share);
    let asked = try_join_all(shares.map(|numbers| ask(&proxy, &key.raw_key, numbers)));
    let (ended, stored) = tokio::try_join!(asked, hear(&mut heard, requests))?;
    let delays = ended.into_iter().flatten().map(|(session, ended)| {
        let stored = stored.get(&session).context("a row without a request")?;
        let delay = stored.saturating_duration_since(ended);
        Ok(delay.as_secs_f64() * 1e3)
    });
    let delays = delays.collect::<Result<Vec<f64>>>()?;
    proxy.service.stop().await?;
    Ok(sorted(delays))
}

/// When each session's request has ended.
async fn ask(proxy: &Proxy, raw_key: &str, numbers: &[usize]) -> Result<Vec<Heard>> {
    let mut connection = Connection::open(proxy.addresses.listen).await?;
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended = Vec::new();
    for number in numbers {
        let session = format!("session-{number}");
        let headers = [
            CLIENT_CREDENTIAL.to_owned(),
            format!("x-claude-code-session-id: {session}"),
        ];
        let url = proxy.base_url(raw_key);
        let request = Request::new(&url, Provider::Plan, Shape::Json, BODY_BYTES, &headers).await?;
        ticks.tick().await;
        let exchange = connection.exchange(&request.bytes, Instant::now()).await?;
        ensure!(exchange.status == 200, "answered with {}", exchange.status);
        ended.push((session, Instant::now()));
    }
    Ok(ended)
}

/// When each session's row was there.
async fn hear(
    heard: &mut mpsc::Receiver<Heard>,
    requests: usize,
) -> Result<HashMap<String, Instant>> {
    let mut stored = HashMap::new();
    while stored.len() < requests {
        let told = timeout(PATIENCE, heard.recv())
            .await
            .with_context(|| format!("{} of {requests} rows are there", stored.len()))?;
        stored.extend(told);
    }
    Ok(stored)
}
