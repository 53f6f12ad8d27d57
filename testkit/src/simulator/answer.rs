//! What is answered: status, headers and body as they would be written, not yet
//! as bytes on a connection.

use bytes::Bytes;
use http::StatusCode;

use serde_json::Value;

use super::{
    message::{event_text, with_usage},
    usage::Usage,
};

/// What a client is told, as far as HTTP/1.1 and HTTP/2 agree.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
    /// For the ledger; empty when no model was asked.
    pub(crate) model: String,
    /// What comes last when the reply ends the answer with words of its own.
    pub(crate) last_event: Option<Bytes>,
}

#[derive(Debug)]
pub(crate) enum Body {
    Events(Vec<Event>),
    Whole { bytes: Bytes, reported: Usage },
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) bytes: Bytes,
    /// The usage that a reader knows of after this event.
    pub(crate) reported: Usage,
}

impl Answer {
    pub(crate) fn whole(
        status: u16,
        content_type: &str,
        bytes: impl Into<Bytes>,
        reported: Usage,
    ) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: Body::Whole {
                bytes: bytes.into(),
                reported,
            },
            model: String::new(),
            last_event: None,
        }
    }

    pub(crate) fn stream(content_type: &str, events: Vec<Event>) -> Self {
        Self {
            body: Body::Events(events),
            ..Self::whole(200, content_type, Bytes::new(), Usage::default())
        }
    }

    /// The same name may come several times.
    pub(crate) fn replace_headers(&mut self, headers: &[(String, String)]) {
        let is_replaced = |name: &str| {
            headers
                .iter()
                .any(|(new, _)| new.eq_ignore_ascii_case(name))
        };
        self.headers.retain(|(name, _)| !is_replaced(name));
        self.headers.extend_from_slice(headers);
    }
}

/// Events of a message as server-sent events.
pub(crate) fn event_stream(events: impl IntoIterator<Item = (String, Value)>) -> Answer {
    let events = with_usage(events).map(|(name, data, reported)| Event {
        bytes: event_text(&name, &data).into(),
        reported,
    });
    Answer::stream("text/event-stream; charset=utf-8", events.collect())
}
