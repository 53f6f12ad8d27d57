//! Credentials for Bedrock: `/admin/access-keys/{access_key_id}/bedrock-key`.
//!
//! A credential comes in, is sealed, and can never be read again here.

use actix_web::{HttpResponse, delete, get, post, web};
use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use proto::bedrock_credential::BedrockCredential;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    State,
    access_keys::{active_user, found, region, working},
    author::Author,
    body::{Confidential, token},
    error::{Code, Error, ErrorBody},
};
use crate::{
    audit::{self, Entry, Object},
    bedrock::{Bedrock, Problem},
    sealing::{self, Sealer},
    store::{
        access_keys::AccessKey,
        audit_log::AuditAction,
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
    /// Where it is used; the access key's `bedrock_region` when not given, else
    /// PROXY_BEDROCK_REGION.
    #[schema(example = "ap-northeast-2")]
    region: Option<String>,
    /// Whether to ask Bedrock first, which costs a token.
    verify: Option<bool>,
}

/// Bedrock accepts the credential.
#[derive(Debug, Serialize, ToSchema)]
struct VerifiedBedrockKey {
    region: String,
    /// What it was asked for.
    bedrock_model: String,
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
    /// What became of that request: the status of the answer.
    last_status: Option<i32>,
    /// And how it ended, `complete` for instance.
    last_outcome: Option<String>,
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
    author: Author,
    access_key_id: web::Path<Uuid>,
    Confidential(new): Confidential<RegisterBedrockKey>,
) -> Result<HttpResponse, Error> {
    let access_key_id = *access_key_id;
    let credential = credential(&new)?;
    let sealer = state.sealer.as_ref().ok_or(Code::SealingNotConfigured)?;
    let place = place(&state, access_key_id, new.region.as_deref()).await?;
    let region = place.region.as_str();
    let verified_at = if new.verify == Some(true) {
        verify(&state.verifier, &credential, &place).await?;
        Some(Utc::now())
    } else {
        None
    };
    let sealed = seal(sealer, &credential, access_key_id).await?;

    let kind = kind(&credential);
    let mut connection = state.store.connection().await?;
    let (bedrock_key, recorded) = connection
        .transaction(async |connection| {
            let key = working_key(connection, access_key_id).await?;
            let before = bedrock_keys::find(connection, access_key_id).await?;
            let row = NewBedrockKey {
                id: Uuid::now_v7(),
                access_key_id,
                kind,
                region,
                sealed: &sealed,
                sealed_for: access_key_id,
                verified_at,
            };
            bedrock_keys::put(connection, &row).await?;
            let bedrock_key = registered(connection, access_key_id).await?;
            let entry = Entry {
                action: AuditAction::BedrockKeyRegistered,
                object: Object::bedrock_key(&key),
                before: before.as_ref().map(audit::bedrock_key),
                after: Some(audit::bedrock_key(&bedrock_key)),
            };
            let recorded = author.record(connection, &entry).await?;
            Ok::<_, Error>((bedrock_key, recorded))
        })
        .await?;
    tracing::info!(%access_key_id, kind = kind.name(), region, "bedrock_key.registered");
    Ok(recorded
        .on(HttpResponse::Created())
        .json(RegisteredBedrockKey {
            status: "registered",
            bedrock_key,
        }))
}

/// Try a credential for Bedrock
///
/// Asks Bedrock for one token with it, and keeps nothing of it. What is registered
/// cannot be tried like this, because it cannot be opened here: reading it says
/// what became of its last use.
#[utoipa::path(
    operation_id = "verify_bedrock_key",
    tag = "bedrock keys",
    request_body = RegisterBedrockKey,
    responses(
        (status = 200, description = "Bedrock accepts it", body = VerifiedBedrockKey),
        (status = 404, description = "No such access key", body = ErrorBody),
        (status = 409, description = "The access key is revoked, or its user not active", body = ErrorBody),
        (status = 422, description = "Bedrock does not accept it", body = ErrorBody),
    )
)]
#[post("/access-keys/{access_key_id}/bedrock-key/verify")]
pub(super) async fn verify_only(
    state: web::Data<State>,
    access_key_id: web::Path<Uuid>,
    Confidential(new): Confidential<RegisterBedrockKey>,
) -> Result<HttpResponse, Error> {
    let credential = credential(&new)?;
    let place = place(&state, *access_key_id, new.region.as_deref()).await?;
    let bedrock_model = verify(&state.verifier, &credential, &place).await?;
    Ok(HttpResponse::Ok().json(VerifiedBedrockKey {
        region: place.region.clone(),
        bedrock_model: bedrock_model.to_owned(),
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
    let last_use = bedrock_keys::last_use(&mut connection, &bedrock_key).await?;
    let age = Utc::now() - bedrock_key.registered_at;
    Ok(HttpResponse::Ok().json(BedrockKeyDetails {
        bedrock_key,
        age_seconds: age.num_seconds().max(0),
        last_used_at: last_use.as_ref().map(|it| it.started_at),
        last_status: last_use.as_ref().map(|it| it.status),
        last_outcome: last_use.map(|it| it.outcome),
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
    author: Author,
    access_key_id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    let access_key_id = *access_key_id;
    let mut connection = state.store.connection().await?;
    let recorded = connection
        .transaction(async |connection| {
            let key = found(connection, access_key_id).await?;
            let bedrock_key = registered(connection, access_key_id).await?;
            if !bedrock_keys::delete(connection, access_key_id).await? {
                return Err(Code::BedrockKeyNotFound.into());
            }
            let action = AuditAction::BedrockKeyDeleted;
            let before = audit::bedrock_key(&bedrock_key);
            let entry = Entry::ended(action, Object::bedrock_key(&key), before);
            author.record(connection, &entry).await
        })
        .await?;
    tracing::info!(%access_key_id, "bedrock_key.deleted");
    Ok(recorded.no_content())
}

/// Where a credential is used, and with what it is verified there.
#[derive(Debug)]
struct Place {
    region: String,
    model: Option<String>,
}

/// Nobody is asked about a key that is not there, and nobody waits with a transaction
/// open: the key is looked at again before something is stored.
async fn place(
    state: &State,
    access_key_id: Uuid,
    asked_for: Option<&str>,
) -> Result<Place, Error> {
    let asked_for = asked_for.map(region).transpose()?;
    let mut connection = state.store.connection().await?;
    let key = working_key(&mut connection, access_key_id).await?;
    let region = asked_for
        .or(key.bedrock_region.as_deref())
        .unwrap_or(&state.bedrock.bedrock_region);
    Ok(Place {
        region: region.to_owned(),
        model: model_mappings::bedrock_model(&mut connection, VERIFIED_WITH).await?,
    })
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
async fn working_key(connection: &mut AsyncPgConnection, id: Uuid) -> Result<AccessKey, Error> {
    let key = found(connection, id).await?;
    // The user first, as everywhere.
    active_user(connection, key.user_id).await?;
    working(connection, id).await
}

async fn registered(
    connection: &mut AsyncPgConnection,
    access_key_id: Uuid,
) -> Result<BedrockKey, Error> {
    bedrock_keys::find(connection, access_key_id)
        .await?
        .ok_or_else(|| Code::BedrockKeyNotFound.into())
}

/// The model that has answered.
async fn verify<'a>(
    verifier: &Bedrock,
    credential: &BedrockCredential,
    place: &'a Place,
) -> Result<&'a str, Error> {
    let region = place.region.as_str();
    let model = place.model.as_deref().ok_or_else(|| {
        Error::with_message(
            Code::BedrockModelNotEnabled,
            format!("Credentials are verified with {VERIFIED_WITH}, which has no active mapping."),
        )
    })?;
    let verified = verifier.verify(credential, region, model).await;
    verified.map(|()| model).map_err(|refusal| {
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
