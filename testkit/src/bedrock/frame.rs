//! Amazon's event stream: messages with headers and two checksums.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::{
    event_stream::{Header, HeaderValue, Message},
    str_bytes::StrBytes,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::simulator::reply::{Damage, Frame};

/// Where the checksum of the prelude is.
const PRELUDE_CHECKSUM: usize = 8;

/// How many bytes a checksum has.
const CHECKSUM_BYTES: usize = 4;

/// What the filler is cut from.
const FILLER: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

impl Frame {
    /// An event of this type, with the filler that Bedrock adds.
    pub fn event(name: &str, mut payload: Value) -> Self {
        let length = payload.to_string().len() % FILLER.len() + 1;
        if let Some(fields) = payload.as_object_mut() {
            let filler = FILLER.get(..length).unwrap_or(FILLER);
            fields.insert("p".to_owned(), json!(filler));
        }
        Self {
            headers: headers([
                (":event-type", name),
                (":content-type", "application/json"),
                (":message-type", "event"),
            ]),
            payload,
            damage: Damage::None,
        }
    }

    /// An event of a message, as `InvokeModelWithResponseStream` carries it.
    pub fn chunk(event: &str) -> Self {
        let bytes = BASE64_STANDARD.encode(event);
        Self::event("chunk", json!({"bytes": bytes}))
    }

    /// An exception of the service; its name begins in lower case here.
    pub fn exception(name: &str, message: &str) -> Self {
        let mut name = name.to_owned();
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        Self {
            headers: headers([
                (":exception-type", name.as_str()),
                (":content-type", "application/json"),
                (":message-type", "exception"),
            ]),
            payload: json!({"message": message}),
            damage: Damage::None,
        }
    }

    /// An error below the service, which has no payload.
    pub fn error(code: &str, message: &str) -> Self {
        Self {
            headers: headers([
                (":error-code", code),
                (":error-message", message),
                (":message-type", "error"),
            ]),
            payload: json!(""),
            damage: Damage::None,
        }
    }

    #[must_use]
    pub fn damaged(mut self, damage: Damage) -> Self {
        self.damage = damage;
        self
    }

    /// The first header of this name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The event of a message that a `chunk` carries.
    pub(super) fn carried(&self) -> Option<Value> {
        let bytes = BASE64_STANDARD.decode(self.payload.get("bytes")?.as_str()?);
        serde_json::from_slice(&bytes.ok()?).ok()
    }
}

fn headers<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let headers = headers.into_iter();
    headers
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// A frame as it is on the wire.
pub(crate) fn encode(frame: &Frame) -> Bytes {
    let payload = match &frame.payload {
        Value::String(text) => text.clone(),
        payload => payload.to_string(),
    };
    let headers = frame.headers.iter().map(|(name, value)| {
        let value = HeaderValue::String(StrBytes::from(value.clone()));
        Header::new(name.clone(), value)
    });
    let message = Message::new_from_parts(headers.collect(), payload);
    let mut bytes = Vec::new();
    // Fails when a header or a payload is longer than a frame can be.
    if write_message_to(&message, &mut bytes).is_err() {
        return Bytes::new();
    }
    let checksum = match frame.damage {
        Damage::None => None,
        Damage::Prelude => bytes.get_mut(PRELUDE_CHECKSUM),
        Damage::Message => {
            let last = bytes.len().saturating_sub(CHECKSUM_BYTES);
            bytes.get_mut(last)
        }
    };
    if let Some(byte) = checksum {
        *byte ^= 0xff;
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::read_message_from;

    use super::*;

    #[test]
    fn a_frame_can_be_read_unless_it_is_damaged() {
        let frame = Frame::exception("ThrottlingException", "slowly");
        let message = read_message_from(encode(&frame)).unwrap();
        assert_eq!(message.payload().as_ref(), br#"{"message":"slowly"}"#);
        let name = message.headers().first().unwrap().value();
        assert_eq!(name.as_string().unwrap().as_str(), "throttlingException");
        for damage in [Damage::Prelude, Damage::Message] {
            let damaged = frame.clone().damaged(damage);
            assert!(read_message_from(encode(&damaged)).is_err(), "{damage:?}");
        }
    }

    #[test]
    fn a_chunk_carries_an_event() {
        let frame = Frame::chunk(r#"{"type":"message_stop"}"#);
        assert_eq!(frame.header(":event-type"), Some("chunk"));
        assert_eq!(frame.carried().unwrap()["type"], "message_stop");
    }
}
