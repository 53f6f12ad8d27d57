//! Counts what an answer used by looking at a copy of its bytes.
//!
//! The meter never delays, changes or fails an answer: what it cannot follow it
//! stops following, and says so once.

use std::io;

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;

use super::Usage;
use crate::relay::{
    decode::Decoder,
    form::{self, Form},
    sse::{self, Event, Splitter},
};

/// A longer JSON answer is not kept; the real ones are far below.
const MAX_JSON_BYTES: usize = 32 << 20;

/// Counts one answer.
#[derive(Debug)]
pub struct Meter {
    decoder: Option<Decoder>,
    reader: Reader,
    pub reading: Reading,
}

/// What an answer has said about itself so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub usage: Usage,
    /// The model that answers, in its own words.
    pub model: Option<String>,
    /// Bytes of text that have come before the stream states its usage.
    pub unstated_bytes: usize,
    /// The stream has said why it stops, or that it does; or the answer was not
    /// a stream. What was used is final.
    pub stopped: bool,
    /// Why, in the API's words.
    pub stop_reason: Option<String>,
    /// The stream has had its last event.
    pub ended: bool,
    /// The stream carried an `error` event: its type.
    pub error: Option<String>,
}

#[derive(Debug)]
enum Reader {
    Stream(Splitter),
    Json(Vec<Bytes>, usize),
    /// Nothing to count, or no longer possible.
    Unread,
}

/// Why an answer cannot be counted (any further).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the answer cannot be decoded")]
    Decode(#[source] io::Error),
    #[error(transparent)]
    TooLong(#[from] sse::TooLong),
    #[error("the answer has more than {MAX_JSON_BYTES} bytes")]
    TooLarge,
    /// Without the parser's own words, which quote the answer.
    #[error("the answer is not the JSON that it says it is, line {line} column {column}")]
    Json { line: usize, column: usize },
    #[error("the answer is neither JSON nor a stream of events")]
    Form,
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Json {
            line: error.line(),
            column: error.column(),
        }
    }
}

impl Error {
    /// The name in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Decode(_) => "decode",
            Self::TooLong(_) => "line_too_long",
            Self::TooLarge => "json_too_large",
            Self::Json { .. } => "json",
            Self::Form => "form",
        }
    }
}

impl Meter {
    /// A meter for an answer with these headers.
    ///
    /// # Errors
    ///
    /// The answer has another form, or a content coding that is unknown.
    pub fn of(headers: &HeaderMap) -> Result<Self, Error> {
        let reader = match Form::of(headers) {
            Form::Stream => Reader::Stream(Splitter::default()),
            Form::Json => Reader::Json(Vec::new(), 0),
            Form::Other => return Err(Error::Form),
        };
        let decoder = Decoder::of(form::coding(headers)).map_err(Error::Decode)?;
        Ok(Self {
            decoder,
            reader,
            reading: Reading::default(),
        })
    }

    /// A meter that counts nothing.
    pub fn unread() -> Self {
        Self {
            decoder: None,
            reader: Reader::Unread,
            reading: Reading::default(),
        }
    }

    pub fn is_stream(&self) -> bool {
        matches!(self.reader, Reader::Stream(_))
    }

    /// Looks at the next piece of the answer.
    ///
    /// # Errors
    ///
    /// A part of the answer cannot be counted. What can be followed from there on
    /// is; the rest is ignored.
    pub fn see(&mut self, piece: &Bytes) -> Result<(), Error> {
        let result = self.try_see(piece);
        if let Err(Error::Decode(_) | Error::TooLarge) = result {
            self.reader = Reader::Unread;
        }
        result
    }

    fn try_see(&mut self, piece: &Bytes) -> Result<(), Error> {
        if matches!(self.reader, Reader::Unread) {
            return Ok(());
        }
        let decoded = match &mut self.decoder {
            Some(decoder) => decoder.push(piece).map_err(Error::Decode)?.into(),
            None => piece.clone(),
        };
        match &mut self.reader {
            Reader::Stream(splitter) => {
                let reading = &mut self.reading;
                let mut first_error = None;
                splitter.push(&decoded, |event| {
                    if let Err(err) = reading.take(&event) {
                        first_error.get_or_insert(err);
                    }
                })?;
                first_error.map_or(Ok(()), |err| Err(err.into()))
            }
            Reader::Json(pieces, len) => {
                *len += decoded.len();
                if *len > MAX_JSON_BYTES {
                    return Err(Error::TooLarge);
                }
                pieces.push(decoded);
                Ok(())
            }
            Reader::Unread => Ok(()),
        }
    }

