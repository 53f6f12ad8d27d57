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
//! The wire, the script and the small model are those of `crate::simulator`;
//! `request` reads and checks a request, `answer` words what is said to it.

mod answer;
mod request;

use std::{
    net::SocketAddr,
    ops::Deref,
    sync::{Mutex, PoisonError},
};

use serde::Deserialize;
use uuid::Uuid;

use crate::simulator::{Api, Setup, answer::Answer, signature::Signer, usage::Cache};
pub use crate::simulator::{
    Server,
    record::{Counts, Entry, Ledger, Operation, Received},
    reply::{
        ApiError, At, Content, Encoding, Ending, Framing, Gate, How, Pace, Reply, UsageIn, Writes,
    },
    script::{Rule, Script},
    signature::Thoughts,
    usage::Usage,
};

/// A running simulator. Dropping it closes its port and all connections.
#[derive(Debug)]
pub struct Simulator {
    server: Server,
    signer: Signer,
}

/// What is decided before a simulator starts.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    setup: Setup,
}

/// How every signature of this simulator begins.
pub const SIGNATURE_PREFIX: &str = "EqMB";

/// The Anthropic API.
#[derive(Debug)]
struct Anthropic {
    cache: Mutex<Cache>,
    signer: Signer,
}

impl Api for Anthropic {
    fn request_id(&self) -> String {
        format!("req_011C{}", Uuid::new_v4().simple())
    }

    fn identify(&self, request: &Received) -> (Operation, String) {
        #[derive(Deserialize)]
        struct Named {
            model: String,
        }
        let operation = match request.path_without_query() {
            "/v1/messages" => Operation::Messages,
            "/v1/messages/count_tokens" => Operation::CountTokens,
            path if path.starts_with("/v1/models") => Operation::Models,
            _ => Operation::Other,
        };
        let named = serde_json::from_slice(&request.body);
        (
            operation,
            named.map_or(String::new(), |named: Named| named.model),
        )
    }

    fn answer(&self, request: &Received, reply: &Reply) -> Option<Answer> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        answer::answer(request, reply, &self.signer, &mut cache)
    }
}

impl Builder {
    #[must_use]
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.setup.listen = addr;
        self
    }

    /// Speaks TLS and negotiates the version of HTTP.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.setup.has_tls = true;
        self
    }

    /// For replies that do not say their own.
    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Self {
        self.setup.pace = pace;
        self
    }

    /// # Errors
    /// When the address cannot be bound or no certificate can be made.
    pub async fn start(self) -> anyhow::Result<Simulator> {
        let signer = Signer::new(SIGNATURE_PREFIX);
        let api = Anthropic {
            cache: Mutex::default(),
            signer: signer.clone(),
        };
        let server = self.setup.start(api).await?;
        Ok(Simulator { server, signer })
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

    /// Which thoughts it takes back from now on.
    pub fn take(&self, thoughts: Thoughts) {
        self.signer.take(thoughts);
    }

    /// Closes the port and all connections, and returns when that is done.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

impl Deref for Simulator {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}
