//! Tells a webhook that a part of a budget is used up.
//!
//! What is to be told is in the database, so that nothing is lost and every replica
//! can do it: one takes an alert, posts it, and marks it as delivered. Only when
//! that replica dies between the two is it told again; its id is the same.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use chrono::{TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{header, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::Sha256;
use tokio::{sync::Notify, time};
use url::Url;

use crate::{
    settings,
    store::{
        self, Store,
        budget_alerts::{self, Waiting},
    },
    telemetry::metrics,
};

/// `t=<unix seconds>,v1=<HMAC-SHA256 of "<t>.<body>" in hexadecimal>`.
const SIGNATURE: &str = "x-ccproxy-signature";

/// The alert's id: the same however often it is told.
const DELIVERY: &str = "x-ccproxy-delivery";

/// A receiver that takes longer is tried again.
const TIMEOUT: Duration = Duration::from_secs(10);

/// No other replica tries an alert for so long after one has taken it: long enough
/// for the receiver, and to write down that it has it.
const CLAIMED_FOR: TimeDelta = TimeDelta::seconds(60);

/// Delays double from the first to the longest: some three days altogether.
const FIRST_DELAY: TimeDelta = TimeDelta::seconds(5);
const LONGEST_DELAY: TimeDelta = TimeDelta::hours(1);
const MAX_ATTEMPTS: i32 = 80;

/// Nobody is told of what was crossed so long ago, before there was a webhook; of
/// the current month's, however. No attempt comes so late.
const OLD_NEWS: TimeDelta = TimeDelta::days(4);

/// Where alerts go. Without a webhook they stay in the database, for the API.
#[derive(Debug, Clone)]
pub struct Alerts {
    store: Store,
    webhook: Option<Arc<Webhook>>,
    crossed: Arc<Notify>,
}

#[derive(Debug)]
struct Webhook {
    client: reqwest::Client,
    url: Url,
    secret: SecretString,
}

/// What is posted.
#[derive(Serialize)]
struct Message<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    alert: &'a Waiting,
}

impl Alerts {
    /// # Errors
    /// When no client can be made of the settings.
    pub fn new(store: Store, settings: &settings::Webhook) -> anyhow::Result<Self> {
        let webhook = match (
            &settings.budget_webhook_url,
            &settings.budget_webhook_secret,
        ) {
            (Some(url), Some(secret)) => Some(Arc::new(Webhook {
                client: client()?,
                url: url.parse().context("PROXY_BUDGET_WEBHOOK_URL")?,
                secret: secret.clone(),
            })),
            (Some(_), None) => anyhow::bail!(
                "PROXY_BUDGET_WEBHOOK_SECRET: must be set together with PROXY_BUDGET_WEBHOOK_URL"
            ),
            (None, _) => None,
        };
        Ok(Self {
            store,
            webhook,
            crossed: Arc::default(),
        })
    }

    /// Something may have been crossed.
    pub fn notify(&self) {
        self.crossed.notify_one();
    }

