//! An upstream that answers with bytes made beforehand, so that a benchmark
//! measures what is in front of it.
//!
//! The query of the request chooses the answer: see [`Shape`]. HTTP/1.1 only;
//! requests are framed and otherwise not read.

use std::{fmt, io, net::SocketAddr, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

/// Events of a stream, from `message_start` to `message_stop`.
pub const EVENTS: usize = 100;

/// The time between the events of a paced stream.
pub const GAP: Duration = Duration::from_millis(10);

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
    /// One event, and then silence until the client leaves.
    Held,
}

impl Shape {
    const ALL: [Self; 5] = [
        Self::Json,
        Self::Stream,
        Self::Burst,
        Self::Paced,
        Self::Held,
    ];

    pub fn is_stream(self) -> bool {
        self != Self::Json
    }

    fn query(self) -> &'static str {
        match self {
            Self::Json => "bench=json",
            Self::Stream => "bench=stream",
            Self::Burst => "bench=burst",
            Self::Paced => "bench=paced",
            Self::Held => "bench=held",
        }
    }
}

/// The query that asks for it.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.query())
    }
}

/// A bound upstream.
#[derive(Debug)]
pub struct Upstream {
    listener: TcpListener,
    answers: Answers,
}

/// All that is ever written.
#[derive(Debug, Clone)]
struct Answers {
    json: Bytes,
    /// The first one has the head too, the last one ends the body.
    events: Vec<Bytes>,
    bursts: Vec<Bytes>,
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
            answers: Answers::new(),
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
                    connections.spawn(connection(stream, self.answers.clone()));
                }
                Some(_ended) = connections.join_next() => {}
            }
        }
    }
}

async fn connection(mut stream: TcpStream, answers: Answers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 << 10);
    loop {
        let Some(shape) = request(&mut stream, &mut buffer).await? else {
            return Ok(());
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
                write_each(&mut stream, answers.events.get(..1).unwrap_or_default()).await?;
                // Until the client leaves.
                while stream.read(&mut [0; 64]).await? > 0 {}
                return Ok(());
            }
        }
    }
}

async fn write_each(stream: &mut TcpStream, writes: &[Bytes]) -> io::Result<()> {
    for bytes in writes {
        stream.write_all(bytes).await?;
    }
    Ok(())
}

/// Reads a request and forgets it; what the client has sent after it stays in
/// the buffer. None when the client has left.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Shape>> {
    let head_len = loop {
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let (shape, length) = head(buffer.get(..head_len).unwrap_or_default());
    let Some(length) = length else {
        return chunked(stream, buffer, shape).await;
    };
    let end = head_len + length;
    while buffer.len() < end {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    buffer.drain(..end);
    Ok(Some(shape))
}

/// Reads on until the last chunk. JSON holds no line ends like its.
async fn chunked(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    shape: Shape,
) -> io::Result<Option<Shape>> {
    while !buffer.ends_with(b"\r\n0\r\n\r\n") {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    buffer.clear();
    Ok(Some(shape))
}

/// What the head asks for, and the length of the body; none: it is chunked.
fn head(head: &[u8]) -> (Shape, Option<usize>) {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let line = head.lines().next().unwrap_or_default();
    let shape = Shape::ALL
        .into_iter()
        .find(|shape| line.contains(shape.query()))
        .unwrap_or(Shape::Json);
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    if value("transfer-encoding:").is_some() {
        return (shape, None);
    }
    let length = value("content-length:").and_then(|value| value.trim().parse().ok());
    (shape, Some(length.unwrap_or(0)))
}

impl Answers {
    fn new() -> Self {
        let json = r#"{"type":"message","model":"claude-sonnet-4-6","id":"msg_01","role":"assistant","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":3,"service_tier":"standard"}}"#;
        let json = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: req_bench\r\n\
             content-length: {}\r\n\r\n{json}",
            json.len()
        );
        let events = events();
        Self {
            json: json.into(),
            events: stream(events.iter().cloned()),
            bursts: stream(events.chunks(10).map(<[_]>::concat)),
        }
    }
}

/// The writes of a stream: each a chunk.
fn stream(chunks: impl Iterator<Item = String>) -> Vec<Bytes> {
    let mut writes: Vec<_> = chunks
        .map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()))
        .collect();
    if let Some(first) = writes.first_mut() {
        first.insert_str(
            0,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
             request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n",
        );
    }
    if let Some(last) = writes.last_mut() {
        last.push_str("0\r\n\r\n");
    }
    writes.into_iter().map(Bytes::from).collect()
}

fn events() -> Vec<String> {
    let event = |name: &str, fields: &str| {
        format!("event: {name}\ndata: {{\"type\":\"{name}\"{fields}}}\n\n")
    };
    let start = r#","message":{"type":"message","model":"claude-sonnet-4-6","id":"msg_01","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":1}}"#;
    let block = r#","index":0,"content_block":{"type":"text","text":""}"#;
    let delta = r#","index":0,"delta":{"type":"text_delta","text":" a few words"}"#;
    let end = r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":285}"#;
    let mut events = vec![
        event("message_start", start),
        event("content_block_start", block),
    ];
    events.resize(EVENTS - 3, event("content_block_delta", delta));
    events.push(event("content_block_stop", r#","index":0"#));
    events.push(event("message_delta", end));
    events.push(event("message_stop", ""));
    events
}
