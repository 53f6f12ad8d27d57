//! What a proxy at some position needs, read in one transaction: head, log and
//! rows belong to the same moment, so what a proxy holds afterwards is a state
//! that the database has been in.

use std::{collections::HashMap, sync::Arc};

use diesel_async::AsyncPgConnection;
use futures_util::TryStreamExt;
use prost::Message;
use proto::{
    line::timestamp,
    sync::{
        AccessKey, BedrockApi, BedrockKey, Budget, Delta, Kind, ModelCapability, ModelMapping,
        Price, Provider, Rates, Resource, ResourceName, RoutingStrategy, Snapshot, User,
        resource::Spec,
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::{Position, digest::Digest};
use crate::store::{
    self, Store,
    changes::{self, Change, SyncedResource},
    model_mappings, users,
};

/// Far below the 4 MiB at which a gRPC message is refused.
const MAX_PART_BYTES: usize = 1 << 20;

/// More changed resources than this are a snapshot's work: a delta is one
/// message.
const MAX_DELTA_RESOURCES: usize = 5_000;

/// Each snapshot is held in memory until its proxy has taken it.
const MAX_SNAPSHOTS: usize = 4;

/// Reads for all watching proxies.
#[derive(Debug, Clone)]
pub struct Reader {
    store: Store,
    digest: Arc<Digest>,
    snapshots: Arc<Semaphore>,
}

/// How a proxy comes from its position to the head.
#[derive(Debug)]
pub enum Next {
    /// It is there, and should hold what has this digest.
    Heartbeat { digest: u64 },
    /// This brings it to the given position.
    Delta(Delta, Position),
    /// It needs everything.
    Snapshot,
}

/// Everything at one position.
#[derive(Debug)]
pub struct Everything {
    pub at: Position,
    /// At least one; the last one is complete.
    pub parts: Vec<Snapshot>,
    /// Gives room for another one when dropped.
    pub permit: OwnedSemaphorePermit,
}

/// A row that is not what the schema promises.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {id} cannot be sent to proxies: {reason}")]
struct Unsendable {
    kind: String,
    id: Uuid,
    reason: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("a row is not what the schema promises")]
    Row(#[source] anyhow::Error),
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<Unsendable> for Error {
    fn from(error: Unsendable) -> Self {
        Self::Row(error.into())
    }
}

impl Reader {
    pub fn new(store: Store) -> Self {
        Self {
            store,
            digest: Arc::default(),
            snapshots: Arc::new(Semaphore::new(MAX_SNAPSHOTS)),
        }
    }

    /// # Errors
    /// When the database fails.
    pub async fn next(&self, position: Position) -> Result<Next, Error> {
        let mut connection = self.store.connection().await?;
        connection
            .build_transaction()
            .repeatable_read()
            .read_only()
            .run(async |connection| {
                let head = changes::head(connection).await?;
                if !head.continues(position) {
                    return Ok(Next::Snapshot);
                }
                if head.position() == position {
                    let digest = self.digest.at(position, connection).await?;
                    return Ok(Next::Heartbeat { digest });
                }
                let limit = MAX_DELTA_RESOURCES + 1;
                let changed = changes::since(connection, position.revision, limit).await?;
                if changed.len() > MAX_DELTA_RESOURCES {
                    return Ok(Next::Snapshot);
                }
                let (upserted, removed) = read_changed(connection, changed).await?;
                Ok(Next::Delta(
                    Delta {
                        from_exclusive: position.revision.cast_unsigned(),
                        to_inclusive: head.revision.cast_unsigned(),
                        upserted,
                        removed,
                    },
                    head.position(),
                ))
            })
            .await
    }

    /// Waits while too many other proxies are being given everything.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn everything(&self) -> Result<Everything, Error> {
        let permit = Arc::clone(&self.snapshots)
            .acquire_owned()
            .await
            .map_err(|closed| Error::Row(closed.into()))?;
        let mut connection = self.store.connection().await?;
        let (at, parts) = connection
            .build_transaction()
            .repeatable_read()
            .read_only()
            .run(async |connection| read_all(connection).await)
            .await?;
        Ok(Everything { at, parts, permit })
    }
}

/// The changed resources that are still visible, and the names of the others.
async fn read_changed(
    connection: &mut AsyncPgConnection,
    changed: Vec<Change>,
) -> Result<(Vec<Resource>, Vec<ResourceName>), Error> {
    let mut ids_by_kind: HashMap<String, Vec<Uuid>> = HashMap::new();
    for change in changed {
        ids_by_kind.entry(change.kind).or_default().push(change.id);
    }
    let mut upserted = Vec::new();
    let mut removed = Vec::new();
    for (kind, mut absent) in ids_by_kind {
        if number(&kind).is_none() {
            strange(&kind);
            continue;
        }
        for row in changes::resources(connection, &kind, &absent).await? {
            absent.retain(|id| *id != row.id);
            upserted.push(resource(row)?);
        }
        for id in absent {
            removed.push(name(&kind, id)?);
        }
    }
    Ok((upserted, removed))
}

async fn read_all(connection: &mut AsyncPgConnection) -> Result<(Position, Vec<Snapshot>), Error> {
    let at = changes::head(connection).await?.position();
    let part = || Snapshot {
        at: Some(at.into()),
        resources: Vec::new(),
        complete: false,
    };
    let mut parts = Vec::new();
    let mut current = part();
    let mut bytes = 0;
    let mut rows = std::pin::pin!(changes::all_resources(connection).await?);
    while let Some(row) = rows.try_next().await? {
        if number(&row.kind).is_none() {
            strange(&row.kind);
            continue;
        }
        let resource = resource(row)?;
        // A few bytes more for the field's own header.
        let len = resource.encoded_len() + 8;
        if bytes + len > MAX_PART_BYTES && !current.resources.is_empty() {
            parts.push(std::mem::replace(&mut current, part()));
            bytes = 0;
        }
        bytes += len;
        current.resources.push(resource);
    }
    current.complete = true;
    parts.push(current);
    Ok((at, parts))
}

fn resource(row: SyncedResource) -> Result<Resource, Unsendable> {
    let name = name(&row.kind, row.id)?;
    let version = row.revision.cast_unsigned();
    let (kind, id) = (row.kind.clone(), row.id);
    let spec = spec(name.kind(), row).ok_or(Unsendable {
        kind,
        id,
        reason: "a column of it is null",
    })?;
    Ok(Resource {
        name: Some(name),
        version,
        spec: Some(spec),
    })
}

/// What proxies are told of a row; none when it lacks what its kind has.
fn spec(kind: Kind, row: SyncedResource) -> Option<Spec> {
    Some(match kind {
        Kind::Unspecified => return None,
        Kind::AccessKey => Spec::AccessKey(AccessKey {
            user_id: row.user_id?.to_string(),
            key_hash: row.key_hash?,
            expires_at: row.expires_at.map(timestamp),
            circuit_resets: row.circuit_resets?.cast_unsigned(),
        }),
        Kind::User => Spec::User(User {
            routing_strategy: RoutingStrategy::from(row.routing_strategy?).into(),
        }),
        Kind::BedrockKey => Spec::BedrockKey(BedrockKey {
            access_key_id: row.access_key_id?.to_string(),
            region: row.region?,
            sealed: row.sealed?,
            sealed_for: row.sealed_for?.to_string(),
        }),
        Kind::ModelMapping => Spec::ModelMapping(ModelMapping {
            claude_model: row.claude_model?,
            bedrock_model: row.bedrock_model?,
            bedrock_api: row
                .bedrock_api
                .map_or(BedrockApi::Unspecified, Into::into)
                .into(),
        }),
        Kind::ModelCapability => Spec::ModelCapability(ModelCapability {
            region: row.region?,
            model: row.bedrock_model?,
            feature: row.feature?,
        }),
        Kind::Price => Spec::Price(Price {
            provider: Provider::from(row.provider?).into(),
            region: row.region?,
            model_id: row.bedrock_model?,
            effective_from: Some(timestamp(row.effective_from?)),
            rates: Some(rates(&row.rates?)?),
            long_context_threshold: row.long_context_threshold.map_or(0, i64::unsigned_abs),
            long_context_rates: match row.long_context_rates {
                Some(list) => Some(rates(&list)?),
                None => None,
            },
        }),
        Kind::Budget => Spec::Budget(Budget {
            user_id: row.user_id?.to_string(),
            limit_micro_usd: row.limit_micro_usd?.unsigned_abs(),
            is_exhausted: row.is_exhausted?,
            period_start: Some(timestamp(row.period_start?)),
            period_end: Some(timestamp(row.period_end?)),
        }),
    })
}

/// Input, output, cache read, cache write 5 min and 1 h, as the view lists them.
fn rates(list: &[i64]) -> Option<Rates> {
    let [input, output, cache_read, cache_write_5m, cache_write_1h] =
        <[i64; 5]>::try_from(list).ok()?.map(i64::unsigned_abs);
    Some(Rates {
        input,
        output,
        cache_read,
        cache_write_5m,
        cache_write_1h,
    })
}

impl From<users::RoutingStrategy> for RoutingStrategy {
    fn from(strategy: users::RoutingStrategy) -> Self {
        match strategy {
            users::RoutingStrategy::PlanFirst => Self::PlanFirst,
            users::RoutingStrategy::BedrockOnly => Self::BedrockOnly,
        }
    }
}

impl From<model_mappings::BedrockApi> for BedrockApi {
    fn from(api: model_mappings::BedrockApi) -> Self {
        match api {
            model_mappings::BedrockApi::Invoke => Self::Invoke,
            model_mappings::BedrockApi::Messages => Self::Messages,
            model_mappings::BedrockApi::Converse => Self::Converse,
        }
    }
}

/// The kind that the database calls so; none for one of another version of
/// control, which must not keep changes of the kinds that are known from proxies.
fn number(kind: &str) -> Option<Kind> {
    Some(match kind {
        "access_key" => Kind::AccessKey,
        "user" => Kind::User,
        "bedrock_key" => Kind::BedrockKey,
        "model_mapping" => Kind::ModelMapping,
        "model_capability" => Kind::ModelCapability,
        "price" => Kind::Price,
        "budget" => Kind::Budget,
        _ => return None,
    })
}

fn strange(kind: &str) {
    tracing::warn!(kind, "changes.unknown_kind");
}

fn name(kind: &str, id: Uuid) -> Result<ResourceName, Unsendable> {
    let number = number(kind).ok_or_else(|| Unsendable {
        kind: kind.to_owned(),
        id,
        reason: "there is no such kind",
    })?;
    Ok(ResourceName {
        kind: number.into(),
        id: id.to_string(),
    })
}

impl From<Position> for proto::sync::Position {
    fn from(position: Position) -> Self {
        Self {
            epoch: position.epoch.to_string(),
            revision: position.revision.cast_unsigned(),
        }
    }
}

impl Position {
    /// None for what cannot be a position of ours; such a proxy needs a
    /// snapshot.
    pub fn from_wire(position: &proto::sync::Position) -> Option<Self> {
        Some(Self {
            epoch: position.epoch.parse().ok()?,
            revision: position.revision.try_into().ok()?,
        })
    }
}
