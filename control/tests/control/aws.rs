//! KMS and Secrets Manager, as far as control uses them; moto stands in for AWS.

use std::process::Command;

use aws::{Aws, kms::Kms};
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use proto::{
    bedrock_credential::BedrockCredential,
    sealed::{CONTEXT, Error, Sealed, Wrapper},
};
use serde_json::json;
use testkit::{
    moto::Moto,
    postgres::Database,
    stack::{self, ControlAddresses, service::Recipe},
};
use tokio::sync::OnceCell;

use crate::{
    bedrock_keys::held,
    support::{
        PASSWORD, TestApp, USERNAME, answer, http_client,
        proxy::{Copy, node},
        sql,
    },
};

const REGION: &str = "eu-west-1";

/// One for all tests; it ends with the process.
async fn moto() -> &'static Moto {
    static MOTO: OnceCell<Moto> = OnceCell::const_new();
    MOTO.get_or_init(async || Moto::start().await.unwrap())
        .await
}

/// AWS at some address.
async fn aws(url: &str) -> Aws {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(aws::http_client())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(url)
        .load()
        .await;
    Aws::with(config)
}

/// An app that seals with a KMS key, and an access key.
async fn sealing_with(aws: &Aws, key_id: &str) -> (TestApp, String) {
    let app = TestApp::start_with(|settings| {
        settings.sealing.local_encryption_key = None;
        settings.sealing.kms_key_id = Some(key_id.to_owned());
        settings.aws = aws.clone();
    })
    .await;
    let user = app.user("Ada").await;
    let key = app.access_key(&user).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    (app, key)
}

fn path(access_key_id: &str) -> String {
    format!("/admin/access-keys/{access_key_id}/bedrock-key")
}

/// What a proxy does on first use.
async fn open(kms: &Kms, sealed: &[u8], sealed_for: &str) -> Result<BedrockCredential, String> {
    let sealed = Sealed::try_from(sealed).map_err(|error| error.to_string())?;
    assert_eq!(sealed.wrapper, Wrapper::Kms);
    let data_key = kms
        .unwrap_key(&sealed.wrapped_key, (CONTEXT, sealed_for))
        .await
        .map_err(|error| error.to_string())?;
    let bytes = sealed
        .open(sealed_for, &data_key)
        .map_err(|error| error.to_string())?;
    Ok(BedrockCredential::from_bytes(&bytes).unwrap())
}

