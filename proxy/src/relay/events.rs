//! Whole events only: what of an event stream may go on to the client.
//!
//! A client can do nothing with half an event. It gets an event when all of it is
//! there, so that whatever happens next, something of ours fits behind it: a
//! `ping` into silence, an `error` when the stream breaks.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// Of an event that is longer the parts go on as they come.
const MAX_HELD_BYTES: usize = 1 << 20;

/// Where an event stream stands.
#[derive(Debug, Default)]
pub struct Events {
    /// The event that is not whole yet.
    rest: BytesMut,
    /// A part of an event that is too long has gone on without its end.
    is_within: bool,
}

impl Events {
    /// What may go on now that `piece` is here: everything up to the end of an
    /// event. It may be nothing.
    pub fn push(&mut self, piece: Bytes) -> Bytes {
        if self.rest.is_empty() && piece.ends_with(b"\n\n") {
            self.is_within = false;
            return piece;
        }
        // The end of an event may lie across two pieces.
        let seen = self.rest.len().saturating_sub(2);
        self.rest.extend_from_slice(&piece);
        let unseen = self.rest.get(seen..).unwrap_or_default();
        let end = match end_of_last_event(unseen) {
            Some(end) => {
                self.is_within = false;
                seen + end
            }
            None if self.is_within || self.rest.len() > MAX_HELD_BYTES => {
                self.is_within = true;
                self.rest.len()
            }
            None => return Bytes::new(),
        };
        self.rest.split_to(end).freeze()
    }

    /// What has come of an event that is not whole.
    pub fn take_rest(&mut self) -> Bytes {
        self.rest.split().freeze()
    }

    /// Whether something of ours fits in now.
    pub fn is_between(&self) -> bool {
        !self.is_within
    }
}

/// Whole events, one by one.
pub fn each(mut events: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = end_of_first_event(events).unwrap_or(events.len());
        let (event, rest) = events.split_at(end);
        events = rest;
        (!event.is_empty()).then_some(event)
    })
}

/// Behind the first empty line.
fn end_of_first_event(bytes: &[u8]) -> Option<usize> {
    let bare = memmem::find(bytes, b"\n\n").map(|at| at + 2);
    let full = memmem::find(bytes, b"\n\r\n").map(|at| at + 3);
    bare.into_iter().chain(full).min()
}

/// Behind the last empty line. Lines end as [`super::sse`] says.
fn end_of_last_event(bytes: &[u8]) -> Option<usize> {
    let bare = memmem::rfind(bytes, b"\n\n").map(|at| at + 2);
    bare.max(memmem::rfind(bytes, b"\n\r\n").map(|at| at + 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "event: a\ndata: 1\n\n: comment\n\nevent: b\r\ndata: 2\r\n\r\ndata: 3\n\n";

    /// What goes on of these pieces, and what is left of them.
    fn pass(pieces: &[&[u8]]) -> (Vec<Bytes>, Bytes) {
        let mut events = Events::default();
        let passed = pieces
            .iter()
            .map(|it| events.push(Bytes::copy_from_slice(it)));
        (passed.collect(), events.take_rest())
    }

    #[test]
    fn wherever_it_is_cut_only_whole_events_pass_and_nothing_is_lost() {
        let bytes = STREAM.as_bytes();
        let ends = [18, 29, 50, 59];
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                let (passed, rest) = pass(&pieces);
                assert!(rest.is_empty());
                let mut at = 0;
                for (piece, passed) in pieces.iter().zip(&passed) {
                    at += passed.len();
                    assert!(at == 0 || ends.contains(&at), "{first} {second}: {at}");
                    let _ = piece;
                }
                assert_eq!(passed.concat(), bytes);
            }
        }
    }

    #[test]
    fn an_event_goes_on_as_soon_as_it_is_whole() {
        let bytes = STREAM.as_bytes();
        let mut events = Events::default();
        let mut passed = 0;
        for (at, byte) in bytes.iter().enumerate() {
            passed += events.push(Bytes::copy_from_slice(&[*byte])).len();
            let whole = [18, 29, 50, 59].into_iter().rfind(|it| *it <= at + 1);
            assert_eq!(passed, whole.unwrap_or(0), "after {at}");
        }
    }

    #[test]
    fn events_come_one_by_one() {
        let found: Vec<&[u8]> = each(STREAM.as_bytes()).collect();
        assert_eq!(found.concat(), STREAM.as_bytes());
        let ends = found.iter().scan(0, |end, it| {
            *end += it.len();
            Some(*end)
        });
        assert_eq!(ends.collect::<Vec<_>>(), [18, 29, 50, 59]);
        assert_eq!(each(b"").count(), 0);
    }

    #[test]
    fn half_an_event_is_what_is_left() {
        let (passed, rest) = pass(&[b"data: 1\n\ndata: {\"ha"]);
        assert_eq!(passed, ["data: 1\n\n"]);
        assert_eq!(rest, "data: {\"ha");
    }

    #[test]
    fn an_event_that_is_too_long_goes_on_in_parts() {
        let long = vec![b'x'; MAX_HELD_BYTES];
        let mut events = Events::default();
        assert!(events.push(Bytes::from(long.clone())).is_empty());
        assert!(events.is_between());
        assert_eq!(events.push("x".into()).len(), MAX_HELD_BYTES + 1);
        assert!(!events.is_between());
        assert_eq!(events.push("more".into()), "more");
        assert_eq!(events.push("end\n\nnext".into()), "end\n\n");
        assert!(events.is_between());
        assert_eq!(events.take_rest(), "next");
    }
}
