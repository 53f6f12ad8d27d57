//! A control plane with a database of its own, and the two kinds of clients that
//! it has.

pub mod proxy;

use std::time::Duration;

use aws::Aws;
use chrono_tz::Tz;
use control::{
    app::{App, Running},
    settings::{
        Admin, Bedrock, Calendar, Database as DatabaseSettings, Listeners, Money, Pace, Sealing,
        Settings, Sync, Webhook,
    },
};
use reqwest::{Method, StatusCode, header};
use secrecy::SecretString;
use serde_json::{Value, json};
use telemetry::settings::Exports;
use testkit::postgres::Database;
use tokio_postgres::NoTls;

pub const USERNAME: &str = "admin";
pub const PASSWORD: &str = "correct horse battery staple";
pub const SYNC_TOKEN: &str = "a token between the processes";
pub const HASHER_SECRET: &str = "the secret of the hasher";
pub const LOCAL_KEY: &str = "the key that wraps data keys";

/// Nothing here may take longer; what does hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A control plane, its database, and an administrator who is signed in.
pub struct TestApp {
    pub running: Running,
    pub database: Database,
    http: reqwest::Client,
    token: String,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: header::HeaderMap,
    pub body: Value,
}

/// Settings for a database; tests change what they are about.
pub fn settings(url: &str) -> Settings {
    let any_port = "127.0.0.1:0".parse().unwrap();
    Settings {
        database: DatabaseSettings {
            database_url: url.parse().unwrap(),
            database_url_arn: None,
        },
        listeners: Listeners {
            admin_addr: any_port,
            grpc_addr: any_port,
            control_ops_addr: any_port,
        },
        sync: Sync {
            sync_token: SecretString::from(SYNC_TOKEN),
            sync_token_arn: None,
            sync_tls_cert: None,
            sync_tls_key: None,
            sync_tls_ca: None,
        },
        admin: Admin {
            admin_username: USERNAME.to_owned(),
            admin_password_hash: sha256(PASSWORD).parse().unwrap(),
            admin_credentials_arn: None,
            jwt_secret: SecretString::from("a secret for the sessions"),
            jwt_secret_arn: None,
            admin_load_balancers: 0,
            public_url: "http://proxy.test".to_owned(),
        },
        key_hasher_secret: SecretString::from(HASHER_SECRET),
        key_hasher_secret_arn: None,
        sealing: Sealing {
            kms_key_id: None,
            local_encryption_key: Some(SecretString::from(LOCAL_KEY)),
        },
        bedrock: Bedrock {
            bedrock_region: "ap-northeast-2".to_owned(),
            bedrock_use_role: false,
            // Nobody listens there.
            bedrock_endpoint: Some("http://127.0.0.1:1".to_owned()),
        },
        money: Money {
            model_pricing: None,
            calendar: Calendar { timezone: Tz::UTC },
        },
        webhook: Webhook::default(),
        usage_retention_days: 400,
        audit_retention_days: 400,
        exports: Exports::default(),
        pace: Pace::default(),
        aws: Aws::default(),
    }
}

fn sha256(text: &str) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(text))
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let database = Database::create().await.unwrap();
        let mut settings = settings(database.url());
        change(&mut settings);
        let running = App::start(settings).await.unwrap();
        running.ready().await;
        Self::signed_in(running, database).await
    }

    pub async fn signed_in(running: Running, database: Database) -> Self {
        let mut app = Self {
            running,
            database,
            http: http_client(),
            token: String::new(),
        };
        let login = app.login(USERNAME, PASSWORD).await;
        assert_eq!(login.status, StatusCode::OK, "{login:?}");
        app.token = login.body["access_token"].as_str().unwrap().to_owned();
        app
    }

    pub async fn login(&self, username: &str, password: &str) -> Answer {
        let request = self
            .http
            .post(self.url("/admin/auth/login"))
            .basic_auth(username, Some(password));
        answer(request).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.admin_addr)
    }

    pub fn ops_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.ops_addr)
    }

    /// A request with the administrator's token.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.token)
    }

    pub fn anonymous(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        answer(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        answer(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        answer(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        answer(self.request(Method::DELETE, path)).await
    }

    /// A new user's id.
    pub async fn user(&self, name: &str) -> String {
        let user = self.post("/admin/users", json!({"name": name})).await;
        assert_eq!(user.status, StatusCode::CREATED, "{user:?}");
        user.id()
    }

    /// A new key of a user.
    pub async fn access_key(&self, user_id: &str) -> Value {
        let path = format!("/admin/users/{user_id}/access-keys");
        let key = self.post(&path, json!({})).await;
        assert_eq!(key.status, StatusCode::CREATED, "{key:?}");
        key.body
    }

    /// A connection to the database beside control's own.
    pub async fn sql(&self) -> tokio_postgres::Client {
        sql(self.database.url()).await
    }
}

impl Answer {
    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.body["error"]["code"], code, "{self:?}");
        let message = self.body["error"]["message"].as_str().unwrap();
        assert!(message.len() > 10, "{self:?}");
    }
}

pub fn http_client() -> reqwest::Client {
    // Whoever comes first.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(PATIENCE)
        .build()
        .unwrap()
}

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status();
    let headers = response.headers().clone();
    let text = response.text().await.unwrap();
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    };
    Answer {
        status,
        headers,
        body,
    }
}

pub async fn sql(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    // Ends with the client.
    spawn(connection);
    client
}

/// Runs something beside the test.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is its own shutdown: its runtime ends with it"
)]
pub fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(task)
}

/// Waits for something that will be.
pub async fn eventually<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it took too long")
}
