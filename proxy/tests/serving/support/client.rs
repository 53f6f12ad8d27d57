//! Clients close to the wire.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One connection.
pub(crate) struct Client {
    sender: Sender,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "a connection ends with its test")]
        tokio::spawn(connection);
        Self {
            sender: Sender::Http1(sender),
        }
    }

    pub(crate) async fn connect_http2(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        #[expect(clippy::disallowed_methods, reason = "a connection ends with its test")]
        tokio::spawn(connection);
        Self {
            sender: Sender::Http2(sender),
        }
    }

    /// Sends a request and returns with the head of the answer.
    pub(crate) async fn open(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.try_open(request).await.unwrap()
    }

    pub(crate) async fn try_open(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                request
                    .headers_mut()
                    .entry("host")
                    .or_insert("proxy".parse().unwrap());
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                let uri = format!("http://proxy{}", request.uri());
                *request.uri_mut() = uri.parse().unwrap();
                sender.send_request(request).await
            }
        }
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        Answer::of(self.open(request).await).await
    }

    /// Sends a JSON body with a dummy credential.
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send(post(path, body)).await
    }
}

pub(crate) fn post(path: &str, body: &Value) -> Request<Full<Bytes>> {
    Request::post(path)
        .header("content-type", "application/json")
        .header("anthropic-version", "2023-06-01")
        .header("x-api-key", "sk-ant-api03-own")
        .body(Full::new(body.to_string().into()))
        .unwrap()
}

impl Answer {
    pub(crate) async fn of(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Event names and data of a stream.
    pub(crate) fn events(&self) -> Vec<(String, Value)> {
        let text = std::str::from_utf8(&self.body).unwrap();
        assert!(text.ends_with("\n\n"), "{text}");
        text.split_terminator("\n\n")
            .map(|event| {
                let (name, data) = event.split_once('\n').unwrap();
                let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                (name.strip_prefix("event: ").unwrap().to_owned(), data)
            })
            .collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.events().into_iter().map(|(name, _)| name).collect()
    }

    /// The text of a stream.
    pub(crate) fn text(&self) -> String {
        let deltas = self.events().into_iter();
        let texts = deltas.filter_map(|(_, data)| Some(data["delta"]["text"].as_str()?.to_owned()));
        texts.collect()
    }

    /// The type of an error in the API's envelope.
    pub(crate) fn error_type(&self) -> String {
        let json = self.json();
        assert_eq!(json["type"], "error", "{json}");
        assert!(json["request_id"].is_string(), "{json}");
        json["error"]["type"].as_str().unwrap().to_owned()
    }
}

/// The type of the error that a stream ends in, as its last event; empty when it
/// ends otherwise.
pub(crate) fn last_error(stream: &[u8]) -> String {
    let stream = std::str::from_utf8(stream).unwrap();
    let Some(events) = stream.strip_suffix("\n\n") else {
        return String::new();
    };
    let last = events.rsplit("\n\n").next().unwrap();
    let Some(data) = last.strip_prefix("event: error\ndata: ") else {
        return String::new();
    };
    let envelope: Value = serde_json::from_str(data).unwrap();
    assert!(envelope["request_id"].is_string(), "{envelope}");
    envelope["error"]["type"].as_str().unwrap().to_owned()
}

/// Sends bytes as they are and reads until the proxy closes.
pub(crate) async fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // It may close before it has read everything.
    let _closed = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
