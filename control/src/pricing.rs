//! What models cost: the built-in list with the operator's own laid over it,
//! written to the table, and read back from there, so that every replica and
//! every proxy has the same list.

mod built_in;
mod overlay;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use chrono::NaiveTime;
use diesel_async::AsyncConnection;
use proto::{
    line::timestamp,
    price::PriceList,
    sync::{self, Provider, Rates},
};
use tokio::sync::Mutex;

pub use self::overlay::{Malformed, Overlay};
use crate::{
    changes::HeadWatch,
    money::Usd,
    store::{
        self, Store,
        prices::{self, Price, PriceProvider, Version},
    },
};

/// The prices that are in force.
#[derive(Debug, Clone)]
pub struct Pricing {
    store: Store,
    /// As it was set; a file is read again.
    setting: Arc<Option<String>>,
    newest: Arc<ArcSwapOption<PriceList>>,
    /// What `newest` was read from.
    version: Arc<Mutex<Option<Version>>>,
}

impl Pricing {
    /// Knows no price until it is written or has followed the head.
    pub fn new(store: Store, setting: Option<String>) -> Self {
        Self {
            store,
            setting: Arc::new(setting),
            newest: Arc::default(),
            version: Arc::default(),
        }
    }

    /// None before the first list was read.
    pub fn newest(&self) -> Option<Arc<PriceList>> {
        self.newest.load_full()
    }

    /// Reads the setting again: the list that it makes of the built-in one.
    ///
    /// # Errors
    /// When the setting is not usable.
    pub fn read(&self) -> Result<Vec<Price>, Malformed> {
        let overlay = match self.setting.as_deref() {
            Some(setting) => Overlay::read(setting)?,
            None => Overlay::default(),
        };
        Ok(overlay.over(built_in::list()))
    }

    /// Writes the list to the table, from where every replica and every proxy takes
    /// it.
    ///
    /// # Errors
    /// When the setting is not usable, or the database fails; nothing has changed
    /// then.
    pub async fn write(&self) -> anyhow::Result<()> {
        let list = self.read()?;
        let mut connection = self.store.connection().await?;
        let changed = connection
            .transaction(async |connection| prices::replace(connection, &list).await)
            .await?;
        drop(connection);
        self.refresh().await?;
        tracing::info!(changed, prices = list.len(), "pricing.written");
        Ok(())
    }

    /// Takes the table's list, if it is another one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refresh(&self) -> store::Result<()> {
        let mut held = self.version.lock().await;
        let mut connection = self.store.connection().await?;
        let (version, list) = connection
            .build_transaction()
            .repeatable_read()
            .read_only()
            .run(async |connection| {
                let version = prices::version(connection).await?;
                if *held == Some(version) {
                    return Ok((version, None));
                }
                Ok::<_, store::Error>((version, Some(prices::list(connection).await?)))
            })
            .await?;
        if let Some(list) = list {
            tracing::info!(prices = list.len(), "pricing.in_force");
            self.newest
                .store(Some(Arc::new(PriceList::new(list.iter().map(wire)))));
            *held = Some(version);
        }
        Ok(())
    }

    /// Takes every list that any replica writes.
    pub async fn follow(self, mut head: HeadWatch) {
        loop {
            if let Err(error) = self.refresh().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "pricing.not_refreshed"
                );
            }
            if head.changed().await.is_err() {
                return;
            }
        }
    }
}

/// A price as proxies and the calculation know it.
fn wire(price: &Price) -> sync::Price {
    let from = price.effective_date.and_time(NaiveTime::MIN).and_utc();
    sync::Price {
        provider: Provider::from(price.provider).into(),
        region: price.region.clone(),
        model_id: price.model_id.clone(),
        effective_from: Some(timestamp(from)),
        rates: Some(Rates {
            input: price.input_price.unsigned_micros(),
            output: price.output_price.unsigned_micros(),
            cache_read: price.cache_read_price.unsigned_micros(),
            cache_write_5m: price.cache_write_5m_price.unsigned_micros(),
            cache_write_1h: price.cache_write_1h_price.unsigned_micros(),
        }),
        long_context_threshold: price.long_context_threshold.map_or(0, i64::unsigned_abs),
        long_context_rates: price.long_context_threshold.map(|_| Rates {
            input: micros(price.long_context_input_price),
            output: micros(price.long_context_output_price),
            cache_read: micros(price.long_context_cache_read_price),
            cache_write_5m: micros(price.long_context_cache_write_5m_price),
            cache_write_1h: micros(price.long_context_cache_write_1h_price),
        }),
    }
}

fn micros(usd: Option<Usd>) -> u64 {
    usd.unwrap_or_default().unsigned_micros()
}

impl From<PriceProvider> for Provider {
    fn from(provider: PriceProvider) -> Self {
        match provider {
            PriceProvider::Plan => Self::Plan,
            PriceProvider::Bedrock => Self::Bedrock,
        }
    }
}
