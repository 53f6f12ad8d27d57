//! Members of JSON objects, read as the Messages API reads them: null is absent.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::Invalid;

pub(super) type Object = Map<String, Value>;

/// A member that is there and not null.
pub(super) fn present<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

pub(super) fn text<'a>(object: &'a Object, name: &str) -> Result<Option<&'a str>, Invalid> {
    let Some(value) = present(object, name) else {
        return Ok(None);
    };
    let text = value.as_str();
    text.map(Some)
        .ok_or_else(|| Invalid::new(name, "Input should be a valid string"))
}

pub(super) fn required_text<'a>(object: &'a Object, name: &str) -> Result<&'a str, Invalid> {
    text(object, name)?.ok_or_else(|| Invalid::missing(name))
}

pub(super) fn list<'a>(object: &'a Object, name: &str) -> Result<&'a [Value], Invalid> {
    let Some(value) = present(object, name) else {
        return Ok(&[]);
    };
    let list = value.as_array();
    list.map(Vec::as_slice)
        .ok_or_else(|| Invalid::new(name, "Input should be a valid list"))
}

pub(super) fn object<'a>(object: &'a Object, name: &str) -> Result<Option<&'a Object>, Invalid> {
    let value = present(object, name);
    value.map(|value| as_object(value, name)).transpose()
}

pub(super) fn as_object(value: &Value, at: impl Display) -> Result<&Object, Invalid> {
    let object = value.as_object();
    object.ok_or_else(|| Invalid::new(at.to_string(), "Input should be an object"))
}

pub(super) fn is_true(object: &Object, name: &str) -> bool {
    object.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// Bedrock refuses text without a visible character.
pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}
