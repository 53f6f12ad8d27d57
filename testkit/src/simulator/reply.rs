//! What a test can ask the simulator to answer.
//!
//! A [`Reply`] is data: the methods below build it in Rust, and `POST /_script`
//! takes the same as JSON. Everything that is not said is as the real API does
//! it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::usage::Usage;

/// How one request is answered.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reply {
    pub content: Content,
    /// Set on the head of the answer, replacing headers of the same name.
    pub headers: Vec<(String, String)>,
    /// The tokens to report instead of those derived from the request.
    pub tokens: Option<Usage>,
    pub usage_in: UsageIn,
    pub pace: Option<Pace>,
    pub writes: Writes,
    pub encoding: Encoding,
    pub framing: Framing,
    pub ending: Option<Ending>,
    /// The head of the answer waits here.
    #[serde(skip)]
    pub head_gate: Option<Gate>,
    /// Events (of a stream) or the whole body (otherwise) wait here.
    #[serde(skip)]
    pub gate: Option<Gate>,
}

/// What is said.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Content {
    /// What a small model says to the request, or why the request is wrong.
    #[default]
    Answer,
    /// This text, in place of the small model's.
    Text(String),
    /// This message, whose fields replace those of a usual one; streamed when
    /// the request asks for a stream.
    Message(Value),
    /// Exactly these events, whether or not the request asks for a stream.
    Events(Vec<(String, Value)>),
    /// An error in the API's envelope.
    Error(ApiError),
    /// Exactly these messages of Amazon's event stream, from Bedrock only.
    Frames(Vec<Frame>),
    /// Anything over HTTP. The ledger counts [`Reply::tokens`] for it.
    Body {
        status: u16,
        content_type: String,
        #[serde(deserialize_with = "bytes_of_text")]
        body: Bytes,
    },
    /// These bytes in place of an HTTP answer; then the connection ends.
    /// HTTP/1.1 only: HTTP/2 connections just end.
    Raw(#[serde(deserialize_with = "bytes_of_text")] Bytes),
}

/// An error as the API words it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "ScriptedError")]
pub struct ApiError {
    pub status: u16,
    pub kind: String,
    pub message: String,
}

/// An error in a script: only the status is needed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptedError {
    status: u16,
    #[serde(rename = "type")]
    kind: Option<String>,
    message: Option<String>,
}

/// Which events of a stream carry usage, and how completely.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageIn {
    /// `message_start` has the input, `message_delta` repeats it with the
    /// final output: today's API.
    #[default]
    Both,
    /// The same, but `message_delta` has only `output_tokens`: the API of 2024.
    OutputInDelta,
    /// Everything in `message_start`, nothing in `message_delta`.
    StartOnly,
    /// Zeros in `message_start`, everything in `message_delta`.
    DeltaOnly,
    /// As `Both`, without `cache_creation`, which splits writes by lifetime.
    WithoutSplit,
    /// Nowhere.
    Nowhere,
}

/// How long the simulator waits before it speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pace {
    pub head_ms: u64,
    pub first_event_ms: u64,
    pub event_ms: u64,
}

/// How the events of a stream are spread over writes to the socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Writes {
    #[default]
    EachEvent,
    Events(usize),
    Bytes(usize),
    AtOnce,
}

/// How the body is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    #[default]
    Identity,
    /// What `accept-encoding` prefers of zstd, br, gzip and deflate.
    Accepted,
    Gzip,
    Deflate,
    Br,
    Zstd,
}

/// How an HTTP/1.1 body that is not a stream of events is framed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    #[default]
    ContentLength,
    Chunked,
}

/// A way of ending that is not the usual one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    pub at: At,
    pub how: How,
}

/// Where an [`Ending`] happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// Before the head of the answer.
    Start,
    /// After the head and this many bytes of body, as sent (compressed).
    Bytes(usize),
    /// After the head and this many events.
    Events(usize),
    /// After everything, in place of the proper end of the body.
    End,
}

/// What an [`Ending`] does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The connection is reset, after the client's side has all bytes before.
    Reset,
    /// The connection is closed in the orderly way, but too early.
    Close,
    /// Nothing more comes, and the connection stays.
    Silence,
    /// The body ends as if it were complete.
    Clean,
    /// An `error` event, or a frame with this exception, and a proper end of
    /// the body.
    Error(ApiError),
    /// This frame, and a proper end of the body; from Bedrock only.
    Frame(Frame),
}

/// One message of Amazon's event stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Frame {
    /// The headers, all of them strings.
    pub headers: Vec<(String, String)>,
    /// A string stands for itself, anything else for its JSON.
    pub payload: Value,
    pub damage: Damage,
}

/// Which checksum of a frame is wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    #[default]
    None,
    Prelude,
    Message,
}

