//! Ten thousand access keys whose circuits are open: what they hold.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use proto::{
    access_key::{self, Hasher},
    bedrock_credential::BedrockCredential,
    sealed::{LocalKey, Sealed, Wrapper},
};
use serde::Serialize;
use testkit::{
    load::{Connection, Request, Shape, usage},
    stack::{Proxy, Secrets},
};
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::system::{
    BEDROCK_API_KEY, CLIENT_CREDENTIAL, Control, REGION, System, delivered, metric, pid,
};

/// Keys in one transaction: as in `keys.rs`, each takes a revision.
const KEYS_PER_TRANSACTION: usize = 500;

const CONNECTIONS: usize = 8;

const BODY_BYTES: usize = 200;

/// No answer takes longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the proxy may still do when all is answered and all usage delivered:
/// report, and give memory back.
const SETTLE: Duration = Duration::from_secs(3);

/// Opened credentials must outlive what is measured.
const SETTINGS: [(&str, &str); 1] = [("PROXY_BEDROCK_KEY_CACHE_TTL", "3600")];

/// How many proxies are measured, one after the other.
const PROXIES: usize = 5;

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) keys: usize,
    pub(crate) proxies: Vec<Held>,
}

/// Resident memory of one proxy when every key has sent its request.
#[derive(Debug, Serialize)]
pub(crate) struct Held {
    /// The plan answers.
    pub(crate) healthy_bytes: u64,
    /// The plan fails in a way that does not count, so Bedrock answers: the
    /// credentials are open.
    pub(crate) rescued_bytes: u64,
    /// The same once more, which shows what requests leave behind.
    pub(crate) rescued_again_bytes: u64,
    /// The plan's limits are used up: the circuits are open.
    pub(crate) open_bytes: u64,
    /// What the proxy says of itself then.
    pub(crate) open_circuits: f64,
}

/// An access key, and what lies in Postgres of it.
struct Key {
    access_key_id: String,
    raw_key: String,
    hash: Vec<u8>,
    sealed: Vec<u8>,
}

pub(crate) async fn measure(system: &System, count: usize) -> Result<Results> {
    eprintln!("Opening the circuits of {count} keys …");
    // With nobody else's keys.
    let control = system.another_control("circuits", &[]).await?;
    let keys = (0..count).map(|_| Key::new(system.secrets()));
    let keys = keys.collect::<Result<Vec<Key>>>()?;
    insert(&control, &keys).await?;
    let mut proxies = Vec::new();
    for _ in 0..PROXIES {
        let proxy = system.proxy_of("circuits", control.grpc, &SETTINGS)?;
        proxy.service.ready().await?;
        proxies.push(Held {
            healthy_bytes: asked(&proxy, &keys, Shape::Json).await?,
            rescued_bytes: asked(&proxy, &keys, Shape::TimedOut).await?,
            rescued_again_bytes: asked(&proxy, &keys, Shape::TimedOut).await?,
            open_bytes: asked(&proxy, &keys, Shape::UsedUp).await?,
            open_circuits: open_circuits(proxy.addresses.ops).await?,
        });
        proxy.service.stop().await?;
    }
    Ok(Results {
        keys: count,
        proxies,
    })
}

