//! An upstream that answers with bytes made beforehand, so that a benchmark
//! measures what is in front of it.
//!
//! The request's line chooses the answer: its path the [`Provider`] that answers,
//! its query or the model in its path the [`Shape`]. HTTP/1.1 only; requests are
//! framed and otherwise not read.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use chrono::Utc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{bedrock::frame, simulator::reply::Frame};

/// Events of a stream, from `message_start` to `message_stop`.
pub const EVENTS: usize = 100;

/// The time between the events of a paced stream.
pub const GAP: Duration = Duration::from_millis(10);

/// Events of a brief stream, of which the second one is its first content.
pub const BRIEF_EVENTS: usize = 8;

/// The time between the events of a brief stream, at least.
pub const MOMENT: Duration = Duration::from_micros(200);

/// When a plan that is used up wants to be asked again.
const RESET_SECONDS: i64 = 3_600;

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// A small message as JSON.
    Json,
    /// [`EVENTS`] events, each in a write of its own, without a gap.
    Stream,
    /// [`EVENTS`] events, ten in a write, without a gap.
    Burst,
    /// [`EVENTS`] events, each [`GAP`] after the one before.
    Paced,
    /// The first content, and then silence until the client leaves.
    Held,
    /// [`BRIEF_EVENTS`] events, each [`MOMENT`] after the one before.
    Brief,
    /// Status 529, at once. Like all that follow, of the plan only.
    Overloaded,
    /// Status 408, at once.
    TimedOut,
    /// Status 429 of a user whose limit is used up for an hour.
    UsedUp,
}

impl Shape {
    const ALL: [Self; 9] = [
        Self::Json,
        Self::Stream,
        Self::Burst,
        Self::Paced,
        Self::Held,
        Self::Brief,
        Self::Overloaded,
        Self::TimedOut,
        Self::UsedUp,
    ];

    pub fn is_stream(self) -> bool {
        matches!(
            self,
            Self::Stream | Self::Burst | Self::Paced | Self::Held | Self::Brief
        )
    }

    /// How a request for it is told apart.
    fn mark(self) -> &'static str {
        match self {
            Self::Json => "bench-json",
            Self::Stream => "bench-stream",
            Self::Burst => "bench-burst",
            Self::Paced => "bench-paced",
            Self::Held => "bench-held",
            Self::Brief => "bench-brief",
            Self::Overloaded => "bench-overloaded",
            Self::TimedOut => "bench-timed-out",
            Self::UsedUp => "bench-used-up",
        }
    }
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Provider {
    /// The Anthropic API. A gateway passes the query on, which asks for a shape.
    Plan,
    /// Amazon Bedrock. A gateway passes nothing on but the model, which asks for
    /// a shape here.
    Bedrock,
}

impl Provider {
    /// The model to ask for.
    pub(super) fn model(self, shape: Shape) -> String {
        match self {
            Self::Plan => "claude-sonnet-4-6".to_owned(),
            Self::Bedrock => format!("anthropic.{}", shape.mark()),
        }
    }

    /// The query to ask with.
    pub(super) fn query(self, shape: Shape) -> &'static str {
        match self {
            Self::Plan => shape.mark(),
            Self::Bedrock => "beta=true",
        }
    }
}

/// A bound upstream.
#[derive(Debug)]
pub struct Upstream {
    listener: TcpListener,
    writes: Writes,
}

/// All that is ever written.
#[derive(Debug, Clone)]
struct Writes {
    plan: Answers,
    bedrock: Answers,
    overloaded: Bytes,
    timed_out: Bytes,
    used_up: Bytes,
}

#[derive(Debug, Clone)]
struct Answers {
    json: Bytes,
    /// The first one has the head too, the last one ends the body.
    events: Vec<Bytes>,
    bursts: Vec<Bytes>,
    brief: Vec<Bytes>,
}

impl Upstream {
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(addr: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(addr)
            .await
            .with_context(|| format!("cannot listen on {addr}"))?;
        Ok(Self {
            listener,
            writes: Writes::new(),
        })
    }

