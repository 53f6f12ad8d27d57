//! Why a request is refused: who asks, where, then what.

use std::time::SystemTime;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{
    Bedrock,
    capability::Capabilities,
    converse,
    exception::Exception,
    native::{self, Carrier},
    rule, target,
};
use crate::simulator::{
    record::{Operation, Received},
    reply::ApiError,
};

impl Bedrock {
    /// Lets a request pass that the real Bedrock would answer.
    pub(super) fn check(&self, request: &Received) -> Result<(), ApiError> {
        if request.operation == Operation::Other {
            return Err(Exception::UnknownOperation.into());
        }
        let now = SystemTime::now();
        let region = self
            .credentials
            .check(request, self.region.as_deref(), now)?;
        model(request)?;
        if let Some(service) = &self.service {
            service.check(request)?;
        }
        let body = json(&request.body)?;
        let capabilities = self.offer.at(region.as_deref(), &request.model);
        let checked = match request.operation {
            Operation::Converse | Operation::ConverseStream => {
                self.converse(request, &body, &capabilities)
            }
            Operation::CountTokens => match input(&body)? {
                Input::Converse(body) => self.converse(request, body, &capabilities),
                Input::Native(body) => self.native(&body, Carrier::Invoke, &[], &capabilities),
            },
            Operation::Messages => {
                version(request)?;
                let betas = request.header("anthropic-beta").unwrap_or_default();
                let betas: Vec<_> = betas
                    .split(',')
                    .map(str::trim)
                    .filter(|beta| !beta.is_empty())
                    .collect();
                self.native(&body, Carrier::Messages, &betas, &capabilities)
            }
            _ => self.native(&body, Carrier::Invoke, &[], &capabilities),
        };
        checked.map_err(|message| Exception::Validation.says(message))
    }

    fn native(
        &self,
        body: &Value,
        carrier: Carrier,
        betas: &[&str],
        capabilities: &Capabilities,
    ) -> Result<(), String> {
        native::check(body, carrier, betas, capabilities)?;
        self.signer.check(body)
    }

    fn converse(
        &self,
        request: &Received,
        body: &Value,
        capabilities: &Capabilities,
    ) -> Result<(), String> {
        rule::check(body)?;
        if !target::is_claude(&request.model) {
            return Ok(());
        }
        // What Converse does not know is the model's own business.
        let additional = &body["additionalModelRequestFields"];
        let checked = match additional.is_null() {
            true => Ok(()),
            false => native::check(additional, Carrier::Converse, &[], capabilities),
        };
        let question = converse::question(&request.model, body);
        checked
            .and_then(|()| self.signer.check(&question))
            .map_err(|message| format!("The model returned the following errors: {message}"))
    }
}

/// Whether the operation has this model.
fn model(request: &Received) -> Result<(), ApiError> {
    let model = &request.model;
    if !target::is_known(model) {
        return Err(Exception::Validation.says("The provided model identifier is invalid."));
    }
    match request.operation {
        // Profiles are many models; the real one counts for one model only.
        Operation::CountTokens if target::is_profile(model) => {
            Err(Exception::Validation.says("The provided model doesn't support counting tokens."))
        }
        Operation::Invoke | Operation::InvokeStream | Operation::Messages
            if !target::is_claude(model) =>
        {
            Err(Exception::Validation
                .says("Malformed input request, please reformat your input and try again."))
        }
        _ => Ok(()),
    }
}

fn version(request: &Received) -> Result<(), ApiError> {
    match request.header("anthropic-version") {
        Some(_) => Ok(()),
        None => Err(Exception::Validation.says("anthropic-version: header is required")),
    }
}

/// What `CountTokens` is asked about.
pub(super) enum Input<'a> {
    Converse(&'a Value),
    Native(Value),
}

pub(super) fn input(body: &Value) -> Result<Input<'_>, ApiError> {
    match body["input"]["invokeModel"]["body"].as_str() {
        Some(text) => {
            let bytes = BASE64_STANDARD.decode(text).unwrap_or_default();
            json(&bytes).map(Input::Native)
        }
        None => Ok(Input::Converse(&body["input"]["converse"])),
    }
}

fn json(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        Exception::Validation.says(format!(
            "The format of the request body is not valid JSON: {error}"
        ))
    })
}
