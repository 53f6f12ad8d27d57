//! The `circuits` table: the access keys that go to Bedrock first on some proxy,
//! as it reported last.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, QueryDsl, QueryableByName, SelectableHelper,
    dsl::count_star,
    prelude::*,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Result,
    schema::{circuits, proxies},
    text_enum,
};
use crate::page::Page;

text_enum! {
    /// Whether the plan is left alone or being tried.
    pub enum CircuitState {
        Open = "open",
        /// One request tries whether the plan answers again, or the next one will.
        HalfOpen = "half_open",
    }
}

text_enum! {
    /// Why a circuit has opened.
    pub enum CircuitCause {
        /// Too many failures of the plan.
        Failures = "failures",
        /// A limit of the plan is used up.
        UsageLimit = "usage_limit",
    }
}

/// One access key on the proxy that reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    pub access_key_id: Uuid,
    pub state: CircuitState,
    pub cause: CircuitCause,
    pub opened_at: DateTime<Utc>,
    pub open_until: DateTime<Utc>,
}

/// An access key's circuit on one proxy, as administrators see it.
#[derive(Debug, Clone, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = circuits)]
pub struct CircuitOnProxy {
    pub instance_id: Uuid,
    pub state: CircuitState,
    pub cause: CircuitCause,
    pub opened_at: DateTime<Utc>,
    /// When the plan is tried again; in the past while it is being tried.
    pub open_until: DateTime<Utc>,
}

/// The circuits of an access key on several proxies, as one: open before half
/// open, then that of the proxy that leaves the plan alone for longest.
#[derive(Debug, Clone, QueryableByName, Serialize, ToSchema)]
pub struct WorstCircuit {
    #[diesel(sql_type = Text)]
    pub state: CircuitState,
    #[diesel(sql_type = Text)]
    pub cause: CircuitCause,
    /// When the plan is tried again; in the past while it is being tried.
    #[diesel(sql_type = Timestamptz)]
    pub open_until: DateTime<Utc>,
    /// On how many connected proxies it is not closed.
    #[diesel(sql_type = BigInt)]
    pub proxies: i64,
}

/// An access key whose circuit is not closed everywhere.
#[derive(Debug, Clone, QueryableByName, Serialize, ToSchema)]
pub struct AccessKeyCircuit {
    #[diesel(sql_type = SqlUuid)]
    pub access_key_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub user_id: Uuid,
    #[diesel(sql_type = Text)]
    pub user_name: String,
    #[diesel(sql_type = Text)]
    pub key_prefix: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub access_key_name: Option<String>,
    #[serde(flatten)]
    #[diesel(embed)]
    pub circuit: WorstCircuit,
}

#[derive(QueryableByName)]
struct OfAccessKey {
    #[diesel(sql_type = SqlUuid)]
    access_key_id: Uuid,
    #[diesel(embed)]
    circuit: WorstCircuit,
}

/// One row for each access key, of the proxies that have reported since `$1`.
const WORST: &str = "select distinct on (access_key_id)
        access_key_id, state, cause, open_until,
        count(*) over (partition by access_key_id) as proxies
    from circuits join proxies using (instance_id)
    where reported_at >= $1
    order by access_key_id, state = 'open' desc, open_until desc, instance_id";

