//! A hundred thousand access keys: how soon a proxy is ready with them, what
//! they hold, and how soon a revoked one is refused.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use serde::Serialize;
use testkit::{
    load::{Connection, usage},
    stack::{self, Proxy, admin::IssuedKey},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Barrier,
    time::{Duration, Instant, sleep, timeout},
};
use tokio_postgres::NoTls;

use crate::system::{CLIENT_CREDENTIAL, System, pid};

/// Keys of one user.
const KEYS_PER_USER: usize = 10;

/// Keys in one transaction. Each change takes a revision from the same row,
/// which gets slower the more often one transaction has changed it.
const KEYS_PER_TRANSACTION: usize = 500;

/// How often a start is measured.
const STARTS: usize = 3;

/// What a proxy may still do after it is ready.
const SETTLE: Duration = Duration::from_secs(1);

/// How often a starting proxy is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(1);

const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// A revoked key that is accepted for longer will always be.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) keys: usize,
    pub(crate) insert_seconds: f64,
    /// With one key.
    pub(crate) empty: Vec<Start>,
    pub(crate) full: Vec<Start>,
    /// From control to a proxy that starts, on the wire.
    pub(crate) snapshot_bytes: u64,
    /// From the answer to an administrator until both proxies refuse, sorted.
    pub(crate) refused_after_ms: Vec<f64>,
}

/// One start of a proxy.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Start {
    /// From the start of the process to `/readyz`.
    pub(crate) ready_ms: f64,
    pub(crate) rss_bytes: u64,
}

/// Takes the system, because nothing else can be measured after it.
pub(crate) async fn measure(
    mut system: System,
    keys: usize,
    revocations: usize,
) -> Result<Results> {
    // They have done their part.
    system.targets.clear();
    let issued = issue(&system, revocations).await?;
    eprintln!("Starting a proxy with few keys …");
    let empty = starts(&system).await?;
    eprintln!("Inserting {keys} keys …");
    let begin = Instant::now();
    insert(&system.control.database_url, keys).await?;
    let insert_seconds = begin.elapsed().as_secs_f64();
    eprintln!("Starting a proxy with all of them …");
    let full = starts(&system).await?;
    let snapshot_bytes = snapshot_bytes(&system).await?;
    eprintln!("Revoking {revocations} keys …");
    let refused_after_ms = revoke(&system, &issued).await?;
    Ok(Results {
        keys,
        insert_seconds,
        empty,
        full,
        snapshot_bytes,
        refused_after_ms,
    })
}

async fn issue(system: &System, count: usize) -> Result<Vec<IssuedKey>> {
    let user_id = system.control.admin.create_user("Grace").await?;
    let mut issued = Vec::new();
    for _ in 0..count {
        issued.push(system.control.admin.issue_key(&user_id).await?);
    }
    Ok(issued)
}

/// Straight into the tables, past control; their triggers run as always.
async fn insert(database_url: &str, keys: usize) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(database_url, NoTls).await?;
    let statements = async {
        let users = keys.div_ceil(KEYS_PER_USER);
        for (first, last) in batches(users) {
            let insert = format!(
                "insert into users (id, name)
                 select gen_random_uuid(), 'bench ' || n from generate_series({first}, {last}) n"
            );
            client.batch_execute(&insert).await?;
        }
        client
            .batch_execute(
                "create temporary table owners as
                 select id, row_number() over (order by id) as number
                 from users where name like 'bench %';
                 create unique index on owners (number)",
            )
            .await?;
        for (first, last) in batches(keys) {
            // Nobody knows these keys; any hash will do.
            let insert = format!(
                "insert into access_keys (id, user_id, key_hash, key_prefix)
                 select gen_random_uuid(), owners.id, sha256(('bench ' || n)::bytea), 'ak_bench0'
                 from generate_series({first}, {last}) n
                 join owners on number = (n - 1) / {KEYS_PER_USER} + 1"
            );
            client.batch_execute(&insert).await?;
        }
        Ok(())
    };
    tokio::select! {
        inserted = statements => inserted,
        ended = connection => Err(ended.err().context("the database closed the connection")?.into()),
    }
}

