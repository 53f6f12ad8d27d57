//! Opens the sealed credentials, on first use, and holds what is open for a
//! while.
//!
//! What is held is found by the credential's id and version, so that a replaced
//! one is out of use with the configuration that replaced it. Requests that come
//! while it is being opened wait for the same opening.

use std::{sync::Arc, time::Duration};

use aws::{Aws, kms::Kms};
use aws_sdk_bedrockruntime::Client;
use moka::future::Cache;
use proto::{
    bedrock_credential::BedrockCredential,
    sealed::{self, LocalKey, Sealed, Wrapper},
};
use tokio::sync::OnceCell;

use super::client::{Clients, Identity};
use crate::{
    error::{Cause, Error, Kind},
    index::BedrockKey,
    settings,
    tasks::Tasks,
};

/// Open credentials at one time. Beyond it the least used are wiped early.
const CAPACITY: u64 = 20_000;

/// How often what has grown old is wiped when no request comes by.
const SWEEP: Duration = Duration::from_secs(10);

/// Ready to ask Bedrock in one region.
#[derive(Debug)]
pub struct Opened {
    pub region: Arc<str>,
    pub identity: Identity,
    pub client: Client,
}

/// The open credentials.
#[derive(Debug)]
pub struct Vault {
    opener: Opener,
    clients: Arc<Clients>,
    opened: Cache<(Arc<str>, u64), Arc<Opened>>,
    /// For access keys without a credential, where the operator allows it.
    role: Option<Role>,
}

#[derive(Debug)]
struct Role {
    aws: Aws,
    region: Arc<str>,
    opened: OnceCell<Arc<Opened>>,
}

/// Unwraps data keys.
#[derive(Debug)]
pub enum Opener {
    Kms(Kms),
    Local(LocalKey),
    /// Neither `PROXY_KMS_KEY_ID` nor `PROXY_LOCAL_ENCRYPTION_KEY` is set.
    None,
}

