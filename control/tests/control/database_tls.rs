//! Encryption towards Postgres, with a server that has a certificate.

use std::path::Path;

use control::store::Store;
use diesel::{QueryableByName, sql_types::Bool};
use diesel_async::RunQueryDsl;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::NamedTempFile;
use testkit::postgres::{Server, Storage};

use crate::support::{eventually, sql};

#[derive(QueryableByName)]
struct Session {
    #[diesel(sql_type = Bool)]
    ssl: bool,
}

/// A server for `127.0.0.1`, and its own certificate as a PEM file.
async fn server() -> (Server, NamedTempFile) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let server = Server::start(Storage::Scratch).await.unwrap();
    let client = sql(&server.url("postgres")).await;
    // Postgres itself puts the files where it may read them.
    for (file, pem) in [
        ("server.crt", cert.pem()),
        ("server.key", signing_key.serialize_pem()),
    ] {
        let statement = format!(
            "copy (select unnest(string_to_array('{}', E'\\n')))
             to program 'umask 077; cat > {file}'",
            pem.trim()
        );
        client.batch_execute(&statement).await.unwrap();
    }
    client
        .batch_execute("alter system set ssl = on")
        .await
        .unwrap();
    client
        .batch_execute("select pg_reload_conf()")
        .await
        .unwrap();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), cert.pem()).unwrap();
    (server, file)
}

/// Whether a connection is encrypted.
async fn is_encrypted(url: &str) -> Result<bool, control::store::Error> {
    let store = Store::new(url.parse().unwrap()).unwrap();
    let mut connection = store.connection().await?;
    let session: Session =
        diesel::sql_query("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
            .get_result(&mut *connection)
            .await?;
    Ok(session.ssl)
}

fn verifying(url: &str, roots: &Path) -> String {
    format!("{url}?sslmode=verify-full&sslrootcert={}", roots.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_encrypted_when_the_server_can_and_verified_when_asked() {
    let (server, own_cert) = server().await;
    let url = server.url("postgres");
    // The server re-reads its settings when it gets to it.
    eventually(async {
        while !is_encrypted(&url).await.unwrap() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(
        !is_encrypted(&format!("{url}?sslmode=disable"))
            .await
            .unwrap()
    );
    assert!(is_encrypted(&format!("{url}?ssl=require")).await.unwrap());
    assert!(
        is_encrypted(&verifying(&url, own_cert.path()))
            .await
            .unwrap()
    );

    let other = generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let other_cert = NamedTempFile::new().unwrap();
    std::fs::write(other_cert.path(), other.cert.pem()).unwrap();
    is_encrypted(&verifying(&url, other_cert.path()))
        .await
        .unwrap_err();
    is_encrypted(&format!("{url}?sslmode=verify-full"))
        .await
        .unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_encrypt_is_refused_when_encryption_is_required() {
    let database = testkit::postgres::Database::create().await.unwrap();
    assert!(!is_encrypted(database.url()).await.unwrap());
    let required = format!("{}?sslmode=require", database.url());
    is_encrypted(&required).await.unwrap_err();
}
