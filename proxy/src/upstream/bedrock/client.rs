//! AWS's client, for one region and one credential.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws::Aws;
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use aws_sdk_bedrockruntime::{
    Client, Config,
    config::{
        BehaviorVersion, Region, SharedHttpClient, StalledStreamProtectionConfig, Token,
        retry::RetryConfig,
    },
};
use http::Uri;
use proto::bedrock_credential::BedrockCredential;
use tokio::sync::Mutex;

use super::{carrier, origins::Origins};

/// Makes clients. They share their connections.
#[derive(Debug)]
pub struct Clients {
    http: SharedHttpClient,
    endpoint: Option<Uri>,
}

/// Who asks Bedrock. It cannot be printed; its parts are wiped when the last
/// copy is dropped.
#[derive(Clone)]
pub enum Identity {
    /// A Bedrock API key, sent as a bearer token.
    Bearer(Token),
    /// Signs requests: a key pair, or the process's own role.
    Signer(Signer),
}

/// Keys to sign with. Those of a role are fetched once and kept until shortly
/// before they expire, because a request waits for nobody but the upstream.
#[derive(Debug, Clone)]
pub struct Signer {
    provider: SharedCredentialsProvider,
    kept: Arc<Mutex<Option<Credentials>>>,
}

/// Keys that expire sooner are fetched anew.
const MARGIN: Duration = Duration::from_secs(300);

impl Clients {
    /// `endpoint` stands in for Amazon's own, everywhere.
    pub fn new(endpoint: Option<Uri>, origins: Arc<Origins>) -> Self {
        Self {
            http: carrier::http_client(origins),
            endpoint,
        }
    }

    /// A client for one region and one credential; nothing is connected yet.
    pub fn client(&self, region: &str, identity: &Identity) -> Client {
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .http_client(self.http.clone())
            // Whether anything is tried again is decided for both providers in
            // one place, and a model that thinks is not stalled.
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint.to_string());
        }
        // Only one of the two is set, so nothing else can be chosen.
        config = match identity {
            Identity::Bearer(token) => config.bearer_token(token.clone()),
            Identity::Signer(signer) => config.credentials_provider(signer.clone()),
        };
        Client::from_conf(config.build())
    }

    /// Where the Messages API of Bedrock is.
    ///
    /// Source: "Amazon Bedrock endpoints and quotas", AWS general reference.
    ///
    /// # Errors
    ///
    /// None for a region that is well-formed.
    pub fn origin(&self, region: &str) -> Result<Uri, http::uri::InvalidUri> {
        if let Some(endpoint) = &self.endpoint {
            return Ok(endpoint.clone());
        }
        let domain = match region.split('-').next() {
            Some("cn") => "amazonaws.com.cn",
            Some("eusc") => "amazonaws.eu",
            _ => "amazonaws.com",
        };
        format!("https://bedrock-runtime.{region}.{domain}").parse()
    }
}

impl Identity {
    pub fn of(credential: &BedrockCredential) -> Self {
        match credential {
            BedrockCredential::ApiKey { bedrock_api_key } => {
                Self::Bearer(Token::new(bedrock_api_key.as_str(), None))
            }
            BedrockCredential::KeyPair {
                aws_access_key_id,
                aws_secret_access_key,
                aws_session_token,
            } => Self::Signer(Signer::new(SharedCredentialsProvider::new(
                Credentials::new(
                    aws_access_key_id.as_str(),
                    aws_secret_access_key.as_str(),
                    aws_session_token.clone(),
                    None,
                    "a registered key pair",
                ),
            ))),
        }
    }

    /// The process's own role, if it has one.
    pub async fn role(aws: &Aws) -> Option<Self> {
        let provider = aws.config().await.credentials_provider()?;
        Some(Self::Signer(Signer::new(provider)))
    }
}

impl Signer {
    fn new(provider: SharedCredentialsProvider) -> Self {
        Self {
            provider,
            kept: Arc::default(),
        }
    }

    /// The keys to sign with, now. Requests that come while they are fetched wait
    /// for the same fetching.
    ///
    /// # Errors
    ///
    /// The role cannot be assumed.
    pub async fn keys(&self) -> Result<Credentials, CredentialsError> {
        let mut kept = self.kept.lock().await;
        let last = SystemTime::now() + MARGIN;
        if let Some(keys) = kept
            .as_ref()
            .filter(|it| it.expiry().is_none_or(|at| at > last))
        {
            return Ok(keys.clone());
        }
        let keys = self.provider.provide_credentials().await?;
        *kept = Some(keys.clone());
        Ok(keys)
    }
}

impl ProvideCredentials for Signer {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.keys())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Identity(bearer)",
            Self::Signer(_) => "Identity(signer)",
        })
    }
}
