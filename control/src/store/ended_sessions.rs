//! The `ended_sessions` table: sessions that were signed out of.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods, QueryDsl, dsl::exists};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{Result, schema::ended_sessions};

/// False when it was ended before.
pub async fn insert(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    expires_at: DateTime<Utc>,
) -> Result<bool> {
    let inserted = diesel::insert_into(ended_sessions::table)
        .values((
            ended_sessions::id.eq(id),
            ended_sessions::expires_at.eq(expires_at),
        ))
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    Ok(inserted > 0)
}

pub async fn contains(connection: &mut AsyncPgConnection, id: Uuid) -> Result<bool> {
    let ended = diesel::select(exists(ended_sessions::table.find(id)))
        .get_result(connection)
        .await?;
    Ok(ended)
}

/// Forgets those whose time is over; returns how many.
pub async fn forget(connection: &mut AsyncPgConnection) -> Result<usize> {
    let forgotten = diesel::delete(ended_sessions::table)
        .filter(ended_sessions::expires_at.lt(Utc::now()))
        .execute(connection)
        .await?;
    Ok(forgotten)
}
