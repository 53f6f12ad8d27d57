//! The running process: what is started in which order, and stopped in which.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ::telemetry::{recorder::Recording, trace::Spans};
use actix_web::dev::ServerHandle;
use anyhow::Context;
use backon::{BackoffBuilder, ExponentialBuilder};
use chrono_tz::Tz;
use proto::access_key::Hasher;
use secrecy::ExposeSecret;
use tokio::{sync::watch, task::spawn_blocking, time};

use crate::{
    alerts::Alerts,
    bedrock::Bedrock,
    changes::{Head, HeadWatch, listener, reader::Reader},
    grpc, http,
    ingest::Ledger,
    jobs, ops,
    pricing::Pricing,
    readiness::Readiness,
    sealing::Sealer,
    settings::{Pace, Settings},
    spending::{self, Amounts},
    store::{Store, migrate::migrate},
    tasks::Tasks,
    telemetry,
};

/// The control plane.
#[derive(Debug)]
pub struct App;

/// A control plane that is running; dropped without [`Running::shutdown`] it
/// stops with the runtime.
#[derive(Debug)]
pub struct Running {
    pub admin_addr: SocketAddr,
    pub grpc_addr: SocketAddr,
    pub ops_addr: SocketAddr,
    readiness: Readiness,
    tasks: Tasks,
    http: [ServerHandle; 2],
    recording: &'static Recording,
    drain: Duration,
}

impl App {
    /// Binds the ports and starts; the database may come later.
    ///
    /// # Errors
    /// When a setting cannot be used or a port is taken.
    pub async fn start(settings: Settings) -> anyhow::Result<Running> {
        let pace = settings.pace;
        let tasks = Tasks::default();
        let store = Store::new(settings.database.database_url.clone())?;
        let (head_sender, head) = watch::channel(None);
        let readiness = Readiness::new(head.clone());
        let pricing = Pricing::new(store.clone(), settings.money.model_pricing.clone());
        let timezone = settings.money.calendar.timezone;
        let alerts = Alerts::new(store.clone(), &settings.webhook)?;
        let (amounts_sender, amounts) = watch::channel(Arc::default());

        let (admin_listener, admin_addr) =
            bind("PROXY_ADMIN_ADDR", settings.listeners.admin_addr).await?;
        let (grpc_listener, grpc_addr) =
            bind("PROXY_GRPC_ADDR", settings.listeners.grpc_addr).await?;
        let (ops_listener, ops_addr) = bind(
            "PROXY_CONTROL_OPS_ADDR",
            settings.listeners.control_ops_addr,
        )
        .await?;

        let recording = telemetry::recording(&settings.exports)?;
        let spans = Spans::new(recording.otlp.as_ref());
        let grpc = grpc::server(
            &settings.sync,
            &pace,
            grpc::config::Service {
                store: store.clone(),
                reader: Reader::new(store.clone()),
                head: head.clone(),
                amounts: amounts.clone(),
                tasks: tasks.clone(),
                pace,
                spans: spans.clone(),
            },
            grpc::usage::Service {
                ledger: Ledger {
                    store: store.clone(),
                    pricing: pricing.clone(),
                    timezone,
                    alerts: alerts.clone(),
                },
                tasks: tasks.clone(),
                pace,
                spans: spans.clone(),
            },
        )?;
        let state = Arc::new(http::State {
            store: store.clone(),
            hasher: Hasher::new(settings.key_hasher_secret.expose_secret().as_bytes()),
            sessions: http::Sessions::new(&settings.admin)?,
            logins: http::Logins::default(),
            readiness: readiness.clone(),
            sealer: Sealer::new(&settings.sealing, &settings.aws),
            verifier: Bedrock::new(settings.bedrock.bedrock_endpoint.clone()),
            bedrock: settings.bedrock.clone(),
            pricing: pricing.clone(),
            alerts: alerts.clone(),
            timezone,
            public_url: settings.admin.public_url.clone(),
            load_balancers: settings.admin.admin_load_balancers,
            spans,
        });
        let (ops_server, ops_handle) = ops::serve(
            readiness.clone(),
            store.clone(),
            recording,
            ops_listener.into_std()?,
        )?;
        let (admin_server, admin_handle) = http::serve(state, admin_listener.into_std()?)?;

        if settings.admin.admin_password_hash.is_weak() {
            tracing::warn!(
                "PROXY_ADMIN_PASSWORD_HASH is a SHA-256, which is fast to guess; \
                 replace it with what `claude-code-control hash-password` prints"
            );
        }
        tasks.spawn_until_stop(jobs::measure_head(head.clone()));
        tasks.spawn_until_stop(ops::tell(recording, store.clone()));
        tasks.spawn(serve_http("ops", ops_server));
        tasks.spawn(serve_http("admin", admin_server));
        tasks.spawn(grpc::serve(grpc, grpc_listener, tasks.stopping()));
        // Before the work: what it says about the database comes after this.
        tracing::info!(%admin_addr, %grpc_addr, %ops_addr, "control.started");
        tasks.spawn_until_stop(
            Work {
                tasks: tasks.clone(),
                store,
                pricing,
                timezone,
                alerts,
                amounts_sender,
                head_sender,
                head,
                readiness: readiness.clone(),
                pace,
                usage_retention_days: settings.usage_retention_days,
                audit_retention_days: settings.audit_retention_days,
            }
            .run(),
        );
        Ok(Running {
            admin_addr,
            grpc_addr,
            ops_addr,
            recording,
            readiness,
            tasks,
            http: [admin_handle, ops_handle],
            drain: pace.drain,
        })
    }
}