    /// # Errors
    /// When the system does not know the address.
    pub fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.listener.local_addr()?))
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    connections.spawn(connection(stream, self.writes.clone()));
                }
                Some(_ended) = connections.join_next() => {}
            }
        }
    }
}

async fn connection(mut stream: TcpStream, writes: Writes) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 << 10);
    loop {
        let Some((provider, shape)) = request(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        let answers = match provider {
            Provider::Plan => &writes.plan,
            Provider::Bedrock => &writes.bedrock,
        };
        match shape {
            Shape::Json => stream.write_all(&answers.json).await?,
            Shape::Stream => write_each(&mut stream, &answers.events).await?,
            Shape::Burst => write_each(&mut stream, &answers.bursts).await?,
            Shape::Paced => {
                let mut ticks = interval(GAP);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                for event in &answers.events {
                    ticks.tick().await;
                    stream.write_all(event).await?;
                }
            }
            Shape::Held => {
                let begin = answers.events.get(..2).unwrap_or_default();
                write_each(&mut stream, begin).await?;
                // Until the client leaves.
                while stream.read(&mut [0; 64]).await? > 0 {}
                return Ok(());
            }
            Shape::Brief => {
                for (number, event) in answers.brief.iter().enumerate() {
                    if number > 0 {
                        moment();
                    }
                    stream.write_all(event).await?;
                }
            }
            Shape::Overloaded => stream.write_all(&writes.overloaded).await?,
            Shape::TimedOut => stream.write_all(&writes.timed_out).await?,
            Shape::UsedUp => stream.write_all(&writes.used_up).await?,
        }
    }
}

async fn write_each(stream: &mut TcpStream, writes: &[Bytes]) -> io::Result<()> {
    for bytes in writes {
        stream.write_all(bytes).await?;
    }
    Ok(())
}

/// Nobody else is answered meanwhile: who asks for this, asks alone.
#[expect(
    clippy::disallowed_methods,
    reason = "the runtime's own timer is a millisecond coarse"
)]
fn moment() {
    std::thread::sleep(MOMENT);
}

type Asked = (Provider, Shape);

/// Reads a request and forgets it; what the client has sent after it stays in
/// the buffer. None when the client has left.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    let head_len = loop {
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let (asked, length) = head(buffer.get(..head_len).unwrap_or_default());
    let Some(length) = length else {
        return chunked(stream, buffer, asked).await;
    };
    let end = head_len + length;
    while buffer.len() < end {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    buffer.drain(..end);
    Ok(Some(asked))
}

/// Reads on until the last chunk. JSON holds no line ends like its.
async fn chunked(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    asked: Asked,
) -> io::Result<Option<Asked>> {
    while !buffer.ends_with(b"\r\n0\r\n\r\n") {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    buffer.clear();
    Ok(Some(asked))
}

/// What the head asks for, and the length of the body; none: it is chunked.
fn head(head: &[u8]) -> (Asked, Option<usize>) {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let line = head.lines().next().unwrap_or_default();
    let shape = Shape::ALL
        .into_iter()
        .find(|shape| line.contains(shape.mark()))
        .unwrap_or(Shape::Json);
    let provider = if line.starts_with("post /model/") {
        Provider::Bedrock
    } else {
        Provider::Plan
    };
    let asked = (provider, shape);
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    if value("transfer-encoding:").is_some() {
        return (asked, None);
    }
    let length = value("content-length:").and_then(|value| value.trim().parse().ok());
    (asked, Some(length.unwrap_or(0)))
}

impl Writes {
    fn new() -> Self {
        let sse = |event: &Event| format!("event: {}\ndata: {}\n\n", event.name, event.json).into();
        let frame = |event: &Event| frame::encode(&Frame::chunk(&with_metrics(event)));
        let reset = Utc::now().timestamp() + RESET_SECONDS;
        Self {
            plan: Answers::new(
                "request-id: req_bench\r\n",
                "text/event-stream; charset=utf-8",
                sse,
            ),
            bedrock: Answers::new(
                "x-amzn-requestid: 00000000-0000-4000-8000-000000000000\r\n\
                 x-amzn-bedrock-content-type: application/json\r\n",
                "application/vnd.amazon.eventstream",
                frame,
            ),
            overloaded: refusal("529 Overloaded", "overloaded_error", ""),
            timed_out: refusal("408 Request Timeout", "timeout_error", ""),
            used_up: refusal(
                "429 Too Many Requests",
                "rate_limit_error",
                &format!(
                    "anthropic-ratelimit-unified-status: rejected\r\n\
                     anthropic-ratelimit-unified-reset: {reset}\r\n"
                ),
            ),
        }
    }
}

/// An error of the Anthropic API.
fn refusal(status: &str, error_type: &str, headers: &str) -> Bytes {
    let json = format!(
        r#"{{"type":"error","error":{{"type":"{error_type}","message":"bench"}},"request_id":"req_bench"}}"#
    );
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nrequest-id: req_bench\r\n\
         {headers}content-length: {}\r\n\r\n{json}",
        json.len()
    );
    answer.into()
}

