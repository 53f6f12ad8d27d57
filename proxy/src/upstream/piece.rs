//! All frames of an answer that are there now, as one piece.
//!
//! What one read brought goes out in one write. Nothing is waited for.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// Frames are merged up to this size, so that one answer does not keep its task
/// for itself.
const MAX_PIECE_BYTES: usize = 64 << 10;

/// The body of an answer, in pieces.
#[derive(Debug)]
pub struct Pieces {
    incoming: Incoming,
    /// What came with data and has to wait for it: trailers, an error.
    next: Option<Result<Frame<Bytes>, hyper::Error>>,
    ended: bool,
}

impl Pieces {
    pub fn new(incoming: Incoming) -> Self {
        Self {
            ended: incoming.is_end_stream(),
            incoming,
            next: None,
        }
    }

    /// The next piece. When there is nothing, `drive` may bring something, and
    /// is called once before this is taken for true.
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        mut drive: impl FnMut(&mut Context<'_>),
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut piece = Piece::default();
        let mut is_driven = false;
        while self.next.is_none() && !self.ended && !piece.is_full() {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        piece.push(data);
                        is_driven = false;
                        self.ended = self.incoming.is_end_stream();
                    }
                    // Nothing comes after them, and nobody asks for it.
                    Err(trailers) => {
                        self.ended = true;
                        self.next = Some(Ok(trailers));
                    }
                },
                Poll::Ready(Some(Err(error))) => {
                    self.ended = true;
                    self.next = Some(Err(error));
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending if is_driven => break,
                Poll::Pending => {
                    drive(cx);
                    is_driven = true;
                }
            }
        }
        if !piece.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(piece.into_bytes()))));
        }
        match self.next.take() {
            Some(next) => Poll::Ready(Some(next)),
            None if self.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// The upstream has nothing more to say, though some of it may be here yet.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Nothing more will be given out.
    pub fn is_end(&self) -> bool {
        self.ended && self.next.is_none()
    }

    pub fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// A single frame is handed on as it is, several are copied together.
#[derive(Debug, Default)]
struct Piece {
    first: Option<Bytes>,
    merged: BytesMut,
}

impl Piece {
    fn push(&mut self, data: Bytes) {
        match self.first.take() {
            None if self.merged.is_empty() => self.first = Some(data),
            first => {
                self.merged.extend_from_slice(&first.unwrap_or_default());
                self.merged.extend_from_slice(&data);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.first.is_none() && self.merged.is_empty()
    }

    fn is_full(&self) -> bool {
        self.merged.len() >= MAX_PIECE_BYTES
    }

    fn into_bytes(self) -> Bytes {
        self.first.unwrap_or_else(|| self.merged.freeze())
    }
}
