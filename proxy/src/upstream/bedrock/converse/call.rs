//! Asks a model through Converse, and gives its answer as the API would.

use aws_sdk_bedrockruntime::{
    Client,
    operation::{RequestId, converse_stream::ConverseStreamOutput as StreamOutput},
    primitives::event_stream::EventReceiver,
    types::{ConverseStreamOutput, error::ConverseStreamOutputError},
};
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;

use super::{
    Family, Invalid, answer as message,
    request::{Translated, translate},
    stream::Events,
};
use crate::{
    error::{Error, Kind},
    telemetry::metrics::Metrics,
    upstream::bedrock::{
        answer::{self, Answer},
        fault,
        model::Model,
        shape::Shaped,
        stream::Flow,
    },
};

/// What is asked, and as what it is answered.
#[derive(Debug)]
pub struct Call<'a> {
    pub client: &'a Client,
    pub model: &'a Model,
    pub shaped: &'a Shaped,
    /// The model as the client calls it.
    pub asked_model: &'a str,
    pub message_id: String,
    pub is_streaming: bool,
}

impl Call<'_> {
    /// Asks the model.
    ///
    /// # Errors
    ///
    /// [`Kind::BedrockInvalid`] in the API's own words for what is no request of
    /// the Messages API; else as [`fault::of_call`].
    pub async fn ask(self, metrics: &Metrics) -> Result<Answer, Error> {
        let body = serde_json::to_vec(&self.shaped.body)
            .and_then(|body| serde_json::from_slice::<Value>(&body));
        let body = body.map_err(|cause| Error::because(Kind::MalformedBody, cause))?;
        let family = Family::of(self.model);
        let translated = translate(&body, &self.shaped.betas, family).map_err(invalid)?;
        for dropped in &translated.dropped {
            metrics.converse_dropped(dropped.label());
        }
        if self.is_streaming {
            self.stream(translated).await
        } else {
            self.whole(translated).await
        }
    }

    async fn whole(self, translated: Translated) -> Result<Answer, Error> {
        let Translated { request, names, .. } = translated;
        let call = request.converse(self.client.converse().model_id(&self.model.id));
        let output = call.send().await.map_err(fault::of_call)?;
        let id = output.request_id().map(ToOwned::to_owned);
        let message = message::message(&output, self.asked_model, &names, &self.message_id);
        Ok(answer::whole(id.as_deref(), message.to_string().into()))
    }

    async fn stream(self, translated: Translated) -> Result<Answer, Error> {
        let Translated { request, names, .. } = translated;
        let call = self.client.converse_stream().model_id(&self.model.id);
        let output = request.converse_stream(call).send().await;
        let output: StreamOutput = output.map_err(fault::of_call)?;
        let id = output.request_id().map(ToOwned::to_owned);
        let reading = Reading {
            receiver: output.stream,
            events: Events::new(self.asked_model.to_owned(), names, self.message_id),
        };
        let flow = Flow::new(stream::unfold(Some(reading), next));
        Ok(answer::stream(id.as_deref(), flow))
    }
}

fn invalid(invalid: Invalid) -> Error {
    let words = invalid.to_string();
    Error::from(Kind::BedrockInvalid).in_the_words(&words)
}

struct Reading {
    receiver: EventReceiver<ConverseStreamOutput, ConverseStreamOutputError>,
    events: Events,
}

async fn next(reading: Option<Reading>) -> Option<(Result<Bytes, Error>, Option<Reading>)> {
    let mut reading = reading?;
    let mut out = Vec::new();
    match reading.receiver.recv().await {
        Ok(Some(event)) => {
            reading.events.on(&event, &mut out);
            Some((Ok(out.into()), Some(reading)))
        }
        Ok(None) => {
            let ended = reading.events.end(&mut out);
            let broken = |cause| Error::because(Kind::UpstreamBroken, cause);
            Some((ended.map(|()| out.into()).map_err(broken), None))
        }
        Err(error) => Some((Err(fault::of_stream(error, exception)), None)),
    }
}

fn exception(error: &ConverseStreamOutputError) -> &'static str {
    use ConverseStreamOutputError as Exception;
    match error {
        Exception::InternalServerException(_) => "InternalServerException",
        Exception::ModelStreamErrorException(_) => "ModelStreamErrorException",
        Exception::ServiceUnavailableException(_) => "ServiceUnavailableException",
        Exception::ThrottlingException(_) => "ThrottlingException",
        Exception::ValidationException(_) => "ValidationException",
        _ => "",
    }
}
