//! One HTTP/1.1 connection, and the bytes that go over it.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::Instant,
};

use super::{
    body::Body,
    prompt,
    upstream::{Provider, Shape},
};

/// A request that is sent again and again.
#[derive(Debug, Clone)]
pub struct Request {
    pub addr: SocketAddr,
    pub bytes: Bytes,
}

/// One request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    pub status: u16,
    pub events: u64,
    pub body_bytes: u64,
    /// From the arrival of the request to the first byte of the answer.
    pub first_byte: Duration,
    /// From the arrival of the request to the end of the second event: the first
    /// one of a message has no content.
    pub first_content: Option<Duration>,
    /// From the arrival of the request to the end of the answer.
    pub total: Duration,
}

/// A connection that is kept between requests.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    is_over: bool,
}

/// The head of an answer.
struct Head {
    status: u16,
    body: Body,
    closes: bool,
}

impl Request {
    /// Makes a request for a message to `base_url`, which may have a path, with
    /// a body of about `body_bytes`. `shape` is what [`super::upstream`] answers,
    /// as `provider`.
    ///
    /// # Errors
    /// When the URL is not one of plain HTTP, or its host is not known.
    pub async fn new(
        base_url: &str,
        provider: Provider,
        shape: Shape,
        body_bytes: usize,
        headers: &[String],
    ) -> anyhow::Result<Self> {
        let body = prompt::body(&provider.model(shape), shape.is_stream(), body_bytes);
        Self::post(base_url, provider.query(shape), &body, headers).await
    }

    /// The same, with one answer of the plan's and another one of Bedrock's to
    /// the same request.
    ///
    /// # Errors
    /// When the URL is not one of plain HTTP, or its host is not known.
    pub async fn of_both(
        base_url: &str,
        plan: Shape,
        bedrock: Shape,
        body_bytes: usize,
        headers: &[String],
    ) -> anyhow::Result<Self> {
        let model = Provider::Bedrock.model(bedrock);
        let body = prompt::body(&model, bedrock.is_stream(), body_bytes);
        Self::post(base_url, Provider::Plan.query(plan), &body, headers).await
    }

    async fn post(
        base_url: &str,
        query: &str,
        body: &str,
        headers: &[String],
    ) -> anyhow::Result<Self> {
        let url: http::Uri = base_url.parse().context("the URL is not one")?;
        anyhow::ensure!(
            url.scheme_str() == Some("http"),
            "the load generator speaks plain HTTP only, not {base_url}"
        );
        let authority = url.authority().context("the URL has no host")?;
        let port = authority.port_u16().unwrap_or(80);
        let addr = lookup_host((authority.host(), port))
            .await?
            .next()
            .with_context(|| format!("{} is not known", authority.host()))?;
        let mut head = format!(
            "POST {}/v1/messages?{} HTTP/1.1\r\nhost: {authority}\r\n\
             content-type: application/json\r\nanthropic-version: 2023-06-01\r\n\
             content-length: {}\r\n",
            url.path().trim_end_matches('/'),
            query,
            body.len()
        );
        for header in headers {
            head += header;
            head += "\r\n";
        }
        Ok(Self {
            addr,
            bytes: format!("{head}\r\n{body}").into(),
        })
    }
}

impl Connection {
    /// # Errors
    /// When nobody listens there.
    pub async fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 64 << 10].into(),
            is_over: false,
        })
    }

    /// Sends a request, which arrived then, and reads its whole answer.
    ///
    /// # Errors
    /// When the connection breaks, or the answer is not HTTP.
    pub async fn exchange(&mut self, request: &[u8], arrived: Instant) -> io::Result<Exchange> {
        self.answer(request, arrived, Body::has_ended).await
    }

    /// Sends a request and reads the first content of its answer: a proxy may
    /// keep back what comes before.
    pub(super) async fn begin(&mut self, request: &[u8]) -> io::Result<Exchange> {
        self.answer(request, Instant::now(), Body::has_content)
            .await
    }

    /// Tells whether nothing more can be sent.
    pub(super) fn has_ended(&mut self) -> bool {
        if self.is_over {
            return true;
        }
        match self.stream.try_read(&mut self.buffer) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    async fn answer(
        &mut self,
        request: &[u8],
        arrived: Instant,
        is_enough: impl Fn(&Body) -> bool,
    ) -> io::Result<Exchange> {
        // Until the answer is complete.
        self.is_over = true;
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let mut first_byte = None;
        let mut head: Head = loop {
            let free = self.buffer.get_mut(filled..).unwrap_or_default();
            let read = self.stream.read(free).await?;
            first_byte.get_or_insert_with(|| arrived.elapsed());
            filled += read;
            let bytes = self.buffer.get(..filled).unwrap_or_default();
            if let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") {
                let (head, rest) = bytes.split_at(end + 4);
                let mut head = Head::parse(head).ok_or(io::ErrorKind::InvalidData)?;
                head.body.read(rest);
                break head;
            }
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let mut first_content = head.body.has_content().then(|| arrived.elapsed());
        while !is_enough(&head.body) {
            let read = self.stream.read(&mut self.buffer).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            head.body.read(self.buffer.get(..read).unwrap_or_default());
            if first_content.is_none() && head.body.has_content() {
                first_content = Some(arrived.elapsed());
            }
        }
        self.is_over = head.closes;
        Ok(Exchange {
            status: head.status,
            events: head.body.events,
            body_bytes: head.body.bytes,
            first_byte: first_byte.unwrap_or_default(),
            first_content,
            total: arrived.elapsed(),
        })
    }
}

impl Head {
    fn parse(head: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(head).ok()?.to_ascii_lowercase();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let mut body = Body::of_length(0);
        let mut closes = false;
        for line in lines {
            match line
                .split_once(':')
                .map(|(name, value)| (name, value.trim()))
            {
                Some(("content-length", length)) => body = Body::of_length(length.parse().ok()?),
                Some(("transfer-encoding", "chunked")) => body = Body::chunked(),
                Some(("connection", "close")) => closes = true,
                _ => {}
            }
        }
        Some(Self {
            status,
            body,
            closes,
        })
    }
}