/// Holds answers until a test lets them go on: heads, or bodies event by event.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Reply {
    fn of(content: Content) -> Self {
        Self {
            content,
            ..Self::default()
        }
    }

    /// What a small model says.
    pub fn answer() -> Self {
        Self::default()
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self::of(Content::Text(text.into()))
    }

    pub fn message(message: Value) -> Self {
        Self::of(Content::Message(message))
    }

    pub fn events<N: Into<String>>(events: impl IntoIterator<Item = (N, Value)>) -> Self {
        let events = events.into_iter().map(|(name, data)| (name.into(), data));
        Self::of(Content::Events(events.collect()))
    }

    /// The usual error of a status.
    pub fn error(status: u16) -> Self {
        Self::of(Content::Error(ApiError::of_status(status)))
    }

    pub fn refusal(error: impl Into<ApiError>) -> Self {
        Self::of(Content::Error(error.into()))
    }

    pub fn api_error(status: u16, kind: &str, message: &str) -> Self {
        Self::of(Content::Error(ApiError::new(status, kind, message)))
    }

    /// The plan's own limit is reached: 429 with the unified headers.
    pub fn plan_limit(resets_at: u64) -> Self {
        let resets_at = resets_at.to_string();
        Self::api_error(
            429,
            "rate_limit_error",
            "This request would exceed your account's rate limit. Please try again later.",
        )
        .header("anthropic-ratelimit-unified-status", "rejected")
        .header("anthropic-ratelimit-unified-reset", &resets_at)
        .header(
            "anthropic-ratelimit-unified-representative-claim",
            "five_hour",
        )
        .header("anthropic-ratelimit-unified-5h-status", "rejected")
        .header("anthropic-ratelimit-unified-5h-utilization", "1.0")
        .header("anthropic-ratelimit-unified-5h-reset", &resets_at)
    }

    /// Exactly these messages of Amazon's event stream.
    pub fn frames(frames: impl IntoIterator<Item = Frame>) -> Self {
        Self::of(Content::Frames(frames.into_iter().collect()))
    }

    pub fn body(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self::of(Content::Body {
            status,
            content_type: content_type.to_owned(),
            body: body.into(),
        })
    }

    /// What a web application firewall answers.
    pub fn html(status: u16) -> Self {
        let body = format!("<html><head><title>{status}</title></head><body>blocked</body></html>");
        Self::body(status, "text/html", body)
    }

    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::of(Content::Raw(bytes.into()))
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks that the connection is not used again.
    #[must_use]
    pub fn close_connection(self) -> Self {
        self.header("connection", "close")
    }

    #[must_use]
    pub fn tokens(mut self, tokens: Usage) -> Self {
        self.tokens = Some(tokens);
        self
    }

    #[must_use]
    pub fn usage_in(mut self, usage_in: UsageIn) -> Self {
        self.usage_in = usage_in;
        self
    }

    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = Some(pace);
        self
    }

    #[must_use]
    pub fn writes(mut self, writes: Writes) -> Self {
        self.writes = writes;
        self
    }

    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    #[must_use]
    pub fn ending(mut self, at: At, how: How) -> Self {
        self.ending = Some(Ending { at, how });
        self
    }

    #[must_use]
    pub fn head_gate(mut self, gate: &Gate) -> Self {
        self.head_gate = Some(gate.clone());
        self
    }

    #[must_use]
    pub fn gate(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

impl ApiError {
    pub fn new(status: u16, kind: &str, message: &str) -> Self {
        Self {
            status,
            kind: kind.to_owned(),
            message: message.to_owned(),
        }
    }

    /// What the API says with this status when there is nothing special to say.
    pub fn of_status(status: u16) -> Self {
        let (kind, message) = match status {
            400 => ("invalid_request_error", "messages.0: something is invalid"),
            401 => ("authentication_error", "invalid x-api-key"),
            402 => ("billing_error", "Your account has no credit left"),
            403 => (
                "permission_error",
                "Your API key does not have permission to use the specified resource",
            ),
            404 => ("not_found_error", "Not Found"),
            405 => ("invalid_request_error", "Method Not Allowed"),
            408 => ("timeout_error", "Request timed out"),
            409 => ("conflict_error", "Conflict"),
            413 => (
                "request_too_large",
                "Request exceeds the maximum size of 32 MB",
            ),
            422 => ("invalid_request_error", "Unprocessable entity"),
            429 => (
                "rate_limit_error",
                "Number of request tokens has exceeded your per-minute rate limit",
            ),
            504 => ("timeout_error", "Request timed out"),
            529 => ("overloaded_error", "Overloaded"),
            _ => ("api_error", "Internal server error"),
        };
        Self::new(status, kind, message)
    }

    pub fn overloaded() -> Self {
        Self::of_status(529)
    }
}

fn bytes_of_text<'de, D: Deserializer<'de>>(text: D) -> Result<Bytes, D::Error> {
    String::deserialize(text).map(Bytes::from)
}

impl From<ScriptedError> for ApiError {
    fn from(scripted: ScriptedError) -> Self {
        let usual = Self::of_status(scripted.status);
        Self {
            status: scripted.status,
            kind: scripted.kind.unwrap_or(usual.kind),
            message: scripted.message.unwrap_or(usual.message),
        }
    }
}

impl Pace {
    /// Like a model that thinks and types; for demos.
    pub const LIVELY: Self = Self {
        head_ms: 250,
        first_event_ms: 150,
        event_ms: 25,
    };

    pub(crate) fn head(self) -> Duration {
        Duration::from_millis(self.head_ms)
    }

    pub(crate) fn event(self, index: usize) -> Duration {
        let ms = if index == 0 {
            self.first_event_ms
        } else {
            self.event_ms
        };
        Duration::from_millis(ms)
    }
}

impl Gate {
    /// Lets nothing through yet.
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets this many more events through.
    pub fn release(&self, events: usize) {
        self.0.add_permits(events);
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}
