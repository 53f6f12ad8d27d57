//! `count_tokens` by Bedrock's own CountTokens. Never a guess: a wrong number
//! would let a conversation grow beyond what the model takes.

use aws_sdk_bedrockruntime::{
    Client,
    operation::RequestId,
    primitives::Blob,
    types::{CountTokensInput, InvokeModelTokensRequest},
};
use serde_json::json;

use super::{
    answer::{self, Answer},
    fault, invoke,
    model::{self, Model},
    shape::Shaped,
};
use crate::error::{Error, Kind};

/// Counts the input's tokens.
///
/// # Errors
///
/// [`Kind::CannotCount`] for a model that Bedrock does not count for; else as
/// [`fault::of_call`].
pub async fn ask(client: &Client, model: &Model, shaped: &Shaped) -> Result<Answer, Error> {
    // Profiles are not counted for, only what is behind them.
    let foundation = model::foundation(&model.id).filter(|_| model.is_anthropic);
    let foundation = foundation.ok_or(Kind::CannotCount)?;
    let request = InvokeModelTokensRequest::builder().body(Blob::new(body(shaped)?));
    let request = request
        .build()
        .map_err(|cause| Error::because(Kind::BedrockInternal, cause))?;
    let call = client.count_tokens().model_id(foundation);
    let call = call.input(CountTokensInput::InvokeModel(request));
    let output = call.send().await.map_err(|error| {
        let error = fault::of_call(error);
        match error.kind {
            Kind::BedrockNotFound => Error::because(Kind::CannotCount, error),
            Kind::BedrockInvalid if is_about_the_model(&error) => {
                Error::because(Kind::CannotCount, error)
            }
            _ => error,
        }
    })?;
    let id = output.request_id().map(ToOwned::to_owned);
    let body = json!({"input_tokens": output.input_tokens}).to_string();
    Ok(answer::whole(id.as_deref(), body.into()))
}

/// A body of `InvokeModel` has to say how much is wanted, one of `count_tokens`
/// does not.
fn body(shaped: &Shaped) -> Result<Vec<u8>, Error> {
    if shaped.body.get("max_tokens").is_some() {
        return invoke::body(shaped);
    }
    let mut shaped = shaped.clone();
    let set = shaped.body.set("max_tokens", &1);
    set.map_err(|cause| Error::because(Kind::MalformedBody, cause))?;
    invoke::body(&shaped)
}

/// "The provided model doesn't support counting tokens.", "The provided model
/// identifier is invalid."
fn is_about_the_model(error: &Error) -> bool {
    let words = error.wording.as_deref().unwrap_or_default();
    words.contains("model identifier is invalid") || words.contains("support counting tokens")
}
