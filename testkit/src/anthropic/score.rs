//! In which bytes, and when, an answer goes out: everything that a reply says
//! about pace, writes, compression and an early end, as a list of steps.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use http::StatusCode;

use super::{
    answer::{Answer, Body, error_json, event_text},
    encode::{Encoder, chosen},
    record::Received,
    reply::{At, Content, Ending, Framing, Gate, How, Pace, Reply, Writes},
    usage::Usage,
};

/// A played answer.
#[derive(Debug)]
pub(super) struct Score {
    pub(super) head_after: Duration,
    pub(super) head_gate: Option<Gate>,
    pub(super) opening: Opening,
    pub(super) steps: VecDeque<Step>,
    pub(super) model: String,
}

/// How an answer begins.
#[derive(Debug)]
pub(super) enum Opening {
    Head {
        status: StatusCode,
        headers: Vec<(String, String)>,
    },
    Leave(Farewell),
}

#[derive(Debug)]
pub(super) enum Step {
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
pub(super) struct Farewell {
    /// Written as they are, in place of HTTP.
    pub(super) last_words: Bytes,
    pub(super) manner: Manner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
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
        How::Clean | How::Error(_) => None,
    }
}

/// Writes the score for an answer; `answer` is none for replies that are no
/// HTTP.
pub(super) fn compose(
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
    let mut add = |name: &str, value: &str| answer.headers.push((name.into(), value.into()));
    let is_stream = matches!(answer.body, Body::Events(_));
    let encoding = chosen(reply.encoding, request.header("accept-encoding"));
    if let Some(name) = encoding.name() {
        add("content-encoding", name);
        add("vary", "accept-encoding");
    }
    let pieces = pieces(&answer.body, reply.ending.as_ref(), &request.request_id);
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
fn pieces(body: &Body, ending: Option<&Ending>, request_id: &str) -> Vec<Piece> {
    let mut pieces: Vec<_> = match body {
        Body::Events(events) => events
            .iter()
            .map(|event| Piece {
                bytes: event.text.clone().into(),
                reported: event.reported,
            })
            .collect(),
        Body::Whole { bytes, reported } => vec![Piece {
            bytes: bytes.to_vec(),
            reported: *reported,
        }],
    };
    let Some(Ending { at, how }) = ending else {
        return pieces;
    };
    match at {
        At::Start => pieces.clear(),
        At::Events(count) => pieces.truncate(*count),
        At::Bytes(_) | At::End => {}
    }
    if let How::Error(error) = how {
        let reported = pieces
            .last()
            .map_or_else(Usage::default, |last| last.reported);
        pieces.push(Piece {
            bytes: event_text("error", &error_json(error, request_id)).into(),
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
    use crate::anthropic::{answer::answer, usage::Cache};

    #[test]
    fn the_pace_is_in_the_score() {
        let body = r#"{"model":"claude-x","max_tokens":9,"stream":true,
            "messages":[{"role":"user","content":"say: one"}]}"#;
        let head = http::Request::post("/v1/messages")
            .header("x-api-key", "k")
            .header("anthropic-version", "2023-06-01")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let request = Received::new(head, Bytes::from(body));
        let pace = Pace {
            head_ms: 1_000,
            first_event_ms: 100,
            event_ms: 10,
        };
        let reply = Reply::answer();
        let answer = answer(&request, &reply, &mut Cache::default());
        let score = compose(&request, &reply, answer, pace);
        assert_eq!(score.head_after.as_millis(), 1_000);
        let waits: Vec<_> = score
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Wait(duration) => Some(duration.as_millis()),
                _ => None,
            })
            .collect();
        assert_eq!(waits, [100, 10, 10, 10, 10, 10, 10]);
    }
}
