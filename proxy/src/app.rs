//! Wires the parts together and owns the order of shutdown.
//!
//! Two runtimes: requests have all workers; the sync loops, probes and metrics
//! have a thread of their own, so that a large snapshot or a scrape does not
//! stall a stream.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use ::telemetry::{otlp::Otlp, recorder::Recording, trace::Spans};
use anyhow::Context;
use aws::{Aws, kms::Kms};
use proto::{access_key::Hasher, line, sealed::LocalKey};
use secrecy::ExposeSecret;
use tokio::{
    net::TcpListener,
    runtime,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    budget::budgets::Budgets,
    index::IndexHandle,
    ingress::Ingress,
    ops::Ops,
    relay::{Terms, abandoned::Abandoned},
    request::{Proxy, body::Buffers, record::Journal},
    route::{OperatorKey, circuits::Circuits},
    settings::{self, Settings},
    sync::{self, Kept, Sync},
    tasks::Tasks,
    telemetry::{log::Log, metrics::Metrics, trace::Tracing},
    upstream::{
        Upstream,
        bedrock::{Bedrock, credential::Opener},
        connect::Connector,
        plan::Plan,
        signature::Signatures,
    },
    usage::outbox::{CAPACITY, Outbox},
};

/// Who is cut off is told so within this.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is left of usage when the streams are done is delivered within this.
const FLUSH: Duration = Duration::from_secs(6);

/// A proxy that runs.
#[derive(Debug)]
pub struct App {
    pub listen_addr: SocketAddr,
    pub ops_addr: SocketAddr,
    proxy: Arc<Proxy>,
    /// Set when no more connections are accepted.
    closing: CancellationToken,
    /// Set when the time to finish is over.
    stopping: CancellationToken,
    connections: Tasks,
    upkeep: Tasks,
    sync: Tasks,
    sync_thread: JoinHandle<()>,
    otlp: Option<Otlp>,
    drain_delay: Duration,
    drain_timeout: Duration,
}

impl App {
    /// Binds the ports and starts. Returns when clients can connect; requests
    /// are refused with a 503 until the first snapshot.
    ///
    /// # Errors
    ///
    /// A setting that cannot be used, or a port that is taken: the message names
    /// the variable.
    pub async fn start(settings: Settings, log: Log, recording: Recording) -> anyhow::Result<Self> {
        let operator_key = match &settings.plan.api_key {
            Some(key) => Some(OperatorKey::new(key).context("PROXY_PLAN_API_KEY")?),
            None => None,
        };
        let connector = Connector::new(&settings.plan)?;
        let index = Arc::new(IndexHandle::new());
        let outbox = Arc::new(Outbox::new(CAPACITY));
        let stopping = CancellationToken::new();
        let budgets = Arc::new(Budgets::default());
        let journal = Journal::new(
            outbox,
            budgets.clone(),
            log,
            Metrics::new(),
            recording.otlp.as_ref().map(Tracing::new),
            stopping.clone(),
        );
        let journal = Arc::new(journal);
        let draining = CancellationToken::new();
        let listener = bind("PROXY_LISTEN_ADDR", settings.listen_addr).await?;
        let ops_listener = bind("PROXY_OPS_ADDR", settings.ops_addr).await?;
        let ops_addr = ops_listener.local_addr()?;

        let upkeep = Tasks::new();
        let aws = &settings.aws;
        let opener = opener(&settings.bedrock, aws);
        let signatures = Arc::new(Signatures::default());
        let bedrock = Bedrock::new(
            &settings.bedrock,
            settings.caps,
            opener,
            aws,
            signatures.clone(),
            &settings.limits,
            &upkeep,
        );
        let lessons = bedrock.lessons.clone();
        let circuits = Arc::new(Circuits::new(settings.circuit, settings.bedrock.use_role));
        let connections = Tasks::new();
        let abandoned = Abandoned::new(
            settings.limits.disconnect_drain,
            connections.clone(),
            stopping.clone(),
        );
        let terms = Terms::new(&settings.limits, abandoned, stopping.clone());
        let proxy = Arc::new(Proxy {
            index: index.clone(),
            hasher: Hasher::new(settings.key_hasher_secret.expose_secret().as_bytes()),
            plan: Plan::new(&settings.plan.api_url, operator_key),
            upstream: Upstream::new(connector, settings.limits.clone(), &upkeep),
            bedrock,
            signatures,
            circuits: circuits.clone(),
            budgets: budgets.clone(),
            terms: Arc::new(terms),
            buffers: Buffers::new(settings.limits.max_buffered_bytes),
            limits: settings.limits.clone(),
            max_staleness: settings.sync.max_staleness,
            journal: journal.clone(),
            draining: draining.clone(),
        });
        let closing = CancellationToken::new();
        let ingress = Ingress {
            listener,
            proxy: proxy.clone(),
            max_connections: settings.limits.max_connections,
            tasks: connections.clone(),
            closing: closing.clone(),
        };
        let listen_addr = ingress.local_addr()?;

        let otlp = recording.otlp.clone();
        let ops = Ops {
            index: index.clone(),
            journal: journal.clone(),
            buffers: proxy.buffers.clone(),
            circuits: circuits.clone(),
            recording,
            max_staleness: settings.sync.max_staleness,
            draining,
        };
        let spans = Spans::new(otlp.as_ref());
        let sync = Tasks::new();
        let sync_thread = start_sync(
            &settings.sync,
            Kept {
                index,
                journal,
                lessons,
                circuits,
                budgets,
                spans,
            },
            ops,
            ops_listener,
            &sync,
        )?;
        connections.spawn(ingress.run());
        tracing::info!(%listen_addr, %ops_addr, "ready for clients");
        Ok(Self {
            listen_addr,
            ops_addr,
            proxy,
            closing,
            stopping,
            connections,
            upkeep,
            sync,
            sync_thread,
            otlp,
            drain_delay: settings.limits.drain_delay,
            drain_timeout: settings.limits.drain_timeout,
        })
    }

