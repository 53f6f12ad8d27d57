//! A simulator of Bedrock runtime, faithful on the wire.
//!
//! It carries the same messages of the same small model as
//! [`anthropic`](crate::anthropic), in the five ways that Bedrock has, and takes
//! the same scripts. Requests must be signed, or have an API key.
//!
//! ```no_run
//! # use testkit::bedrock::{At, Exception, Frame, How, Reply, Simulator};
//! # async fn example() -> anyhow::Result<()> {
//! let bedrock = Simulator::start().await?;
//! bedrock
//!     .script()
//!     .then(Reply::refusal(Exception::Throttling).header("retry-after", "3"))
//!     .then(Reply::answer().ending(At::Events(3), How::Error(Exception::ModelStreamError.into())))
//!     .then(Reply::answer().ending(At::Events(3), How::Clean));
//! // … a client sends three requests to `bedrock.url()`, with `bedrock::API_KEY`
//! # Ok(())
//! # }
//! ```

#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
mod answer;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
mod converse;
mod credential;
mod exception;
mod frame;
mod target;

use std::{
    net::SocketAddr,
    ops::Deref,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use uuid::Uuid;

pub use self::{
    credential::{ACCESS_KEY_ID, API_KEY, Credentials, SECRET_ACCESS_KEY},
    exception::Exception,
};
use crate::simulator::{Api, Setup, answer::Answer, usage::Cache};
pub use crate::simulator::{
    Server,
    record::{Counts, Entry, Ledger, Operation, Received},
    reply::{
        ApiError, At, Content, Damage, Encoding, Ending, Frame, Framing, Gate, How, Pace, Reply,
        UsageIn, Writes,
    },
    script::{Rule, Script},
    usage::Usage,
};

/// A running simulator. Dropping it closes its port and all connections.
#[derive(Debug)]
pub struct Simulator {
    server: Server,
    credentials: Credentials,
}

/// What is decided before a simulator starts.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    setup: Setup,
    credentials: Credentials,
    region: Option<String>,
}

/// Bedrock runtime.
#[derive(Debug)]
struct Bedrock {
    cache: Mutex<Cache>,
    credentials: Credentials,
    region: Option<String>,
}

impl Api for Bedrock {
    fn request_id(&self) -> String {
        Uuid::new_v4().to_string()
    }

    fn identify(&self, request: &Received) -> (Operation, String) {
        target::identify(request)
    }

    fn answer(&self, request: &Received, reply: &Reply) -> Option<Answer> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        answer::answer(request, reply, || self.check(request), &mut cache)
    }
}

impl Bedrock {
    /// Why Bedrock would refuse a request: who asks, where, then what.
    fn check(&self, request: &Received) -> Result<(), ApiError> {
        if request.operation == Operation::Other {
            return Err(Exception::UnknownOperation.into());
        }
        let now = SystemTime::now();
        let _region = self
            .credentials
            .check(request, self.region.as_deref(), now)?;
        if !target::is_known(&request.model) {
            return Err(Exception::Validation.says("The provided model identifier is invalid."));
        }
        match request.operation {
            // Profiles are many models; the real one counts for one model only.
            Operation::CountTokens if target::is_profile(&request.model) => {
                Err(Exception::Validation
                    .says("The provided model doesn't support counting tokens."))
            }
            Operation::Invoke | Operation::InvokeStream | Operation::Messages
                if !target::is_claude(&request.model) =>
            {
                Err(Exception::Validation
                    .says("Malformed input request, please reformat your input and try again."))
            }
            _ => Ok(()),
        }
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

    /// Accepts these in place of the default ones.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Accepts signatures for this region only, in place of any.
    #[must_use]
    pub fn region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// # Errors
    /// When the address cannot be bound or no certificate can be made.
    pub async fn start(self) -> anyhow::Result<Simulator> {
        let api = Bedrock {
            cache: Mutex::default(),
            credentials: self.credentials.clone(),
            region: self.region,
        };
        Ok(Simulator {
            server: self.setup.start(api).await?,
            credentials: self.credentials,
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

    /// Who is let in, to be changed at any time.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
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