    /// The answer has ended. A stream has been read by now; JSON is read here.
    /// False: it could not be followed to its end.
    ///
    /// # Errors
    ///
    /// The answer is not the JSON that it says it is.
    pub fn end(&mut self) -> Result<bool, Error> {
        let pieces = match std::mem::replace(&mut self.reader, Reader::Unread) {
            Reader::Json(pieces, _) => pieces,
            Reader::Stream(_) => return Ok(true),
            Reader::Unread => return Ok(false),
        };
        let mut message: Message = match pieces.as_slice() {
            [whole] => serde_json::from_slice(whole),
            pieces => serde_json::from_slice(&pieces.concat()),
        }?;
        let kind = message.kind.clone();
        match (kind.as_deref(), message.error.take()) {
            (Some("error"), error) => {
                self.reading.error = Some(error.unwrap_or_default().kind);
                Ok(true)
            }
            (kind, _) => {
                let is_message = kind == Some("message") || message.usage.is_some();
                self.reading.take_message(message);
                self.reading.stopped = is_message;
                Ok(is_message)
            }
        }
    }
}

/// The parts of a message that are counted.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: Option<String>,
    model: Option<String>,
    stop_reason: Option<String>,
    usage: Option<Usage>,
    /// In place of a message.
    error: Option<ErrorDetail>,
}

#[derive(Debug, Deserialize)]
struct MessageStart {
    message: Message,
}