/// Why a sealed credential stays closed.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error(transparent)]
    Sealed(#[from] sealed::Error),
    #[error("it was sealed with {0}: set the same variable here as on control")]
    OtherKey(&'static str),
    #[error("KMS does not unwrap its data key")]
    Kms(#[from] aws::Error),
    #[error("what was sealed is no credential")]
    NotACredential(#[from] serde_json::Error),
}

impl Closed {
    fn kind(&self) -> Kind {
        match self {
            Self::Kms(aws::Error::Unavailable(_) | aws::Error::Unusable(_)) => {
                Kind::SealedBedrockKey
            }
            _ => Kind::SpoiltBedrockKey,
        }
    }
}

impl Vault {
    pub fn new(
        settings: &settings::Bedrock,
        opener: Opener,
        aws: &Aws,
        clients: Arc<Clients>,
        tasks: &Tasks,
    ) -> Self {
        let opened = Cache::builder()
            .max_capacity(CAPACITY)
            .time_to_live(settings.key_cache_ttl)
            .build();
        tasks.spawn(sweep(opened.clone(), tasks.clone()));
        Self {
            opener,
            clients,
            opened,
            role: settings.use_role.then(|| Role {
                aws: aws.clone(),
                region: settings.region.as_str().into(),
                opened: OnceCell::new(),
            }),
        }
    }

    /// With what an access key reaches Bedrock: its own credential, else the
    /// process's role where that is allowed.
    ///
    /// # Errors
    ///
    /// [`Kind::NoBedrockKey`] when there is neither, [`Kind::SealedBedrockKey`]
    /// when the credential cannot be opened now, [`Kind::SpoiltBedrockKey`] when it
    /// never will. What failed is tried again with the next request.
    pub async fn open(&self, key: Option<&BedrockKey>) -> Result<Arc<Opened>, Error> {
        let Some(key) = key else {
            return self.role().await;
        };
        let place = (key.id.clone(), key.version);
        if let Some(opened) = self.opened.get(&place).await {
            return Ok(opened);
        }
        let opening = self.opened.try_get_with(place, self.unseal(key));
        Box::pin(opening).await.map_err(|closed: Arc<Closed>| {
            tracing::error!(
                bedrock_key_id = &*key.id,
                access_key_id = &*key.access_key_id,
                error = crate::error::chain(&*closed),
                "a Bedrock credential cannot be opened"
            );
            Error::because(closed.kind(), Cause::from(closed.to_string()))
        })
    }

    async fn role(&self) -> Result<Arc<Opened>, Error> {
        let role = self.role.as_ref().ok_or(Kind::NoBedrockKey)?;
        let opened = role.opened.get_or_try_init(async || {
            let identity = Identity::role(&role.aws).await.ok_or(Kind::NoBedrockKey)?;
            Ok::<_, Kind>(Arc::new(self.opened(&role.region, identity)))
        });
        Ok(opened.await?.clone())
    }

    async fn unseal(&self, key: &BedrockKey) -> Result<Arc<Opened>, Closed> {
        let sealed = Sealed::try_from(&*key.sealed)?;
        let data_key = match (&self.opener, sealed.wrapper) {
            (Opener::Kms(kms), Wrapper::Kms) => {
                let context = (sealed::CONTEXT, &*key.sealed_for);
                kms.unwrap_key(&sealed.wrapped_key, context).await?
            }
            (Opener::Local(local), Wrapper::Local) => {
                local.unwrap_key(&sealed.wrapped_key, &key.sealed_for)?
            }
            (_, Wrapper::Kms) => return Err(Closed::OtherKey("PROXY_KMS_KEY_ID")),
            (_, Wrapper::Local) => return Err(Closed::OtherKey("PROXY_LOCAL_ENCRYPTION_KEY")),
        };
        let secret = sealed.open(&key.sealed_for, &data_key)?;
        let credential = BedrockCredential::from_bytes(&secret)?;
        Ok(Arc::new(
            self.opened(&key.region, Identity::of(&credential)),
        ))
    }

    fn opened(&self, region: &Arc<str>, identity: Identity) -> Opened {
        Opened {
            region: region.clone(),
            client: self.clients.client(region, &identity),
            identity,
        }
    }
}

/// The cache drops what has grown old when it is used; somebody has to use it.
async fn sweep(opened: Cache<(Arc<str>, u64), Arc<Opened>>, tasks: Tasks) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = tasks.stopping() => return,
            _ = ticks.tick() => opened.run_pending_tasks().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use aws::SdkConfig;
    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
    use base64::{Engine, prelude::BASE64_STANDARD};
    use clap::Parser;
    use futures_util::future::join_all;
    use proto::sealed::DataKey;
    use serde_json::json;
    use testkit::anthropic::{Gate, Reply, Rule, Simulator};

    use super::*;
    use crate::{settings::Settings, upstream::bedrock::origins::Origins};

    const ACCESS_KEY: &str = "018f0000-0000-7000-8000-000000000002";

    /// What answers as KMS does, as often as it is asked.
    async fn kms(reply: Reply) -> (Simulator, Aws) {
        let simulator = Simulator::start().await.unwrap();
        simulator.script().rule(Rule::always(reply).path("/"));
        let credentials = Credentials::new("id", "secret", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(simulator.url())
            .http_client(aws::http_client())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .build();
        (simulator, Aws::with(config))
    }

    fn decrypted(data_key: &DataKey) -> Reply {
        let plaintext = BASE64_STANDARD.encode(data_key.as_slice());
        let body = json!({"KeyId": "k", "Plaintext": plaintext}).to_string();
        Reply::body(200, "application/x-amz-json-1.1", body)
    }

    fn sealed(data_key: &DataKey, version: u64) -> BedrockKey {
        let credential = BedrockCredential::ApiKey {
            bedrock_api_key: "key".into(),
        };
        let secret = credential.to_bytes().unwrap();
        let wrapped = b"wrapped".to_vec();
        let sealed = Sealed::seal(&secret, ACCESS_KEY, data_key, Wrapper::Kms, wrapped).unwrap();
        BedrockKey {
            id: "b".into(),
            access_key_id: ACCESS_KEY.into(),
            version,
            region: "us-east-1".into(),
            sealed: sealed.to_bytes().into(),
            sealed_for: ACCESS_KEY.into(),
        }
    }

    fn vault(opener: Opener, aws: &Aws) -> Vault {
        let command = [
            "proxy",
            "--key-hasher-secret=0123456789abcdef",
            "--sync-token=0123456789abcdef",
        ];
        let settings = Settings::parse_from(command);
        let tasks = Tasks::new();
        let clients = Arc::new(Clients::new(
            None,
            Arc::new(Origins::new(&settings.limits, &tasks)),
        ));
        Vault::new(&settings.bedrock, opener, aws, clients, &tasks)
    }

    #[tokio::test]
    async fn two_hundred_first_uses_share_one_call() {
        let data_key = DataKey::new([7; 32]);
        let gate = Gate::closed();
        let (simulator, aws) = kms(decrypted(&data_key).head_gate(&gate)).await;
        let vault = vault(Opener::Kms(Kms::new(aws.clone(), "alias/x")), &aws);
        let key = sealed(&data_key, 1);
        let opening = join_all((0..200).map(|_| vault.open(Some(&key))));
        let (opened, ()) = tokio::join!(opening, async {
            simulator.until(|counts| counts.requests == 1).await;
            gate.open();
        });
        assert!(opened.iter().all(Result::is_ok), "{:?}", opened[0]);
        assert_eq!(simulator.received().len(), 1);
        // What has replaced it is opened by itself.
        vault.open(Some(&sealed(&data_key, 2))).await.unwrap();
        assert_eq!(simulator.received().len(), 2);
    }

    #[tokio::test]
    async fn what_does_not_open_is_tried_again_and_what_is_open_serves_on() {
        let data_key = DataKey::new([7; 32]);
        let (simulator, aws) = kms(decrypted(&data_key)).await;
        let vault = vault(Opener::Kms(Kms::new(aws.clone(), "alias/x")), &aws);
        vault.open(Some(&sealed(&data_key, 1))).await.unwrap();
        simulator
            .script()
            .replace([Rule::always(Reply::error(500)).path("/")]);
        vault.open(Some(&sealed(&data_key, 1))).await.unwrap();
        for _ in 0..2 {
            let error = vault.open(Some(&sealed(&data_key, 2))).await.unwrap_err();
            assert_eq!(error.kind, Kind::SealedBedrockKey);
        }
        simulator
            .script()
            .replace([Rule::always(decrypted(&data_key)).path("/")]);
        vault.open(Some(&sealed(&data_key, 2))).await.unwrap();
    }

    #[tokio::test]
    async fn neither_credential_nor_role_is_said_as_such() {
        let vault = vault(Opener::None, &Aws::default());
        assert_eq!(vault.open(None).await.unwrap_err().kind, Kind::NoBedrockKey);
        let sealed = sealed(&DataKey::new([7; 32]), 1);
        let error = vault.open(Some(&sealed)).await.unwrap_err();
        assert_eq!(error.kind, Kind::SpoiltBedrockKey);
        assert!(
            error.chain().contains("PROXY_KMS_KEY_ID"),
            "{}",
            error.chain()
        );
    }
}
