//! What the simulator has seen and said, for a test to compare.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Method, Version, request, uri::PathAndQuery};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::usage::Usage;

/// Requests and ledger entries that are kept; older ones are forgotten.
const MAX_KEPT: usize = 20_000;

/// Bytes of request bodies that are kept.
const MAX_KEPT_BYTES: usize = 512 << 20;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// What the simulator sent as `request-id` or `x-amzn-requestid`.
    pub request_id: String,
    pub operation: Operation,
    /// The model that it names; empty when it names none.
    pub model: String,
    pub version: Version,
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// In order of arrival; the names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `POST /v1/messages`, or Bedrock's `POST /anthropic/v1/messages`.
    Messages,
    CountTokens,
    Models,
    Invoke,
    InvokeStream,
    Converse,
    ConverseStream,
    #[default]
    Other,
}

impl Operation {
    /// Asks a model to answer.
    #[must_use]
    pub fn is_message(self) -> bool {
        match self {
            Self::Messages
            | Self::Invoke
            | Self::InvokeStream
            | Self::Converse
            | Self::ConverseStream => true,
            Self::CountTokens | Self::Models | Self::Other => false,
        }
    }
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub connections_opened: u64,
    pub connections_open: u64,
    /// Requests that have arrived with their whole body.
    pub requests: u64,
    /// Answers whose end was handed to the connection.
    pub answers_finished: u64,
    /// Answers that the client did not wait for.
    pub answers_abandoned: u64,
}

/// The tokens that the simulator has reported, to compare with what was counted.
///
/// Cache writes that were reported without their lifetime are in
/// `cache_write_5m_tokens`. Usage counts when the event or body that carries it
/// is handed to the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    pub tokens: Usage,
    /// Answers that reported usage.
    pub answers: u64,
    /// One for each such answer, oldest first.
    pub entries: VecDeque<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub request_id: String,
    pub model: String,
    pub tokens: Usage,
}

/// All of the above, while the simulator runs.
#[derive(Debug, Default)]
pub(crate) struct Record {
    received: Mutex<Kept>,
    ledger: Mutex<Ledger>,
    counts: watch::Sender<Counts>,
}

#[derive(Debug, Default)]
struct Kept {
    requests: VecDeque<Received>,
    bytes: usize,
}

impl Received {
    pub(crate) fn new(head: request::Parts, body: Bytes, request_id: String) -> Self {
        let path = head.uri.path_and_query().map(PathAndQuery::as_str);
        // HTTP/2 has it in place of `host`.
        let authority = head.uri.authority();
        let authority = authority.map(|it| (":authority".to_owned(), it.to_string()));
        let named = head.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.to_string(), value.into_owned())
        });
        let headers = authority.into_iter().chain(named).collect();
        Self {
            request_id,
            operation: Operation::Other,
            model: String::new(),
            version: head.version,
            path: path.unwrap_or(head.uri.path()).to_owned(),
            method: head.method,
            headers,
            body,
        }
    }

    pub fn path_without_query(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// The first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Method, path and headers, as one text to search.
    pub fn head(&self) -> String {
        let mut head = format!("{} {} {:?}\n", self.method, self.path, self.version);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\n");
        }
        head
    }

    /// Tells whether this text is anywhere in the request, head or body.
    pub fn contains(&self, text: &str) -> bool {
        self.head().contains(text) || memchr::memmem::find(&self.body, text.as_bytes()).is_some()
    }

    /// # Errors
    /// When the body is not JSON.
    pub fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
    }
}

impl Record {
    pub(crate) fn request(&self, request: Received) {
        let mut kept = lock(&self.received);
        kept.bytes += request.body.len();
        kept.requests.push_back(request);
        while kept.requests.len() > MAX_KEPT || kept.bytes > MAX_KEPT_BYTES {
            let Some(oldest) = kept.requests.pop_front() else {
                break;
            };
            kept.bytes -= oldest.body.len();
        }
        drop(kept);
        self.count(|counts| counts.requests += 1);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        lock(&self.received).requests.iter().cloned().collect()
    }

    /// Notes that an answer has now reported `tokens` in all, after `before`.
    pub(crate) fn report(&self, request_id: &str, model: &str, before: Usage, tokens: Usage) {
        let mut ledger = lock(&self.ledger);
        ledger.tokens = ledger.tokens + tokens - before;
        // Nobody looks through all of them for what cannot be there.
        let is_known = before != Usage::default();
        let mut entries = is_known.then(|| ledger.entries.iter_mut().rev());
        let known = entries
            .as_mut()
            .and_then(|it| it.find(|entry| entry.request_id == request_id));
        if let Some(entry) = known {
            entry.tokens = tokens;
            return;
        }
        ledger.answers += 1;
        ledger.entries.push_back(Entry {
            request_id: request_id.to_owned(),
            model: model.to_owned(),
            tokens,
        });
        if ledger.entries.len() > MAX_KEPT {
            ledger.entries.pop_front();
        }
    }

    pub(crate) fn ledger(&self) -> Ledger {
        lock(&self.ledger).clone()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    pub(crate) fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
