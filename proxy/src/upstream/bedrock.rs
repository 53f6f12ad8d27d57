//! Amazon Bedrock: the same request, answered like the Anthropic API would.
//!
//! [`Bedrock::prepare`] finds the [`model`], opens the [`credential`] and reads the
//! body, within the operator's [`caps`]. Then, in [`Bedrock::ask`], [`mod@shape`] leaves out what is known to be refused, the [`adapter`]
//! carries the rest there and the answer back, and when Bedrock refuses
//! something that can be left out ([`complaint`], [`signature`](super::signature)), the request is
//! sent again without it and the lesson is kept ([`lessons`]).

pub mod model;

pub mod adapter;
pub mod answer;
pub mod converse;
pub mod count;
pub mod invoke;
pub mod messages;
pub mod stream;

pub mod carrier;
pub mod client;
pub mod credential;
pub mod origins;

pub mod caps;
pub mod complaint;
pub mod feature;
pub mod lessons;
pub mod shape;

pub mod fault;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use aws::Aws;
use bytes::Bytes;
use http::{HeaderMap, Uri, header};
use proto::sync::Provider;
use tokio::time::timeout;

use crate::{
    error::{Error, Kind},
    index::{AccessKey, Index},
    settings::{self, Caps, Limits},
    tasks::Tasks,
    telemetry::metrics::Metrics,
    upstream::{
        Flow,
        members::Members,
        signature::{Complaint, Session, Signatures},
    },
};
use adapter::{Adapter, Preference};
use answer::Answer;
use caps::cap;
use client::Clients;
use complaint::Named;
use converse::call::Call;
use credential::{Opened, Opener, Vault};
use feature::Feature;
use lessons::Lessons;
use messages::Messages;
use model::{Model, Overlay};
use origins::Origins;
use shape::{Shaped, shape};

/// How often one request is sent again without something that was refused. Each
/// time something else must have been left out.
const REPETITIONS: usize = 5;

/// Everything that asking Bedrock takes.
#[derive(Debug)]
pub struct Bedrock {
    preference: Preference,
    overlay: Overlay,
    caps: Caps,
    clients: Arc<Clients>,
    vault: Vault,
    messages: Messages,
    pub lessons: Arc<Lessons>,
    signatures: Arc<Signatures>,
    uses_role: bool,
    first_byte_timeout: Duration,
}

/// What a client asks, and who it is.
pub struct Question<'a> {
    pub access_key: &'a AccessKey,
    pub headers: &'a HeaderMap,
    pub body: &'a Bytes,
    /// The model that the body names.
    pub model: &'a str,
    pub is_streaming: bool,
    /// `x-claude-code-session-id`; empty when not sent.
    pub session_id: &'a str,
    /// Ours.
    pub request_id: &'a str,
    /// Only how many tokens the input has.
    pub is_count: bool,
}

/// Headers and body are nobody's to read in a log.
impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

/// Where a question goes.
struct Destination {
    opened: Arc<Opened>,
    origin: Uri,
    model: Model,
    adapter: Adapter,
}

/// A question that is ready to be asked.
pub struct Prepared<'a> {
    question: &'a Question<'a>,
    body: Members,
    betas: Vec<String>,
    to: Destination,
}

impl fmt::Debug for Prepared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.question.fmt(f)
    }
}

impl Prepared<'_> {
    /// A model id, an inference profile or an ARN.
    pub fn model(&self) -> &str {
        &self.to.model.id
    }

    /// Bedrock in the region.
    pub fn origin(&self) -> &Uri {
        &self.to.origin
    }

    pub fn region(&self) -> &str {
        &self.to.opened.region
    }

    /// How long an answer Bedrock is asked for.
    pub fn max_tokens(&self) -> Option<u64> {
        self.body.read("max_tokens")
    }
}

/// A question that is on its way.
struct Asked<'a> {
    question: &'a Question<'a>,
    to: Destination,
    betas: Vec<String>,
    metrics: &'a Metrics,
}

