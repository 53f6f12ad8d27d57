//! Carries what AWS's client sends over connections like the plan's: an answer
//! is read by whoever waits for it, and all that one read brought goes on
//! together (see [`http1`](crate::upstream::http1)).

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};

use super::origins::Origins;
use crate::{
    error::{Cause, Error, Kind},
    relay::silence::Silence,
    upstream::{Answer, Flow, RequestBody},
};

/// Carries over these connections.
#[derive(Debug)]
struct Carrier(Arc<Origins>);

/// HTTP for AWS's clients.
pub fn http_client(origins: Arc<Origins>) -> SharedHttpClient {
    let carrier = SharedHttpConnector::new(Carrier(origins));
    http_client_fn(move |_, _| carrier.clone())
}

impl HttpConnector for Carrier {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(cause) => return HttpConnectorFuture::ready(Err(unsendable(cause.into()))),
        };
        let upstream = self.0.upstream(request.uri());
        let silence = Silence::new(self.0.limits.idle_timeout);
        HttpConnectorFuture::new(async move {
            let upstream = upstream.ok_or_else(|| unsendable("the URL has no host".into()))?;
            let request = whole(request).await.map_err(unsendable)?;
            let answer = upstream.send(request).await;
            let answer = answer.map_err(|error| ConnectorError::other(error.into(), None))?;
            respond(answer, silence).map_err(unsendable)
        })
    }
}

fn unsendable(cause: Cause) -> ConnectorError {
    ConnectorError::user(cause)
}

/// The body in one piece, which it is anyway, and the host as a header.
async fn whole(request: Request<SdkBody>) -> Result<Request<RequestBody>, Cause> {
    let (mut head, body) = request.into_parts();
    if let Some(authority) = head.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str())?;
        head.headers.insert(header::HOST, host);
    }
    let body = body.collect().await?.to_bytes();
    Ok(Request::from_parts(head, Full::new(body)))
}

fn respond(answer: Answer, silence: Silence) -> Result<HttpResponse, Cause> {
    let body = SdkBody::from_body_1_x(Incoming(Mutex::new((answer.flow, silence))));
    Ok(Response::from_parts(answer.head, body).try_into()?)
}

/// An answer's flow as AWS's client reads it. It may look at it from several
/// threads, but does not: the lock is never taken.
struct Incoming(Mutex<(Flow, Silence)>);

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let incoming = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (flow, silence) = incoming;
        match flow.poll_piece(cx) {
            Poll::Ready(piece) => {
                silence.broken();
                Poll::Ready(piece)
            }
            Poll::Pending if silence.poll_too_long(cx) => {
                Poll::Ready(Some(Err(Kind::IdleTimeout.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