impl Running {
    /// Waits until the tables are there and changes are followed.
    pub async fn ready(&self) {
        self.readiness.clone().ready().await;
    }

    /// Stops accepting, ends the proxies' streams, finishes what is being
    /// answered or stored, and returns. False: something had to be cut.
    pub async fn shutdown(self) -> bool {
        tracing::info!("control.stopping");
        self.tasks.stop();
        let finish = async {
            let [admin, ops] = &self.http;
            tokio::join!(admin.stop(true), ops.stop(true));
        };
        let finished = time::timeout(self.drain, finish).await.is_ok();
        let finished = self.tasks.finished_within(self.drain).await && finished;
        ops::tell_cloudwatch(self.recording);
        if let Some(otlp) = self.recording.otlp.clone() {
            // It waits for the collector, whose connection is driven here.
            let _stopped = spawn_blocking(move || otlp.stop()).await;
        }
        tracing::info!(finished, "control.stopped");
        finished
    }
}

/// Names the setting when a port is taken.
async fn bind(
    variable: &str,
    address: SocketAddr,
) -> anyhow::Result<(tokio::net::TcpListener, SocketAddr)> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("{variable}: cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn serve_http(name: &'static str, server: actix_web::dev::Server) {
    if let Err(error) = server.await {
        tracing::error!(
            name,
            error = &error as &dyn std::error::Error,
            "http.failed"
        );
    }
}

/// What needs the database.
struct Work {
    tasks: Tasks,
    store: Store,
    pricing: Pricing,
    timezone: Tz,
    alerts: Alerts,
    amounts_sender: watch::Sender<Arc<Amounts>>,
    head_sender: watch::Sender<Option<Head>>,
    head: HeadWatch,
    readiness: Readiness,
    pace: Pace,
    usage_retention_days: u32,
    audit_retention_days: u32,
}

impl Work {
    /// Prepares the database once it is there, then follows changes and does the
    /// jobs.
    async fn run(self) {
        self.prepare_when_possible().await;
        self.readiness.set_migrated();
        let upkeep = jobs::Upkeep {
            usage_retention_days: self.usage_retention_days,
            audit_retention_days: self.audit_retention_days,
            timezone: self.timezone,
        };
        jobs::start(&self.tasks, &self.store, &self.pace, &upkeep);
        self.tasks.spawn_until_stop(self.pricing.follow(self.head));
        self.tasks
            .spawn_until_stop(self.alerts.run(self.pace.alerts));
        let spending = spending::read(self.store.clone(), self.pace.spending, self.amounts_sender);
        self.tasks.spawn_until_stop(spending);
        listener::listen(self.store.url().clone(), self.pace.poll, self.head_sender).await;
    }

    /// Says once what it is waiting for, and again when that changes.
    async fn prepare_when_possible(&self) {
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times()
            .with_jitter()
            .build();
        let mut said = String::new();
        while let Err(error) = self.prepare().await {
            let reason = format!("{error:#}");
            if reason != said {
                tracing::warn!(reason, "database.waiting");
                said = reason;
            }
            time::sleep(delays.next().unwrap_or(Duration::from_secs(5))).await;
        }
    }

    /// Tables, prices, and aggregates in the right time zone.
    async fn prepare(&self) -> anyhow::Result<()> {
        migrate(self.store.url()).await?;
        self.pricing.write().await.context("write the price list")?;
        jobs::move_aggregates(&self.store, self.timezone)
            .await
            .context("make the aggregates in PROXY_TIMEZONE")?;
        Ok(())
    }
}
