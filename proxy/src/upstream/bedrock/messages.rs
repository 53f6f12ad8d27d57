//! Bedrock's own Messages API: the client's body with Bedrock's name for the
//! model, and the answer as it comes, through the same relay as the plan's.

use std::{sync::Arc, time::SystemTime};

use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use tokio::time::timeout;

use super::{
    answer::Answer, client::Identity, credential::Opened, fault, origins::Origins, shape::Shaped,
};
use crate::{
    error::{Cause, Error, Kind},
    settings::Limits,
    upstream::RequestBody,
};

const PATH: &str = "/anthropic/v1/messages";

/// The version of the API that is asked for when the client names none.
const VERSION: &str = "2023-06-01";

/// A refusal is not longer.
const REFUSAL_BYTES: usize = 64 * 1024;

/// Bedrock's Messages API, in all regions.
#[derive(Debug)]
pub struct Messages {
    origins: Arc<Origins>,
}

impl Messages {
    pub fn new(origins: Arc<Origins>) -> Self {
        Self { origins }
    }

    /// Asks a model.
    ///
    /// # Errors
    ///
    /// What Bedrock refuses, as [`fault`] tells it; what keeps it from
    /// being asked.
    pub async fn ask(
        &self,
        origin: &Uri,
        opened: &Opened,
        model: &str,
        shaped: &Shaped,
        client_headers: &HeaderMap,
    ) -> Result<Answer, Error> {
        let upstream = self.origins.upstream(origin);
        let upstream = upstream.ok_or(Kind::BedrockInternal)?;
        let request = request(origin, opened, model, shaped, client_headers).await?;
        let answer = upstream.send(request).await?;
        if answer.head.status.is_success() {
            return Ok(answer);
        }
        Err(refusal(answer, &self.origins.limits).await)
    }
}

async fn request(
    origin: &Uri,
    opened: &Opened,
    model: &str,
    shaped: &Shaped,
    client_headers: &HeaderMap,
) -> Result<Request<RequestBody>, Error> {
    let unusable = |cause: http::Error| Error::because(Kind::BedrockInternal, cause);
    let mut body = shaped.body.clone();
    let written = body.set("model", &model).and_then(|()| body.to_vec());
    let body = written.map_err(|cause| Error::because(Kind::MalformedBody, cause))?;
    let body = Bytes::from(body);

    let base = origin.to_string();
    let uri = format!("{}{PATH}", base.trim_end_matches('/'));
    let version = client_headers.get("anthropic-version");
    let version = version.and_then(|it| it.to_str().ok()).unwrap_or(VERSION);
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .header("anthropic-version", version);
    if let Some(authority) = origin.authority() {
        request = request.header(header::HOST, authority.as_str());
    }
    if !shaped.betas.is_empty() {
        request = request.header("anthropic-beta", shaped.betas.join(","));
    }
    let mut request = request.body(Full::new(body.clone())).map_err(unusable)?;
    authorize(&mut request, &body, opened).await?;
    Ok(request)
}

/// Puts the credential on a request: a bearer token, or a signature over what is
/// there.
async fn authorize(
    request: &mut Request<RequestBody>,
    body: &[u8],
    opened: &Opened,
) -> Result<(), Error> {
    let refused = |cause: Cause| Error::because(Kind::BedrockCredential, cause);
    match &opened.identity {
        Identity::Bearer(token) => {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.token()));
            let mut value = value.map_err(|cause| refused(cause.into()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Identity::Signer(signer) => {
            let keys = signer.keys().await.map_err(|cause| refused(cause.into()))?;
            let identity = keys.into();
            let params = v4::SigningParams::builder()
                .identity(&identity)
                .region(&opened.region)
                .name("bedrock")
                .time(SystemTime::now())
                .settings(SigningSettings::default())
                .build()
                .map_err(|cause| refused(cause.into()))?;
            let uri = request.uri().to_string();
            let headers = request.headers().iter();
            let headers = headers.filter_map(|(name, it)| Some((name.as_str(), it.to_str().ok()?)));
            let signable = SignableRequest::new(
                request.method().as_str(),
                uri,
                headers,
                SignableBody::Bytes(body),
            );
            let signable = signable.map_err(|cause| refused(cause.into()))?;
            let signed = sign(signable, &params.into()).map_err(|cause| refused(cause.into()))?;
            signed.into_parts().0.apply_to_request_http1x(request);
        }
    }
    Ok(())
}

async fn refusal(answer: Answer, limits: &Limits) -> Error {
    let Answer { head, mut flow } = answer;
    let text = timeout(limits.idle_timeout, flow.read(REFUSAL_BYTES)).await;
    let text = text.ok().and_then(Result::ok).flatten().unwrap_or_default();
    fault::of_answer(&head, &text)
}
