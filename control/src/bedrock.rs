//! One question to Bedrock: does this credential work? Everything else that goes
//! to Bedrock goes there from the proxies.

use std::{sync::OnceLock, time::Duration};

use aws_credential_types::Credentials;
use aws_sdk_bedrockruntime::{
    Client,
    config::{
        BehaviorVersion, Config, Region, SharedHttpClient, Token, http::HttpResponse,
        retry::RetryConfig,
    },
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::converse::ConverseError,
    types::{ContentBlock, ConversationRole, InferenceConfiguration, Message},
};
use aws_smithy_types::timeout::TimeoutConfig;
use proto::bedrock_credential::BedrockCredential;

/// Somebody is waiting for the answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(20);

/// Bedrock's wording is shown, up to here.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// Asks Bedrock.
#[derive(Debug)]
pub struct Bedrock {
    endpoint: Option<String>,
    http: OnceLock<SharedHttpClient>,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The credential is unknown, has ended, or may not do this.
    Key,
    /// There is no Bedrock in this region, or the credential is not for it.
    Region,
    /// The account cannot use this model there.
    Model,
    /// Nobody answered, or had no time.
    Unreachable,
    /// Something else about the request.
    Request,
}

/// What is wrong, and how Bedrock says it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub problem: Problem,
    pub message: String,
}

impl Bedrock {
    /// The endpoint stands in for AWS's own.
    pub fn new(endpoint: Option<String>) -> Self {
        Self {
            endpoint,
            http: OnceLock::new(),
        }
    }

    /// Makes the model say one token.
    ///
    /// # Errors
    /// When it does not.
    pub async fn verify(
        &self,
        credential: &BedrockCredential,
        region: &str,
        model: &str,
    ) -> Result<(), Refusal> {
        let question = Message::builder()
            .role(ConversationRole::User)
            .content(ContentBlock::Text("Hi".to_owned()))
            .build()
            .map_err(|error| Refusal {
                problem: Problem::Request,
                message: error.to_string(),
            })?;
        self.client(credential, region)
            .converse()
            .model_id(model)
            .messages(question)
            .inference_config(InferenceConfiguration::builder().max_tokens(1).build())
            .send()
            .await
            .map(|_answer| ())
            .map_err(|error| refusal(&error, credential))
    }

