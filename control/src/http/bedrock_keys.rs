//! Credentials for Bedrock: `/admin/access-keys/{access_key_id}/bedrock-key`.
//!
//! A credential comes in, is sealed, and can never be read again here.

use actix_web::{HttpResponse, delete, get, post, web};
use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use proto::{bedrock_credential::BedrockCredential, region::is_well_formed as is_region};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    State,
    access_keys::{active_user, found},
    body::{Confidential, token},
    error::{Code, Error, ErrorBody},
};
use crate::{
    bedrock::{Bedrock, Problem},
    sealing::{self, Sealer},
    store::{
        access_keys::{self, AccessKeyStatus},
        bedrock_keys::{self, BedrockKey, BedrockKeyKind, NewBedrockKey},
        model_mappings,
    },
};

/// A short-term API key is a signed URL, and a session token is of that size.
const MAX_SECRET_CHARS: usize = 6_000;
const MAX_ID_CHARS: usize = 128;

/// Whoever may use Bedrock may most likely use the cheapest model.
const VERIFIED_WITH: &str = "claude-haiku-4-5";

/// Either `bedrock_api_key`, or `aws_access_key_id` and `aws_secret_access_key`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RegisterBedrockKey {
    /// A Bedrock API key.
    #[schema(value_type = Option<String>, max_length = 6000)]
    bedrock_api_key: Option<SecretString>,
    /// An IAM key pair.
    #[schema(max_length = 128)]
    aws_access_key_id: Option<String>,
    #[schema(value_type = Option<String>, max_length = 6000)]
    aws_secret_access_key: Option<SecretString>,
    #[schema(value_type = Option<String>, max_length = 6000)]
    aws_session_token: Option<SecretString>,
    /// Where it is used; PROXY_BEDROCK_REGION when not given.
    #[schema(example = "ap-northeast-2")]
    region: Option<String>,
    /// Whether to ask Bedrock first, which costs a token.
    verify: Option<bool>,
}

/// The credential is in force.
#[derive(Debug, Serialize, ToSchema)]
struct RegisteredBedrockKey {
    #[schema(example = "registered")]
    status: &'static str,
    #[serde(flatten)]
    bedrock_key: BedrockKey,
}

/// All that can be known of a credential.
#[derive(Debug, Serialize, ToSchema)]
struct BedrockKeyDetails {
    #[serde(flatten)]
    bedrock_key: BedrockKey,
    /// Since it was registered.
    age_seconds: i64,
    /// When the access key's newest request that went to Bedrock began; null when
    /// there was none since then.
    last_used_at: Option<DateTime<Utc>>,
}

/// Register a credential for Bedrock
///
/// It takes the place of the one before, and is in force on every connected
/// proxy within a second. It is stored sealed and cannot be read again.
#[utoipa::path(
    operation_id = "register_bedrock_key",
    tag = "bedrock keys",
    request_body = RegisterBedrockKey,
    responses(
        (status = 201, description = "Registered", body = RegisteredBedrockKey),
        (status = 404, description = "No such access key", body = ErrorBody),
        (status = 409, description = "The access key is revoked, or its user not active", body = ErrorBody),
        (status = 422, description = "Bedrock does not accept it", body = ErrorBody),
        (status = 503, description = "It cannot be sealed now", body = ErrorBody),
    )
)]
#[post("/access-keys/{access_key_id}/bedrock-key")]
pub(super) async fn register(
    state: web::Data<State>,
    access_key_id: web::Path<Uuid>,
    Confidential(new): Confidential<RegisterBedrockKey>,
) -> Result<HttpResponse, Error> {
    let access_key_id = *access_key_id;
    let region = new
        .region
        .as_deref()
        .unwrap_or(&state.bedrock.bedrock_region);
    if !is_region(region) {
        return Err(Error::with_message(
            Code::InvalidBody,
            "region must be the name of an AWS region, such as ap-northeast-2.",
        ));
    }
    let credential = credential(&new)?;
    let sealer = state.sealer.as_ref().ok_or(Code::SealingNotConfigured)?;
    // Looked at twice: nobody is asked about a key that is not there, and nobody
    // waits with a transaction open.
    let mut connection = state.store.connection().await?;
    working_key(&mut connection, access_key_id).await?;
    let model = model_mappings::bedrock_model(&mut connection, VERIFIED_WITH).await?;
    drop(connection);
    if new.verify == Some(true) {
        verify(&state.verifier, &credential, region, model).await?;
    }
    let sealed = seal(sealer, &credential, access_key_id).await?;

    let kind = kind(&credential);
    let mut connection = state.store.connection().await?;
    let bedrock_key = connection
        .transaction(async |connection| {
            working_key(connection, access_key_id).await?;
            let row = NewBedrockKey {
                id: Uuid::now_v7(),
                access_key_id,
                kind,
                region,
                sealed: &sealed,
                sealed_for: access_key_id,
            };
            bedrock_keys::put(connection, &row).await?;
            registered(connection, access_key_id).await
        })
        .await?;
    tracing::info!(%access_key_id, kind = kind.name(), region, "bedrock_key.registered");
    Ok(HttpResponse::Created().json(RegisteredBedrockKey {
        status: "registered",
        bedrock_key,
    }))
}

