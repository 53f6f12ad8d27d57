//! Looking into control's database.

use anyhow::Result;
use futures_util::{StreamExt, stream};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// A connection, which ends with it.
pub(super) struct Database {
    pub(super) client: Client,
    _connection: JoinSet<()>,
}

/// What was notified, and when it was heard.
pub(super) type Heard = (String, Instant);

/// So much may wait for whoever listens.
const ROOM: usize = 1_024;

impl Database {
    pub(super) async fn open(url: &str) -> Result<Self> {
        let (database, _unheard) = Self::listen(url).await?;
        Ok(database)
    }

    /// The same with what is notified on it.
    pub(super) async fn listen(url: &str) -> Result<(Self, mpsc::Receiver<Heard>)> {
        let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
        let (told, heard) = mpsc::channel(ROOM);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(notification) = message {
                    let heard = (notification.payload().to_owned(), Instant::now());
                    let _nobody_listens = told.send(heard).await;
                }
            }
        });
        let database = Self {
            client,
            _connection: task,
        };
        Ok((database, heard))
    }
}
