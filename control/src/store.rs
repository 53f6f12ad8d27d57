//! Postgres: the pool, and one file per table.
//!
//! A file here knows its table's rows and queries and decides nothing. Reads of
//! users and access keys go through views that leave deleted rows out.

pub mod access_keys;
pub mod aggregates;
pub mod audit_log;
pub mod bedrock_keys;
pub mod budget_alerts;
pub mod budgets;
pub mod changes;
pub mod circuits;
mod connect;
pub mod ended_sessions;
pub mod migrate;
pub mod model_capabilities;
pub mod model_mappings;
pub mod prices;
pub mod proxies;
pub mod reports;
pub mod rows;
mod schema;
pub mod sessions;
mod tls;
pub mod usage;
pub mod users;

use std::{fmt, time::Duration};

use deadpool::managed::{Object, PoolConfig, PoolError, Timeouts};
use diesel::{
    QueryableByName,
    result::{DatabaseErrorKind, Error as QueryError},
    sql_types::Text,
};
use diesel_async::{
    AsyncPgConnection, RunQueryDsl,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, PoolError as ConnectError, RecyclingMethod,
    },
};
use futures_util::FutureExt;

pub use self::connect::{DatabaseUrl, notifications};

/// A connection from the pool.
pub type Connection = Object<AsyncDieselConnectionManager<AsyncPgConnection>>;

/// Enough for one replica: ingest, watchers and administrators are short.
const MAX_CONNECTIONS: usize = 16;

/// Longer waits would only hide that Postgres is in trouble.
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections to Postgres.
#[derive(Clone)]
pub struct Store {
    pool: deadpool::managed::Pool<AsyncDieselConnectionManager<AsyncPgConnection>>,
    url: DatabaseUrl,
}

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or has no time for us. The same may work later.
    #[error("the database is not available")]
    Unavailable(#[source] anyhow::Error),
    /// It refused the statement.
    #[error("the database refused a statement")]
    Refused(#[source] QueryError),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Store {
    /// Connects nowhere yet.
    ///
    /// # Errors
    /// Never in practice: the pool's options are fixed.
    pub fn new(url: DatabaseUrl) -> anyhow::Result<Self> {
        let mut config = ManagerConfig::default();
        // A connection that was closed meanwhile shows when it is checked out,
        // not in the middle of somebody's request.
        config.recycling_method = RecyclingMethod::Verified;
        let target = url.clone();
        config.custom_setup = Box::new(move |_| connect::pooled(target.clone()).boxed());
        let manager = AsyncDieselConnectionManager::new_with_config("", config);
        let pool = deadpool::managed::Pool::builder(manager)
            .config(PoolConfig {
                max_size: MAX_CONNECTIONS,
                timeouts: Timeouts {
                    wait: Some(WAIT_TIMEOUT),
                    create: Some(CONNECT_TIMEOUT),
                    recycle: Some(CONNECT_TIMEOUT),
                },
                ..PoolConfig::default()
            })
            .runtime(deadpool::Runtime::Tokio1)
            .build()?;
        Ok(Self { pool, url })
    }

    /// A connection, as soon as one is free.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn connection(&self) -> Result<Connection> {
        self.pool.get().await.map_err(Error::from)
    }

    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Connections that are open, and how many of them are idle.
    pub fn pool_use(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size, status.available)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("url", &self.url).finish()
    }
}

impl From<PoolError<ConnectError>> for Error {
    fn from(error: PoolError<ConnectError>) -> Self {
        Self::Unavailable(match error {
            PoolError::Backend(ConnectError::ConnectionError(error)) => error.into(),
            PoolError::Backend(ConnectError::QueryError(error)) => error.into(),
            PoolError::Timeout(_) => anyhow::anyhow!("no connection within {WAIT_TIMEOUT:?}"),
            error => error.into(),
        })
    }
}

impl From<QueryError> for Error {
    /// A connection that broke is the database's trouble; anything else is ours.
    fn from(error: QueryError) -> Self {
        let is_passing = match &error {
            QueryError::DatabaseError(
                DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::SerializationFailure
                | DatabaseErrorKind::ReadOnlyTransaction,
                _,
            )
            | QueryError::BrokenTransactionManager => true,
            // diesel drops the code that tells these apart, so we go by Postgres'
            // words. In another language they would be answered 500 once.
            QueryError::DatabaseError(DatabaseErrorKind::Unknown, information) => {
                let message = information.message();
                [
                    "terminating connection",
                    "canceling statement",
                    "the database system is",
                    "deadlock detected",
                    "remaining connection slots",
                    "sorry, too many clients",
                ]
                .iter()
                .any(|start| message.starts_with(start))
            }
            _ => false,
        };
        if is_passing {
            return Self::Unavailable(error.into());
        }
        Self::Refused(error)
    }
}

#[derive(QueryableByName)]
struct Locked {}

/// Waits for whoever holds the lock of this name; held until the end of the
/// transaction. Triggers take it as `hashtext(name)` too.
async fn lock(connection: &mut AsyncPgConnection, name: &str) -> Result<()> {
    let _locked: Vec<Locked> = diesel::sql_query("select pg_advisory_xact_lock(hashtext($1))")
        .bind::<Text, _>(name)
        .load(connection)
        .await?;
    Ok(())
}

/// Searching for `50%` finds `50%`.
fn escape_like(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('%', r"\%")
        .replace('_', r"\_")
}

/// Text columns with a closed set of values, as Rust enums.
//
// A `literal` would come in a group of its own, in which utoipa does not find it.
macro_rules! text_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$about:meta])* $variant:ident = $text:tt),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize,
            utoipa::ToSchema, diesel::expression::AsExpression, diesel::deserialize::FromSqlRow,
        )]
        #[diesel(sql_type = diesel::sql_types::Text)]
        pub enum $name { $($(#[$about])* #[serde(rename = $text)] $variant),* }

        impl $name {
            /// Its name in Postgres, JSON and logs.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn to_sql<'b>(
                &'b self,
                out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>,
            ) -> diesel::serialize::Result {
                diesel::serialize::ToSql::<diesel::sql_types::Text, diesel::pg::Pg>::to_sql(
                    self.name(), out,
                )
            }
        }

        impl diesel::deserialize::FromSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn from_sql(bytes: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
                let text = <String as diesel::deserialize::FromSql<
                    diesel::sql_types::Text, diesel::pg::Pg,
                >>::from_sql(bytes)?;
                match text.as_str() {
                    $($text => Ok(Self::$variant),)*
                    other => Err(format!("unknown {}: {other}", stringify!($name)).into()),
                }
            }
        }
    };
}
use text_enum;
