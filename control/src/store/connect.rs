//! How a connection to Postgres is made, and what holds on each.

use std::{fmt, str::FromStr, time::Duration};

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use tokio_postgres::{Config, NoTls, config::TargetSessionAttrs};

/// No statement of ours needs longer; what does is stuck.
const STATEMENT_TIMEOUT: &str = "15s";

/// Where Postgres is. Shown without its password.
#[derive(Clone)]
pub struct DatabaseUrl(Config);

/// Not the address of a Postgres.
#[derive(Debug, thiserror::Error)]
#[error("is no Postgres address, expected postgres://user:password@host/database ({0})")]
pub struct Malformed(String);

impl FromStr for DatabaseUrl {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| Malformed("there is no ://".to_owned()))?;
        if !matches!(scheme, "postgres" | "postgresql" | "postgresql+asyncpg") {
            return Err(Malformed(format!("the scheme is {scheme}")));
        }
        // asyncpg's name for it.
        let rest = rest
            .replace("?ssl=", "?sslmode=")
            .replace("&ssl=", "&sslmode=");
        let mut config = Config::from_str(&format!("postgres://{rest}")).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            Malformed(cause.unwrap_or_else(|| error.to_string()))
        })?;
        if config.get_hosts().is_empty() {
            return Err(Malformed("there is no host".to_owned()));
        }
        config
            .application_name("claude-code-control")
            .connect_timeout(Duration::from_secs(5))
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(Duration::from_secs(30))
            // Changes are read from the primary only: a standby may lag.
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self(config))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseUrl")
            .field("hosts", &self.0.get_hosts())
            .field("ports", &self.0.get_ports())
            .field("database", &self.0.get_dbname())
            .field("user", &self.0.get_user())
            .finish_non_exhaustive()
    }
}

/// A connection for the pool.
pub(super) async fn pooled(url: DatabaseUrl) -> ConnectionResult<AsyncPgConnection> {
    let mut config = url.0;
    let options = config.get_options().unwrap_or_default();
    let options = format!("{options} -c statement_timeout={STATEMENT_TIMEOUT} -c lc_messages=C");
    config.options(options);
    connect(&config).await
}

/// A connection of one's own, on which a statement may take its time.
pub(super) async fn unhurried(url: &DatabaseUrl) -> ConnectionResult<AsyncPgConnection> {
    connect(&url.0).await
}

async fn connect(config: &Config) -> ConnectionResult<AsyncPgConnection> {
    let (client, connection) = config
        .connect(NoTls)
        .await
        .map_err(|error| ConnectionError::BadConnection(describe(&error)))?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}

/// A raw connection, for `LISTEN`.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn notifications(
    url: &DatabaseUrl,
) -> Result<
    (
        tokio_postgres::Client,
        tokio_postgres::Connection<tokio_postgres::Socket, tokio_postgres::tls::NoTlsStream>,
    ),
    tokio_postgres::Error,
> {
    url.0.connect(NoTls).await
}

/// tokio-postgres keeps what went wrong in the source.
fn describe(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_scheme_is_understood() {
        for scheme in ["postgres", "postgresql", "postgresql+asyncpg"] {
            let url: DatabaseUrl = format!("{scheme}://me:secret@db:5433/proxy")
                .parse()
                .unwrap();
            assert_eq!(url.0.get_dbname(), Some("proxy"));
            assert_eq!(url.0.get_ports(), [5433]);
            assert!(!format!("{url:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for text in ["", "db", "mysql://me:secret@db/proxy", "postgres:///proxy"] {
            let error = text.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