impl Bedrock {
    pub fn new(
        settings: &settings::Bedrock,
        caps: Caps,
        opener: Opener,
        aws: &Aws,
        signatures: Arc<Signatures>,
        limits: &Limits,
        tasks: &Tasks,
    ) -> Self {
        let origins = Arc::new(Origins::new(limits, tasks));
        let clients = Clients::new(settings.endpoint_url.clone(), origins.clone());
        let clients = Arc::new(clients);
        Self {
            preference: settings.api,
            overlay: settings.model_mapping.clone(),
            caps,
            vault: Vault::new(settings, opener, aws, clients.clone(), tasks),
            clients,
            messages: Messages::new(origins),
            lessons: Arc::default(),
            signatures,
            uses_role: settings.use_role,
            first_byte_timeout: limits.first_byte_timeout,
        }
    }

    /// Whether every access key can ask it, with a credential of its own or not.
    pub fn uses_role(&self) -> bool {
        self.uses_role
    }

    /// The models that clients may ask for by a name of Anthropic's, in order.
    pub fn models(&self, index: &Index) -> BTreeSet<String> {
        let mapped = index.mappings().map(|it| &*it.claude_model);
        let models = self.overlay.models().chain(mapped);
        models.map(ToOwned::to_owned).collect()
    }

    /// Finds out where a question goes, and with whose credential.
    ///
    /// # Errors
    ///
    /// What is no question, an unknown model, or no credential.
    pub async fn prepare<'a>(
        &self,
        index: &Index,
        question: &'a Question<'a>,
    ) -> Result<Prepared<'a>, Error> {
        let (mut body, betas) = read(question)?;
        if !question.is_count {
            cap(self.caps, &mut body);
        }
        let model = self.model(index, question, &body)?;
        let key = index.bedrock_key(&question.access_key.id);
        let opened = self.vault.open(key.map(|it| &**it)).await?;
        let origin = self.clients.origin(&opened.region);
        let to = Destination {
            origin: origin.map_err(|cause| Error::because(Kind::BedrockInternal, cause))?,
            adapter: Adapter::choose(self.preference, &model),
            opened,
            model,
        };
        Ok(Prepared {
            question,
            body,
            betas,
            to,
        })
    }

    /// Asks Bedrock, and gives its answer as the Anthropic API would.
    ///
    /// # Errors
    ///
    /// What Bedrock itself said.
    pub async fn ask(
        &self,
        index: &Index,
        prepared: Prepared<'_>,
        metrics: &Metrics,
    ) -> Result<Answer, Error> {
        let Prepared {
            question,
            mut body,
            betas,
            to,
        } = prepared;
        let session = Session::new(question.session_id, Provider::Bedrock);
        self.signatures.demote_known(session, &mut body);
        let asked = Asked {
            question,
            to,
            betas,
            metrics,
        };
        let refused = self
            .lessons
            .refused(index, &asked.to.opened.region, &asked.to.model.id);
        self.until_accepted(&asked, body, refused).await
    }

    fn model(
        &self,
        index: &Index,
        question: &Question<'_>,
        body: &Members,
    ) -> Result<Model, Error> {
        let said: Option<String> = body.read("model");
        let asked = said.as_deref().unwrap_or(question.model);
        if asked.is_empty() {
            // As the API words it.
            let error = Error::from(Kind::Untranslatable);
            return Err(error.in_the_words("model: Field required"));
        }
        model::resolve(asked, &self.overlay, index).ok_or_else(|| {
            let words = format!("model: {asked} is not known to the gateway on Amazon Bedrock");
            Error::from(Kind::UnknownModel).in_the_words(&words)
        })
    }

    /// Sends, and sends again without what was refused.
    async fn until_accepted(
        &self,
        asked: &Asked<'_>,
        mut body: Members,
        mut refused: BTreeSet<Feature>,
    ) -> Result<Answer, Error> {
        let session_id = asked.question.session_id;
        let session = Session::new(session_id, Provider::Bedrock);
        let (region, model) = (&asked.to.opened.region, &asked.to.model.id);
        let mut learned: Vec<Feature> = Vec::new();
        let mut demotions = 0;
        let mut repetitions = 0;
        let mut shaped = shape(&body, &asked.betas, &refused);
        loop {
            let error = match self.begin(asked, &shaped).await {
                Ok(answer) => {
                    self.lessons.learn(region, model, learned);
                    self.signatures.served_by_bedrock(session_id);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if repetitions == REPETITIONS {
                // Each was out of the way of the next: the next request gets
                // further.
                self.lessons.learn(region, model, learned);
                return Err(error);
            }
            repetitions += 1;
            let words = match (error.kind, error.wording.as_deref()) {
                (Kind::BedrockInvalid, Some(words)) => words,
                _ => return Err(error),
            };
            if let Some(complaint) = Complaint::of(words) {
                let mut steps = complaint.demotions(&mut demotions);
                let signatures = &self.signatures;
                if !steps.any(|it| signatures.demote(session, &mut body, it)) {
                    return Err(error);
                }
                shaped = shape(&body, &asked.betas, &refused);
                continue;
            }
            let named = Named::in_words(words, &shaped);
            refused.extend(named.features.iter().cloned());
            let without = shape(&body, &asked.betas, &refused);
            if without.left_out == shaped.left_out {
                return Err(error);
            }
            shaped = without;
            if named.is_certain {
                learned.extend(named.features);
            }
        }
    }

    /// Sends, and waits until the answer is more than a promise: a stream may
    /// begin with a refusal.
    async fn begin(&self, asked: &Asked<'_>, shaped: &Shaped) -> Result<Answer, Error> {
        // AWS's client reads an answer that is no stream to its end: its head and
        // its content have as long as anywhere.
        let sent = timeout(2 * self.first_byte_timeout, self.send(asked, shaped)).await;
        let sent = sent.map_err(|it| Error::because(Kind::FirstByteTimeout, it))?;
        let mut answer = sent?;
        if let Flow::Bedrock(flow) = answer.flow {
            let begun = timeout(self.first_byte_timeout, flow.begun()).await;
            let begun = begun.map_err(|it| Error::because(Kind::FirstByteTimeout, it))?;
            answer.flow = Flow::Bedrock(begun?);
        }
        Ok(answer)
    }

    async fn send(&self, asked: &Asked<'_>, shaped: &Shaped) -> Result<Answer, Error> {
        let Asked { question, to, .. } = asked;
        let (client, model) = (&to.opened.client, &to.model);
        if question.is_count {
            return count::ask(client, model, shaped).await;
        }
        match to.adapter {
            Adapter::Invoke => invoke::ask(client, &model.id, shaped, question.is_streaming).await,
            Adapter::Messages => {
                let messages = &self.messages;
                messages
                    .ask(&to.origin, &to.opened, &model.id, shaped, question.headers)
                    .await
            }
            Adapter::Converse => {
                let call = Call {
                    client,
                    model,
                    shaped,
                    asked_model: question.model,
                    message_id: question.request_id.replacen("req_", "msg_", 1),
                    is_streaming: question.is_streaming,
                };
                call.ask(asked.metrics).await
            }
        }
    }
}

/// The body's members, and the betas that make sense on Bedrock.
fn read(question: &Question<'_>) -> Result<(Members, Vec<String>), Error> {
    let coding = question.headers.get(header::CONTENT_ENCODING);
    if coding.is_some_and(|it| !it.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Kind::EncodedBody.into());
    }
    let mut body: Members = serde_json::from_slice(question.body)
        .map_err(|cause| Error::because(Kind::MalformedBody, cause))?;
    // Where Claude Code puts betas when it speaks to Bedrock itself.
    let inside: Vec<String> = body.read("anthropic_beta").unwrap_or_default();
    body.remove("anthropic_beta");
    body.remove("anthropic_version");
    let headers = question.headers.get_all("anthropic-beta").iter();
    let flags = headers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .chain(inside.iter().map(String::as_str));
    Ok((body, feature::known_to_bedrock(flags)))
}
