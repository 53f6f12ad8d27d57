//! The admin API, as an administrator's program uses it.

use std::{fmt, time::Duration};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// Proxies that have not applied a change by then never will.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How often we ask whether they have.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A signed-in administrator.
#[derive(Clone)]
pub struct Admin {
    client: Client,
    url: String,
    token: String,
}

/// A key that was just issued.
#[derive(Clone)]
pub struct IssuedKey {
    pub access_key_id: String,
    pub raw_key: String,
}

impl Admin {
    /// # Errors
    /// When control cannot be reached or refuses the password.
    pub async fn sign_in(url: &str, username: &str, password: &str) -> Result<Self> {
        let client = super::http_client()?;
        let request = client
            .post(format!("{url}/admin/auth/login"))
            .basic_auth(username, Some(password));
        let answer = send(request).await.context("sign in")?;
        let token = text(&answer, "access_token")?;
        Ok(Self {
            client,
            url: url.to_owned(),
            token,
        })
    }

    /// # Errors
    /// When control refuses or cannot be reached.
    pub async fn create_user(&self, name: &str) -> Result<String> {
        let user = self
            .call(Method::POST, "/admin/users", Some(json!({ "name": name })))
            .await?;
        text(&user, "id")
    }

    /// # Errors
    /// When control refuses or cannot be reached.
    pub async fn issue_key(&self, user_id: &str) -> Result<IssuedKey> {
        let path = format!("/admin/users/{user_id}/access-keys");
        let key = self.call(Method::POST, &path, Some(json!({}))).await?;
        Ok(IssuedKey {
            access_key_id: text(&key, "id")?,
            raw_key: text(&key, "raw_key")?,
        })
    }

    /// # Errors
    /// When control refuses or cannot be reached.
    pub async fn revoke_key(&self, access_key_id: &str) -> Result<()> {
        let path = format!("/admin/access-keys/{access_key_id}");
        self.call(Method::DELETE, &path, None).await.map(drop)
    }

    /// Closes an access key's circuit on every proxy.
    ///
    /// # Errors
    /// When control refuses or cannot be reached.
    pub async fn reset_circuit(&self, access_key_id: &str) -> Result<()> {
        let path = format!("/admin/access-keys/{access_key_id}/circuit/reset");
        self.call(Method::POST, &path, None).await.map(drop)
    }

    /// Gives an access key a credential for Bedrock, in place of any it has.
    ///
    /// # Errors
    /// When control refuses or cannot be reached.
    pub async fn register_bedrock_key(
        &self,
        access_key_id: &str,
        credential: Value,
    ) -> Result<Value> {
        let path = format!("/admin/access-keys/{access_key_id}/bedrock-key");
        self.call(Method::POST, &path, Some(credential)).await
    }

    /// Lets `plan_first` or `bedrock_only` say who answers a user.
    ///
    /// # Errors
    /// When control refuses or cannot be reached.
    pub async fn route(&self, user_id: &str, routing_strategy: &str) -> Result<()> {
        let path = format!("/admin/users/{user_id}/routing-strategy");
        let body = json!({ "routing_strategy": routing_strategy });
        self.call(Method::PUT, &path, Some(body)).await.map(drop)
    }

    /// Waits until at least `proxies` proxies have applied the newest change.
    ///
    /// # Errors
    /// When control refuses or cannot be reached, or after a minute.
    pub async fn until_in_force(&self, proxies: u64) -> Result<()> {
        let in_force = async {
            loop {
                let answer = self.get("/admin/proxies").await?;
                let in_force = answer.pointer("/summary/in_force").and_then(Value::as_u64);
                if in_force >= Some(proxies) {
                    return Ok(());
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        tokio::time::timeout(TIMEOUT, in_force)
            .await
            .context("a proxy has not applied the newest change")?
    }

    /// # Errors
    /// When control refuses or cannot be reached.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// The administrator's, to be sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.client.request(method, url).bearer_auth(&self.token)
    }

    /// An answer that is read as it comes.
    ///
    /// # Errors
    /// When control refuses or cannot be reached.
    pub async fn open(&self, path: &str) -> Result<Response> {
        let request = self.request(Method::GET, path);
        Ok(request.send().await?.error_for_status()?)
    }

    /// # Errors
    /// When control refuses or cannot be reached.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.request(method.clone(), path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        send(request)
            .await
            .with_context(|| format!("{method} {path}"))
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for IssuedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedKey")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

async fn send(request: RequestBuilder) -> Result<Value> {
    let response = request.send().await?;
    let status = response.status();
    let body = response.text().await?;
    if !status.is_success() {
        bail!("{status}: {body}");
    }
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&body).with_context(|| format!("no JSON: {body}"))
}

fn text(answer: &Value, field: &str) -> Result<String> {
    let value = answer.get(field).and_then(Value::as_str);
    Ok(value
        .with_context(|| format!("the answer has no {field}"))?
        .to_owned())
}
