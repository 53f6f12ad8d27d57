//! Reads the body of an HTTP/1.1 answer as it arrives: where it ends, and how
//! many events it has. Nothing is copied.

/// What is known of a body so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Body {
    framing: Framing,
    pub(super) bytes: u64,
    /// Blank lines: each ends an event.
    pub(super) events: u64,
    ends_with_newline: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Framing {
    /// So many bytes are to come.
    Length(usize),
    Chunked(Chunk),
    Ended,
}

/// Where in a chunked body the next byte is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Chunk {
    /// In the line with the size, of which this is known.
    Size(usize),
    /// Before the end of the line with the size.
    SizeEnd(usize),
    /// In the data, of which so much is to come.
    Data(usize),
    /// In the line end after the data, or in the one after the last chunk.
    DataEnd { left: u8, is_last: bool },
}

impl Body {
    pub(super) fn of_length(length: usize) -> Self {
        Self::new(if length == 0 {
            Framing::Ended
        } else {
            Framing::Length(length)
        })
    }

    pub(super) fn chunked() -> Self {
        Self::new(Framing::Chunked(Chunk::Size(0)))
    }

    fn new(framing: Framing) -> Self {
        Self {
            framing,
            bytes: 0,
            events: 0,
            ends_with_newline: false,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.framing == Framing::Ended
    }

    /// Of a stream: the event after `message_start` is there.
    pub(super) fn has_content(&self) -> bool {
        self.events > 1
    }

    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.framing.clone() {
                Framing::Ended => return,
                Framing::Length(left) => {
                    let (data, rest) = split(bytes, left);
                    self.data(data);
                    self.framing = match left - data.len() {
                        0 => Framing::Ended,
                        left => Framing::Length(left),
                    };
                    rest
                }
                Framing::Chunked(chunk) => self.chunk(chunk, bytes),
            };
        }
    }

    fn chunk<'a>(&mut self, chunk: Chunk, bytes: &'a [u8]) -> &'a [u8] {
        let (first, after_first) = split(bytes, 1);
        let (next, rest) = match chunk {
            Chunk::Size(size) => {
                let digit = first
                    .first()
                    .and_then(|byte| char::from(*byte).to_digit(16));
                let next = match digit {
                    Some(digit) => Chunk::Size(size.wrapping_mul(16).wrapping_add(digit as usize)),
                    None => Chunk::SizeEnd(size),
                };
                (next, after_first)
            }
            Chunk::SizeEnd(size) => {
                let next = match (first, size) {
                    (b"\n", 0) => Chunk::DataEnd {
                        left: 2,
                        is_last: true,
                    },
                    (b"\n", size) => Chunk::Data(size),
                    // An extension, which says nothing to us.
                    _ => Chunk::SizeEnd(size),
                };
                (next, after_first)
            }
            Chunk::Data(left) => {
                let (data, rest) = split(bytes, left);
                self.data(data);
                let next = match left - data.len() {
                    0 => Chunk::DataEnd {
                        left: 2,
                        is_last: false,
                    },
                    left => Chunk::Data(left),
                };
                (next, rest)
            }
            Chunk::DataEnd { left: 2, is_last } => {
                (Chunk::DataEnd { left: 1, is_last }, after_first)
            }
            Chunk::DataEnd { is_last: true, .. } => {
                self.framing = Framing::Ended;
                return after_first;
            }
            Chunk::DataEnd { .. } => (Chunk::Size(0), after_first),
        };
        self.framing = Framing::Chunked(next);
        rest
    }

    fn data(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        if self.ends_with_newline && data.first() == Some(&b'\n') {
            self.events += 1;
        }
        self.events += memchr::memmem::find_iter(data, b"\n\n").count() as u64;
        if let Some(last) = data.last() {
            self.ends_with_newline = *last == b'\n' && !data.ends_with(b"\n\n");
        }
    }
}

fn split(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_reads_the_same_however_it_is_split() {
        let wire =
            b"19\r\nevent: a\ndata: {}\n\nevent:\r\n10;x=y\r\n b\ndata: {\"x\"}\n\n\r\n0\r\n\r\n";
        for at in 0..=wire.len() {
            let mut body = Body::chunked();
            body.read(&wire[..at]);
            assert_eq!(body.has_ended(), at == wire.len());
            body.read(&wire[at..]);
            assert!(body.has_ended());
            assert_eq!((body.bytes, body.events), (25 + 16, 2), "split at {at}");
        }
    }

    #[test]
    fn a_body_of_known_length_ends_there() {
        let mut body = Body::of_length(5);
        body.read(b"ab\n");
        body.read(b"\n");
        assert!(!body.has_ended());
        body.read(b"c");
        assert!(body.has_ended());
        assert_eq!((body.bytes, body.events), (5, 1));
        assert!(Body::of_length(0).has_ended());
    }
}