/// The numbers from 1 to `count`, cut into transactions.
fn batches(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (1..=count)
        .step_by(KEYS_PER_TRANSACTION)
        .map(move |first| (first, count.min(first + KEYS_PER_TRANSACTION - 1)))
}

async fn starts(system: &System) -> Result<Vec<Start>> {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let begin = Instant::now();
        let proxy = system.proxy("starts")?;
        let ready_ms = ready(&proxy, begin).await?;
        sleep(SETTLE).await;
        let rss_bytes = usage(&[pid(&proxy.service)?])?.rss_bytes;
        proxy.service.stop().await?;
        starts.push(Start {
            ready_ms,
            rss_bytes,
        });
    }
    Ok(starts)
}

/// Milliseconds until the proxy says that it is ready.
async fn ready(proxy: &Proxy, begin: Instant) -> Result<f64> {
    let client = stack::http_client()?;
    let url = format!("{}/readyz", stack::url(proxy.addresses.ops));
    let ready = async {
        while !client
            .get(&url)
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            sleep(READY_POLL).await;
        }
    };
    timeout(READY_TIMEOUT, ready)
        .await
        .context("the proxy does not get ready")?;
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// What control sends to a proxy that starts.
async fn snapshot_bytes(system: &System) -> Result<u64> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = system.proxy_of("snapshot", listener.local_addr()?, &[])?;
    let (mut from_proxy, _) = listener.accept().await?;
    let mut to_control = TcpStream::connect(system.control.grpc).await?;
    let relay = tokio::io::copy_bidirectional(&mut from_proxy, &mut to_control);
    let begin = Instant::now();
    let stop = async {
        ready(&proxy, begin).await?;
        proxy.service.stop().await
    };
    let (relayed, stopped) = tokio::join!(relay, stop);
    stopped?;
    Ok(relayed?.1)
}

/// Revokes one key after the other, while both proxies are asked with it as
/// often as they answer.
async fn revoke(system: &System, keys: &[IssuedKey]) -> Result<Vec<f64>> {
    let proxies = [system.proxy("revocation-1")?, system.proxy("revocation-2")?];
    for proxy in &proxies {
        proxy.service.ready().await?;
    }
    system.control.admin.until_in_force(2).await?;
    let mut refused_after_ms = Vec::new();
    for key in keys {
        let request = request(&key.raw_key);
        let accepted = Barrier::new(proxies.len() + 1);
        let refusals = proxies
            .iter()
            .map(|proxy| refusal(proxy.addresses.listen, &request, &accepted));
        let revoke = async {
            accepted.wait().await;
            system.control.admin.revoke_key(&key.access_key_id).await?;
            anyhow::Ok(Instant::now())
        };
        let both = async { tokio::try_join!(try_join_all(refusals), revoke) };
        let (refused, revoked) = timeout(REFUSAL_TIMEOUT, both)
            .await
            .context("a revoked key is still accepted")??;
        let last = refused.into_iter().max().unwrap_or(revoked);
        // A proxy may be faster than control's answer to the administrator.
        let after = last.saturating_duration_since(revoked);
        refused_after_ms.push(after.as_secs_f64() * 1e3);
    }
    refused_after_ms.sort_by(f64::total_cmp);
    Ok(refused_after_ms)
}

/// Asks what costs no tokens, so that no usage is made.
fn request(raw_key: &str) -> String {
    format!(
        "GET /ak/{raw_key}/v1/models?bench-json HTTP/1.1\r\nhost: bench\r\n{CLIENT_CREDENTIAL}\r\n\r\n"
    )
}

/// Asks until it is refused, which must not be before all have `accepted`.
async fn refusal(proxy: SocketAddr, request: &str, accepted: &Barrier) -> Result<Instant> {
    let mut connection = Connection::open(proxy).await?;
    let mut is_accepted = false;
    loop {
        let answer = connection
            .exchange(request.as_bytes(), Instant::now())
            .await?;
        match answer.status {
            200 if is_accepted => {}
            200 => {
                is_accepted = true;
                accepted.wait().await;
            }
            401 if is_accepted => return Ok(Instant::now()),
            status => bail!("a proxy answered {status} for a key that is not revoked"),
        }
    }
}
