//! The `model_capabilities` table: what Bedrock refuses.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper, dsl::sql, prelude::*,
    sql_types::Bool,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Result, schema::model_capabilities, text_enum};

/// Any number, as long as it is ours and stays. Lessons are counted and added
/// under it, so that their bound holds.
const LOCK: i64 = 0x00cc_9808;

text_enum! {
    /// How a capability came to be known.
    pub enum CapabilitySource {
        /// It came with the software.
        Seed = "seed",
        /// A proxy has met it; it is forgotten after a while.
        Learned = "learned",
    }
}

/// A feature that a model in a region refuses, so that proxies leave it out.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = model_capabilities)]
pub struct ModelCapability {
    pub id: Uuid,
    /// `*` is every region.
    pub region: String,
    /// The Bedrock model as it is called; `*` is every model.
    pub model: String,
    /// `beta:<flag>` or `field:<path>`.
    #[schema(example = "beta:fast-mode-2026-02-01")]
    pub feature: String,
    pub source: CapabilitySource,
    pub learned_at: DateTime<Utc>,
    /// When it will be tried again; null: never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What a proxy has met.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lesson {
    pub region: String,
    pub model: String,
    pub feature: String,
}

/// What became of lessons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Learned {
    pub new: usize,
    /// Known before; kept for longer, unless it is a seed.
    pub known: usize,
    /// There was no room.
    pub ignored: usize,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = model_capabilities)]
struct NewCapability<'a> {
    id: Uuid,
    region: &'a str,
    model: &'a str,
    feature: &'a str,
    source: CapabilitySource,
    expires_at: DateTime<Utc>,
}

/// By region, model and feature.
pub async fn list(connection: &mut AsyncPgConnection) -> Result<Vec<ModelCapability>> {
    let capabilities = model_capabilities::table
        .order((
            model_capabilities::region,
            model_capabilities::model,
            model_capabilities::feature,
        ))
        .select(ModelCapability::as_select())
        .load(connection)
        .await?;
    Ok(capabilities)
}

/// Keeps lessons for a while, up to so many learned ones in all. Must run in a
/// transaction. Hearing of a lesson again is no change for proxies.
pub async fn learn(
    connection: &mut AsyncPgConnection,
    lessons: &[Lesson],
    keep_for: TimeDelta,
    max_learned: i64,
) -> Result<Learned> {
    connection
        .batch_execute(&format!("select pg_advisory_xact_lock({LOCK})"))
        .await?;
    let expires_at = Utc::now() + keep_for;
    let mut new = Vec::new();
    for lesson in lessons {
        if !is_known(connection, lesson, expires_at).await? {
            new.push(NewCapability {
                id: Uuid::now_v7(),
                region: &lesson.region,
                model: &lesson.model,
                feature: &lesson.feature,
                source: CapabilitySource::Learned,
                expires_at,
            });
        }
    }
    let known = lessons.len().saturating_sub(new.len());
    let learned: i64 = model_capabilities::table
        .filter(model_capabilities::source.eq(CapabilitySource::Learned))
        .count()
        .get_result(connection)
        .await?;
    let room = usize::try_from(max_learned.saturating_sub(learned)).unwrap_or(0);
    let ignored = new.len().saturating_sub(room);
    new.truncate(room);
    let new = diesel::insert_into(model_capabilities::table)
        .values(new)
        .execute(connection)
        .await?;
    Ok(Learned {
        new,
        known,
        ignored,
    })
}

/// Prolongs a lesson that was learned before.
async fn is_known(
    connection: &mut AsyncPgConnection,
    lesson: &Lesson,
    expires_at: DateTime<Utc>,
) -> Result<bool> {
    let same = model_capabilities::table.filter(
        model_capabilities::region
            .eq(&lesson.region)
            .and(model_capabilities::model.eq(&lesson.model))
            .and(model_capabilities::feature.eq(&lesson.feature)),
    );
    let is_known = diesel::select(diesel::dsl::exists(same))
        .get_result(connection)
        .await?;
    diesel::update(same.filter(model_capabilities::source.eq(CapabilitySource::Learned)))
        .set(model_capabilities::expires_at.eq(expires_at))
        .execute(connection)
        .await?;
    Ok(is_known)
}

/// Forgets learned ones whose time has come; returns how many.
pub async fn forget_expired(connection: &mut AsyncPgConnection) -> Result<usize> {
    let forgotten = diesel::delete(model_capabilities::table)
        .filter(sql::<Bool>("expires_at <= now()"))
        .execute(connection)
        .await?;
    Ok(forgotten)
}

/// What it was; none when there was none.
pub async fn delete(
    connection: &mut AsyncPgConnection,
    id: Uuid,
) -> Result<Option<ModelCapability>> {
    let deleted = diesel::delete(model_capabilities::table.find(id))
        .returning(ModelCapability::as_returning())
        .get_result(connection)
        .await
        .optional()?;
    Ok(deleted)
}

/// Returns how many there were.
pub async fn delete_all(
    connection: &mut AsyncPgConnection,
    source: CapabilitySource,
) -> Result<usize> {
    let deleted = diesel::delete(model_capabilities::table)
        .filter(model_capabilities::source.eq(source))
        .execute(connection)
        .await?;
    Ok(deleted)
}
