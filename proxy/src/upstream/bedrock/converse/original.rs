//! A whole answer as it came.
//!
//! The SDK keeps the input of a tool use in a hash map and its numbers as machine
//! numbers: their order is lost, and what `1.0` or a long integer looked like. The
//! client gets what the model wrote.

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::AfterDeserializationInterceptorContextRef},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Put on a call as an interceptor, it keeps the body of the answer.
#[derive(Debug, Clone, Default)]
pub struct Original(Arc<Mutex<Vec<u8>>>);

impl Original {
    /// The body; empty when there was none.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Intercept for Original {
    fn name(&self) -> &'static str {
        "Original"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().body().bytes().unwrap_or_default();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = body.to_vec();
        Ok(())
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    output: Output<'a>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Vec<Option<Block<'a>>>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, rename = "toolUse")]
    tool_use: Option<ToolUse<'a>>,
}

#[derive(Deserialize)]
struct ToolUse<'a> {
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

/// The inputs of the tool uses in an answer's `body`, in order.
pub(super) fn inputs(body: &[u8]) -> Vec<Option<&RawValue>> {
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body) else {
        return Vec::new();
    };
    let blocks = answer.output.message.content.into_iter().flatten();
    let used = blocks.filter_map(|it| it.tool_use);
    used.map(|it| it.input).collect()
}
