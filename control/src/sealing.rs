//! Sealing: what makes a credential unreadable before it is stored. Opening is
//! what proxies do; there is no function for it here.

use aws::{Aws, kms::Kms};
use proto::{
    bedrock_credential::BedrockCredential,
    sealed::{self, CONTEXT, LocalKey, Sealed, Wrapper},
};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::settings::Sealing;

/// Who wraps the data keys.
#[derive(Debug)]
pub enum Sealer {
    Kms(Kms),
    Local(LocalKey),
}

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("KMS gave no data key")]
    Kms(#[from] aws::Error),
    #[error("the credential cannot be sealed")]
    Sealed(#[from] sealed::Error),
    #[error("the credential cannot be written down")]
    Json(#[from] serde_json::Error),
}

impl Sealer {
    /// None when the settings name no key. Asks nobody for anything yet.
    pub fn new(settings: &Sealing, aws: &Aws) -> Option<Self> {
        if let Some(key_id) = &settings.kms_key_id {
            return Some(Self::Kms(Kms::new(aws.clone(), key_id)));
        }
        let key = settings.local_encryption_key.as_ref()?;
        Some(Self::Local(LocalKey::new(key.expose_secret())))
    }

    /// The credential as it is stored, bound to its access key.
    ///
    /// # Errors
    /// When KMS gives no data key.
    pub async fn seal(
        &self,
        credential: &BedrockCredential,
        access_key_id: Uuid,
    ) -> Result<Vec<u8>, Error> {
        let id = access_key_id.to_string();
        let (wrapper, (data_key, wrapped)) = match self {
            Self::Kms(kms) => (Wrapper::Kms, kms.generate((CONTEXT, &id)).await?),
            Self::Local(key) => (Wrapper::Local, key.generate(&id)?),
        };
        let secret = credential.to_bytes()?;
        let sealed = Sealed::seal(&secret, &id, &data_key, wrapper, wrapped)?;
        Ok(sealed.to_bytes())
    }
}
