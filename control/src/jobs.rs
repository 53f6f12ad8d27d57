//! What has to be done from time to time. Every replica does it; each job is
//! safe to run twice and at the same time.

use std::{future::Future, time::Duration};

use chrono::{TimeDelta, Utc};
use chrono_tz::Tz;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use tokio::time::{self, MissedTickBehavior};

use crate::{
    audit::{self, Entry, Object},
    changes::HeadWatch,
    fleet::Fleet,
    settings::Pace,
    store::{
        self, Store,
        access_keys::{self, AccessKey, AccessKeyStatus},
        aggregates,
        audit_log::{self, AuditAction, NewAuditEntry},
        budgets, changes, ended_sessions, model_capabilities, proxies, usage,
    },
    tasks::Tasks,
    telemetry::metrics,
};

/// A proxy that was away longer, or missed more, starts from a snapshot.
const CHANGES_KEPT_FOR: TimeDelta = TimeDelta::days(7);
const CHANGES_KEPT: i64 = 100_000;

/// A process that is silent for a day does not come back.
const PROXIES_KEPT_FOR: TimeDelta = TimeDelta::days(1);

/// Revoked at once; each one is a revision.
const MAX_EXPIRED_AT_ONCE: i64 = 500;

/// How many budgets begin a new month in one transaction.
const MAX_BUDGETS_AT_ONCE: i64 = 500;

/// Anybody can add refused sign-ins to the audit log, so only so many are kept.
const REFUSALS_KEPT: i64 = 10_000;

/// What the operator has decided about old and new months.
#[derive(Debug, Clone, Copy)]
pub struct Upkeep {
    pub usage_retention_days: u32,
    pub audit_retention_days: u32,
    pub timezone: Tz,
}

/// Starts all jobs.
pub fn start(tasks: &Tasks, store: &Store, pace: &Pace, upkeep: &Upkeep) {
    let retention = TimeDelta::days(upkeep.usage_retention_days.into());
    let timezone = upkeep.timezone;
    repeat(tasks, "turn_months", pace.expiry, store, move |store| {
        turn_months(store, timezone)
    });
    repeat(tasks, "drop_minutes", pace.upkeep, store, drop_minutes);
    repeat(tasks, "revoke_expired", pace.expiry, store, revoke_expired);
    repeat(
        tasks,
        "forget_capabilities",
        pace.expiry,
        store,
        forget_capabilities,
    );
    repeat(
        tasks,
        "measure_proxies",
        pace.expiry,
        store,
        measure_proxies,
    );
    repeat(
        tasks,
        "make_partitions",
        pace.upkeep,
        store,
        make_partitions,
    );
    repeat(
        tasks,
        "compact_changes",
        pace.upkeep,
        store,
        compact_changes,
    );
    repeat(tasks, "forget_proxies", pace.upkeep, store, forget_proxies);
    repeat(
        tasks,
        "forget_sessions",
        pace.upkeep,
        store,
        forget_sessions,
    );
    let audit_retention = TimeDelta::days(upkeep.audit_retention_days.into());
    repeat(tasks, "forget_audit", pace.upkeep, store, move |store| {
        forget_audit(store, audit_retention)
    });
    repeat(tasks, "drop_old_usage", pace.upkeep, store, move |store| {
        drop_old_usage(store, retention)
    });
}

/// Runs a job now and then. A failed run is logged, and the next one comes.
fn repeat<F>(
    tasks: &Tasks,
    name: &'static str,
    every: Duration,
    store: &Store,
    job: impl Fn(Store) -> F + Send + 'static,
) where
    F: Future<Output = store::Result<()>> + Send,
{
    metrics::job_runs(name);
    let store = store.clone();
    tasks.spawn_until_stop(async move {
        let mut ticks = time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = job(store.clone()).await {
                metrics::job_failed(name);
                tracing::warn!(
                    job = name,
                    error = &error as &dyn std::error::Error,
                    "job.failed"
                );
            }
        }
    });
}

/// Keeps the metrics of the head current.
pub async fn measure_head(mut head: HeadWatch) {
    loop {
        let revision = head.borrow_and_update().map(|head| head.revision);
        metrics::head(revision);
        if head.changed().await.is_err() {
            return;
        }
    }
}

/// What was true before the database went away says nothing.
async fn measure_proxies(store: Store) -> store::Result<()> {
    let fleet = fleet(&store).await;
    metrics::proxies(fleet.as_ref().ok());
    fleet.map(drop)
}

async fn fleet(store: &Store) -> store::Result<Fleet> {
    let mut connection = store.connection().await?;
    let head = changes::head(&mut connection).await?.position();
    let proxies = proxies::list(&mut connection).await?;
    Ok(Fleet::of(&proxies, head, Utc::now()))
}

/// Nothing is written when time passes, so somebody has to.
async fn revoke_expired(store: Store) -> store::Result<()> {
    let mut connection = store.connection().await?;
    let revoked = connection
        .transaction(async |connection| {
            let keys = access_keys::revoke_expired(connection, MAX_EXPIRED_AT_ONCE).await?;
            let entries: Vec<Entry> = keys.iter().map(expired).collect();
            let entries: Vec<_> = entries.iter().map(NewAuditEntry::of).collect();
            audit_log::insert(connection, &entries).await?;
            Ok::<_, store::Error>(keys.len())
        })
        .await?;
    if revoked > 0 {
        tracing::info!(access_keys = revoked, "access_keys.expired");
    }
    Ok(())
}

