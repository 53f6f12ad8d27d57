//! Which request gets which reply.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;

use super::{
    record::{Operation, Received},
    reply::Reply,
};

/// The rules of one simulator. Clones share them, so that a test can go on
/// scripting while the simulator runs.
///
/// A request takes the first rule that fits it and is not used up; without one
/// it gets what [`Script::otherwise`] has said last, or else [`Reply::answer`].
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<Mutex<Scripted>>);

#[derive(Default)]
struct Scripted {
    rules: Vec<Rule>,
    otherwise: Option<Arc<Choose>>,
}

type Choose = dyn Fn(&Received) -> Reply + Send + Sync;

/// A reply, and the requests it is for. An empty condition fits every request.
///
/// Without a path or an operation it is for whatever asks a model to answer:
/// `POST /v1/messages` of the Anthropic API; of Bedrock everything but
/// `count-tokens`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The path without the query.
    #[serde(default)]
    path: String,
    #[serde(default)]
    operation: Option<Operation>,
    /// Text that occurs in the name of the model.
    #[serde(default)]
    model: String,
    /// Text that occurs in the body.
    #[serde(default)]
    body_contains: String,
    /// How many requests it is for; none: all from now on.
    #[serde(default = "once")]
    times: Option<u32>,
    #[serde(default)]
    reply: Reply,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "serde wants the type of the field"
)]
fn once() -> Option<u32> {
    Some(1)
}

impl Rule {
    /// For the next question to a model only.
    pub fn once(reply: Reply) -> Self {
        Self {
            path: String::new(),
            operation: None,
            model: String::new(),
            body_contains: String::new(),
            times: once(),
            reply,
        }
    }

    /// For every question to a model.
    pub fn always(reply: Reply) -> Self {
        Self {
            times: None,
            ..Self::once(reply)
        }
    }

    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// For requests to this path instead.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// For requests of this kind instead.
    #[must_use]
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only for requests that name a model with this text in its name.
    #[must_use]
    pub fn model(mut self, text: &str) -> Self {
        text.clone_into(&mut self.model);
        self
    }

    /// Only for requests with this text in their body.
    #[must_use]
    pub fn body_contains(mut self, text: &str) -> Self {
        text.clone_into(&mut self.body_contains);
        self
    }

    fn fits(&self, request: &Received) -> bool {
        let is_asked_for = match self.operation {
            Some(operation) => operation == request.operation,
            None => !self.path.is_empty() || request.operation.is_message(),
        };
        self.times != Some(0)
            && is_asked_for
            && (self.path.is_empty() || self.path == request.path_without_query())
            && request.model.contains(&self.model)
            && (self.body_contains.is_empty()
                || memchr::memmem::find(&request.body, self.body_contains.as_bytes()).is_some())
    }
}

impl Script {
    pub fn new() -> Self {
        Self::default()
    }

    /// The next question to a model that has no reply yet gets this one.
    pub fn then(&self, reply: Reply) -> &Self {
        self.rule(Rule::once(reply))
    }

    /// Every question to a model gets this, after the replies before it.
    pub fn always(&self, reply: Reply) -> &Self {
        self.rule(Rule::always(reply))
    }

    pub fn rule(&self, rule: Rule) -> &Self {
        self.lock().rules.push(rule);
        self
    }

    /// Every question to a model that no rule fits gets the reply that is chosen
    /// for it, for tests in which the request itself says what becomes of it.
    pub fn otherwise(&self, choose: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> &Self {
        self.lock().otherwise = Some(Arc::new(choose));
        self
    }

    /// Forgets all rules and takes these.
    pub fn replace(&self, rules: impl IntoIterator<Item = Rule>) {
        self.lock().rules = rules.into_iter().collect();
    }

    pub(crate) fn reply_to(&self, request: &Received) -> Reply {
        let mut scripted = self.lock();
        let Some(rule) = scripted.rules.iter_mut().find(|rule| rule.fits(request)) else {
            let choose = scripted.otherwise.clone();
            drop(scripted);
            let choose = choose.filter(|_| request.operation.is_message());
            return choose.map_or_else(Reply::answer, |choose| choose(request));
        };
        if let Some(times) = &mut rule.times {
            *times -= 1;
        }
        let reply = rule.reply.clone();
        scripted.rules.retain(|rule| rule.times != Some(0));
        reply
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Scripted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