/// Read what is known of a credential for Bedrock
///
/// Its kind, region, age and last use; never the secret.
#[utoipa::path(
    operation_id = "read_bedrock_key",
    tag = "bedrock keys",
    responses(
        (status = 200, description = "What is known", body = BedrockKeyDetails),
        (status = 404, description = "No such access key, or it has no credential", body = ErrorBody),
    )
)]
#[get("/access-keys/{access_key_id}/bedrock-key")]
pub(super) async fn read(
    state: web::Data<State>,
    access_key_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let mut connection = state.store.connection().await?;
    found(&mut connection, *access_key_id).await?;
    let bedrock_key = registered(&mut connection, *access_key_id).await?;
    let last_used_at = bedrock_keys::last_used_at(&mut connection, &bedrock_key).await?;
    let age = Utc::now() - bedrock_key.registered_at;
    Ok(HttpResponse::Ok().json(BedrockKeyDetails {
        bedrock_key,
        age_seconds: age.num_seconds().max(0),
        last_used_at,
    }))
}

/// Erase a credential for Bedrock
#[utoipa::path(
    operation_id = "delete_bedrock_key",
    tag = "bedrock keys",
    responses(
        (status = 204, description = "Erased"),
        (status = 404, description = "No such access key, or it has no credential", body = ErrorBody),
    )
)]
#[delete("/access-keys/{access_key_id}/bedrock-key")]
pub(super) async fn delete(
    state: web::Data<State>,
    access_key_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let access_key_id = *access_key_id;
    let mut connection = state.store.connection().await?;
    found(&mut connection, access_key_id).await?;
    if !bedrock_keys::delete(&mut connection, access_key_id).await? {
        return Err(Code::BedrockKeyNotFound.into());
    }
    tracing::info!(%access_key_id, "bedrock_key.deleted");
    Ok(HttpResponse::NoContent().finish())
}

/// Exactly one kind, and nothing that cannot be sent in a header.
fn credential(new: &RegisterBedrockKey) -> Result<BedrockCredential, Error> {
    let RegisterBedrockKey {
        bedrock_api_key,
        aws_access_key_id,
        aws_secret_access_key,
        aws_session_token,
        ..
    } = new;
    let secret = |field: &str, secret: &SecretString| {
        token(field, secret.expose_secret(), MAX_SECRET_CHARS).map(str::to_owned)
    };
    match (bedrock_api_key, aws_access_key_id, aws_secret_access_key) {
        (Some(key), None, None) if aws_session_token.is_none() => Ok(BedrockCredential::ApiKey {
            bedrock_api_key: secret("bedrock_api_key", key)?,
        }),
        (None, Some(id), Some(key)) => Ok(BedrockCredential::KeyPair {
            aws_access_key_id: token("aws_access_key_id", id, MAX_ID_CHARS)?.to_owned(),
            aws_secret_access_key: secret("aws_secret_access_key", key)?,
            aws_session_token: aws_session_token
                .as_ref()
                .map(|token| secret("aws_session_token", token))
                .transpose()?,
        }),
        _ => Err(Error::with_message(
            Code::InvalidBody,
            "Either bedrock_api_key, or aws_access_key_id and aws_secret_access_key with perhaps \
             aws_session_token.",
        )),
    }
}

fn kind(credential: &BedrockCredential) -> BedrockKeyKind {
    match credential {
        BedrockCredential::ApiKey { .. } => BedrockKeyKind::ApiKey,
        BedrockCredential::KeyPair { .. } => BedrockKeyKind::KeyPair,
    }
}

/// Holds, in a transaction, that the access key works and its user is active.
async fn working_key(connection: &mut AsyncPgConnection, id: Uuid) -> Result<(), Error> {
    let key = found(connection, id).await?;
    // The user first, as everywhere.
    active_user(connection, key.user_id).await?;
    match access_keys::lock(connection, id).await? {
        None => Err(Code::AccessKeyNotFound.into()),
        Some(AccessKeyStatus::Revoked) => Err(Code::AccessKeyAlreadyRevoked.into()),
        Some(AccessKeyStatus::Active | AccessKeyStatus::Rotating) => Ok(()),
    }
}

async fn registered(
    connection: &mut AsyncPgConnection,
    access_key_id: Uuid,
) -> Result<BedrockKey, Error> {
    bedrock_keys::find(connection, access_key_id)
        .await?
        .ok_or_else(|| Code::BedrockKeyNotFound.into())
}

async fn verify(
    verifier: &Bedrock,
    credential: &BedrockCredential,
    region: &str,
    model: Option<String>,
) -> Result<(), Error> {
    let model = model.ok_or_else(|| {
        Error::with_message(
            Code::BedrockModelNotEnabled,
            format!("Credentials are verified with {VERIFIED_WITH}, which has no active mapping."),
        )
    })?;
    let verified = verifier.verify(credential, region, &model).await;
    verified.map_err(|refusal| {
        let code = match refusal.problem {
            Problem::Key => Code::BedrockKeyRefused,
            Problem::Region => Code::BedrockRegionWrong,
            Problem::Model => Code::BedrockModelNotEnabled,
            Problem::Unreachable => Code::BedrockUnreachable,
            Problem::Request => Code::BedrockRequestRefused,
        };
        let advice = code.message();
        let message = format!("{advice} Asked for {model} in {region}: {refusal}");
        Error::with_message(code, message)
    })
}

async fn seal(
    sealer: &Sealer,
    credential: &BedrockCredential,
    access_key_id: Uuid,
) -> Result<Vec<u8>, Error> {
    sealer
        .seal(credential, access_key_id)
        .await
        .map_err(|error| {
            let cause = &error as &dyn std::error::Error;
            match &error {
                sealing::Error::Kms(reason) => {
                    tracing::error!(error = cause, %reason, "bedrock_key.kms_failed");
                    Code::KmsUnavailable.into()
                }
                sealing::Error::Sealed(_) | sealing::Error::Json(_) => {
                    tracing::error!(error = cause, "bedrock_key.not_sealed");
                    Code::Internal.into()
                }
            }
        })
}