/// Replaces what a proxy has reported before; each access key may be named once.
/// What is the same is not even locked.
pub async fn replace(
    connection: &mut AsyncPgConnection,
    instance_id: Uuid,
    reported: &[Circuit],
) -> Result<()> {
    fn column<T>(reported: &[Circuit], value: impl Fn(&Circuit) -> T) -> Vec<T> {
        reported.iter().map(value).collect()
    }
    diesel::sql_query(
        "with reported as (
            select * from unnest($2, $3, $4, $5, $6)
                as reported (access_key_id, state, cause, opened_at, open_until)
        ), closed as (
            delete from circuits
            where instance_id = $1 and not exists (
                select from reported where reported.access_key_id = circuits.access_key_id
            )
        )
        insert into circuits (
            instance_id, access_key_id, state, cause, opened_at, open_until
        )
        select $1, * from (
            select * from reported
            except
            select access_key_id, state, cause, opened_at, open_until
            from circuits where instance_id = $1
        ) as changed
        on conflict (instance_id, access_key_id) do update set
            state = excluded.state,
            cause = excluded.cause,
            opened_at = excluded.opened_at,
            open_until = excluded.open_until",
    )
    .bind::<SqlUuid, _>(instance_id)
    .bind::<Array<SqlUuid>, _>(column(reported, |circuit| circuit.access_key_id))
    .bind::<Array<Text>, _>(column(reported, |circuit| circuit.state))
    .bind::<Array<Text>, _>(column(reported, |circuit| circuit.cause))
    .bind::<Array<Timestamptz>, _>(column(reported, |circuit| circuit.opened_at))
    .bind::<Array<Timestamptz>, _>(column(reported, |circuit| circuit.open_until))
    .execute(connection)
    .await?;
    Ok(())
}

/// On the proxies that have reported since then; the one that opened last comes
/// first.
pub async fn of_access_key(
    connection: &mut AsyncPgConnection,
    access_key_id: Uuid,
    reported_since: DateTime<Utc>,
) -> Result<Vec<CircuitOnProxy>> {
    let circuits = circuits::table
        .inner_join(proxies::table)
        .filter(circuits::access_key_id.eq(access_key_id))
        .filter(proxies::reported_at.ge(reported_since))
        .order((circuits::opened_at.desc(), circuits::instance_id))
        .select(CircuitOnProxy::as_select())
        .load(connection)
        .await?;
    Ok(circuits)
}

/// Those of the given access keys whose circuit is not closed on some proxy that
/// has reported since then.
pub async fn worst(
    connection: &mut AsyncPgConnection,
    access_key_ids: &[Uuid],
    reported_since: DateTime<Utc>,
) -> Result<HashMap<Uuid, WorstCircuit>> {
    let circuits: Vec<OfAccessKey> = diesel::sql_query(format!(
        "select * from ({WORST}) as worst where access_key_id = any($2)"
    ))
    .bind::<Timestamptz, _>(reported_since)
    .bind::<Array<SqlUuid>, _>(access_key_ids)
    .load(connection)
    .await?;
    Ok(circuits
        .into_iter()
        .map(|of| (of.access_key_id, of.circuit))
        .collect())
}

/// All of them; the one that stays open for longest comes first.
pub async fn list(
    connection: &mut AsyncPgConnection,
    reported_since: DateTime<Utc>,
    page: &Page,
) -> Result<Vec<AccessKeyCircuit>> {
    let circuits = diesel::sql_query(format!(
        "select
            worst.*, user_id, users.name as user_name, key_prefix, keys.name as access_key_name
        from ({WORST}) as worst
            join live_access_keys as keys on keys.id = access_key_id
            join users on users.id = user_id
        where $2 is null or (open_until, access_key_id) < ($2, $3)
        order by open_until desc, access_key_id desc
        limit $4"
    ))
    .bind::<Timestamptz, _>(reported_since)
    .bind::<Nullable<Timestamptz>, _>(page.after.map(|cursor| cursor.at))
    .bind::<Nullable<SqlUuid>, _>(page.after.map(|cursor| cursor.id))
    .bind::<BigInt, _>(page.fetch())
    .load(connection)
    .await?;
    Ok(circuits)
}

/// How many each proxy has reported, of those that have reported any.
pub async fn counts(connection: &mut AsyncPgConnection) -> Result<HashMap<Uuid, i64>> {
    let counts: Vec<(Uuid, i64)> = circuits::table
        .group_by(circuits::instance_id)
        .select((circuits::instance_id, count_star()))
        .load(connection)
        .await?;
    Ok(counts.into_iter().collect())
}
