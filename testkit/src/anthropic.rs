//! A simulator of the Anthropic API, faithful on the wire.
//!
//! Left alone it answers like a small model. A test scripts what else it does:
//! every error, delay, compression, layout and way of breaking off.
//!
//! ```no_run
//! # use testkit::anthropic::{At, Gate, How, Reply, Simulator};
//! # async fn example() -> anyhow::Result<()> {
//! let simulator = Simulator::start().await?;
//! let gate = Gate::closed();
//! simulator
//!     .script()
//!     .then(Reply::error(529))
//!     .then(Reply::text("one two three").gate(&gate))
//!     .then(Reply::answer().ending(At::Events(3), How::Reset));
//! // … a client sends three requests to `simulator.url()` …
//! gate.release(2); // the second answer's first two events
//! simulator.until(|counts| counts.requests == 3).await;
//! # Ok(())
//! # }
//! ```
//!
//! A request meets the modules in this order: `serve` reads it, `script` finds
//! its reply, `request` checks it, `model` thinks of something, `answer` words
//! it as the API does, `score` turns that into timed writes, `serve` plays them.

#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
mod answer;
mod control;
mod encode;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
mod model;
mod record;
mod reply;
mod request;
mod score;
mod script;
mod serve;
mod tls;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
mod usage;
mod wire;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Context;
use tokio::{net::TcpListener, task::JoinSet};

use self::serve::State;
pub use self::{
    record::{Counts, Entry, Ledger, Received},
    reply::{
        ApiError, At, Content, Encoding, Ending, Framing, Gate, How, Pace, Reply, UsageIn, Writes,
    },
    script::{Rule, Script},
    usage::Usage,
};

/// A running simulator. Dropping it closes its port and all connections.
#[derive(Debug)]
pub struct Simulator {
    addr: SocketAddr,
    ca_pem: Option<String>,
    state: Arc<State>,
    tasks: JoinSet<()>,
}

/// What is decided before a simulator starts.
#[derive(Debug, Clone)]
pub struct Builder {
    listen: SocketAddr,
    has_tls: bool,
    pace: Pace,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            has_tls: false,
            pace: Pace::default(),
        }
    }
}

impl Builder {
    #[must_use]
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen = addr;
        self
    }

    /// Speaks TLS and negotiates the version of HTTP.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.has_tls = true;
        self
    }

    /// For replies that do not say their own.
    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// # Errors
    /// When the address cannot be bound or no certificate can be made.
    pub async fn start(self) -> anyhow::Result<Simulator> {
        let (acceptor, ca_pem) = match self.has_tls {
            true => tls::acceptor().map(|(acceptor, pem)| (Some(acceptor), Some(pem)))?,
            false => (None, None),
        };
        let listener = TcpListener::bind(self.listen)
            .await
            .with_context(|| format!("cannot listen on {}", self.listen))?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State {
            script: Script::new(),
            record: record::Record::default(),
            cache: Default::default(),
            pace: self.pace,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve::accept(listener, acceptor, Arc::clone(&state)));
        Ok(Simulator {
            addr,
            ca_pem,
            state,
            tasks,
        })
    }
}

impl Simulator {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts on a free port of the loopback interface, without TLS.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> anyhow::Result<Self> {
        Self::builder().start().await
    }

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

    /// Closes the port and all connections, and returns when that is done.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
