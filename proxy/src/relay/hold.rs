//! Holds an answer until its first content: until then a failure is ours to
//! hide, whatever the status said.
//!
//! Nothing is delayed but by what has to be seen: with the first content all that
//! came before it goes on.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, de::IgnoredAny};
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
    usage::meter::Reading,
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
    /// The end, and nothing before it: not why it stops either.
    Empty,
    Error(Refused),
}

/// An `error` event: its type, and its data, which is an error's envelope.
#[derive(Debug)]
struct Refused {
    kind: String,
    envelope: Bytes,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Stream,
    Message,
    /// How many tokens the input has.
    Count,
    /// Which models there are.
    Models,
}

/// How long is waited, from the head on.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the first content.
    pub content: Duration,
    /// For anything at all.
    pub silence: Duration,
}

/// Waits for the first content of a successful answer: the first event of a content
/// block or the `message_delta` of a stream, or the whole of an answer that is no
/// stream. What came until then is part of the answer that is returned. What a
/// stream states meanwhile goes into `reading`, in case that is all there will
/// ever be.
///
/// What begins with an `error` is returned as the answer that the API should have
/// given: with a status, and the envelope as its body.
///
/// # Errors
///
/// The answer ends or breaks before its first content, keeps one waiting for too
/// long, or is not what was wanted.
pub async fn hold(
    answer: Answer,
    wanted: Wanted,
    patience: Patience,
    reading: &mut Reading,
) -> Result<Answer, Error> {
    if !answer.head.status.is_success() {
        return Ok(answer);
    }
    let Ok(decoder) = Decoder::of(form::coding(&answer.head.headers)) else {
        // Nobody can look into it but the client, who may have asked for it.
        return Ok(answer);
    };
    let content = async {
        match (Form::of(&answer.head.headers), wanted) {
            (Form::Stream, Wanted::Stream) => {
                stream(answer, decoder, patience.silence, reading).await
            }
            (Form::Json, wanted) => whole(answer, wanted, patience.silence).await,
            (Form::Stream | Form::Other, _) => {
                let cause = "a success of another form than was asked for";
                Err(Error::because(Kind::UpstreamBroken, cause))
            }
        }
    };
    let content = timeout(patience.content, content).await;
    content.map_err(|elapsed| Error::because(Kind::FirstByteTimeout, elapsed))?
}

async fn stream(
    mut answer: Answer,
    mut decoder: Option<Decoder>,
    silence: Duration,
    reading: &mut Reading,
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
                .map(|decoded| look(&mut splitter, &decoded, reading))
                .map_err(|cause| Error::because(Kind::UpstreamBroken, cause))?,
            None => look(&mut splitter, &piece, reading),
        };
        held.add(piece);
        match found {
            Found::Error(refused) => return Ok(refused.answer(answer)),
            Found::Empty => {
                let cause = "the stream says that it is over before its content";
                return Err(Error::because(Kind::UpstreamBroken, cause));
            }
            Found::Nothing if held.bytes < MAX_HELD_BYTES => {}
            Found::Nothing | Found::Content => return Ok(held.before(answer)),
        }
    }
}

async fn whole(mut answer: Answer, wanted: Wanted, silence: Duration) -> Result<Answer, Error> {
    let mut held = Held::default();
    while held.bytes < MAX_HELD_BYTES {
        match next(&mut answer.flow, silence).await? {
            Some(piece) => held.add(piece),
            None => {
                let body = held.whole();
                return match Said::of(&answer.head.headers, &body)? {
                    Said::Error(refused) => Ok(refused.answer(answer)),
                    said if said.is(wanted) => {
                        answer.flow = Flow::Whole(Some(body));
                        Ok(answer)
                    }
                    _ => {
                        let cause = "the answer is not what was asked for";
                        Err(Error::because(Kind::UpstreamBroken, cause))
                    }
                };
            }
        }
    }
    Ok(held.before(answer))
}

/// What a JSON answer is.
#[derive(Debug)]
enum Said {
    Message,
    Count,
    Models,
    Error(Refused),
    Other,
}

impl Said {
    fn of(headers: &HeaderMap, body: &Bytes) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Typed {
            r#type: Option<String>,
            input_tokens: Option<IgnoredAny>,
            data: Option<Vec<IgnoredAny>>,
        }
        let text = decode::whole(headers, body)
            .map_err(|cause| Error::because(Kind::UpstreamBroken, cause))?;
        let Ok(typed) = serde_json::from_slice::<Typed>(&text) else {
            // Without the parser's own words, which may quote the answer.
            let cause = "the answer is not the JSON that it says it is";
            return Err(Error::because(Kind::UpstreamBroken, cause));
        };
        Ok(match typed.r#type.as_deref() {
            Some("message") => Self::Message,
            Some("model") => Self::Models,
            Some("error") => Self::Error(Refused::of(&text)),
            _ if typed.input_tokens.is_some() => Self::Count,
            _ if typed.data.is_some() => Self::Models,
            _ => Self::Other,
        })
    }

    fn is(&self, wanted: Wanted) -> bool {
        match self {
            Self::Message => wanted == Wanted::Message,
            Self::Count => wanted == Wanted::Count,
            Self::Models => wanted == Wanted::Models,
            Self::Error(_) | Self::Other => false,
        }
    }
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

fn look(splitter: &mut Splitter, bytes: &[u8], reading: &mut Reading) -> Found {
    let mut found = Found::Nothing;
    let looked = splitter.push(bytes, |event| {
        if matches!(found, Found::Nothing) {
            found = Found::of(&event);
            // What it cannot take in, the meter will say.
            let _unreadable = reading.take(&event);
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
            | b"message_delta" => Self::Content,
            b"message_stop" => Self::Empty,
            b"error" => Self::Error(Refused::of(event.data)),
            // Also what nobody has heard of yet.
            _ => Self::Nothing,
        }
    }
}

impl Refused {
    fn of(data: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Envelope {
            error: Typed,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
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
