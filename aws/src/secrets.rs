//! Secrets that are kept in Secrets Manager.

use aws_sdk_secretsmanager::Client;
use secrecy::SecretString;

use crate::{Aws, Error};

impl Aws {
    /// The secret's current text, from the region that its ARN names.
    ///
    /// # Errors
    /// When Secrets Manager does not give it, or it is not a text.
    pub async fn secret(&self, arn: &str) -> Result<SecretString, Error> {
        let config = self.config_for(arn).await?;
        let answer = Client::new(&config)
            .get_secret_value()
            .secret_id(arn)
            .send()
            .await?;
        let text = answer
            .secret_string
            .ok_or(Error::Unusable("a binary secret, which must be a text"))?;
        Ok(SecretString::from(text))
    }
}