    /// Bytes of request bodies that are held now.
    pub fn buffered_bytes(&self) -> usize {
        self.proxy.buffers.held_bytes()
    }

    /// Stops in order: the load balancer is told, no new connections, running
    /// answers to their end or to the drain timeout, a last event for the rest,
    /// usage to control, then everything else.
    pub async fn stop(self) {
        let journal = self.proxy.journal.clone();
        tracing::info!(active = journal.active(), "draining");
        self.proxy.draining.cancel();
        let finished = async {
            sleep(self.drain_delay).await;
            self.closing.cancel();
            self.connections.ended().await;
        };
        if timeout(self.drain_timeout, finished).await.is_err() {
            tracing::warn!(active = journal.active(), "cutting off what is left");
            self.closing.cancel();
            self.stopping.cancel();
            if timeout(FAREWELL, self.connections.ended()).await.is_err() {
                self.connections.stop();
                self.connections.ended().await;
            }
        }
        if timeout(FLUSH, journal.outbox.emptied()).await.is_err() {
            tracing::warn!(
                pending = journal.outbox.backlog().pending,
                "control did not take all usage; what is left follows, event by event"
            );
        }
        self.sync.stop();
        self.upkeep.stop();
        self.sync.ended().await;
        for event in journal.outbox.give_up() {
            tracing::warn!(
                event_id = %uuid::Uuid::from_slice(&event.event_id).unwrap_or_default(),
                request_id = event.request_id,
                access_key_id = event.access_key_id,
                started_at = %event.started_at.as_ref().and_then(line::time).unwrap_or_default(),
                "usage was not delivered; its request's line carries it"
            );
        }
        if let Some(otlp) = self.otlp {
            // It waits for the collector, whose connection is driven here.
            let _stopped = tokio::task::spawn_blocking(move || otlp.stop()).await;
        }
        if self.sync_thread.join().is_err() {
            tracing::error!("the sync thread panicked");
        }
        tracing::info!("stopped");
    }
}

fn opener(settings: &settings::Bedrock, aws: &Aws) -> Opener {
    match (&settings.kms_key_id, &settings.local_encryption_key) {
        (Some(key_id), _) => Opener::Kms(Kms::new(aws.clone(), key_id)),
        (None, Some(key)) => Opener::Local(LocalKey::new(key.expose_secret())),
        (None, None) => Opener::None,
    }
}

async fn bind(variable: &str, addr: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr)
        .await
        .with_context(|| format!("{variable}: cannot listen on {addr}"))
}

/// Runs the sync loops, probes and metrics on their own thread.
fn start_sync(
    settings: &settings::Sync,
    kept: Kept,
    ops: Ops,
    ops_listener: TcpListener,
    tasks: &Tasks,
) -> anyhow::Result<JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ops_listener = ops_listener.into_std()?;
    let entered = runtime.enter();
    let ops_listener = TcpListener::from_std(ops_listener)?;
    let sync = match Sync::new(settings, kept) {
        Ok(sync) => sync,
        Err(error) => {
            drop(entered);
            // Its usual end waits, which nobody may in the runtime we are in.
            runtime.shutdown_background();
            return Err(error);
        }
    };
    tasks.spawn(sync::watch::run(sync.clone(), tasks.clone()));
    tasks.spawn(sync::report::run(sync.clone(), tasks.clone()));
    tasks.spawn(sync::push::run(sync, tasks.clone()));
    tasks.spawn(ops.run(ops_listener, tasks.clone()));
    drop(entered);
    let tasks = tasks.clone();
    let thread = thread::Builder::new()
        .name("sync".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tasks.stopping().await;
                tasks.ended().await
            })
        })?;
    Ok(thread)
}