fn expired(key: &AccessKey) -> Entry {
    let revoked = AccessKey {
        status: AccessKeyStatus::Revoked,
        has_bedrock_key: false,
        ..key.clone()
    };
    Entry::changed(
        AuditAction::AccessKeyExpired,
        Object::access_key(key),
        audit::access_key(key),
        audit::access_key(&revoked),
    )
}

async fn forget_audit(store: Store, retention: TimeDelta) -> store::Result<()> {
    let mut connection = store.connection().await?;
    let forgotten = audit_log::forget(&mut connection, retention, REFUSALS_KEPT).await?;
    if forgotten > 0 {
        tracing::info!(entries = forgotten, "audit_log.shortened");
    }
    Ok(())
}

async fn forget_sessions(store: Store) -> store::Result<()> {
    let mut connection = store.connection().await?;
    ended_sessions::forget(&mut connection).await?;
    Ok(())
}

/// What Bedrock has refused a while ago is tried again.
async fn forget_capabilities(store: Store) -> store::Result<()> {
    let mut connection = store.connection().await?;
    let forgotten = model_capabilities::forget_expired(&mut connection).await?;
    if forgotten > 0 {
        tracing::info!(model_capabilities = forgotten, "model_capabilities.expired");
    }
    Ok(())
}

async fn make_partitions(store: Store) -> store::Result<()> {
    let mut connection = store.connection().await?;
    let made = usage::make_partitions(&mut connection).await?;
    if made > 0 {
        tracing::info!(partitions = made, "usage.partitions_made");
    }
    Ok(())
}

async fn drop_old_usage(store: Store, retention: TimeDelta) -> store::Result<()> {
    let mut connection = store.connection().await?;
    for partition in usage::drop_old(&mut connection, retention).await? {
        tracing::info!(partition, "usage.partition_dropped");
    }
    Ok(())
}

async fn drop_minutes(store: Store) -> store::Result<()> {
    let mut connection = store.connection().await?;
    let dropped = aggregates::drop_minutes(&mut connection).await?;
    if dropped > 0 {
        tracing::info!(buckets = dropped, "usage.minutes_dropped");
    }
    Ok(())
}

/// Budgets begin again with the month. Proxies know when it ends and do not wait
/// for this.
async fn turn_months(store: Store, timezone: Tz) -> store::Result<()> {
    let mut connection = store.connection().await?;
    loop {
        let now = Utc::now();
        let turned = connection
            .transaction(async |connection| {
                let users = budgets::ended(connection, now, MAX_BUDGETS_AT_ONCE).await?;
                budgets::settle(connection, &users, now, timezone).await?;
                Ok::<_, store::Error>(users.len())
            })
            .await?;
        if turned == 0 {
            return Ok(());
        }
        tracing::info!(budgets = turned, "budgets.month_turned");
    }
}

/// Makes the aggregates anew when they are in another time zone, or were never
/// made.
///
/// # Errors
/// When the database fails.
pub async fn move_aggregates(store: &Store, timezone: Tz) -> store::Result<()> {
    let mut connection = store.connection().await?;
    let from = aggregates::timezone(&mut connection).await?;
    if from.as_deref() == Some(timezone.name()) {
        return Ok(());
    }
    tracing::info!(from, to = timezone.name(), "usage.rebuilding_aggregates");
    rebuild(&mut connection, timezone).await
}

/// Makes the aggregates anew in the time zone in which they are: no other one is right
/// for a control that is serving.
///
/// # Errors
/// When the database fails.
pub async fn rebuild_aggregates(store: &Store) -> store::Result<Tz> {
    let mut connection = store.connection().await?;
    let timezone = aggregates::timezone(&mut connection).await?;
    let timezone = timezone.and_then(|it| it.parse().ok()).unwrap_or(Tz::UTC);
    rebuild(&mut connection, timezone).await?;
    Ok(timezone)
}

/// With the budgets, whose spending is sums of them.
async fn rebuild(connection: &mut AsyncPgConnection, timezone: Tz) -> store::Result<()> {
    connection
        .transaction(async |connection| {
            aggregates::rebuild(connection, timezone).await?;
            budgets::settle_all(connection, Utc::now(), timezone).await
        })
        .await
}

async fn compact_changes(store: Store) -> store::Result<()> {
    let mut connection = store.connection().await?;
    let forgotten = connection
        .transaction(async |connection| {
            changes::compact(connection, Utc::now() - CHANGES_KEPT_FOR, CHANGES_KEPT).await
        })
        .await?;
    if forgotten > 0 {
        tracing::info!(changes = forgotten, "changes.compacted");
    }
    Ok(())
}

async fn forget_proxies(store: Store) -> store::Result<()> {
    let mut connection = store.connection().await?;
    proxies::forget(&mut connection, PROXIES_KEPT_FOR).await?;
    Ok(())
}