#[derive(Debug, Deserialize)]
struct MessageDelta {
    delta: Option<DeltaDetail>,
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct DeltaDetail {
    stop_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContentDelta {
    delta: Content,
}

/// One of these, as its block has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content {
    text: String,
    thinking: String,
    partial_json: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorEvent {
    error: ErrorDetail,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    #[serde(rename = "type")]
    kind: String,
}

impl Reading {
    /// Takes in what an event states.
    ///
    /// # Errors
    ///
    /// The event is not the JSON that it should be.
    pub fn take(&mut self, event: &Event<'_>) -> Result<(), serde_json::Error> {
        self.take_named(&event.kind()?, event.data)
    }

    fn take_named(&mut self, name: &[u8], data: &[u8]) -> Result<(), serde_json::Error> {
        match name {
            b"message_start" => {
                self.take_message(serde_json::from_slice::<MessageStart>(data)?.message);
            }
            // Where usage comes at the beginning, as nearly everywhere, this is not read.
            b"content_block_delta" if self.usage.is_nothing() => {
                let ContentDelta { delta } = serde_json::from_slice(data).unwrap_or_default();
                let texts = [delta.text, delta.thinking, delta.partial_json];
                self.unstated_bytes += texts.iter().map(String::len).sum::<usize>();
            }
            b"message_delta" => {
                let delta: MessageDelta = serde_json::from_slice(data)?;
                self.usage.update(&delta.usage.unwrap_or_default());
                let reason = delta.delta.and_then(|it| it.stop_reason);
                // Clients need no more than this.
                self.stopped |= reason.is_some();
                self.stop_reason = reason.or(self.stop_reason.take());
            }
            b"message_stop" => {
                self.stopped = true;
                self.ended = true;
            }
            b"error" => {
                // Whatever it says, it is one.
                let event: ErrorEvent = serde_json::from_slice(data).unwrap_or_default();
                self.error = Some(event.error.kind);
            }
            _ => {}
        }
        Ok(())
    }

    fn take_message(&mut self, message: Message) {
        self.model = message.model.or(self.model.take());
        self.stop_reason = message.stop_reason.or(self.stop_reason.take());
        self.usage.update(&message.usage.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use http::header;

    use super::*;
    use crate::usage::CacheTtl;

    const STREAM: &str = concat!(
        "event: message_start\n",
        r#"data: {"type":"message_start","message":{"id":"msg_1","model":"claude-x-1","usage":"#,
        r#"{"input_tokens":12,"cache_read_input_tokens":3,"output_tokens":1}}}"#,
        "\n\nevent: content_block_delta\n",
        r#"data: {"type":"content_block_delta","index":0,"delta":{"text":"é \"usage\""}}"#,
        "\n\nevent: message_delta\n",
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#,
        "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );

    fn headers(content_type: &str, coding: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        headers.insert(header::CONTENT_ENCODING, coding.parse().unwrap());
        headers
    }

    fn read(content_type: &str, coding: &str, body: &[u8], step: usize) -> Reading {
        let mut meter = Meter::of(&headers(content_type, coding)).unwrap();
        for piece in body.chunks(step) {
            meter.see(&Bytes::copy_from_slice(piece)).unwrap();
        }
        meter.end().unwrap();
        meter.reading
    }

    fn counters(reading: &Reading) -> (u64, u64, u64) {
        let tokens = reading.usage.tokens(CacheTtl::FiveMinutes);
        (
            tokens.input_tokens,
            tokens.output_tokens,
            tokens.cache_read_tokens,
        )
    }

    #[test]
    fn a_stream_is_counted_however_it_is_cut() {
        let nameless: String = STREAM
            .lines()
            .filter(|line| !line.starts_with("event:"))
            .map(|line| format!("{line}\n"))
            .collect();
        let named_alike = nameless.replace("data:", "event: message\ndata:");
        for stream in [STREAM, &nameless, &named_alike] {
            for step in 1..stream.len() {
                let reading = read(
                    "text/event-stream; charset=utf-8",
                    "identity",
                    stream.as_bytes(),
                    step,
                );
                assert_eq!(counters(&reading), (12, 9, 3));
                assert_eq!(reading.model.as_deref(), Some("claude-x-1"));
                assert!(reading.stopped && reading.error.is_none());
                assert_eq!(reading.stop_reason.as_deref(), Some("end_turn"));
            }
        }
    }

    #[test]
    fn a_compressed_stream_is_counted() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(STREAM.as_bytes()).unwrap();
        let body = gzip.finish().unwrap();
        let reading = read("text/event-stream", "gzip", &body, 5);
        assert_eq!(counters(&reading), (12, 9, 3));
    }

    #[test]
    fn json_is_counted() {
        let body = br#"{"id":"msg_1","content":[{"type":"text","text":"\"usage\":{}"}],
            "model":"claude-x-1","usage":{"input_tokens":12,"cache_read_input_tokens":3,"output_tokens":9}}"#;
        for step in [1, 10, body.len()] {
            let reading = read("application/json", "", body, step);
            assert_eq!(counters(&reading), (12, 9, 3));
            assert_eq!(reading.model.as_deref(), Some("claude-x-1"));
        }
    }

    #[test]
    fn an_error_event_is_noticed() {
        let stream = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n";
        let reading = read("text/event-stream", "", stream.as_bytes(), 9);
        assert_eq!(reading.error.as_deref(), Some("overloaded_error"));
        assert!(!reading.stopped);
    }

    #[test]
    fn what_cannot_be_followed_is_said_once() {
        let mut meter = Meter::of(&headers("text/event-stream", "gzip")).unwrap();
        let garbage = Bytes::from_static(b"this is not gzip at all");
        assert!(meter.see(&garbage).is_err());
        assert!(meter.see(&garbage).is_ok());
        assert!(!meter.end().unwrap());

        let mut meter = Meter::of(&headers("application/json", "")).unwrap();
        meter.see(&garbage).unwrap();
        assert!(meter.end().is_err());
        assert!(Meter::of(&headers("application/json", "rot13")).is_err());
        assert!(Meter::of(&headers("text/plain", "")).is_err());
    }

    #[test]
    fn an_event_that_is_not_json_does_not_hide_the_later_ones_of_its_piece() {
        let stream = format!("event: message_delta\ndata: {{oops\n\n{STREAM}");
        let mut meter = Meter::of(&headers("text/event-stream", "")).unwrap();
        assert!(meter.see(&Bytes::from(stream)).is_err());
        assert_eq!(counters(&meter.reading), (12, 9, 3));
    }
}
