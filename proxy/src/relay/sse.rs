//! Splits a stream of server-sent events that arrives in arbitrary pieces.
//!
//! Lines end in `\n` or `\r\n`, as every server that we speak to sends them; the
//! lone `\r` that the specification also allows does not end one here.

use std::borrow::Cow;

use serde::Deserialize;

/// A longer line is not kept. The events that are counted have a few hundred
/// bytes.
const MAX_LINE_BYTES: usize = 1 << 20;

/// One complete event.
#[derive(Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event:` field; empty when there was none.
    pub name: &'a [u8],
    /// The `data:` fields, joined by line breaks.
    pub data: &'a [u8],
}

impl Event<'_> {
    /// The event's type: its name, or what its data says, because some gateways
    /// leave `event:` out, or write what it stands for then.
    ///
    /// # Errors
    ///
    /// There is no name, and the data is not a JSON object with a `type`.
    ///
    /// Source: WHATWG HTML, 9.2.6: an event without a name is a `message`.
    pub fn kind(&self) -> serde_json::Result<Cow<'_, [u8]>> {
        #[derive(Deserialize)]
        struct Typed {
            r#type: String,
        }
        if !matches!(self.name, b"" | b"message") {
            return Ok(Cow::Borrowed(self.name));
        }
        let typed: Typed = serde_json::from_slice(self.data)?;
        Ok(Cow::Owned(typed.r#type.into_bytes()))
    }
}

/// The data of an `error` event, if that is all that these bytes are.
pub fn error(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut data = None;
    let mut each = |event: Event<'_>| {
        let is_error = event.kind().is_ok_and(|kind| *kind == *b"error");
        data = is_error.then(|| event.data.to_vec());
    };
    Splitter::default().push(bytes, &mut each).ok()?;
    data
}

/// What of the event under way has arrived.
#[derive(Debug, Default)]
pub struct Splitter {
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_fields: bool,
    /// The event has a line that is too long: the rest of it is not looked at.
    is_skipping: bool,
}

/// An event has more data than this splitter keeps. It is not shown; the next
/// one is.
#[derive(Debug, thiserror::Error)]
#[error("an event has a line of more than {MAX_LINE_BYTES} bytes")]
pub struct TooLong;

impl Splitter {
    /// Shows every event that `bytes` complete.
    ///
    /// # Errors
    ///
    /// An event was too long. All of `bytes` has been looked at nevertheless.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Event<'_>)) -> Result<(), TooLong> {
        let mut rest = bytes;
        let was_skipping = self.is_skipping;
        let mut has_skipped = false;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                self.take_line(head, &mut each);
            } else {
                self.keep(head);
                let line = std::mem::take(&mut self.line);
                self.take_line(&line, &mut each);
                self.line = line;
                self.line.clear();
            }
            has_skipped |= self.is_skipping;
        }
        self.keep(rest);
        has_skipped |= self.is_skipping;
        if has_skipped && !was_skipping {
            return Err(TooLong);
        }
        Ok(())
    }

    fn keep(&mut self, part: &[u8]) {
        if self.line.len() + part.len() > MAX_LINE_BYTES {
            self.is_skipping = true;
            // Stands for what is not kept: an empty line would end the event.
            self.line.clear();
            self.line.push(b':');
            return;
        }
        self.line.extend_from_slice(part);
    }

    fn take_line(&mut self, line: &[u8], each: &mut impl FnMut(Event<'_>)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            self.end_event(each);
            return;
        }
        if self.is_skipping {
            return;
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => {
                let (field, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, [].as_slice()),
        };
        match field {
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
                self.has_fields = true;
            }
            b"data" => {
                if self.data.len() + value.len() > MAX_LINE_BYTES {
                    self.is_skipping = true;
                    return;
                }
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_fields = true;
            }
            // Comments have an empty field; `id` and `retry` are not for us.
            _ => {}
        }
    }

    fn end_event(&mut self, each: &mut impl FnMut(Event<'_>)) {
        if self.has_fields && !self.is_skipping {
            each(Event {
                name: &self.name,
                data: &self.data,
            });
        }
        self.is_skipping = false;
        self.name.clear();
        self.data.clear();
        self.has_fields = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": a comment\n\nevent: message_start\ndata: {\"a\":1}\n\n\
        data:no space\r\ndata: second line\r\n\r\nid: 7\nevent: ping\ndata\n\n\n\nevent: unfinished\ndata: x\n";

    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut splitter = Splitter::default();
        let mut events = Vec::new();
        for piece in pieces {
            splitter
                .push(piece, |event| {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    events.push((text(event.name), text(event.data)));
                })
                .unwrap();
        }
        events
    }

    #[test]
    fn every_complete_event_is_shown_once() {
        let pair = |name: &str, data: &str| (name.to_owned(), data.to_owned());
        assert_eq!(
            events(&[STREAM.as_bytes()]),
            [
                pair("message_start", "{\"a\":1}"),
                pair("", "no space\nsecond line"),
                pair("ping", ""),
            ]
        );
    }

    #[test]
    fn a_split_at_any_two_bytes_changes_nothing() {
        let bytes = STREAM.as_bytes();
        let whole = events(&[bytes]);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(events(&pieces), whole, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut splitter = Splitter::default();
        let piece = vec![b'x'; MAX_LINE_BYTES];
        splitter.push(&piece, |_| {}).unwrap();
        assert!(splitter.push(b"x", |_| {}).is_err());
        for _ in 0..10 {
            splitter.push(&piece, |_| {}).unwrap();
            assert!(splitter.line.len() <= MAX_LINE_BYTES);
        }
    }

    #[test]
    fn a_line_that_is_too_long_in_one_piece_does_not_end_its_event() {
        let mut splitter = Splitter::default();
        let mut seen = Vec::new();
        let long = vec![b'x'; MAX_LINE_BYTES + 1];
        assert!(splitter.push(&long, |_| {}).is_err());
        let rest = b"\ndata: of the same event\n\ndata: next\n\n";
        splitter
            .push(rest, |event| seen.push(event.data.to_vec()))
            .unwrap();
        assert_eq!(seen, [b"next"]);
    }

    #[test]
    fn the_events_around_one_that_is_too_long_are_shown() {
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        let stream = format!("data: a\n\nevent: long\ndata: {long}\ndata: y\n\ndata: b\n\n");
        for step in [1 << 10, 1 << 20, stream.len()] {
            let mut splitter = Splitter::default();
            let (mut seen, mut errors) = (Vec::new(), 0);
            for piece in stream.as_bytes().chunks(step) {
                let result = splitter.push(piece, |event| seen.push(event.data.to_vec()));
                errors += usize::from(result.is_err());
            }
            assert_eq!((seen, errors), (vec![b"a".to_vec(), b"b".to_vec()], 1));
        }
    }
}