    /// Tells what is to be told, as soon as it is heard of, and looks every `poll`
    /// for what is due again or was left by another replica.
    pub async fn run(self, poll: Duration) {
        let Some(webhook) = self.webhook.clone() else {
            return;
        };
        let mut is_old_passed_over = false;
        loop {
            if let Err(error) = self.tell_all(&webhook, &mut is_old_passed_over).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "alerts.not_told");
            }
            let _silence = time::timeout(poll, self.crossed.notified()).await;
        }
    }

    async fn tell_all(
        &self,
        webhook: &Webhook,
        is_old_passed_over: &mut bool,
    ) -> store::Result<()> {
        if !*is_old_passed_over {
            self.pass_over_what_is_old().await?;
            *is_old_passed_over = true;
        }
        // One by one: what another one's receiver takes is not on its claim.
        while let Some(alert) = self.claim().await? {
            self.tell(webhook, &alert).await?;
        }
        Ok(())
    }

    /// Whoever sets a webhook for the first time is not told the whole history.
    async fn pass_over_what_is_old(&self) -> store::Result<()> {
        let mut connection = self.store.connection().await?;
        let alerts = budget_alerts::pass_over(&mut connection, OLD_NEWS).await?;
        if alerts > 0 {
            tracing::info!(alerts, "alerts.passed_over");
        }
        Ok(())
    }

    /// Nobody keeps a connection while a receiver thinks.
    async fn claim(&self) -> store::Result<Option<Waiting>> {
        let mut connection = self.store.connection().await?;
        budget_alerts::claim(&mut connection, CLAIMED_FOR, MAX_ATTEMPTS).await
    }

    async fn tell(&self, webhook: &Webhook, alert: &Waiting) -> store::Result<()> {
        let told = webhook.post(alert).await;
        let mut connection = self.store.connection().await?;
        let (alert_id, attempts) = (alert.id, alert.attempts);
        match told {
            Ok(()) => {
                budget_alerts::delivered(&mut connection, alert_id).await?;
                metrics::alert("delivered");
                tracing::info!(%alert_id, user_id = %alert.user_id, threshold = alert.threshold, "alert.delivered");
            }
            Err(error) if attempts >= MAX_ATTEMPTS => {
                metrics::alert("given_up");
                tracing::error!(%alert_id, attempts, reason = format!("{error:#}"), "alert.given_up");
            }
            Err(error) => {
                budget_alerts::retry_after(&mut connection, alert_id, delay(attempts)).await?;
                metrics::alert("failed");
                tracing::warn!(%alert_id, attempts, reason = format!("{error:#}"), "alert.failed");
            }
        }
        Ok(())
    }
}

impl Webhook {
    async fn post(&self, alert: &Waiting) -> anyhow::Result<()> {
        let body = serde_json::to_vec(&Message {
            r#type: "budget_alert",
            alert,
        })?;
        let signature = sign(&self.secret, Utc::now().timestamp(), &body)?;
        let response = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(SIGNATURE, signature)
            .header(DELIVERY, alert.id.to_string())
            .body(body)
            .send()
            .await
            // The address may have a secret in it.
            .map_err(reqwest::Error::without_url)?;
        anyhow::ensure!(
            response.status().is_success(),
            "the webhook answers with status {}",
            response.status()
        );
        Ok(())
    }
}

fn client() -> anyhow::Result<reqwest::Client> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    // A company's own authority is often known to the system only.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        .user_agent(concat!("claude-code-control/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(client)
}

/// So that the receiver knows who has written, and when.
fn sign(secret: &SecretString, at: i64, body: &[u8]) -> anyhow::Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())?;
    mac.update(format!("{at}.").as_bytes());
    mac.update(body);
    let digest = hex::encode(mac.finalize().into_bytes());
    Ok(format!("t={at},v1={digest}"))
}

/// How long to wait after so many attempts.
fn delay(attempts: i32) -> TimeDelta {
    let doublings = u32::try_from(attempts.clamp(1, 16) - 1).unwrap_or(0);
    (FIRST_DELAY * 2_i32.pow(doublings)).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '1790000000.{}' | openssl dgst -sha256 -hmac 'a secret'`
    #[test]
    fn a_signature_can_be_checked_with_openssl() {
        let signature = sign(&"a secret".to_owned().into(), 1_790_000_000, b"{}").unwrap();
        assert_eq!(
            signature,
            "t=1790000000,v1=a462bf336150a3e5b1e218cdb22a7d4b13abb93f56d25ceba0042b0f6e823ca1"
        );
    }

    #[test]
    fn delays_double_and_end() {
        let seconds: Vec<_> = [1, 2, 3, 10, 11, 80]
            .map(|attempts| delay(attempts).num_seconds())
            .into();
        assert_eq!(seconds, [5, 10, 20, 2_560, 3_600, 3_600]);
        let total: TimeDelta = (1..MAX_ATTEMPTS).map(delay).sum();
        assert!((2..=4).contains(&total.num_days()), "{total}");
        assert!(total < OLD_NEWS, "{total}");
    }
}