impl Answers {
    /// Each event is written as `encode` says.
    fn new(headers: &str, stream_type: &str, encode: impl Fn(&Event) -> Bytes) -> Self {
        let json = r#"{"type":"message","model":"claude-sonnet-4-6","id":"msg_01","role":"assistant","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":3,"service_tier":"standard"}}"#;
        let json = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{headers}\
             content-length: {}\r\n\r\n{json}",
            json.len()
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {stream_type}\r\n{headers}\
             transfer-encoding: chunked\r\n\r\n"
        );
        let encoded = |count| events(count).iter().map(&encode).collect::<Vec<_>>();
        let all = encoded(EVENTS);
        Self {
            json: json.into(),
            events: stream(&head, all.chunks(1)),
            bursts: stream(&head, all.chunks(10)),
            brief: stream(&head, encoded(BRIEF_EVENTS).chunks(1)),
        }
    }
}

/// The writes of a stream: each a chunk.
fn stream<'a>(head: &str, chunks: impl Iterator<Item = &'a [Bytes]>) -> Vec<Bytes> {
    let mut writes: Vec<Vec<u8>> = chunks
        .map(|events| {
            let chunk = events.concat();
            let size = format!("{:x}\r\n", chunk.len());
            [size.as_bytes(), &chunk, b"\r\n"].concat()
        })
        .collect();
    if let Some(first) = writes.first_mut() {
        first.splice(0..0, head.bytes());
    }
    if let Some(last) = writes.last_mut() {
        last.extend_from_slice(b"0\r\n\r\n");
    }
    writes.into_iter().map(Bytes::from).collect()
}

#[derive(Debug, Clone)]
struct Event {
    name: &'static str,
    json: String,
}

/// A message in so many events, six at least.
fn events(count: usize) -> Vec<Event> {
    let event = |name, fields: &str| Event {
        name,
        json: format!(r#"{{"type":"{name}"{fields}}}"#),
    };
    let start = r#","message":{"type":"message","model":"claude-sonnet-4-6","id":"msg_01","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":1}}"#;
    let block = r#","index":0,"content_block":{"type":"text","text":""}"#;
    let delta = r#","index":0,"delta":{"type":"text_delta","text":" a few words"}"#;
    let end = r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":285}"#;
    let mut events = vec![
        event("message_start", start),
        event("content_block_start", block),
    ];
    events.resize(count - 3, event("content_block_delta", delta));
    events.push(event("content_block_stop", r#","index":0"#));
    events.push(event("message_delta", end));
    events.push(event("message_stop", ""));
    events
}

/// Bedrock says in the last event what the model took.
fn with_metrics(event: &Event) -> String {
    let json = &event.json;
    match json.strip_suffix('}') {
        Some(open) if event.name == "message_stop" => format!(
            r#"{open},"amazon-bedrock-invocationMetrics":{{"inputTokenCount":12,"outputTokenCount":285,"invocationLatency":2740,"firstByteLatency":412}}}}"#
        ),
        _ => json.clone(),
    }
}
