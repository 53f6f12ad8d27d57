//! The native adapter: the client's own body through `InvokeModel`, and the
//! model's own events back. Nothing is translated, so nothing is lost.

use aws_sdk_bedrockruntime::{
    Client,
    operation::{
        RequestId,
        invoke_model_with_response_stream::InvokeModelWithResponseStreamOutput as StreamOutput,
    },
    primitives::{Blob, event_stream::EventReceiver},
    types::{ResponseStream, error::ResponseStreamError},
};
use bytes::Bytes;
use futures_util::stream;
use memchr::memmem;
use serde::Deserialize;

use super::{
    answer::{self, Answer},
    fault,
    shape::Shaped,
    stream::Flow,
};
use crate::{
    error::{Error, Kind},
    upstream::members::Members,
};

/// The version of the Messages API that Bedrock speaks.
const VERSION: &str = "bedrock-2023-05-31";

/// What Bedrock adds to the last event, and the API never sends.
const METRICS: &str = "amazon-bedrock-invocationMetrics";

const JSON: &str = "application/json";

/// Asks a model, and gives its answer as the API would.
///
/// # Errors
///
/// As [`fault::of_call`].
pub async fn ask(
    client: &Client,
    model: &str,
    shaped: &Shaped,
    is_streaming: bool,
) -> Result<Answer, Error> {
    let body = Blob::new(body(shaped)?);
    if is_streaming {
        let call = client.invoke_model_with_response_stream().model_id(model);
        let call = call.content_type(JSON).accept(JSON).body(body);
        let output = call.send().await.map_err(fault::of_call)?;
        let id = output.request_id().map(ToOwned::to_owned);
        return Ok(answer::stream(id.as_deref(), events(output)));
    }
    let call = client.invoke_model().model_id(model);
    let call = call.content_type(JSON).accept(JSON).body(body);
    let output = call.send().await.map_err(fault::of_call)?;
    let id = output.request_id().map(ToOwned::to_owned);
    Ok(answer::whole(
        id.as_deref(),
        output.body.into_inner().into(),
    ))
}

/// The body as Bedrock takes it: less what is said elsewhere, plus what the API
/// has in headers.
///
/// # Errors
///
/// None that is known.
pub fn body(shaped: &Shaped) -> Result<Vec<u8>, Error> {
    let mut body = shaped.body.clone();
    body.remove("model");
    body.remove("stream");
    let written = body.set("anthropic_version", &VERSION).and_then(|()| {
        if !shaped.betas.is_empty() {
            body.set("anthropic_beta", &shaped.betas)?;
        }
        serde_json::to_vec(&body)
    });
    written.map_err(|cause| Error::because(Kind::MalformedBody, cause))
}

fn events(output: StreamOutput) -> Flow {
    Flow::new(stream::unfold(output.body, next))
}

type Receiver = EventReceiver<ResponseStream, ResponseStreamError>;

async fn next(mut receiver: Receiver) -> Option<(Result<Bytes, Error>, Receiver)> {
    let item = match receiver.recv().await {
        Ok(Some(ResponseStream::Chunk(part))) => match part.bytes {
            Some(json) => reframe(json.as_ref()),
            None => Ok(Bytes::new()),
        },
        // A kind of frame that is newer than this client.
        Ok(Some(_)) => Ok(Bytes::new()),
        Ok(None) => return None,
        Err(error) => Err(fault::of_stream(error, exception)),
    };
    Some((item, receiver))
}

fn exception(error: &ResponseStreamError) -> &'static str {
    match error {
        ResponseStreamError::InternalServerException(_) => "InternalServerException",
        ResponseStreamError::ModelStreamErrorException(_) => "ModelStreamErrorException",
        ResponseStreamError::ModelTimeoutException(_) => "ModelTimeoutException",
        ResponseStreamError::ServiceUnavailableException(_) => "ServiceUnavailableException",
        ResponseStreamError::ThrottlingException(_) => "ThrottlingException",
        ResponseStreamError::ValidationException(_) => "ValidationException",
        _ => "",
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: std::borrow::Cow<'a, str>,
}

/// The JSON of an event → the event as the API sends it.
fn reframe(json: &[u8]) -> Result<Bytes, Error> {
    let unusable = |cause| Error::because(Kind::UpstreamBroken, cause);
    let cleaned;
    let json = if memmem::find(json, METRICS.as_bytes()).is_some() {
        let mut members: Members = serde_json::from_slice(json).map_err(unusable)?;
        members.remove(METRICS);
        cleaned = serde_json::to_vec(&members).map_err(unusable)?;
        &cleaned
    } else {
        json
    };
    let event: Event<'_> = serde_json::from_slice(json).map_err(unusable)?;
    let kind = event.r#type.as_bytes();
    Ok([b"event: ", kind, b"\ndata: ", json, b"\n\n"]
        .concat()
        .into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_body_is_the_clients_less_what_is_said_elsewhere() {
        let body_of = |text: &str, betas: &[&str]| {
            let shaped = Shaped {
                body: serde_json::from_str(text).unwrap(),
                betas: betas.iter().map(ToString::to_string).collect(),
                left_out: BTreeSet::new(),
            };
            String::from_utf8(body(&shaped).unwrap()).unwrap()
        };
        assert_eq!(
            body_of(
                r#"{"model":"m","max_tokens": 1e0,"stream":true,"x":[ ]}"#,
                &["a", "b"]
            ),
            r#"{"max_tokens":1e0,"x":[ ],"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["a","b"]}"#
        );
        assert_eq!(
            body_of(r#"{"anthropic_version":"x","messages":[]}"#, &[]),
            r#"{"anthropic_version":"bedrock-2023-05-31","messages":[]}"#
        );
    }

    #[test]
    fn events_are_framed_as_the_api_does_without_bedrocks_metrics() {
        let reframed = |json: &str| String::from_utf8(reframe(json.as_bytes()).unwrap().to_vec());
        assert_eq!(
            reframed(r#"{"type":"content_block_stop", "index":0}"#).unwrap(),
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\", \"index\":0}\n\n"
        );
        assert_eq!(
            reframed(r#"{"index":1,"type":"novel"}"#).unwrap(),
            "event: novel\ndata: {\"index\":1,\"type\":\"novel\"}\n\n"
        );
        assert_eq!(
            reframed(r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":1}}"#).unwrap(),
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
        );
        // A text that only speaks of them.
        let text =
            r#"{"type":"content_block_delta","delta":{"text":"amazon-bedrock-invocationMetrics"}}"#;
        assert_eq!(
            reframed(text).unwrap(),
            format!("event: content_block_delta\ndata: {text}\n\n")
        );
        assert_eq!(reframe(b"{").unwrap_err().kind, Kind::UpstreamBroken);
    }
}
