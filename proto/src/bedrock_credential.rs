//! With what an access key reaches Bedrock, and how that is written down before
//! it is sealed.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A Bedrock API key or an IAM key pair. It cannot be printed, and is wiped when
/// it is dropped.
///
/// Written as JSON with the names that the admin API uses: `bedrock_api_key`, or
/// `aws_access_key_id`, `aws_secret_access_key` and perhaps `aws_session_token`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(untagged)]
pub enum BedrockCredential {
    /// Sent as a bearer token.
    ApiKey { bedrock_api_key: String },
    /// Signs requests (SigV4).
    KeyPair {
        aws_access_key_id: String,
        aws_secret_access_key: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        aws_session_token: Option<String>,
    },
}

impl BedrockCredential {
    /// The kind's name in Postgres, JSON and the console.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ApiKey { .. } => "api_key",
            Self::KeyPair { .. } => "key_pair",
        }
    }

    /// The bytes to be sealed.
    ///
    /// # Errors
    ///
    /// None that is known: texts always make JSON.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        // Growing would leave copies behind that nobody wipes.
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
        serde_json::to_writer(&mut *bytes, self)?;
        Ok(bytes)
    }

    /// The credential from opened bytes.
    ///
    /// # Errors
    ///
    /// The bytes are not what [`Self::to_bytes`] makes. The error names a
    /// position, never the text.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl fmt::Debug for BedrockCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BedrockCredential({})", self.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_survive_being_written_down() {
        let pair = |token: Option<&str>| BedrockCredential::KeyPair {
            aws_access_key_id: "AKIA".into(),
            aws_secret_access_key: "secret".into(),
            aws_session_token: token.map(Into::into),
        };
        let key = BedrockCredential::ApiKey {
            bedrock_api_key: "ABSK".into(),
        };
        for credential in [key, pair(None), pair(Some("token"))] {
            let bytes = credential.to_bytes().unwrap();
            assert_eq!(BedrockCredential::from_bytes(&bytes).unwrap(), credential);
        }
    }

    #[test]
    fn a_credential_cannot_be_printed() {
        let key = BedrockCredential::ApiKey {
            bedrock_api_key: "marker".into(),
        };
        assert_eq!(format!("{key:?}"), "BedrockCredential(api_key)");
        let broken = BedrockCredential::from_bytes(br#"{"bedrock_api_key":"marker"#).unwrap_err();
        assert!(!broken.to_string().contains("marker"));
    }
}
