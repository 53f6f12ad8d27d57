//! The client's body, whole and bounded.
//!
//! It is held whole because it may have to be sent twice, and it is bounded
//! three ways: one body, all bodies together, and the time it may take.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Error, Kind},
    settings::Limits,
};

/// Silence within a body. A client on a slow line still sends something.
const IDLE: Duration = Duration::from_secs(30);

/// A whole body. 32 MiB in this time is a line of one megabit per second.
const WHOLE: Duration = Duration::from_secs(300);

/// What an answer that does not need the body waits for it to end: closing
/// earlier would reset the connection and destroy the answer on its way.
const DISCARD: Duration = Duration::from_secs(5);

/// Bytes of bodies held by all requests together.
#[derive(Debug, Clone)]
pub struct Buffers {
    free: Arc<Semaphore>,
    units: usize,
}

/// The granularity of [`Buffers`].
const UNIT_BYTES: usize = 1024;

/// A body takes its share in steps of this.
const SHARE_BYTES: usize = 16 * UNIT_BYTES;

/// A body, and its share of the buffers until it is dropped.
#[derive(Debug)]
pub struct Buffered {
    pub bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

impl Buffers {
    pub fn new(bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(units)),
            units,
        }
    }

    /// Bytes that are held now, rounded up.
    pub fn held_bytes(&self) -> usize {
        (self.units - self.free.available_permits()) * UNIT_BYTES
    }

    /// # Errors
    ///
    /// [`Kind::Overloaded`]: no room, now. Nobody waits for another request.
    fn share(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Kind> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        self.free
            .clone()
            .try_acquire_many_owned(units)
            .map_err(|_full| Kind::Overloaded)
    }
}

/// Receives a body.
///
/// # Errors
///
/// Too large, too slow, broken off, no room for it, or this process is `stopping`.
pub async fn collect(
    body: Incoming,
    headers: &HeaderMap,
    limits: &Limits,
    buffers: &Buffers,
    stopping: &CancellationToken,
) -> Result<Buffered, Error> {
    tokio::select! {
        biased;
        received = receive(body, headers, limits, buffers) => received,
        () = stopping.cancelled() => Err(Kind::Stopping.into()),
    }
}

async fn receive(
    mut body: Incoming,
    headers: &HeaderMap,
    limits: &Limits,
    buffers: &Buffers,
) -> Result<Buffered, Error> {
    let announced = announced(&body);
    if announced.is_some_and(|bytes| bytes > limits.max_body_bytes) {
        Box::pin(discard(body, headers, limits)).await;
        return Err(Kind::BodyTooLarge.into());
    }
    // What is announced may never come, so only what has arrived takes its share.
    let mut share: Option<OwnedSemaphorePermit> = None;
    let mut shared = 0;
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or(0));
    let deadline = Instant::now() + WHOLE;
    while let Some(data) = next(&mut body, deadline).await? {
        let len = bytes.len() + data.len();
        if len > limits.max_body_bytes {
            Box::pin(discard(body, headers, limits)).await;
            return Err(Kind::BodyTooLarge.into());
        }
        if len > shared {
            let grown = len.next_multiple_of(SHARE_BYTES);
            let more = buffers.share(grown - shared)?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
            shared = grown;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Buffered {
        bytes: bytes.freeze(),
        _share: share,
    })
}

/// The next data of a body; none at its end.
async fn next(body: &mut Incoming, deadline: Instant) -> Result<Option<Bytes>, Error> {
    loop {
        let until = deadline.min(Instant::now() + IDLE);
        match timeout_at(until, body.frame()).await {
            Err(elapsed) => return Err(Error::because(Kind::BodyTimeout, elapsed)),
            Ok(None) => return Ok(None),
            Ok(Some(Err(cause))) => return Err(Error::because(Kind::BodyBroken, cause)),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn announced(body: &Incoming) -> Option<usize> {
    body.size_hint()
        .exact()
        .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Reads a body that nobody needs, so that the answer arrives. Not for a client
/// that waits to be told whether it shall send it at all, and neither for ever
/// nor any length.
pub async fn discard(mut body: Incoming, headers: &HeaderMap, limits: &Limits) {
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let mut left = limits.max_body_bytes.saturating_mul(2);
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(len) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // What is not read by then is not worth waiting for.
    let _elapsed = timeout(DISCARD, read).await;
}
