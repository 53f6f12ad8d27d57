//! Secrets that are kept in Secrets Manager.

use aws_sdk_secretsmanager::{Client, config::Builder};
use secrecy::SecretString;

use crate::{Aws, Error, region_of};

impl Aws {
    /// The secret's current text, from the region that its ARN names.
    ///
    /// # Errors
    /// When Secrets Manager does not give it, or it is not a text.
    pub async fn secret(&self, arn: &str) -> Result<SecretString, Error> {
        let mut config = Builder::from(self.config().await);
        if let Some(region) = region_of(arn) {
            config = config.region(region);
        }
        let answer = Client::from_conf(config.build())
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
