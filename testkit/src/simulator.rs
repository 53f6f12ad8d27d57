//! What the simulators of the Anthropic API and of Bedrock have in common:
//! connections, scripts, pace, faults, the small model and what it costs.
//!
//! A request meets the modules in this order: `serve` reads it, `script` finds
//! its reply, an [`Api`] checks it and says what is answered (most often a
//! `message` of the small `model`), `score` turns that into timed writes,
//! `serve` plays them.

pub(crate) mod answer;
pub(crate) mod control;
mod encode;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
pub(crate) mod message;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
pub(crate) mod model;
pub(crate) mod question;
pub(crate) mod record;
pub(crate) mod reply;
mod score;
pub(crate) mod script;
mod serve;
pub(crate) mod signature;
mod tls;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
pub(crate) mod usage;
mod wire;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Context;
use tokio::{net::TcpListener, task::JoinSet};

use self::{
    answer::Answer,
    record::{Counts, Ledger, Operation, Received},
    reply::{Pace, Reply},
    script::Script,
    serve::State,
};

/// What makes one simulator different from the other.
pub(crate) trait Api: fmt::Debug + Send + Sync + 'static {
    /// A new id, as this API makes them.
    fn request_id(&self) -> String;

    /// What a request is for, and the model that it names.
    fn identify(&self, request: &Received) -> (Operation, String);

    /// Answers a request that the script has this reply for. None: no answer
    /// over HTTP at all.
    fn answer(&self, request: &Received, reply: &Reply) -> Option<Answer>;
}

/// A running simulator of either API. Dropping it closes its port and all
/// connections.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    ca_pem: Option<String>,
    state: Arc<State>,
    tasks: JoinSet<()>,
}

/// What is decided before a simulator starts, whichever it is.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) listen: SocketAddr,
    pub(crate) has_tls: bool,
    /// For replies that do not say their own.
    pub(crate) pace: Pace,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            has_tls: false,
            pace: Pace::default(),
        }
    }
}

impl Setup {
    pub(crate) async fn start(self, api: impl Api) -> anyhow::Result<Server> {
        let (acceptor, ca_pem) = match self.has_tls {
            true => tls::acceptor().map(|(acceptor, pem)| (Some(acceptor), Some(pem)))?,
            false => (None, None),
        };
        let listener = TcpListener::bind(self.listen)
            .await
            .with_context(|| format!("cannot listen on {}", self.listen))?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State {
            api: Box::new(api),
            script: Script::new(),
            record: record::Record::default(),
            pace: self.pace,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve::accept(listener, acceptor, Arc::clone(&state)));
        Ok(Server {
            addr,
            ca_pem,
            state,
            tasks,
        })
    }
}

impl Server {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL, without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = if self.ca_pem.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.addr)
    }

    /// The authority that signed the certificate, when TLS is on.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    pub fn script(&self) -> &Script {
        &self.state.script
    }

    /// The newest requests, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.state.record.received()
    }

    pub fn ledger(&self) -> Ledger {
        self.state.record.ledger()
    }

    pub fn counts(&self) -> Counts {
        *self.state.record.counts().borrow()
    }

    /// Waits until the counts are as wanted.
    pub async fn until(&self, wanted: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.state.record.counts();
        // The sender lives as long as `self`.
        match counts.wait_for(wanted).await {
            Ok(counts) => *counts,
            Err(_closed) => self.counts(),
        }
    }

    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