    fn client(&self, credential: &BedrockCredential, region: &str) -> Client {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_timeout(TIMEOUT)
            .build();
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(self.http.get_or_init(aws::http_client).clone())
            .region(Region::new(region.to_owned()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        config.set_endpoint_url(self.endpoint.clone());
        let config = match credential {
            BedrockCredential::ApiKey { bedrock_api_key } => {
                config.bearer_token(Token::new(bedrock_api_key, None))
            }
            BedrockCredential::KeyPair {
                aws_access_key_id,
                aws_secret_access_key,
                aws_session_token,
            } => config.credentials_provider(Credentials::new(
                aws_access_key_id,
                aws_secret_access_key,
                aws_session_token.clone(),
                None,
                "registered",
            )),
        };
        Client::from_conf(config.build())
    }
}

fn refusal(
    error: &SdkError<ConverseError, HttpResponse>,
    credential: &BedrockCredential,
) -> Refusal {
    let (problem, message) = match error {
        SdkError::ServiceError(refusal) => {
            let (error, status) = (refusal.err(), refusal.raw().status().as_u16());
            let code = error.code().unwrap_or_default();
            let message = error.message().unwrap_or(code);
            (problem(code, status, message), message.to_owned())
        }
        error => {
            let message = innermost(error);
            // So is the name of a region that does not exist answered.
            let is_unknown_host = matches!(error, SdkError::DispatchFailure(_))
                && DisplayErrorContext(error).to_string().contains("dns error");
            let problem = match is_unknown_host {
                true => Problem::Region,
                false => Problem::Unreachable,
            };
            (problem, message)
        }
    };
    let message = without_secrets(&message, credential);
    Refusal {
        problem,
        message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
    }
}

/// What is wrong, from the error's code, its HTTP status and its wording.
fn problem(code: &str, status: u16, message: &str) -> Problem {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    match code {
        "AccessDeniedException" if says(&["access to the model", "model access", "use case"]) => {
            Problem::Model
        }
        "UnrecognizedClientException" | "InvalidSignatureException" | "SignatureDoesNotMatch"
            if says(&["valid region", "correct region"]) =>
        {
            Problem::Region
        }
        "ResourceNotFoundException" => Problem::Model,
        "ValidationException"
            if says(&[
                "model identifier",
                "model id",
                "on-demand throughput",
                "operation not allowed",
            ]) =>
        {
            Problem::Model
        }
        "ValidationException" => Problem::Request,
        // They come with a 400 too.
        "ServiceQuotaExceededException" | "ModelNotReadyException" => Problem::Unreachable,
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "ExpiredTokenException" => Problem::Key,
        _ => match status {
            401 | 403 => Problem::Key,
            404 => Problem::Model,
            408 | 424 | 429 | 500.. => Problem::Unreachable,
            _ => Problem::Request,
        },
    }
}

/// Whatever the wording repeats of a request, it is not the secret.
fn without_secrets(message: &str, credential: &BedrockCredential) -> String {
    let secrets = match credential {
        BedrockCredential::ApiKey { bedrock_api_key } => vec![bedrock_api_key],
        BedrockCredential::KeyPair {
            aws_secret_access_key,
            aws_session_token,
            ..
        } => std::iter::once(aws_secret_access_key)
            .chain(aws_session_token)
            .collect(),
    };
    secrets
        .into_iter()
        .fold(message.to_owned(), |message, secret| {
            message.replace(secret, "…")
        })
}

/// What went wrong at the bottom of it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_told_apart() {
        use Problem::{Key, Model, Region, Request, Unreachable};
        for (code, status, message, expected) in [
            (
                "UnrecognizedClientException",
                403,
                "The security token included in the request is invalid.",
                Key,
            ),
            (
                "InvalidSignatureException",
                403,
                "The request signature we calculated does not match.",
                Key,
            ),
            (
                "InvalidSignatureException",
                403,
                "Credential should be scoped to a valid region.",
                Region,
            ),
            (
                "ExpiredTokenException",
                403,
                "The security token included in the request is expired",
                Key,
            ),
            (
                "AccessDeniedException",
                403,
                "User: a is not authorized to perform: bedrock:InvokeModel",
                Key,
            ),
            (
                "AccessDeniedException",
                403,
                "You don't have access to the model with the specified model ID.",
                Model,
            ),
            (
                "AccessDeniedException",
                403,
                "Authentication failed: Please make sure your API Key is valid.",
                Key,
            ),
            (
                "ResourceNotFoundException",
                404,
                "Model use case details have not been submitted.",
                Model,
            ),
            (
                "ValidationException",
                400,
                "The provided model identifier is invalid.",
                Model,
            ),
            (
                "ValidationException",
                400,
                "Invocation of model ID a with on-demand throughput isn't supported.",
                Model,
            ),
            (
                "ValidationException",
                400,
                "max_tokens: must be positive",
                Request,
            ),
            ("ThrottlingException", 429, "Too many requests", Unreachable),
            ("ServiceQuotaExceededException", 400, "", Unreachable),
            ("ServiceUnavailableException", 503, "", Unreachable),
            ("", 403, "", Key),
            ("", 500, "", Unreachable),
            ("", 400, "", Request),
        ] {
            assert_eq!(problem(code, status, message), expected, "{code} {message}");
        }
    }

    #[test]
    fn wording_that_repeats_a_secret_loses_it() {
        let pair = BedrockCredential::KeyPair {
            aws_access_key_id: "AKIA".into(),
            aws_secret_access_key: "marker-secret".into(),
            aws_session_token: Some("marker-token".into()),
        };
        let said = "AKIA should have signed x-amz-security-token:marker-token marker-secret";
        assert_eq!(
            without_secrets(said, &pair),
            "AKIA should have signed x-amz-security-token:… …"
        );
    }
}
