//! Asks a model through Converse, and gives its answer as the API would.

use aws_sdk_bedrockruntime::{
    Client,
    operation::{RequestId, converse_stream::ConverseStreamOutput as StreamOutput},
    primitives::event_stream::EventReceiver,
    types::{ConverseStreamOutput, error::ConverseStreamOutputError},
};
use bytes::Bytes;
use futures_util::stream;
use tokio::time::timeout;

use super::{
    Family, Invalid, Malformed, answer as message,
    original::Original,
    request::{Translated, translate},
    stream::{Events, Unfinished},
};
use crate::{
    error::{Error, Kind},
    relay::GRACE,
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
    /// [`Kind::Untranslatable`] in the API's own words for what is no request of
    /// the Messages API; else as [`fault::of_call`].
    pub async fn ask(self, metrics: &Metrics) -> Result<Answer, Error> {
        let family = Family::of(self.model);
        let Shaped { body, betas, .. } = self.shaped;
        let translated = translate(body, betas, family).map_err(invalid)?;
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
        let original = Original::default();
        let call = call.interceptor(original.clone());
        let output = call.send().await.map_err(fault::of_call)?;
        let id = output.request_id().map(ToOwned::to_owned);
        let original = original.take();
        let model = self.asked_model;
        let message = message::message(&output, &original, model, &names, &self.message_id);
        let message = serde_json::to_vec(&message.map_err(malformed)?);
        let message = message.map_err(|cause| Error::because(Kind::BedrockInternal, cause))?;
        Ok(answer::whole(id.as_deref(), message.into()))
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
    Error::from(Kind::Untranslatable).in_the_words(&words)
}

/// Claude Code asks again for this kind.
fn malformed(malformed: Malformed) -> Error {
    let words = "The model's answer was malformed. Please try again.";
    Error::because(Kind::BedrockInternal, malformed).in_the_words(words)
}

fn broken(unfinished: Unfinished) -> Error {
    match unfinished {
        Unfinished::Cut => Error::because(Kind::UpstreamBroken, unfinished),
        Unfinished::Malformed(it) => malformed(it),
    }
}

struct Reading {
    receiver: EventReceiver<ConverseStreamOutput, ConverseStreamOutputError>,
    events: Events,
}

async fn next(reading: Option<Reading>) -> Option<(Result<Bytes, Error>, Option<Reading>)> {
    let mut reading = reading?;
    let mut out = Vec::new();
    match reading.receive().await {
        Ok(Some(event)) => {
            reading.events.on(&event, &mut out);
            Some((Ok(out.into()), Some(reading)))
        }
        Ok(None) => {
            let ended = reading.events.end(&mut out);
            Some((ended.map(|()| out.into()).map_err(broken), None))
        }
        Err(error) => Some((Err(error), None)),
    }
}

impl Reading {
    /// The next event; none at the end. A message that has said why it stops
    /// lacks nothing that its client needs: how many tokens it took is waited for
    /// no longer than for the end of any other stream.
    async fn receive(&mut self) -> Result<Option<ConverseStreamOutput>, Error> {
        let receiving = self.receiver.recv();
        if !self.events.has_stopped() {
            let received = receiving.await;
            return received.map_err(|error| fault::of_stream(error, exception));
        }
        let received = timeout(GRACE, receiving).await.ok();
        Ok(received.and_then(Result::ok).flatten())
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
