//! What AWS's client receives, as the bytes of an event stream of the Messages
//! API.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use http_body::Frame;

use crate::error::Error;

/// Events that are there at once go on as one piece, up to about this size.
const PIECE: usize = 64 * 1024;

type Events = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// The body of an answer: whole events, each in one item or beside others.
pub struct Flow {
    events: Events,
    /// What has been looked at before the answer began.
    first: Option<Bytes>,
    /// Comes after the events before it.
    failed: Option<Error>,
    is_end: bool,
}

impl Flow {
    pub fn new(events: impl Stream<Item = Result<Bytes, Error>> + Send + 'static) -> Self {
        Self {
            events: Box::pin(events),
            first: None,
            failed: None,
            is_end: false,
        }
    }

    /// Waits for the first event, so that a stream which begins with an exception
    /// is a refusal like any other.
    ///
    /// # Errors
    ///
    /// The exception, or whatever the stream broke with.
    pub async fn begun(mut self) -> Result<Self, Error> {
        if let Some(frame) = poll_fn(|cx| self.poll_piece(cx)).await {
            self.first = frame?.into_data().ok();
        }
        Ok(self)
    }

    /// All events that are there now, never waiting for more.
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let mut piece = Piece::default();
        while self.failed.is_none() && !self.is_end && piece.len() < PIECE {
            match self.events.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(events))) => piece.add(events),
                Poll::Ready(Some(Err(error))) => self.failed = Some(error),
                Poll::Ready(None) => self.is_end = true,
                Poll::Pending if piece.len() == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if piece.len() > 0 {
            return Poll::Ready(Some(Ok(Frame::data(piece.into_bytes()))));
        }
        if let Some(error) = self.failed.take() {
            self.is_end = true;
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(None)
    }

    pub fn is_end(&self) -> bool {
        self.is_end && self.failed.is_none() && self.first.is_none()
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("is_end", &self.is_end)
            .finish_non_exhaustive()
    }
}

/// One item stays what it is; only several are copied together.
#[derive(Default)]
enum Piece {
    #[default]
    Empty,
    One(Bytes),
    Several(Vec<u8>),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(bytes) => bytes.len(),
            Self::Several(bytes) => bytes.len(),
        }
    }

    fn add(&mut self, events: Bytes) {
        if events.is_empty() {
            return;
        }
        *self = match std::mem::take(self) {
            Self::Empty => Self::One(events),
            Self::One(before) => Self::Several([before, events].concat()),
            Self::Several(mut before) => {
                before.extend_from_slice(&events);
                Self::Several(before)
            }
        };
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Several(bytes) => bytes.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::error::Kind;

    fn piece(flow: &mut Flow) -> Option<Result<Bytes, Kind>> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match flow.poll_piece(&mut cx) {
            Poll::Ready(piece) => {
                piece.map(|it| it.map(|it| it.into_data().unwrap()).map_err(|it| it.kind))
            }
            Poll::Pending => panic!("it should not wait"),
        }
    }

    #[test]
    fn events_that_are_there_go_together_and_an_error_comes_after_them() {
        let items = ["a", "", "bc"].map(|it| Ok(Bytes::from_static(it.as_bytes())));
        let broken = Err(Error::from(Kind::UpstreamBroken));
        let mut flow = Flow::new(stream::iter(items.into_iter().chain([broken])));
        assert_eq!(piece(&mut flow), Some(Ok("abc".into())));
        assert!(!flow.is_end());
        assert_eq!(piece(&mut flow), Some(Err(Kind::UpstreamBroken)));
        assert!(flow.is_end());
        assert_eq!(piece(&mut flow), None);
    }

    #[test]
    fn the_end_is_known_with_the_last_piece() {
        let mut flow = Flow::new(stream::iter([Ok(Bytes::from_static(b"a"))]));
        assert_eq!(piece(&mut flow), Some(Ok("a".into())));
        assert!(flow.is_end());
    }
}
