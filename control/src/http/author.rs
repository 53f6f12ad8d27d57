//! Who has sent a request, and what is written down of what they do.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, dev::Payload,
};
use diesel_async::AsyncPgConnection;

use super::{
    error::{Code, Error},
    origin::Origin,
};
use crate::{
    audit::Entry,
    store::{
        audit_log::{self, NewAuditEntry},
        changes,
    },
};

/// The revision at which proxies get a change.
const REVISION: &str = "x-config-revision";

/// An administrator who is signed in.
#[derive(Debug, Clone)]
pub(super) struct Author {
    pub(super) name: String,
    pub(super) origin: Origin,
}

/// What is known of a change when everything but its commit is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorded {
    /// None: proxies hold nothing of what was changed.
    revision: Option<i64>,
}

impl Author {
    /// Writes down what was done, at the end of the transaction in which it was.
    pub(super) async fn record(
        &self,
        connection: &mut AsyncPgConnection,
        entry: &Entry,
    ) -> Result<Recorded, Error> {
        self.note(connection, entry).await?;
        Recorded::all(connection).await
    }

    /// Writes down what proxies hold nothing of, or one of several things that were
    /// done. What has changed nothing leaves no entry.
    pub(super) async fn note(
        &self,
        connection: &mut AsyncPgConnection,
        entry: &Entry,
    ) -> Result<(), Error> {
        if entry.is_void() {
            return Ok(());
        }
        let new = NewAuditEntry {
            actor: &self.name,
            address: Some(self.origin.address.to_string()),
            request_id: Some(self.origin.request_id),
            ..NewAuditEntry::of(entry)
        };
        audit_log::insert(connection, &[new]).await?;
        Ok(())
    }
}

impl Recorded {
    /// When everything was noted, at the end of the transaction.
    pub(super) async fn all(connection: &mut AsyncPgConnection) -> Result<Self, Error> {
        let revision = changes::take_revision(connection).await?;
        Ok(Self { revision })
    }

    /// Names the revision in an answer.
    pub(super) fn on(self, mut response: HttpResponseBuilder) -> HttpResponseBuilder {
        if let Some(revision) = self.revision {
            response.insert_header((REVISION, revision));
        }
        response
    }

    /// An answer without a body.
    pub(super) fn no_content(self) -> HttpResponse {
        self.on(HttpResponse::NoContent()).finish()
    }
}

impl FromRequest for Author {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    /// Only routes that need a session have one.
    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let author = request.extensions().get::<Self>().cloned();
        ready(author.ok_or_else(|| Code::NotSignedIn.into()))
    }
}
