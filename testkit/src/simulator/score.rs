//! In which bytes, and when, an answer goes out: everything that a reply says
//! about pace, writes, compression and an early end, as a list of steps.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use http::StatusCode;

use super::{
    answer::{Answer, Body},
    encode::{Encoder, chosen},
    record::Received,
    reply::{At, Content, Ending, Framing, Gate, How, Pace, Reply, Writes},
    usage::Usage,
};

/// A played answer.
#[derive(Debug)]
pub(crate) struct Score {
    pub(crate) head_after: Duration,
    pub(crate) head_gate: Option<Gate>,
    pub(crate) opening: Opening,
    pub(crate) steps: VecDeque<Step>,
    pub(crate) model: String,
}

/// How an answer begins.
#[derive(Debug)]
pub(crate) enum Opening {
    Head {
        status: StatusCode,
        headers: Vec<(String, String)>,
    },
    Leave(Farewell),
}

#[derive(Debug)]
pub(crate) enum Step {
    Wait(Duration),
    Pass(Gate),
    /// One write to the connection, and the usage known to its reader after it.
    Write {
        bytes: Bytes,
        reported: Usage,
    },
    Leave(Farewell),
}

/// The end of the connection, other than by HTTP.
#[derive(Debug)]
pub(crate) struct Farewell {
    /// Written as they are, in place of HTTP.
    pub(crate) last_words: Bytes,
    pub(crate) manner: Manner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Reset,
    Close,
    Silence,
}

/// Bytes that belong together: an event, or a whole body.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    reported: Usage,
}

impl Farewell {
    fn new(manner: Manner) -> Self {
        Self {
            last_words: Bytes::new(),
            manner,
        }
    }
}

/// None when the answer ends by HTTP's own means.
fn manner(how: &How) -> Option<Manner> {
    match how {
        How::Reset => Some(Manner::Reset),
        How::Close => Some(Manner::Close),
        How::Silence => Some(Manner::Silence),
        How::Clean | How::Error(_) | How::Frame(_) => None,
    }
}

/// Writes the score for an answer; `answer` is none for replies that are no
/// HTTP.
pub(crate) fn compose(
    request: &Received,
    reply: &Reply,
    answer: Option<Answer>,
    usual_pace: Pace,
) -> Score {
    let pace = reply.pace.unwrap_or(usual_pace);
    let (opening, steps, model) = match (instead_of_http(reply), answer) {
        (None, Some(mut answer)) => {
            let steps = steps(request, reply, &mut answer, pace);
            let head = Opening::Head {
                status: answer.status,
                headers: answer.headers,
            };
            (head, steps, answer.model)
        }
        (farewell, _) => {
            let farewell = farewell.unwrap_or(Farewell::new(Manner::Close));
            (Opening::Leave(farewell), VecDeque::new(), String::new())
        }
    };
    Score {
        head_after: pace.head(),
        head_gate: reply.head_gate.clone(),
        opening,
        steps,
        model,
    }
}

/// How the connection ends, if it does so in place of an answer.
fn instead_of_http(reply: &Reply) -> Option<Farewell> {
    let ending = reply.ending.as_ref();
    let manner = ending.and_then(|ending| manner(&ending.how));
    if let Content::Raw(bytes) = &reply.content {
        return Some(Farewell {
            last_words: bytes.clone(),
            manner: manner.unwrap_or(Manner::Close),
        });
    }
    match ending?.at {
        At::Start => manner.map(Farewell::new),
        _ => None,
    }
}

/// The steps after the head, which learns how the body is encoded and framed.
fn steps(request: &Received, reply: &Reply, answer: &mut Answer, pace: Pace) -> VecDeque<Step> {
    let pieces = pieces(answer, reply.ending.as_ref());
    let mut add = |name: &str, value: &str| answer.headers.push((name.into(), value.into()));
    let is_stream = matches!(answer.body, Body::Events(_));
    let encoding = chosen(reply.encoding, request.header("accept-encoding"));
    if let Some(name) = encoding.name() {
        add("content-encoding", name);
        add("vary", "accept-encoding");
    }
    let pieces = encode(pieces, Encoder::new(encoding));
    if !is_stream && reply.framing == Framing::ContentLength {
        let length: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
        add("content-length", &length.to_string());
    }
    let mut writes = spread(pieces, reply.writes);
    if let Some(Ending {
        at: At::Bytes(limit),
        ..
    }) = reply.ending
    {
        cut(&mut writes, limit);
    }
    let mut steps = VecDeque::new();
    for (index, write) in writes.into_iter().enumerate() {
        let wait = pace.event(index);
        if !wait.is_zero() {
            steps.push_back(Step::Wait(wait));
        }
        if let Some(gate) = &reply.gate {
            steps.push_back(Step::Pass(gate.clone()));
        }
        steps.push_back(Step::Write {
            bytes: write.bytes.into(),
            reported: write.reported,
        });
    }
    let manner = reply.ending.as_ref().and_then(|end| manner(&end.how));
    steps.extend(manner.map(|manner| Step::Leave(Farewell::new(manner))));
    steps
}

