//! The SDK with nothing behind it: shows what it sends, answers what it is told.

use std::sync::{Arc, Mutex};

use aws_sdk_bedrockruntime::{
    Client,
    config::{BehaviorVersion, Config, Region, Token},
    operation::{converse::ConverseOutput, converse_stream::ConverseStreamOutput},
};
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::{
    body::SdkBody,
    event_stream::{Header, HeaderValue, Message},
};
use proxy::upstream::bedrock::converse::{original::Original, request::Request};
use serde_json::Value;

/// Answers every request with the same bytes.
#[derive(Debug, Clone, Default)]
struct Wire {
    content_type: &'static str,
    answer: Vec<u8>,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().unwrap();
        let length = request.headers().get("content-length").unwrap();
        assert_eq!(length, body.len().to_string());
        *self.sent.lock().unwrap() = body.to_vec();
        let status = StatusCode::try_from(200).unwrap();
        let mut response = HttpResponse::new(status, SdkBody::from(self.answer.clone()));
        let headers = response.headers_mut();
        headers.insert("content-type", self.content_type);
        HttpConnectorFuture::ready(Ok(response))
    }
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl Wire {
    fn client(&self) -> Client {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .bearer_token(Token::new("token", None))
            .http_client(self.clone())
            .build();
        Client::from_conf(config)
    }
}

const ANSWER: &str = r#"{"output":{"message":{"role":"assistant","content":[]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2},"metrics":{"latencyMs":1}}"#;

/// What Converse and ConverseStream put on the wire, which is the same.
pub(crate) async fn sent(request: Request) -> Vec<u8> {
    let wire = Wire {
        content_type: "application/json",
        answer: ANSWER.into(),
        ..Wire::default()
    };
    let client = wire.client();
    let call = client.converse().model_id("model");
    request.clone().converse(call).send().await.unwrap();
    let whole = std::mem::take(&mut *wire.sent.lock().unwrap());
    let call = client.converse_stream().model_id("model");
    request.converse_stream(call).send().await.unwrap();
    let streamed = std::mem::take(&mut *wire.sent.lock().unwrap());
    // Texts of metadata are the one thing that the SDK puts in any order.
    let value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    assert_eq!(value(&whole), value(&streamed));
    whole
}

/// The SDK's reading of an answer of Converse, and its body.
pub(crate) async fn answered(body: &str) -> (ConverseOutput, Vec<u8>) {
    let wire = Wire {
        content_type: "application/json",
        answer: body.into(),
        ..Wire::default()
    };
    let original = Original::default();
    let call = wire.client().converse().model_id("model").customize();
    let output = call.interceptor(original.clone()).send().await.unwrap();
    (output, original.take())
}

/// The SDK's reading of a stream of frames: pairs of event type and payload.
pub(crate) async fn streamed(frames: &[(String, Value)]) -> ConverseStreamOutput {
    let mut answer = Vec::new();
    for (event, payload) in frames {
        let text = |text: &str| HeaderValue::String(text.to_owned().into());
        let message = Message::new(payload.to_string())
            .add_header(Header::new(":message-type", text("event")))
            .add_header(Header::new(":event-type", text(event)))
            .add_header(Header::new(":content-type", text("application/json")));
        write_message_to(&message, &mut answer).unwrap();
    }
    let wire = Wire {
        content_type: "application/vnd.amazon.eventstream",
        answer,
        ..Wire::default()
    };
    let call = wire.client().converse_stream().model_id("model");
    call.send().await.unwrap()
}
