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
    /// when the credential does not open. An opening that failed is tried again
    /// with the next request.
    pub async fn open(&self, key: Option<&BedrockKey>) -> Result<Arc<Opened>, Error> {
        let Some(key) = key else {
            return self.role().await;
        };
        let place = (key.id.clone(), key.version);
        let opening = self.opened.try_get_with(place, self.unseal(key));
        opening.await.map_err(|closed: Arc<Closed>| {
            tracing::error!(
                bedrock_key_id = &*key.id,
                access_key_id = &*key.access_key_id,
                error = crate::error::chain(&*closed),
                "a Bedrock credential cannot be opened"
            );
            Error::because(Kind::SealedBedrockKey, Cause::from(closed.to_string()))
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
