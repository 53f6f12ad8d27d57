//! Data keys: KMS makes them, and unwraps them for who may.

use aws_sdk_kms::{Client, primitives::Blob, types::DataKeySpec};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::{Aws, Error};

/// A key that encrypts one secret. Wiped when dropped.
pub type DataKey = Zeroizing<[u8; 32]>;

/// One key in KMS that wraps data keys. Nothing is asked of AWS before the first
/// of them.
#[derive(Debug)]
pub struct Kms {
    aws: Aws,
    key_id: String,
    client: OnceCell<Client>,
}

impl Kms {
    /// The key's id, ARN or alias.
    pub fn new(aws: Aws, key_id: impl Into<String>) -> Self {
        Self {
            aws,
            key_id: key_id.into(),
            client: OnceCell::new(),
        }
    }

    /// A fresh data key and its wrapped form, bound to a name and a value (the
    /// encryption context).
    ///
    /// # Errors
    /// When KMS does not give one.
    pub async fn generate(&self, context: (&str, &str)) -> Result<(DataKey, Vec<u8>), Error> {
        let (name, value) = context;
        let answer = self
            .client()
            .await?
            .generate_data_key()
            .key_id(&self.key_id)
            .key_spec(DataKeySpec::Aes256)
            .encryption_context(name, value)
            .send()
            .await?;
        let wrapped = answer
            .ciphertext_blob
            .ok_or(Error::Unusable("no wrapped data key"))?;
        Ok((data_key(answer.plaintext)?, wrapped.into_inner()))
    }

    /// The data key from its wrapped form; it must be bound to the same name and
    /// value.
    ///
    /// The wrapped form itself says which key has wrapped it, so what was made
    /// with an older key still opens.
    ///
    /// # Errors
    /// When KMS does not give it: it was changed, or bound to something else, or
    /// we may not.
    pub async fn unwrap_key(
        &self,
        wrapped: &[u8],
        context: (&str, &str),
    ) -> Result<DataKey, Error> {
        let (name, value) = context;
        let answer = self
            .client()
            .await?
            .decrypt()
            .ciphertext_blob(Blob::new(wrapped))
            .encryption_context(name, value)
            .send()
            .await?;
        data_key(answer.plaintext)
    }

    async fn client(&self) -> Result<&Client, Error> {
        let made = self.client.get_or_try_init(async || {
            let config = self.aws.config_for(&self.key_id).await?;
            Ok(Client::new(&config))
        });
        made.await
    }
}

fn data_key(plaintext: Option<Blob>) -> Result<DataKey, Error> {
    let plaintext = Zeroizing::new(plaintext.map(Blob::into_inner).unwrap_or_default());
    let mut key = DataKey::default();
    if plaintext.len() != key.len() {
        return Err(Error::Unusable("a data key of another length"));
    }
    key.copy_from_slice(&plaintext);
    Ok(key)
}
