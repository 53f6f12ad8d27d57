//! The proxy's copy of what administrators configured: what a request is
//! answered from.
//!
//! An [`Index`] is one committed state of control's database and never changes.
//! The next one is built aside (see [`apply`]) and swapped in, so that one
//! request sees one state from beginning to end. The maps share what did not
//! change, which is why a change costs the same with ten keys and with a hundred
//! thousand.

pub mod apply;

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use imbl::HashMap;
use proto::{
    access_key::KeyHash,
    price::PriceList,
    sync::{BedrockApi, Kind, Position, Price, Rejection, RoutingStrategy},
};
use tokio::{sync::watch, time::Instant};

use crate::upstream::bedrock::feature::Feature;

/// How far this machine's clock may be wrong before an expired key is refused;
/// control revokes expired keys anyway.
const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(30);

/// One state of the configuration.
#[derive(Clone, Default)]
pub struct Index {
    /// None: nothing was ever received, nobody is known.
    position: Option<Position>,
    keys: HashMap<KeyHash, Arc<AccessKey>>,
    /// By id.
    users: HashMap<Arc<str>, User>,
    /// By the id of their access key.
    bedrock_keys: HashMap<Arc<str>, Arc<BedrockKey>>,
    /// By the model that clients ask for.
    mappings: HashMap<Arc<str>, Arc<ModelMapping>>,
    /// By the id of their user.
    budgets: HashMap<Arc<str>, Budget>,
    /// By the resource's id.
    prices: HashMap<Arc<str>, Arc<Price>>,
    /// The prices, as they are looked up.
    price_list: Arc<PriceList>,
    /// What Bedrock refuses: features by where, and by the resource's id.
    refused: HashMap<Scope, HashMap<Arc<str>, Feature>>,
    /// Every resource that was received, with what is needed to take it back.
    held: HashMap<Name, Held>,
    rejected: HashMap<Name, Rejection>,
    /// XOR of [`proto::digest::of`] over `held`.
    digest: u64,
}

/// A resource's kind, by its number since it may be unknown, and id.
pub(crate) type Name = (i32, Arc<str>);

#[derive(Debug, Clone)]
pub(crate) struct Held {
    version: u64,
    /// None for what was not understood.
    entry: Option<Entry>,
}

/// Where a resource's entry is.
#[derive(Debug, Clone)]
enum Entry {
    AccessKey(KeyHash),
    User,
    BedrockKey(Arc<str>),
    ModelMapping(Arc<str>),
    ModelCapability(Scope),
    Price,
    /// Of this user.
    Budget(Arc<str>),
}

/// Somebody's key, as requests need it.
#[derive(Debug, PartialEq, Eq)]
pub struct AccessKey {
    pub id: Arc<str>,
    pub user_id: Arc<str>,
    pub expires_at: Option<DateTime<Utc>>,
    /// How often its circuit was reset.
    pub circuit_resets: u32,
}

/// Somebody who owns access keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    pub routing_strategy: RoutingStrategy,
}

/// What a user may spend on Bedrock in a month, in micro-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub limit: u64,
    /// Control has decided that all of it is spent.
    pub is_exhausted: bool,
    pub period_start: DateTime<Utc>,
    /// From then on nothing is spent.
    pub period_end: DateTime<Utc>,
}

/// With what an access key reaches Bedrock: sealed.
#[derive(Debug, PartialEq, Eq)]
pub struct BedrockKey {
    pub id: Arc<str>,
    pub access_key_id: Arc<str>,
    pub version: u64,
    pub region: Arc<str>,
    pub sealed: Box<[u8]>,
    /// The access key that sealing bound it to.
    pub sealed_for: Box<str>,
}

/// Which Bedrock model answers for a model that clients ask for.
#[derive(Debug, PartialEq, Eq)]
pub struct ModelMapping {
    pub id: Arc<str>,
    pub claude_model: Arc<str>,
    pub bedrock_model: Box<str>,
    /// None: as the settings say.
    pub bedrock_api: Option<BedrockApi>,
}

/// Where something is refused; `*` is everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Scope {
    region: Arc<str>,
    model: Arc<str>,
}

/// Every region, every model.
const ANY: &str = "*";

/// Hands out the newest [`Index`], and tells when it was last known to be new.
#[derive(Debug)]
pub struct IndexHandle {
    current: ArcSwap<Index>,
    changed: watch::Sender<Option<Position>>,
    /// When control last proved that the state was current.
    confirmed_at: ArcSwap<Option<Instant>>,
}

