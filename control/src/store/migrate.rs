//! Brings the database to this version. Safe with several replicas starting at
//! once: one works, the others wait and find it done.

use anyhow::{Context, anyhow};
use diesel::sql_types::{Nullable, Text};
use diesel_async::{
    AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use sha2::{Digest, Sha256};

use super::{DatabaseUrl, connect, usage};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Triggers, functions and views.
const TRIGGERS: &str = include_str!("../../migrations/triggers.sql");

const TOTALS: &str = "select rebuild_usage_totals(
    coalesce((select timezone from usage_aggregation), 'UTC')
)";

/// Any number, as long as it is ours and stays.
const LOCK: i64 = 0x00cc_9807;

/// Runs what has not run yet, and makes the partitions of the coming months.
///
/// # Errors
/// When Postgres cannot be reached or refuses; nothing is half done then.
pub async fn migrate(url: &DatabaseUrl) -> anyhow::Result<()> {
    let mut connection = connect::unhurried(url).await?;
    // Given back when the connection closes, however we leave.
    connection
        .batch_execute(&format!("select pg_advisory_lock({LOCK})"))
        .await
        .context("wait for another replica's migration")?;

    let mut harness = AsyncMigrationHarness::new(connection);
    let applied = harness
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| anyhow!("migrate the tables: {error}"))?;
    for version in applied {
        tracing::info!(migration = %version, "database.migrated");
    }
    let mut connection = harness.into_inner();
    replace_triggers(&mut connection)
        .await
        .context("replace the triggers")?;
    usage::make_partitions(&mut connection)
        .await
        .context("make the partitions of usage")?;
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Installed {
    #[diesel(sql_type = Nullable<Text>)]
    version: Option<String>,
}

/// Only when the file has changed: the statements lock tables that other
/// replicas are working with.
///
/// An older version's triggers may have left the totals behind, or nobody has kept
/// any yet; so they are made anew.
async fn replace_triggers(connection: &mut AsyncPgConnection) -> diesel::QueryResult<()> {
    let version = hex::encode(Sha256::digest(TRIGGERS));
    let installed: Installed = diesel::sql_query(
        "select obj_description(to_regprocedure('record_change()'), 'pg_proc') as version",
    )
    .get_result(connection)
    .await?;
    if installed.version.as_ref() == Some(&version) {
        return Ok(());
    }
    connection
        .transaction(async |connection| {
            connection.batch_execute(TRIGGERS).await?;
            connection.batch_execute(TOTALS).await?;
            let remember = format!("comment on function record_change() is '{version}'");
            connection.batch_execute(&remember).await
        })
        .await
}
