//! A fresh connection to an origin: DNS, TCP, TLS, and which HTTP it speaks.

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use rustls_pki_types::pem::PemObject;
use tower_service::Service;

use super::{http1::Http1, http2};
use crate::{
    error::Cause,
    settings::{HttpVersion, Plan, read},
};

/// Connects to one origin.
#[derive(Debug, Clone)]
pub struct Connector {
    https: HttpsConnector<HttpConnector>,
    origin: http::Uri,
    http_version: HttpVersion,
}

/// A connection that can take a request.
#[derive(Debug)]
pub enum Connected {
    Http1(Http1),
    Http2(http2::Lease),
}

impl Connector {
    /// Connects to the plan.
    ///
    /// # Errors
    ///
    /// A certificate file that cannot be read or holds no certificates.
    pub fn new(plan: &Plan) -> anyhow::Result<Self> {
        let mut roots = public_roots();
        if let Some(pem) = read("PROXY_PLAN_CA_BUNDLE", plan.ca_bundle.as_ref())? {
            let bad = |err: String| anyhow::anyhow!("PROXY_PLAN_CA_BUNDLE: {err}");
            let before = roots.len();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|err| bad(err.to_string()))?;
                roots.add(certificate).map_err(|err| bad(err.to_string()))?;
            }
            if roots.len() == before {
                return Err(bad("no certificate in it".to_owned()));
            }
        }
        Ok(Self::with(roots, plan.api_url.clone(), plan.http_version))
    }

    /// Connects to an origin with a public certificate, or without TLS.
    pub fn to(origin: http::Uri) -> Self {
        Self::with(public_roots(), origin, HttpVersion::Auto)
    }

    fn with(roots: RootCertStore, origin: http::Uri, http_version: HttpVersion) -> Self {
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(std::time::Duration::from_secs(30)));
        let builder = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http();
        let https = match http_version {
            HttpVersion::Auto => builder.enable_all_versions().wrap_connector(http),
            HttpVersion::Http1 => builder.enable_http1().wrap_connector(http),
            HttpVersion::Http2 => builder.enable_http2().wrap_connector(http),
        };
        Self {
            https,
            origin,
            http_version,
        }
    }

    /// Connects. An HTTP/2 connection is shared through `http2`.
    ///
    /// # Errors
    ///
    /// Whatever keeps the connection from being made, by its own type.
    pub async fn connect(&self, http2: &http2::Pool) -> Result<Connected, Cause> {
        let io = self.https.clone().call(self.origin.clone()).await?;
        let negotiated = io.connected().is_negotiated_h2();
        if negotiated || self.http_version == HttpVersion::Http2 {
            return Ok(Connected::Http2(http2.handshake(io).await?));
        }
        Ok(Connected::Http1(Http1::handshake(io).await?))
    }
}

fn public_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    roots
}