impl Index {
    /// Finds the key with this hash, if it may be used at `now`: it exists, has
    /// not expired, and its user is active.
    pub fn access_key(&self, hash: &KeyHash, now: DateTime<Utc>) -> Option<&Arc<AccessKey>> {
        let key = self.keys.get(hash)?;
        let expired = key
            .expires_at
            .is_some_and(|expires_at| expires_at + CLOCK_SKEW <= now);
        (!expired && self.users.contains_key(&key.user_id)).then_some(key)
    }

    pub fn access_key_by_id(&self, id: &str) -> Option<&Arc<AccessKey>> {
        let name = (Kind::AccessKey.into(), id.into());
        match &self.held.get(&name)?.entry {
            Some(Entry::AccessKey(hash)) => self.keys.get(hash),
            _ => None,
        }
    }

    pub fn user(&self, id: &str) -> Option<User> {
        self.users.get(id).copied()
    }

    /// None: the user may spend what it likes.
    pub fn budget(&self, user_id: &str) -> Option<Budget> {
        self.budgets.get(user_id).copied()
    }

    pub fn prices(&self) -> &Arc<PriceList> {
        &self.price_list
    }

    pub fn bedrock_key(&self, access_key_id: &str) -> Option<&Arc<BedrockKey>> {
        self.bedrock_keys.get(access_key_id)
    }

    pub fn mapping(&self, claude_model: &str) -> Option<&Arc<ModelMapping>> {
        self.mappings.get(claude_model)
    }

    pub fn mappings(&self) -> impl Iterator<Item = &Arc<ModelMapping>> {
        self.mappings.values()
    }

    /// The features that Bedrock refuses from this model in this region.
    pub fn refused(&self, region: &str, model: &str) -> impl Iterator<Item = &Feature> {
        let scopes = [(region, model), (region, ANY), (ANY, model), (ANY, ANY)];
        scopes.into_iter().flat_map(|(region, model)| {
            let scope = Scope {
                region: region.into(),
                model: model.into(),
            };
            self.refused
                .get(&scope)
                .into_iter()
                .flat_map(HashMap::values)
        })
    }

    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    pub fn digest(&self) -> u64 {
        self.digest
    }

    pub fn rejected(&self) -> impl Iterator<Item = &Rejection> {
        self.rejected.values()
    }

    pub fn access_keys(&self) -> usize {
        self.keys.len()
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("position", &self.position)
            .field("access_keys", &self.keys.len())
            .field("users", &self.users.len())
            .field("bedrock_keys", &self.bedrock_keys.len())
            .field("mappings", &self.mappings.len())
            .field("prices", &self.prices.len())
            .field("budgets", &self.budgets.len())
            .field("rejected", &self.rejected.len())
            .finish_non_exhaustive()
    }
}

impl IndexHandle {
    pub fn new() -> Self {
        Self {
            current: ArcSwap::default(),
            changed: watch::Sender::new(None),
            confirmed_at: ArcSwap::default(),
        }
    }

    pub fn load(&self) -> arc_swap::Guard<Arc<Index>> {
        self.current.load()
    }

    /// For what takes longer than a look.
    pub fn load_full(&self) -> Arc<Index> {
        self.current.load_full()
    }

    /// Puts the next state in force.
    pub fn swap(&self, next: Index) {
        let position = next.position.clone();
        self.current.store(Arc::new(next));
        self.confirm();
        self.changed.send_replace(position);
    }

    /// Control has proved that the current state is the newest.
    pub fn confirm(&self) {
        self.confirmed_at.store(Arc::new(Some(Instant::now())));
    }

    /// Follows the position that is in force.
    pub fn subscribe(&self) -> watch::Receiver<Option<Position>> {
        self.changed.subscribe()
    }

    /// Seconds since control last confirmed the state; none before the first
    /// snapshot.
    pub fn age(&self) -> Option<std::time::Duration> {
        self.confirmed_at.load().map(|at| at.elapsed())
    }

    /// Whether control last confirmed the state longer ago than this.
    pub fn is_older_than(&self, limit: Option<std::time::Duration>) -> bool {
        limit.is_some_and(|limit| self.age().is_some_and(|age| age > limit))
    }

    /// False until the first complete snapshot: nobody is known yet, which is
    /// not the same as everybody being refused.
    pub fn is_ready(&self) -> bool {
        self.current.load().position.is_some()
    }
}

impl Default for IndexHandle {
    fn default() -> Self {
        Self::new()
    }
}
