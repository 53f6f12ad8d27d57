//! A simulator of Bedrock runtime, faithful on the wire.
//!
//! It carries the same messages of the same small model as
//! [`anthropic`](crate::anthropic), in the five ways that Bedrock has, and takes
//! the same scripts. Requests must be signed or have an API key, must fit AWS's
//! published model of the service, and may only hold what Bedrock takes.
//!
//! A request meets the modules in this order: `target` tells what it is for,
//! `credential` who asks, `shape`, `rule`, `native` and `capability` whether it
//! can be answered; `converse` translates, `answer` words it, `frame` puts it in
//! frames. `check` has the order of what is looked at.
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
mod capability;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
mod check;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
mod converse;
mod credential;
mod exception;
pub(crate) mod frame;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
mod native;
#[expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]
mod rule;
mod shape;
mod target;

use std::{
    net::SocketAddr,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use self::shape::Service;
pub use self::{
    capability::{BetaWording, Capabilities, FieldWording, Offer},
    credential::{ACCESS_KEY_ID, API_KEY, Credentials, SECRET_ACCESS_KEY},
    exception::Exception,
};
use crate::simulator::{Api, Setup, answer::Answer, signature::Signer, usage::Cache};
pub use crate::simulator::{
    Server,
    record::{Counts, Entry, Ledger, Operation, Received},
    reply::{
        ApiError, At, Content, Damage, Encoding, Ending, Frame, Framing, Gate, How, Pace, Reply,
        UsageIn, Writes,
    },
    script::{Rule, Script},
    signature::Thoughts,
    usage::Usage,
};

/// A running simulator. Dropping it closes its port and all connections.
#[derive(Debug)]
pub struct Simulator {
    server: Server,
    credentials: Credentials,
    offer: Offer,
    signer: Signer,
    is_strict: bool,
}

/// What is decided before a simulator starts.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    setup: Setup,
    credentials: Credentials,
    region: Option<String>,
    offer: Offer,
    is_lenient: bool,
}

/// How every signature of this simulator begins.
pub const SIGNATURE_PREFIX: &str = "EsBR";

/// Bedrock runtime.
#[derive(Debug)]
struct Bedrock {
    cache: Mutex<Cache>,
    credentials: Credentials,
    region: Option<String>,
    offer: Offer,
    signer: Signer,
    /// AWS's model of the service; none: its shapes are not looked at.
    service: Option<Arc<Service>>,
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
        answer::answer(
            request,
            reply,
            || self.check(request),
            &self.signer,
            &mut cache,
        )
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

    /// Accepts this of what the Anthropic API has.
    #[must_use]
    pub fn capabilities(self, capabilities: Capabilities) -> Self {
        self.offer.set(capabilities);
        self
    }

    /// Does without AWS's model of the service when it is not there, in place of
    /// installing it.
    #[must_use]
    pub fn lenient(mut self) -> Self {
        self.is_lenient = true;
        self
    }

    /// # Errors
    /// When the address cannot be bound, no certificate can be made, or AWS's
    /// model of the service cannot be installed.
    pub async fn start(self) -> anyhow::Result<Simulator> {
        let is_lenient = self.is_lenient;
        let service = tokio::task::spawn_blocking(move || match is_lenient {
            true => Ok(Service::installed()),
            false => Service::install().map(Some),
        });
        let api = Bedrock {
            cache: Mutex::default(),
            credentials: self.credentials.clone(),
            region: self.region,
            offer: self.offer.clone(),
            signer: Signer::new(SIGNATURE_PREFIX),
            service: service.await??,
        };
        Ok(Simulator {
            credentials: self.credentials,
            offer: self.offer,
            signer: api.signer.clone(),
            is_strict: api.service.is_some(),
            server: self.setup.start(api).await?,
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

    /// What it accepts, to be changed at any time.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Which thoughts it takes back from now on.
    pub fn take(&self, thoughts: Thoughts) {
        self.signer.take(thoughts);
    }

    /// Tells whether requests are compared with AWS's model of the service.
    pub fn is_strict(&self) -> bool {
        self.is_strict
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
