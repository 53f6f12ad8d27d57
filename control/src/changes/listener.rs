//! Learns where the head is.
//!
//! A notification only wakes, and may be lost; reading the head every few
//! seconds is what makes it correct. The connection is a dedicated one, and must
//! be a direct one: poolers in transaction mode drop `LISTEN`.

use std::{future::poll_fn, time::Duration};

use anyhow::{Context, bail};
use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::{
    sync::{Notify, watch},
    time,
};
use tokio_postgres::{AsyncMessage, Client};

use super::Head;
use crate::store::{self, DatabaseUrl};

/// A database that has not answered by then is away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes the head until dropped; publishes none while it cannot know.
pub async fn listen(url: DatabaseUrl, poll: Duration, head: watch::Sender<Option<Head>>) {
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(15))
        .without_max_times()
        .with_jitter();
    let mut delays = backoff.build();
    loop {
        let error = match session(&url, poll, &head).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if head.send_replace(None).is_some() {
            tracing::warn!(error = format!("{error:#}"), "listener.disconnected");
            delays = backoff.build();
        } else {
            tracing::debug!(error = format!("{error:#}"), "listener.not_connected");
        }
        time::sleep(delays.next().unwrap_or(Duration::from_secs(15))).await;
    }
}

/// One connection, for as long as it lasts.
async fn session(
    url: &DatabaseUrl,
    poll: Duration,
    head: &watch::Sender<Option<Head>>,
) -> anyhow::Result<std::convert::Infallible> {
    let (client, mut connection) = time::timeout(ANSWER_TIMEOUT, store::notifications(url))
        .await
        .context("connect within 5 s")?
        .context("connect")?;
    let wake = Notify::new();

    // The client's queries make progress only while the connection is polled.
    let drive = async {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(_) = message? {
                wake.notify_one();
            }
        }
        bail!("the database closed the connection")
    };
    let follow = async {
        client.batch_execute("listen config_changed").await?;
        loop {
            publish(read_head(&client).await?, head);
            let _ = time::timeout(poll, wake.notified()).await;
        }
    };
    tokio::select! {
        ended = drive => ended,
        ended = follow => ended,
    }
}

async fn read_head(client: &Client) -> anyhow::Result<Head> {
    let query = client.query_one("select epoch::text, revision, floor from sync_head", &[]);
    let row = time::timeout(ANSWER_TIMEOUT, query)
        .await
        .context("read the head within 5 s")?
        .context("read the head")?;
    Ok(Head {
        epoch: row.try_get::<_, String>(0)?.parse()?,
        revision: row.try_get(1)?,
        floor: row.try_get(2)?,
    })
}

fn publish(new: Head, head: &watch::Sender<Option<Head>>) {
    head.send_if_modified(|head| {
        if head.is_none() {
            tracing::info!(epoch = %new.epoch, revision = new.revision, "listener.connected");
        }
        let is_new = *head != Some(new);
        *head = Some(new);
        is_new
    });
}