fn api_key(key: &str) -> BedrockCredential {
    BedrockCredential::ApiKey {
        bedrock_api_key: key.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kms_has_sealed_opens_for_its_access_key_only() {
    let aws = aws(moto().await.url()).await;
    let key_id = moto().await.create_key(REGION).await.unwrap();
    let kms = Kms::new(aws.clone(), &key_id);
    let (app, key) = sealing_with(&aws, &key_id).await;
    let mut copy = Copy::new(app.running.grpc_addr).await;
    copy.watch().await;
    copy.advance().await;

    // Registered, and replaced: a fresh data key each time.
    let mut wrapped = Vec::new();
    for secret in ["first", "second"] {
        let registered = app
            .post(&path(&key), json!({"bedrock_api_key": secret}))
            .await;
        assert_eq!(registered.status, 201, "{registered:?}");
        copy.advance().await;
        let (_, _, on_proxy) = held(&copy, &key).unwrap();
        let opened = open(&kms, &on_proxy.sealed, &key).await;
        assert_eq!(opened, Ok(api_key(secret)));
        wrapped.push(Sealed::try_from(&on_proxy.sealed[..]).unwrap().wrapped_key);
    }
    assert_ne!(wrapped[0], wrapped[1]);

    // Rotated: it opens for the key that it was sealed for.
    let rotate = format!("/admin/access-keys/{key}/rotate");
    let new = app.post(&rotate, json!({})).await.id();
    copy.advance().await;
    let (_, _, on_proxy) = held(&copy, &new).unwrap();
    let opened = open(&kms, &on_proxy.sealed, &on_proxy.sealed_for).await;
    assert_eq!(opened, Ok(api_key("second")));

    // The wrong context is refused by KMS, before any cipher is tried.
    let refused = open(&kms, &on_proxy.sealed, &new).await.unwrap_err();
    assert!(refused.starts_with("AWS refused"), "{refused}");

    // A change is refused: of the wrapped data key by KMS, of the rest by us.
    let length = on_proxy.sealed.len();
    for at in [4, length / 2, length - 1] {
        let mut tampered = on_proxy.sealed.clone();
        tampered[at] ^= 1;
        assert!(open(&kms, &tampered, &key).await.is_err(), "byte {at}");
    }
    let sealed = Sealed::try_from(&on_proxy.sealed[..]).unwrap();
    let data_key = kms.unwrap_key(&sealed.wrapped_key, (CONTEXT, &key)).await;
    let data_key = data_key.unwrap();
    assert_eq!(sealed.open(&new, &data_key).unwrap_err(), Error::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kms_nothing_is_stored_and_everything_else_works() {
    let moto = moto().await;
    let unknown = "00000000-0000-0000-0000-000000000000";
    for (url, key_id) in [("http://127.0.0.1:1", "alias/any"), (moto.url(), unknown)] {
        let (app, key) = sealing_with(&aws(url).await, key_id).await;
        app.post(&path(&key), json!({"bedrock_api_key": "marker"}))
            .await
            .assert_error(503, "kms_unavailable");
        app.get(&path(&key))
            .await
            .assert_error(404, "bedrock_key_not_found");
    }
}

/// The program, with everything that can be kept in Secrets Manager kept there.
struct Kept {
    database: Database,
    addresses: ControlAddresses,
    environment: Vec<(String, String)>,
}

impl Kept {
    async fn new() -> Self {
        let moto = moto().await;
        let database = Database::create().await.unwrap();
        let addresses = ControlAddresses::free().unwrap();
        let url = url::Url::parse(database.url()).unwrap();
        let rds = json!({
            "engine": "postgres",
            "username": url.username(),
            "password": url.password().unwrap_or("none"),
            "host": url.host_str(),
            "port": url.port().unwrap_or(5432),
            "dbname": url.path().trim_start_matches('/'),
        });
        let administrator = json!({"username": USERNAME, "password": PASSWORD});
        let mut environment = vec![
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", moto.url().to_owned()),
            ("AWS_ENDPOINT_URL_KMS", moto.url().to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("PROXY_ADMIN_ADDR", addresses.admin.to_string()),
            ("PROXY_GRPC_ADDR", addresses.grpc.to_string()),
            ("PROXY_CONTROL_OPS_ADDR", addresses.ops.to_string()),
        ];
        for (variable, text) in [
            ("PROXY_DATABASE_URL_ARN", rds.to_string()),
            ("PROXY_ADMIN_CREDENTIALS_ARN", administrator.to_string()),
            (
                "PROXY_KEY_HASHER_SECRET_ARN",
                "marker-hasher-secret".to_owned(),
            ),
            (
                "PROXY_SYNC_TOKEN_ARN",
                json!({"sync_token": "marker-sync-token", "other": "x"}).to_string(),
            ),
            (
                "PROXY_JWT_SECRET_ARN",
                json!({"anything": "marker-jwt-secret"}).to_string(),
            ),
        ] {
            environment.push((variable, secret(&text).await));
        }
        let environment = environment
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Self {
            database,
            addresses,
            environment,
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    fn recipe(&self, log: &std::path::Path) -> Recipe {
        let environment = self.environment.iter();
        Recipe {
            name: "control",
            program: env!("CARGO_BIN_EXE_claude-code-control").into(),
            arguments: vec!["serve".into()],
            environment: environment
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            log: log.to_owned(),
            ready_url: format!("{}/readyz", stack::url(self.addresses.ops)),
        }
    }

    /// How it ends at once, and with what words.
    fn refusal(&self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_claude-code-control"))
            .arg("serve")
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78));
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(!line.contains("marker"), "{line}");
        line
    }

    async fn token(&self) -> String {
        let url = stack::url(self.addresses.admin);
        let login = http_client()
            .post(format!("{url}/admin/auth/login"))
            .basic_auth(USERNAME, Some(PASSWORD));
        let login = answer(login).await;
        login.body["access_token"].as_str().unwrap().to_owned()
    }
}

/// A new secret's ARN.
async fn secret(text: &str) -> String {
    let name = uuid::Uuid::new_v4().to_string();
    let secret = moto().await.create_secret(REGION, &name, text);
    secret.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_kept_in_secrets_manager_are_fetched_at_start() {
    let kept = Kept::new().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("control.log");
    let service = kept.recipe(&log).start().unwrap();
    service.ready().await.unwrap();
    let token = kept.token().await;
    let channel = crate::support::proxy::channel(kept.addresses.grpc).await;
    let mut proxy = proto::sync::config_service_client::ConfigServiceClient::with_interceptor(
        channel,
        crate::support::proxy::credentials("marker-sync-token"),
    );
    let report = proto::sync::ReportRequest {
        node: Some(node()),
        ..Default::default()
    };
    proxy.report(report).await.unwrap();

    // A session outlives a restart, though the password is kept as it is.
    service.stop().await.unwrap();
    let service = kept.recipe(&log).start().unwrap();
    service.ready().await.unwrap();
    let url = format!("{}/admin/proxies", stack::url(kept.addresses.admin));
    let proxies = answer(http_client().get(url).bearer_auth(token)).await;
    assert_eq!(
        proxies.body["items"].as_array().unwrap().len(),
        1,
        "{proxies:?}"
    );
    drop(service);
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!log.contains("marker"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_cannot_be_used_are_named_and_never_shown() {
    let mut kept = Kept::new().await;
    let good = kept.environment.clone();
    let missing = format!("arn:aws:secretsmanager:{REGION}:123456789012:secret:none-AbCdEf");
    for (variable, text) in [
        ("PROXY_SYNC_TOKEN", "marker"),
        (
            "PROXY_SYNC_TOKEN_ARN",
            r#"{"one": "marker", "two": "marker"}"#,
        ),
        ("PROXY_ADMIN_CREDENTIALS_ARN", "marker"),
        ("PROXY_ADMIN_CREDENTIALS_ARN", r#"{"username": "marker"}"#),
        (
            "PROXY_ADMIN_PASSWORD_HASH",
            r#"{"username": "a", "password_hash": "marker"}"#,
        ),
        (
            "PROXY_DATABASE_URL_ARN",
            r#"{"host": "db.test", "password": "marker"}"#,
        ),
        ("PROXY_DATABASE_URL", "mysql://me:marker@db.test/proxy"),
    ] {
        let arn = match variable {
            "PROXY_ADMIN_PASSWORD_HASH" => "PROXY_ADMIN_CREDENTIALS_ARN".to_owned(),
            variable => format!("{}_ARN", variable.trim_end_matches("_ARN")),
        };
        kept.environment.clone_from(&good);
        kept.set(&arn, &secret(text).await);
        let line = kept.refusal();
        assert!(line.contains(variable), "{text}: {line}");
    }
    for (variable, arn) in [
        ("PROXY_JWT_SECRET_ARN", missing.as_str()),
        ("PROXY_JWT_SECRET_ARN", "arn:aws:kms:eu-west-1:1:key/a"),
        ("PROXY_JWT_SECRET_ARN", ""),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1"),
    ] {
        kept.environment.clone_from(&good);
        kept.set(variable, arn);
        let line = kept.refusal();
        assert!(line.contains("_ARN"), "{variable}: {line}");
    }
    for (variable, value, arn) in [
        (
            "PROXY_JWT_SECRET",
            "0123456789abcdef",
            "PROXY_JWT_SECRET_ARN",
        ),
        (
            "PROXY_ADMIN_USERNAME",
            "admin",
            "PROXY_ADMIN_CREDENTIALS_ARN",
        ),
        (
            "PROXY_DATABASE_URL",
            "postgres://db.test/proxy",
            "PROXY_DATABASE_URL_ARN",
        ),
    ] {
        kept.environment.clone_from(&good);
        kept.set(variable, value);
        let line = kept.refusal();
        assert!(line.contains(variable) && line.contains(arn), "{line}");
    }
}

/// What must be nowhere, however it is written down.
const MARKERS: [&str; 5] = [
    "marker-api-key",
    "marker-secret-access-key",
    "marker-session-token",
    "marker-in-a-bad-body",
    "marker-that-bedrock-refuses",
];

/// The real program, with all logs, under KMS; then everything that it has
/// written, stored or answered.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_log_table_metric_or_answer() {
    let bedrock = testkit::bedrock::Simulator::start().await.unwrap();
    bedrock.credentials().accept_api_key(MARKERS[0]);
    let mut kept = Kept::new().await;
    let key_id = moto().await.create_key(REGION).await.unwrap();
    kept.set("PROXY_KMS_KEY_ID", &key_id);
    kept.set("AWS_REGION", REGION);
    kept.set("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", &bedrock.url());
    kept.set("PROXY_LOG_LEVEL", "trace");
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("control.log");
    let service = kept.recipe(&log).start().unwrap();
    service.ready().await.unwrap();
    let (token, url) = (kept.token().await, stack::url(kept.addresses.admin));
    let client = http_client();
    let post = async |path: &str, body: serde_json::Value| {
        let request = client.post(format!("{url}{path}")).bearer_auth(&token);
        answer(request.json(&body)).await
    };
    let user = post("/admin/users", json!({"name": "Ada"})).await.id();
    let key = post(&format!("/admin/users/{user}/access-keys"), json!({})).await;
    let (key, raw_key) = (key.id(), key.body["raw_key"].as_str().unwrap().to_owned());

    let mut answers = String::new();
    let mut statuses = Vec::new();
    for body in [
        json!({"bedrock_api_key": MARKERS[4], "verify": true}),
        json!({"verify": MARKERS[3], "bedrock_api_key": MARKERS[3]}),
        json!({MARKERS[3]: MARKERS[3]}),
        json!({"bedrock_api_key": MARKERS[3], "region": MARKERS[3]}),
        json!({"bedrock_api_key": MARKERS[0], "verify": true}),
        json!({
            "aws_access_key_id": "AKIA",
            "aws_secret_access_key": MARKERS[1],
            "aws_session_token": MARKERS[2],
        }),
    ] {
        let answer = post(&path(&key), body).await;
        statuses.push(answer.status.as_u16());
        answers += &format!("{answer:?}");
    }
    assert_eq!(statuses, [422, 400, 400, 400, 201, 201]);
    post(&format!("/admin/access-keys/{key}/rotate"), json!({})).await;
    for url in [
        format!("{url}{}", path(&key)),
        format!("{}/metrics", stack::url(kept.addresses.ops)),
    ] {
        let answer = answer(client.get(url).bearer_auth(&token)).await;
        assert_eq!(answer.status, 200);
        answers += &format!("{answer:?}");
    }
    let dump = dump(kept.database.url()).await;
    service.stop().await.unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("bedrock_key.registered") && log.contains("http.answered"));
    assert!(dump.contains(&key) && answers.contains("registered_at"));
    let mut secrets = MARKERS.map(str::to_owned).to_vec();
    secrets.push(raw_key);
    secrets.extend(
        [
            "marker-hasher-secret",
            "marker-sync-token",
            "marker-jwt-secret",
            PASSWORD,
        ]
        .map(str::to_owned),
    );
    for secret in secrets {
        for form in forms(&secret) {
            for (place, text) in [("log", &log), ("table", &dump), ("answer", &answers)] {
                assert!(!text.contains(&form), "{form} is in a {place}");
            }
        }
    }
    bedrock.stop().await;
}

/// As it is, and as columns of bytes and encodings show it.
fn forms(secret: &str) -> [String; 3] {
    use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
    // The last digits depend on what follows.
    let mut base64 = STANDARD_NO_PAD.encode(secret);
    base64.truncate(secret.len() / 3 * 4);
    [secret.to_owned(), hex::encode(secret), base64]
}

/// Every row of every table, as text.
async fn dump(url: &str) -> String {
    let client = sql(url).await;
    let tables = client
        .query(
            "select format('%I.%I', schemaname, tablename) from pg_tables
             where schemaname not in ('pg_catalog', 'information_schema')",
            &[],
        )
        .await
        .unwrap();
    assert!(tables.len() > 10);
    let mut dump = String::new();
    for table in tables {
        let table: String = table.get(0);
        let rows =
            format!("select coalesce(string_agg(row::text, E'\\n'), '') from {table} as row");
        let rows = client.query_one(&rows, &[]).await.unwrap();
        dump += rows.get(0);
    }
    dump
}

/// Local keys and KMS keys exclude each other.
#[tokio::test(flavor = "multi_thread")]
async fn sealing_settings_are_checked_before_anything_starts() {
    let mut kept = Kept::new().await;
    let good = kept.environment.clone();
    kept.set("PROXY_KMS_KEY_ID", "alias/any");
    kept.set("PROXY_LOCAL_ENCRYPTION_KEY", "marker-0123456789");
    let line = kept.refusal();
    for variable in ["PROXY_KMS_KEY_ID", "PROXY_LOCAL_ENCRYPTION_KEY"] {
        assert!(line.contains(variable), "{line}");
    }
    for (variable, value) in [
        ("PROXY_KMS_KEY_ID", ""),
        ("PROXY_LOCAL_ENCRYPTION_KEY", "marker"),
        ("PROXY_LOCAL_ENCRYPTION_KEY", ""),
        ("PROXY_BEDROCK_REGION", "eu-west-1.evil.test"),
        ("PROXY_BEDROCK_USE_ROLE", "perhaps"),
        ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "bedrock"),
    ] {
        kept.environment.clone_from(&good);
        kept.set(variable, value);
        let line = kept.refusal();
        assert!(line.contains(variable), "{variable}={value}: {line}");
    }
}