async fn open_circuits(ops: SocketAddr) -> Result<f64> {
    metric(ops, r#"proxy_circuits{state="open"}"#).await
}

/// What the proxy holds after one request with each key, to which the plan gives
/// this answer and Bedrock a good one.
async fn asked(proxy: &Proxy, keys: &[Key], plan: Shape) -> Result<u64> {
    let share = keys.len().div_ceil(CONNECTIONS).max(1);
    let connections = keys.chunks(share).map(|keys| ask(proxy, keys, plan));
    try_join_all(connections).await?;
    delivered(proxy.addresses.ops).await?;
    sleep(SETTLE).await;
    Ok(usage(&[pid(&proxy.service)?])?.rss_bytes)
}

async fn ask(proxy: &Proxy, keys: &[Key], plan: Shape) -> Result<()> {
    let headers = [CLIENT_CREDENTIAL.to_owned()];
    let mut connection = Connection::open(proxy.addresses.listen).await?;
    for key in keys {
        let url = proxy.base_url(&key.raw_key);
        let request = Request::of_both(&url, plan, Shape::Json, BODY_BYTES, &headers).await?;
        let exchange = connection.exchange(&request.bytes, Instant::now());
        let exchange = timeout(PATIENCE, exchange)
            .await
            .context("a request is not answered")??;
        let status = exchange.status;
        ensure!(
            status == 200,
            "a request was answered with {status} though somebody could answer"
        );
    }
    Ok(())
}

/// Straight into the tables, past control; their triggers run as always.
async fn insert(control: &Control, keys: &[Key]) -> Result<()> {
    let user_id = control.admin.create_user("Radia").await?;
    let (client, connection) = tokio_postgres::connect(&control.database_url, NoTls).await?;
    let statements = async {
        for keys in keys.chunks(KEYS_PER_TRANSACTION) {
            let ids: Vec<&str> = keys.iter().map(|it| &*it.access_key_id).collect();
            let hashes: Vec<&[u8]> = keys.iter().map(|it| &*it.hash).collect();
            let sealed: Vec<&[u8]> = keys.iter().map(|it| &*it.sealed).collect();
            client
                .execute(
                    "insert into access_keys (id, user_id, key_hash, key_prefix)
                     select id::uuid, $1::text::uuid, hash, 'ak_bench0'
                     from unnest($2::text[], $3::bytea[]) as new (id, hash)",
                    &[&user_id, &ids, &hashes],
                )
                .await?;
            client
                .execute(
                    "insert into bedrock_keys (id, access_key_id, kind, region, sealed, sealed_for)
                     select gen_random_uuid(), id::uuid, 'api_key', $1, sealed, id::uuid
                     from unnest($2::text[], $3::bytea[]) as new (id, sealed)",
                    &[&REGION, &ids, &sealed],
                )
                .await?;
        }
        Ok(())
    };
    tokio::select! {
        inserted = statements => inserted,
        ended = connection => Err(ended.err().context("the database closed the connection")?.into()),
    }
}

impl Key {
    /// As control would make it.
    fn new(secrets: &Secrets) -> Result<Self> {
        let access_key_id = Uuid::new_v4().to_string();
        let raw_key = access_key::raw(&rand::random());
        let hasher = Hasher::new(secrets.key_hasher_secret.as_bytes());
        let credential = BedrockCredential::ApiKey {
            bedrock_api_key: BEDROCK_API_KEY.to_owned(),
        };
        let local_key = LocalKey::new(&secrets.local_encryption_key);
        let (data_key, wrapped) = local_key.generate(&access_key_id)?;
        let secret = credential.to_bytes()?;
        let sealed = Sealed::seal(&secret, &access_key_id, &data_key, Wrapper::Local, wrapped)?;
        Ok(Self {
            hash: hasher.hash(&raw_key).as_bytes().to_vec(),
            sealed: sealed.to_bytes(),
            access_key_id,
            raw_key,
        })
    }
}

impl Results {
    /// Every circuit of every proxy is open.
    #[expect(
        clippy::cast_precision_loss,
        reason = "there are far fewer keys than 2^52"
    )]
    pub(crate) fn is_sound(&self) -> bool {
        let keys = self.keys as f64;
        self.proxies.iter().all(|it| it.open_circuits == keys)
    }
}

impl Held {
    /// Beside what was held when all credentials were open already.
    pub(crate) fn circuits_bytes(&self) -> f64 {
        grown(self.rescued_again_bytes, self.open_bytes)
    }

    pub(crate) fn credentials_bytes(&self) -> f64 {
        grown(self.healthy_bytes, self.rescued_bytes)
    }

    /// What as many requests leave behind that change nothing.
    pub(crate) fn noise_bytes(&self) -> f64 {
        grown(self.rescued_bytes, self.rescued_again_bytes)
    }

    pub(crate) fn whole_bytes(&self) -> f64 {
        grown(0, self.open_bytes)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "measured numbers are far below 2^52"
)]
fn grown(before: u64, after: u64) -> f64 {
    after as f64 - before as f64
}
