//! Holds an answer until its first content: until then a failure is ours to
//! hide, whatever the status said.
//!
//! Nothing is delayed but by what has to be seen: with the first content all that
//! came before it goes on.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, header};
use serde::de::IgnoredAny;
use tokio::time::timeout;

use super::{
    decode::{self, Decoder},
    form::{self, Form},
    sse::{Event, Splitter},
};
use crate::{
    error::{Error, Kind},
    refusal,
    upstream::{Answer, Flow},
};

/// What comes before the content is a few hundred bytes, and an answer that is
/// no stream a few hundred thousand. What is longer goes on.
const MAX_HELD_BYTES: usize = 1 << 20;

/// What has been found in a stream.
#[derive(Debug, Default)]
enum Found {
    #[default]
    Nothing,
    /// Something that must not come twice.
    Content,
    Error(Refused),
}

/// An `error` event: its type, and its data, which is an error's envelope.
#[derive(Debug)]
struct Refused {
    kind: String,
    envelope: Bytes,
}

/// Waits for the first content of a successful answer: an event of a stream that
/// is neither `message_start` nor `ping`, or the whole of an answer that is no
/// stream. What came until then is part of the answer that is returned.
///
/// A stream that begins with an `error` event is returned as the answer that the
/// API would have given before the stream: with a status, and the envelope as its
/// body.
///
/// # Errors
///
/// The answer ends or breaks before its first content, says nothing for the time
/// of `silence`, or is no answer to a question to a model.
pub async fn hold(answer: Answer, silence: Duration) -> Result<Answer, Error> {
    if !answer.head.status.is_success() {
        return Ok(answer);
    }
    let Ok(decoder) = Decoder::of(form::coding(&answer.head.headers)) else {
        // The client will know what it has asked for.
        return Ok(answer);
    };
    match Form::of(&answer.head.headers) {
        Form::Stream => stream(answer, decoder, silence).await,
        Form::Json => whole(answer, silence).await,
        Form::Other => {
            let cause = "a success that is neither JSON nor a stream of events";
            Err(Error::because(Kind::UpstreamBroken, cause))
        }
    }
}

async fn stream(
    mut answer: Answer,
    mut decoder: Option<Decoder>,
    silence: Duration,
) -> Result<Answer, Error> {
    let mut splitter = Splitter::default();
    let mut held = Held::default();
    loop {
        let piece = next(&mut answer.flow, silence).await?;
        let piece = piece.ok_or_else(|| {
            Error::because(Kind::UpstreamBroken, "the stream ends before its content")
        })?;
        let found = match &mut decoder {
            Some(decoder) => decoder
                .push(&piece)
                .map(|decoded| look(&mut splitter, &decoded))
                .map_err(|cause| Error::because(Kind::UpstreamBroken, cause))?,
            None => look(&mut splitter, &piece),
        };
        held.add(piece);
        match found {
            Found::Error(refused) => return Ok(refused.answer(answer)),
            Found::Nothing if held.bytes < MAX_HELD_BYTES => {}
            Found::Nothing | Found::Content => return Ok(held.before(answer)),
        }
    }
}

async fn whole(mut answer: Answer, silence: Duration) -> Result<Answer, Error> {
    let mut held = Held::default();
    while held.bytes < MAX_HELD_BYTES {
        match next(&mut answer.flow, silence).await? {
            Some(piece) => held.add(piece),
            None => {
                let body = held.whole();
                let text = decode::whole(&answer.head.headers, &body)
                    .map_err(|cause| Error::because(Kind::UpstreamBroken, cause))?;
                // Without the parser's own words, which may quote the answer.
                if serde_json::from_slice::<IgnoredAny>(&text).is_err() {
                    let cause = "the answer is not the JSON that it says it is";
                    return Err(Error::because(Kind::UpstreamBroken, cause));
                }
                answer.flow = Flow::Whole(Some(body));
                return Ok(answer);
            }
        }
    }
    Ok(held.before(answer))
}

/// The next data of an answer; none at its end.
async fn next(flow: &mut Flow, silence: Duration) -> Result<Option<Bytes>, Error> {
    while !flow.is_end() {
        let frame = timeout(silence, poll_fn(|cx| flow.poll_piece(cx))).await;
        let frame = frame.map_err(|elapsed| Error::because(Kind::FirstByteTimeout, elapsed))?;
        let Some(frame) = frame else { break };
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn look(splitter: &mut Splitter, bytes: &[u8]) -> Found {
    let mut found = Found::Nothing;
    let looked = splitter.push(bytes, |event| {
        if matches!(found, Found::Nothing) {
            found = Found::of(&event);
        }
    });
    match looked {
        Ok(()) => found,
        // Whatever it is, it is not what comes before the content.
        Err(_too_long) => Found::Content,
    }
}

impl Found {
    fn of(event: &Event<'_>) -> Self {
        let Ok(kind) = event.kind() else {
            return Self::Nothing;
        };
        match &*kind {
            b"content_block_start"
            | b"content_block_delta"
            | b"content_block_stop"
            | b"message_delta"
            | b"message_stop" => Self::Content,
            b"error" => Self::Error(Refused::of(event.data)),
            // Also what nobody has heard of yet.
            _ => Self::Nothing,
        }
    }
}

impl Refused {
    fn of(data: &[u8]) -> Self {
        #[derive(Default, serde::Deserialize)]
        struct Envelope {
            error: Typed,
        }
        #[derive(Default, serde::Deserialize)]
        struct Typed {
            r#type: String,
        }
        let envelope: Envelope = serde_json::from_slice(data).unwrap_or_default();
        Self {
            kind: envelope.error.r#type,
            envelope: Bytes::copy_from_slice(data),
        }
    }

    fn answer(self, mut answer: Answer) -> Answer {
        answer.head.status = refusal::status_of(&self.kind);
        let headers = &mut answer.head.headers;
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        answer.flow = Flow::Whole(Some(self.envelope));
        answer
    }
}

/// What was read and may still have to be read again.
#[derive(Debug, Default)]
struct Held {
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Held {
    fn add(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.pieces.push(piece);
    }

    fn whole(self) -> Bytes {
        match <[Bytes; 1]>::try_from(self.pieces) {
            Ok([piece]) => piece,
            Err(pieces) => pieces.concat().into(),
        }
    }

    /// The answer as it was before anything was read of it.
    fn before(self, mut answer: Answer) -> Answer {
        answer.flow = answer.flow.resumed(self.whole());
        answer
    }
}
