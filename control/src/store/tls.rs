//! Encryption towards Postgres, by the parameters that its own programs take.

use std::{fs, sync::Arc};

use anyhow::Context;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use super::connect::Malformed;

/// Whom we take for our database.
#[derive(Debug)]
pub(super) struct Trust {
    mode: Mode,
    /// A PEM file; without it, who signs for web sites.
    root_cert: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    /// Encrypted if the server can; whoever it is.
    Prefer,
    /// Encrypted; whoever it is.
    Require,
    /// Encrypted, and the certificate is for this host.
    VerifyFull,
}

type Parameters = Vec<(String, String)>;

impl Trust {
    /// Takes what is about encryption; the rest is given back.
    pub(super) fn take_from(url: &Url) -> Result<(Self, Parameters), Malformed> {
        let mut trust = Self {
            mode: Mode::Prefer,
            root_cert: None,
        };
        let mut rest = Parameters::new();
        for (name, value) in url.query_pairs() {
            match &*name {
                // asyncpg calls it `ssl`.
                "sslmode" | "ssl" => trust.mode = Mode::parse(&value)?,
                "sslrootcert" => trust.root_cert = Some(value.into_owned()),
                _ => rest.push((name.into_owned(), value.into_owned())),
            }
        }
        Ok((trust, rest))
    }

    pub(super) fn ssl_mode(&self) -> SslMode {
        match self.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyFull => SslMode::Require,
        }
    }

    /// # Errors
    /// When the certificates cannot be read.
    pub(super) fn connector(&self) -> anyhow::Result<MakeRustlsConnect> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let is_checked = self.mode == Mode::VerifyFull || self.root_cert.is_some();
        let config = if is_checked {
            builder.with_root_certificates(self.roots()?)
        } else {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody::new(&provider)))
        };
        Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
    }

    fn roots(&self) -> anyhow::Result<RootCertStore> {
        let Some(path) = &self.root_cert else {
            return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
        };
        let pem = fs::read(path).context("sslrootcert cannot be read")?;
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(&pem) {
            roots.add(cert.context("sslrootcert is no PEM file")?)?;
        }
        anyhow::ensure!(!roots.is_empty(), "sslrootcert has no certificate");
        Ok(roots)
    }
}

impl Mode {
    fn parse(text: &str) -> Result<Self, Malformed> {
        match text {
            "disable" => Ok(Self::Disable),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(Malformed::because(
                "sslmode must be disable, prefer, require or verify-full",
            )),
        }
    }
}

/// Takes every certificate, as Postgres' own programs do unless they are told
/// to verify: what is said is hidden from who listens, not from who pretends.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl Anybody {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
