//! What the proxies' reports say about all of them together.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{changes::Position, store::proxies::Proxy};

/// Three heartbeats: a proxy that is silent for longer is gone or cut off.
const SILENCE: TimeDelta = TimeDelta::seconds(45);

/// How many proxies there are, and how many of them are up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    pub connected: usize,
    pub in_force: usize,
}

impl Fleet {
    pub fn of(proxies: &[Proxy], head: Position, now: DateTime<Utc>) -> Self {
        let connected = || proxies.iter().filter(|proxy| is_connected(proxy, now));
        Self {
            connected: connected().count(),
            in_force: connected()
                .filter(|proxy| revisions_behind(proxy, head) == Some(0))
                .count(),
        }
    }
}

pub fn is_connected(proxy: &Proxy, now: DateTime<Utc>) -> bool {
    proxy.reported_at >= connected_since(now)
}

/// A proxy is connected when it has reported since then.
pub fn connected_since(now: DateTime<Utc>) -> DateTime<Utc> {
    now - SILENCE
}

/// None when a proxy has applied nothing, or something of another history. One
/// that is ahead of a head that was read earlier is not behind.
pub fn revisions_behind(proxy: &Proxy, head: Position) -> Option<i64> {
    if proxy.applied_epoch != Some(head.epoch) {
        return None;
    }
    let behind = head.revision.saturating_sub(proxy.applied_revision?);
    Some(behind.max(0))
}
