//! What proxy and control both need of AWS: data keys from KMS ([`kms`]),
//! secrets from Secrets Manager ([`secrets`]), and settings that are kept there
//! ([`settings`]).
//!
//! Which account, region and endpoint is said by the SDK's own variables and
//! files (`AWS_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL_KMS`, the machine's
//! role, …). None of them is looked at before something is asked of AWS, so who
//! does not use it needs none of them and waits for none of them.

pub mod kms;
pub mod secrets;
pub mod settings;

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::{
    config::{SharedHttpClient, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_types::timeout::TimeoutConfig;
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::sync::OnceCell;

pub use aws_config::SdkConfig;

/// AWS answers within a fraction of a second. The SDK makes up to three attempts.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// AWS as the process's environment describes it. Clones share it.
#[derive(Clone, Default)]
pub struct Aws {
    config: Arc<OnceCell<SdkConfig>>,
}

/// Why AWS did not do what it was asked. Holds AWS's own words, which never
/// repeat a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or has no time for us. The same may work later.
    #[error("AWS did not answer: {0}")]
    Unavailable(String),
    /// It understood, and will not do it.
    #[error("AWS refused: {0}")]
    Refused(String),
    /// It did something else.
    #[error("AWS cannot be used: {0}")]
    Unusable(&'static str),
}

/// Where credentials come from is nobody's to read in a log.
impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aws")
    }
}

impl Aws {
    /// AWS as somebody else describes it: tests.
    pub fn with(config: SdkConfig) -> Self {
        Self {
            config: Arc::new(OnceCell::new_with(Some(config))),
        }
    }

    /// The environment's description, read at first use and kept once it names a
    /// region: until then the machine, which may be asked for it, had no time.
    pub async fn config(&self) -> SdkConfig {
        if let Some(config) = self.config.get() {
            return config.clone();
        }
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client())
            .timeout_config(timeouts())
            .load()
            .await;
        if config.region().is_none() {
            return config;
        }
        // Whoever was first.
        self.config.get_or_init(async || config).await.clone()
    }

    /// The same for what an ARN, or a name without a region, stands for.
    ///
    /// # Errors
    /// When neither names a region.
    pub async fn config_for(&self, name: &str) -> Result<SdkConfig, Error> {
        let config = self.config().await;
        match region_of(name) {
            Some(region) => Ok(config.into_builder().region(region).build()),
            None if config.region().is_some() => Ok(config),
            None => Err(NO_REGION),
        }
    }
}

const NO_REGION: Error =
    Error::Unusable("no region: set AWS_REGION, or name what is needed by its ARN");

/// HTTP for a client of AWS: TLS by ring, trusting the public authorities and
/// those of the system. Each one has connections of its own, so make few.
pub fn http_client() -> SharedHttpClient {
    let builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    match TlsContext::builder().with_trust_store(trusted()).build() {
        Ok(context) => builder.tls_context(context).build_https(),
        Err(_nothing_to_fail) => builder.build_https(),
    }
}

/// A system without certificates of its own, such as a small container, still
/// trusts the public ones; the client would panic without any.
fn trusted() -> TrustStore {
    let public = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    let public: String = public
        .map(|der| BASE64_STANDARD.encode(der))
        .map(|text| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"))
        .collect();
    let system = rustls_native_certs::load_native_certs().certs;
    TrustStore::empty()
        .with_pem_certificate(public)
        .with_native_roots(!system.is_empty())
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

/// The region that an ARN names: what it stands for is there and nowhere else.
fn region_of(arn: &str) -> Option<Region> {
    let mut parts = arn.split(':');
    let region = parts.nth(3).filter(|region| !region.is_empty())?;
    arn.starts_with("arn:")
        .then(|| Region::new(region.to_owned()))
}

impl<E> From<SdkError<E, HttpResponse>> for Error
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let said = chain(&error);
        match &error {
            SdkError::ServiceError(refusal)
                if !refusal.raw().status().is_server_error()
                    && refusal.err().code() != Some("ThrottlingException") =>
            {
                Self::Refused(said)
            }
            _ => Self::Unavailable(said),
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_its_region() {
        for (arn, region) in [
            (
                "arn:aws:kms:eu-west-1:123456789012:key/1",
                Some("eu-west-1"),
            ),
            (
                "arn:aws-us-gov:secretsmanager:us-gov-west-1:1:secret:a",
                Some("us-gov-west-1"),
            ),
            ("arn:aws:iam::1:role/a", None),
            ("alias/a", None),
            ("a:b:c:d:e", None),
            ("", None),
        ] {
            let found = region_of(arn);
            assert_eq!(found.as_ref().map(AsRef::as_ref), region, "{arn}");
        }
    }
}