/// The body in pieces, as far as the ending lets it come.
fn pieces(answer: &Answer, ending: Option<&Ending>) -> Vec<Piece> {
    let mut pieces: Vec<_> = match &answer.body {
        Body::Events(events) => events
            .iter()
            .map(|event| Piece {
                bytes: event.bytes.to_vec(),
                reported: event.reported,
            })
            .collect(),
        Body::Whole { bytes, reported } => vec![Piece {
            bytes: bytes.to_vec(),
            reported: *reported,
        }],
    };
    let Some(Ending { at, .. }) = ending else {
        return pieces;
    };
    match at {
        At::Start => pieces.clear(),
        At::Events(count) => pieces.truncate(*count),
        At::Bytes(_) | At::End => {}
    }
    if let Some(bytes) = &answer.last_event {
        let reported = pieces
            .last()
            .map_or_else(Usage::default, |last| last.reported);
        pieces.push(Piece {
            bytes: bytes.to_vec(),
            reported,
        });
    }
    pieces
}

/// Compresses piece by piece, so that each can be read as soon as it arrives.
fn encode(pieces: Vec<Piece>, mut encoder: Encoder) -> Vec<Piece> {
    let mut encoded: Vec<_> = pieces
        .into_iter()
        .map(|piece| Piece {
            bytes: encoder.encode(&piece.bytes),
            ..piece
        })
        .collect();
    if let Some(last) = encoded.last_mut() {
        last.bytes.extend(encoder.finish());
    }
    encoded
}

fn spread(pieces: Vec<Piece>, writes: Writes) -> Vec<Piece> {
    match writes {
        Writes::EachEvent => pieces,
        Writes::Events(count) => joined(pieces, count.max(1)),
        Writes::AtOnce => joined(pieces, usize::MAX),
        Writes::Bytes(count) => split(pieces, count.max(1)),
    }
}

fn joined(pieces: Vec<Piece>, count: usize) -> Vec<Piece> {
    let mut writes: Vec<Piece> = Vec::new();
    for (index, piece) in pieces.into_iter().enumerate() {
        match writes.last_mut() {
            Some(last) if index % count != 0 => {
                last.bytes.extend(piece.bytes);
                last.reported = piece.reported;
            }
            _ => writes.push(piece),
        }
    }
    writes
}

fn split(pieces: Vec<Piece>, count: usize) -> Vec<Piece> {
    let mut writes = Vec::new();
    let mut reported = Usage::default();
    for piece in pieces {
        let mut parts = piece.bytes.chunks(count).peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                reported = piece.reported;
            }
            writes.push(Piece {
                bytes: part.to_vec(),
                reported,
            });
        }
    }
    writes
}

/// Keeps the first `limit` bytes.
fn cut(writes: &mut Vec<Piece>, limit: usize) {
    let mut left = limit;
    let mut reported = Usage::default();
    writes.retain_mut(|write| {
        if write.bytes.len() > left {
            write.bytes.truncate(left);
            write.reported = reported;
        }
        reported = write.reported;
        left -= write.bytes.len();
        !write.bytes.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::answer::event_stream;

    #[test]
    fn the_pace_is_in_the_score() {
        let head = http::Request::post("/").body(()).unwrap().into_parts().0;
        let request = Received::new(head, Bytes::new(), String::new());
        let pace = Pace {
            head_ms: 1_000,
            first_event_ms: 100,
            event_ms: 10,
        };
        let reply = Reply::answer();
        let event = || ("ping".to_owned(), serde_json::Value::Null);
        let answer = event_stream([event(), event(), event()]);
        let score = compose(&request, &reply, Some(answer), pace);
        assert_eq!(score.head_after.as_millis(), 1_000);
        let waits: Vec<_> = score
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Wait(duration) => Some(duration.as_millis()),
                _ => None,
            })
            .collect();
        assert_eq!(waits, [100, 10, 10]);
    }
}
