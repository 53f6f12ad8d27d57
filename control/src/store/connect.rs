//! How a connection to Postgres is made, and what holds on each.

use std::{fmt, str::FromStr, time::Duration};

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use tokio_postgres::{
    Client, Config, Connection, Socket, config::TargetSessionAttrs, tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::{Url, form_urlencoded};

use super::tls::Trust;

type TlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// No statement of ours needs longer; what does is stuck.
const STATEMENT_TIMEOUT: &str = "15s";

/// Where Postgres is, and how it proves that it is the one. Shown without its
/// password.
#[derive(Clone)]
pub struct DatabaseUrl {
    config: Config,
    tls: MakeRustlsConnect,
}

/// Not the address of a Postgres.
#[derive(Debug, thiserror::Error)]
#[error("is no Postgres address, expected postgres://user:password@host/database ({0})")]
pub struct Malformed(String);

impl Malformed {
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl FromStr for DatabaseUrl {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut url = Url::parse(text).map_err(|error| Malformed::because(error.to_string()))?;
        if !matches!(
            url.scheme(),
            "postgres" | "postgresql" | "postgresql+asyncpg"
        ) {
            return Err(Malformed::because(format!(
                "the scheme is {}",
                url.scheme()
            )));
        }
        // To Postgres a plus is a plus; in forms it is a space.
        let query = url.query().map(|query| query.replace('+', "%2B"));
        url.set_query(query.as_deref());
        let (trust, rest) = Trust::take_from(&url)?;
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(rest)
            .finish();
        url.set_query(Some(&query.replace('+', "%20")));
        let (_, after_scheme) = url
            .as_str()
            .split_once("://")
            .ok_or_else(|| Malformed::because("there is no host"))?;
        let mut config = Config::from_str(&format!("postgres://{after_scheme}"))
            .map_err(|error| Malformed::because(describe(&error)))?;
        if config.get_hosts().is_empty() {
            return Err(Malformed::because("there is no host"));
        }
        config
            .application_name("claude-code-control")
            .connect_timeout(Duration::from_secs(5))
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(Duration::from_secs(30))
            // Changes are read from the primary only: a standby may lag.
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .ssl_mode(trust.ssl_mode());
        Ok(Self {
            config,
            tls: trust
                .connector()
                .map_err(|error| Malformed::because(format!("{error:#}")))?,
        })
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseUrl")
            .field("hosts", &self.config.get_hosts())
            .field("ports", &self.config.get_ports())
            .field("database", &self.config.get_dbname())
            .field("user", &self.config.get_user())
            .finish_non_exhaustive()
    }
}

/// A connection for the pool.
pub(super) async fn pooled(mut url: DatabaseUrl) -> ConnectionResult<AsyncPgConnection> {
    let options = url.config.get_options().unwrap_or_default();
    // Compiling a statement takes longer than any of ours saves by it.
    let options = format!("{options} -c statement_timeout={STATEMENT_TIMEOUT} -c jit=off");
    url.config.options(options);
    unhurried(&url).await
}

/// A connection of one's own, on which a statement may take its time.
pub(super) async fn unhurried(url: &DatabaseUrl) -> ConnectionResult<AsyncPgConnection> {
    let (client, connection) = notifications(url)
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
) -> Result<(Client, Connection<Socket, TlsStream>), tokio_postgres::Error> {
    url.config.connect(url.tls.clone()).await
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
    use tokio_postgres::config::SslMode;

    use super::*;

    #[test]
    fn every_spelling_of_the_scheme_is_understood() {
        for scheme in ["postgres", "postgresql", "postgresql+asyncpg"] {
            let url: DatabaseUrl = format!("{scheme}://me:secret@db:5433/proxy")
                .parse()
                .unwrap();
            assert_eq!(url.config.get_dbname(), Some("proxy"));
            assert_eq!(url.config.get_ports(), [5433]);
            assert!(!format!("{url:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for text in [
            "",
            "db",
            "mysql://me:secret@db/proxy",
            "postgres:///proxy",
            "postgres://me:secret@db:x/proxy",
            "postgres://me:secret@db/proxy?sslmode=maybe",
            "postgres://me:secret@db/proxy?sslrootcert=/nonexistent",
            "postgres://me:secret@db/proxy?colour=red",
        ] {
            let error = text.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn parameters_reach_postgres_as_they_are() {
        let url: DatabaseUrl =
            "postgres://me@db/proxy?options=-c%20search_path%3Dpublic&user=a+b%26c"
                .parse()
                .unwrap();
        assert_eq!(url.config.get_options(), Some("-c search_path=public"));
        assert_eq!(url.config.get_user(), Some("a+b&c"));
    }

    #[test]
    fn both_spellings_of_encryption_are_understood() {
        let mode = |query: &str| {
            let url: DatabaseUrl = format!("postgres://me@db/proxy{query}").parse().unwrap();
            url.config.get_ssl_mode()
        };
        assert_eq!(mode(""), SslMode::Prefer);
        assert_eq!(mode("?sslmode=disable"), SslMode::Disable);
        assert_eq!(mode("?ssl=require"), SslMode::Require);
        assert_eq!(
            mode("?connect_timeout=3&sslmode=verify-full"),
            SslMode::Require
        );
    }
}
