//! Looks at an answer as it passes, and tells its record once how it ended.

use bytes::Bytes;
use http::response;
use proto::sync::Outcome;

use crate::{
    error::{Error, chain},
    request::record::Record,
    usage::meter::{self, Meter},
};

/// The observer of one answer.
#[derive(Debug)]
pub struct Tap {
    meter: Meter,
    is_success: bool,
    /// None when the end was told. Dropped before that, the client has left.
    record: Option<Record>,
}

impl Tap {
    pub fn new(head: &response::Parts, mut record: Record) -> Self {
        record.begins(head.status.as_u16(), &head.headers);
        let is_success = head.status.is_success();
        let meter = if is_success && record.endpoint().is_metered() {
            Meter::of(&head.headers).unwrap_or_else(|error| {
                unreadable(&record, &error);
                Meter::unread()
            })
        } else {
            // What has been read of it before it became a refusal.
            let mut meter = Meter::unread();
            meter.reading = std::mem::take(record.reading());
            meter
        };
        Self {
            meter,
            is_success,
            record: Some(record),
        }
    }

    pub fn see(&mut self, piece: &Bytes) {
        let Some(record) = &mut self.record else {
            return;
        };
        record.first_byte();
        if let Err(error) = self.meter.see(piece) {
            unreadable(record, &error);
        }
    }

    /// Whether an answer that ends now is a stream without its last event. Older
    /// clients take a clean end of it for an empty, successful answer.
    pub fn is_cut_short(&self) -> bool {
        let reading = &self.meter.reading;
        self.record.is_some()
            && self.meter.is_stream()
            && !reading.stopped
            && reading.error.is_none()
    }

    /// Whether the stream has said that it stops.
    pub fn has_stopped(&self) -> bool {
        self.meter.is_stream() && self.meter.reading.stopped && self.meter.reading.error.is_none()
    }

    /// Whether the stream has said that it stops, or that it has failed.
    pub fn has_had_its_say(&self) -> bool {
        self.has_stopped() || self.meter.reading.error.is_some()
    }

    /// Whether the stream has said that it has failed, and somebody else can be
    /// asked when the client repeats the request.
    pub fn has_failed_replaceably(&self) -> bool {
        let record = self.record.as_ref();
        self.meter.reading.error.is_some() && record.is_some_and(Record::has_a_choice)
    }

    /// Whether the stream has had its last event.
    pub fn has_ended(&self) -> bool {
        self.meter.reading.ended
    }

    /// Whether the end was told.
    pub fn is_over(&self) -> bool {
        self.record.is_none()
    }

    /// The same tap, and none in its place.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self {
            meter: std::mem::replace(&mut self.meter, Meter::unread()),
            is_success: self.is_success,
            record: self.record.take(),
        }
    }

    /// The upstream has ended its answer, but nobody was there to hear it.
    pub fn read_to_its_end(&mut self) {
        if let Some(record) = &self.record
            && let Err(error) = self.meter.end()
        {
            unreadable(record, &error);
        }
    }

    /// The upstream has ended its answer.
    pub fn end(&mut self) {
        let Some(mut record) = self.record.take() else {
            return;
        };
        let is_readable = match self.meter.end() {
            Ok(is_readable) => is_readable,
            Err(error) => {
                unreadable(&record, &error);
                false
            }
        };
        let reading = std::mem::take(&mut self.meter.reading);
        let is_counted = is_readable || !record.endpoint().is_metered();
        let is_complete = self.is_success && is_counted && reading.error.is_none();
        record.reads(reading);
        record.ended(if is_complete {
            Outcome::Complete
        } else {
            Outcome::UpstreamFailed
        });
    }

    /// The answer ends with an error.
    pub fn broken(&mut self, error: &Error) {
        if let Some(mut record) = self.record.take() {
            record.reads(std::mem::take(&mut self.meter.reading));
            record.failed(error);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(mut record) = self.record.take() {
            record.reads(std::mem::take(&mut self.meter.reading));
        }
    }
}

fn unreadable(record: &Record, error: &meter::Error) {
    record.metrics().tap_error(error.label());
    tracing::warn!(
        request_id = record.request_id(),
        error = chain(error),
        "an answer is relayed but cannot be counted"
    );
}
