//! Snapshot or delta → the next [`Index`]. Pure: nothing here is in force.
//!
//! A resource that does not make sense to this version of the proxy is listed as
//! rejected and the others apply. What is not understood keeps what was there
//! before, except that an access key or a Bedrock key is dropped, because refusing
//! is the safe side. Either way the digest counts the version
//! that was received: it is a known difference, not drift.

use std::sync::Arc;

use proto::{
    access_key::KeyHash,
    line,
    price::PriceList,
    region,
    sync::{
        self, BedrockApi, Delta, Kind, Position, Price, Provider, Rejection, Resource,
        ResourceName, RoutingStrategy, Snapshot, resource,
    },
};

use super::{AccessKey, BedrockKey, Budget, Entry, Held, Index, ModelMapping, Name, Scope, User};
use crate::upstream::bedrock::feature::{Feature, Unknown};

/// The parts of a snapshot that have arrived. In force only when complete.
#[derive(Debug, Default)]
pub struct Staging(Option<Index>);

/// What was received does not continue from what is held, so the whole state is
/// needed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Gap {
    #[error("a delta from revision {from} does not continue revision {held}")]
    Revision { from: u64, held: u64 },
    #[error("a delta came before any snapshot")]
    NoSnapshot,
    #[error("a part belongs to another snapshot")]
    Part,
    #[error("a message lacks its position")]
    NoPosition,
}

/// Why a resource was not understood.
#[derive(Debug, thiserror::Error)]
enum Nonsense {
    #[error("kind {0} is unknown to this version")]
    Kind(i32),
    #[error("no specification that this version knows")]
    Spec,
    #[error(transparent)]
    KeyHash(#[from] proto::access_key::WrongLength),
    #[error("expires_at is out of range")]
    ExpiresAt,
    #[error("no user_id")]
    UserId,
    #[error("routing strategy {0} is unknown to this version")]
    RoutingStrategy(i32),
    #[error("no access_key_id, sealed or sealed_for")]
    BedrockKey,
    #[error("the region is not shaped like one of AWS")]
    Region,
    #[error("no claude_model or bedrock_model")]
    ModelMapping,
    #[error("API {0} of Bedrock is unknown to this version")]
    BedrockApi(i32),
    #[error("no region, model or feature")]
    ModelCapability,
    #[error("no provider, region, model or rates")]
    Price,
    #[error("the period has no start or no end")]
    Period,
}

impl Staging {
    /// Takes the next part; gives the whole when it is complete.
    ///
    /// # Errors
    ///
    /// The part belongs to another snapshot than the parts before it.
    pub fn add(&mut self, part: Snapshot) -> Result<Option<Index>, Gap> {
        let at = part.at.ok_or(Gap::NoPosition)?;
        let index = self.0.get_or_insert_with(|| Index {
            position: Some(at.clone()),
            ..Index::default()
        });
        if index.position.as_ref() != Some(&at) {
            return Err(Gap::Part);
        }
        for resource in part.resources {
            index.upsert(resource);
        }
        if !part.complete {
            return Ok(None);
        }
        if let Some(index) = &mut self.0 {
            index.list_prices();
        }
        Ok(self.0.take())
    }
}

impl Index {
    /// The state after `delta`.
    ///
    /// # Errors
    ///
    /// The delta does not begin where this state ends.
    pub fn after(&self, delta: Delta) -> Result<Self, Gap> {
        let position = self.position.as_ref().ok_or(Gap::NoSnapshot)?;
        if delta.from_exclusive != position.revision {
            return Err(Gap::Revision {
                from: delta.from_exclusive,
                held: position.revision,
            });
        }
        let mut next = self.clone();
        next.position = Some(Position {
            epoch: position.epoch.clone(),
            revision: delta.to_inclusive,
        });
        for name in delta.removed {
            next.remove(&name);
        }
        for resource in delta.upserted {
            next.upsert(resource);
        }
        if !next.prices.ptr_eq(&self.prices) {
            next.list_prices();
        }
        Ok(next)
    }

    /// Makes the list of the prices that are there.
    fn list_prices(&mut self) {
        let prices = self.prices.values().map(|price| Price::clone(price));
        self.price_list = Arc::new(PriceList::new(prices));
    }

    fn upsert(&mut self, resource: Resource) {
        let version = resource.version;
        let wire = resource.name.unwrap_or_default();
        let name = name(&wire);
        let nonsense = match understand(&wire, version, resource.spec) {
            Ok(understood) => {
                self.rejected.remove(&name);
                self.put(&name, version, understood);
                return;
            }
            Err(nonsense) => nonsense,
        };
        if is_safer_gone(&wire) {
            self.drop_entry(&name);
            let entry = None;
            self.hold(&name, Held { version, entry });
        } else {
            let entry = self.held.get(&name).and_then(|held| held.entry.clone());
            self.hold(&name, Held { version, entry });
        }
        self.rejected.insert(
            name,
            Rejection {
                name: Some(wire),
                version,
                reason: nonsense.to_string(),
            },
        );
    }

    fn put(&mut self, name: &Name, version: u64, understood: Understood) {
        self.drop_entry(name);
        let entry = match understood {
            Understood::User(user) => {
                self.users.insert(name.1.clone(), user);
                Entry::User
            }
            Understood::AccessKey(hash, key) => {
                self.keys.insert(hash, Arc::new(key));
                Entry::AccessKey(hash)
            }
            Understood::BedrockKey(key) => {
                let access_key_id = key.access_key_id.clone();
                self.bedrock_keys
                    .insert(access_key_id.clone(), Arc::new(key));
                Entry::BedrockKey(access_key_id)
            }
            Understood::ModelMapping(mapping) => {
                let claude_model = mapping.claude_model.clone();
                self.mappings
                    .insert(claude_model.clone(), Arc::new(mapping));
                Entry::ModelMapping(claude_model)
            }
            Understood::ModelCapability(scope, feature) => {
                let features = self.refused.entry(scope.clone()).or_default();
                features.insert(name.1.clone(), feature);
                Entry::ModelCapability(scope)
            }
            Understood::Price(price) => {
                self.prices.insert(name.1.clone(), Arc::new(price));
                Entry::Price
            }
            Understood::Budget(user_id, budget) => {
                self.budgets.insert(user_id.clone(), budget);
                Entry::Budget(user_id)
            }
        };
        let entry = Some(entry);
        self.hold(name, Held { version, entry });
    }

    fn remove(&mut self, wire: &ResourceName) {
        let name = name(wire);
        self.drop_entry(&name);
        if let Some(held) = self.held.remove(&name) {
            self.digest ^= proto::digest::of(name.0, &name.1, held.version);
        }
        self.rejected.remove(&name);
    }

    fn hold(&mut self, name: &Name, held: Held) {
        self.digest ^= proto::digest::of(name.0, &name.1, held.version);
        if let Some(old) = self.held.insert(name.clone(), held) {
            self.digest ^= proto::digest::of(name.0, &name.1, old.version);
        }
    }

    /// Takes a resource's entry out, unless another resource has taken its place.
    fn drop_entry(&mut self, name: &Name) {
        let Some(entry) = self.held.get(name).and_then(|held| held.entry.clone()) else {
            return;
        };
        let (_, id) = name;
        match entry {
            Entry::User => {
                self.users.remove(id);
            }
            Entry::AccessKey(hash) if self.keys.get(&hash).is_some_and(|it| it.id == *id) => {
                self.keys.remove(&hash);
            }
            Entry::BedrockKey(of) if self.bedrock_keys.get(&of).is_some_and(|it| it.id == *id) => {
                self.bedrock_keys.remove(&of);
            }
            Entry::ModelMapping(of) if self.mappings.get(&of).is_some_and(|it| it.id == *id) => {
                self.mappings.remove(&of);
            }
            Entry::ModelCapability(scope) => {
                if let Some(features) = self.refused.get_mut(&scope) {
                    features.remove(id);
                    if features.is_empty() {
                        self.refused.remove(&scope);
                    }
                }
            }
            Entry::Price => {
                self.prices.remove(id);
            }
            Entry::Budget(of) => {
                self.budgets.remove(&of);
            }
            Entry::AccessKey(_) | Entry::BedrockKey(_) | Entry::ModelMapping(_) => {}
        }
    }
}

/// A resource in the proxy's own terms.
enum Understood {
    User(User),
    AccessKey(KeyHash, AccessKey),
    BedrockKey(BedrockKey),
    ModelMapping(ModelMapping),
    ModelCapability(Scope, Feature),
    Price(Price),
    Budget(Arc<str>, Budget),
}

fn name(wire: &ResourceName) -> Name {
    (wire.kind, wire.id.as_str().into())
}

/// Refusing is the safe side for a key, and asking nobody for a credential.
fn is_safer_gone(name: &ResourceName) -> bool {
    matches!(name.kind(), Kind::AccessKey | Kind::BedrockKey)
}

fn understand(
    name: &ResourceName,
    version: u64,
    spec: Option<resource::Spec>,
) -> Result<Understood, Nonsense> {
    use resource::Spec;
    match (name.kind(), spec) {
        (Kind::Unspecified, _) => Err(Nonsense::Kind(name.kind)),
        (Kind::User, Some(Spec::User(user))) => user_of(user),
        (Kind::AccessKey, Some(Spec::AccessKey(key))) => access_key(&name.id, &key),
        (Kind::BedrockKey, Some(Spec::BedrockKey(key))) => bedrock_key(&name.id, version, key),
        (Kind::ModelMapping, Some(Spec::ModelMapping(mapping))) => model_mapping(&name.id, mapping),
        (Kind::ModelCapability, Some(Spec::ModelCapability(it))) => model_capability(&it),
        (Kind::Price, Some(Spec::Price(it))) => price(it),
        (Kind::Budget, Some(Spec::Budget(it))) => budget(&it),
        _ => Err(Nonsense::Spec),
    }
}

fn user_of(user: sync::User) -> Result<Understood, Nonsense> {
    let routing_strategy = match RoutingStrategy::try_from(user.routing_strategy) {
        Ok(RoutingStrategy::Unspecified | RoutingStrategy::PlanFirst) => RoutingStrategy::PlanFirst,
        Ok(RoutingStrategy::BedrockOnly) => RoutingStrategy::BedrockOnly,
        Err(unknown) => return Err(Nonsense::RoutingStrategy(unknown.0)),
    };
    Ok(Understood::User(User { routing_strategy }))
}

fn bedrock_key(id: &str, version: u64, key: sync::BedrockKey) -> Result<Understood, Nonsense> {
    if key.access_key_id.is_empty() || key.sealed_for.is_empty() || key.sealed.is_empty() {
        return Err(Nonsense::BedrockKey);
    }
    if !region::is_well_formed(&key.region) {
        return Err(Nonsense::Region);
    }
    Ok(Understood::BedrockKey(BedrockKey {
        id: id.into(),
        access_key_id: key.access_key_id.into(),
        version,
        region: key.region.into(),
        sealed: key.sealed.into(),
        sealed_for: key.sealed_for.into(),
    }))
}

fn model_mapping(id: &str, mapping: sync::ModelMapping) -> Result<Understood, Nonsense> {
    if mapping.claude_model.is_empty() || mapping.bedrock_model.is_empty() {
        return Err(Nonsense::ModelMapping);
    }
    let bedrock_api = match BedrockApi::try_from(mapping.bedrock_api) {
        Ok(BedrockApi::Unspecified) => None,
        Ok(api) => Some(api),
        Err(unknown) => return Err(Nonsense::BedrockApi(unknown.0)),
    };
    Ok(Understood::ModelMapping(ModelMapping {
        id: id.into(),
        claude_model: mapping.claude_model.into(),
        bedrock_model: mapping.bedrock_model.into(),
        bedrock_api,
    }))
}

fn model_capability(it: &sync::ModelCapability) -> Result<Understood, Nonsense> {
    if it.region.is_empty() || it.model.is_empty() {
        return Err(Nonsense::ModelCapability);
    }
    let scope = Scope {
        region: it.region.as_str().into(),
        model: it.model.as_str().into(),
    };
    let feature = it
        .feature
        .parse()
        .map_err(|Unknown| Nonsense::ModelCapability)?;
    Ok(Understood::ModelCapability(scope, feature))
}

fn price(price: Price) -> Result<Understood, Nonsense> {
    let is_known = Provider::try_from(price.provider).is_ok();
    if !is_known || price.region.is_empty() || price.model_id.is_empty() || price.rates.is_none() {
        return Err(Nonsense::Price);
    }
    Ok(Understood::Price(price))
}

fn budget(budget: &sync::Budget) -> Result<Understood, Nonsense> {
    if budget.user_id.is_empty() {
        return Err(Nonsense::UserId);
    }
    let time = |it: &Option<_>| it.as_ref().and_then(line::time);
    let period_start = time(&budget.period_start).ok_or(Nonsense::Period)?;
    let period_end = time(&budget.period_end).ok_or(Nonsense::Period)?;
    let understood = Budget {
        limit: budget.limit_micro_usd,
        is_exhausted: budget.is_exhausted,
        period_start,
        period_end,
    };
    Ok(Understood::Budget(
        budget.user_id.as_str().into(),
        understood,
    ))
}

fn access_key(id: &str, key: &sync::AccessKey) -> Result<Understood, Nonsense> {
    if key.user_id.is_empty() {
        return Err(Nonsense::UserId);
    }
    let hash = KeyHash::try_from(key.key_hash.as_slice())?;
    let expires_at = match &key.expires_at {
        Some(time) => Some(line::time(time).ok_or(Nonsense::ExpiresAt)?),
        None => None,
    };
    Ok(Understood::AccessKey(
        hash,
        AccessKey {
            id: id.into(),
            user_id: key.user_id.as_str().into(),
            expires_at,
            circuit_resets: key.circuit_resets,
        },
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    use super::*;
    use crate::index::ANY;

    fn user(id: &str, version: u64) -> Resource {
        Resource {
            name: Some(resource_name(Kind::User, id)),
            version,
            spec: Some(resource::Spec::User(sync::User::default())),
        }
    }

    fn key(id: &str, user_id: &str, hash: u8, version: u64) -> Resource {
        Resource {
            name: Some(resource_name(Kind::AccessKey, id)),
            version,
            spec: Some(resource::Spec::AccessKey(sync::AccessKey {
                user_id: user_id.into(),
                key_hash: vec![hash; 32],
                expires_at: None,
                circuit_resets: 0,
            })),
        }
    }

    fn resource_name(kind: Kind, id: &str) -> ResourceName {
        ResourceName {
            kind: kind.into(),
            id: id.into(),
        }
    }

    fn at(revision: u64) -> Option<Position> {
        Some(Position {
            epoch: "e".into(),
            revision,
        })
    }

    fn snapshot(revision: u64, resources: Vec<Resource>) -> Index {
        let part = Snapshot {
            at: at(revision),
            resources,
            complete: true,
        };
        Staging::default().add(part).unwrap().unwrap()
    }

    fn delta(from: u64, to: u64, upserted: Vec<Resource>, removed: Vec<ResourceName>) -> Delta {
        Delta {
            from_exclusive: from,
            to_inclusive: to,
            upserted,
            removed,
        }
    }

    fn knows(index: &Index, hash: u8) -> bool {
        let hash = KeyHash::try_from([hash; 32].as_slice()).unwrap();
        index.access_key(&hash, chrono::Utc::now()).is_some()
    }

    #[test]
    fn a_snapshot_takes_effect_whole_or_not_at_all() {
        let mut staging = Staging::default();
        let first = Snapshot {
            at: at(3),
            resources: vec![key("k", "u", 1, 2)],
            complete: false,
        };
        assert!(staging.add(first).unwrap().is_none());
        let last = Snapshot {
            at: at(3),
            resources: vec![user("u", 1)],
            complete: true,
        };
        let index = staging.add(last).unwrap().unwrap();
        assert!(knows(&index, 1));
        assert_eq!(index.position(), at(3).as_ref());
    }

    #[test]
    fn parts_of_two_snapshots_do_not_mix() {
        let mut staging = Staging::default();
        let part = |revision| Snapshot {
            at: at(revision),
            ..Snapshot::default()
        };
        staging.add(part(1)).unwrap();
        assert_eq!(staging.add(part(2)).unwrap_err(), Gap::Part);
    }

    #[test]
    fn a_delta_must_continue_what_is_held() {
        let index = snapshot(5, vec![]);
        assert_eq!(
            index.after(delta(4, 6, vec![], vec![])).unwrap_err(),
            Gap::Revision { from: 4, held: 5 }
        );
        assert_eq!(
            Index::default()
                .after(delta(0, 1, vec![], vec![]))
                .unwrap_err(),
            Gap::NoSnapshot
        );
        let next = index.after(delta(5, 9, vec![], vec![])).unwrap();
        assert_eq!(next.position(), at(9).as_ref());
    }

    #[test]
    fn a_key_without_its_user_is_refused() {
        let index = snapshot(1, vec![key("k", "u", 1, 1)]);
        assert!(!knows(&index, 1));
        let index = index
            .after(delta(1, 2, vec![user("u", 2)], vec![]))
            .unwrap();
        assert!(knows(&index, 1));
        let gone = delta(2, 3, vec![], vec![resource_name(Kind::User, "u")]);
        assert!(!knows(&index.after(gone).unwrap(), 1));
    }

    #[test]
    fn credentials_mappings_and_capabilities_come_and_go() {
        let resource = |kind, id: &str, version, spec| Resource {
            name: Some(resource_name(kind, id)),
            version,
            spec: Some(spec),
        };
        let bedrock_key = |version, region: &str| {
            let key = sync::BedrockKey {
                access_key_id: "k".into(),
                region: region.into(),
                sealed: vec![1],
                sealed_for: "k".into(),
            };
            resource(
                Kind::BedrockKey,
                "b",
                version,
                resource::Spec::BedrockKey(key),
            )
        };
        let mapping = |id, claude_model: &str, version| {
            let mapping = sync::ModelMapping {
                claude_model: claude_model.into(),
                bedrock_model: format!("target of {id}"),
                bedrock_api: BedrockApi::Converse.into(),
            };
            resource(
                Kind::ModelMapping,
                id,
                version,
                resource::Spec::ModelMapping(mapping),
            )
        };
        let capability = |id, region: &str, feature: &str| {
            let capability = sync::ModelCapability {
                region: region.into(),
                model: "m".into(),
                feature: feature.into(),
            };
            resource(
                Kind::ModelCapability,
                id,
                1,
                resource::Spec::ModelCapability(capability),
            )
        };
        let refused = |index: &Index| {
            let mut features: Vec<String> =
                index.refused("r", "m").map(ToString::to_string).collect();
            features.sort_unstable();
            features
        };
        let index = snapshot(
            1,
            vec![
                bedrock_key(1, "us-east-1"),
                mapping("1", "a", 1),
                mapping("2", "b", 1),
                capability("c", "r", "beta:x"),
                capability("d", ANY, "field:y"),
                capability("e", "elsewhere", "field:z"),
            ],
        );
        assert_eq!(&*index.bedrock_key("k").unwrap().region, "us-east-1");
        assert_eq!(refused(&index), ["beta:x", "field:y"]);

        // Two mappings change places, a credential turns to nonsense.
        let upserted = vec![
            mapping("1", "b", 2),
            mapping("2", "a", 2),
            bedrock_key(2, "evil.example/"),
        ];
        let removed = vec![resource_name(Kind::ModelCapability, "c")];
        let index = index.after(delta(1, 2, upserted, removed)).unwrap();
        assert_eq!(&*index.mapping("a").unwrap().bedrock_model, "target of 2");
        assert_eq!(&*index.mapping("b").unwrap().bedrock_model, "target of 1");
        assert_eq!(index.bedrock_key("k"), None);
        assert_eq!(index.rejected().count(), 1);
        assert_eq!(refused(&index), ["field:y"]);
    }

    #[test]
    fn a_removed_key_is_refused_after_one_delta() {
        let index = snapshot(1, vec![user("u", 1), key("k", "u", 1, 1)]);
        let revoked = delta(1, 2, vec![], vec![resource_name(Kind::AccessKey, "k")]);
        let index = index.after(revoked).unwrap();
        assert!(!knows(&index, 1));
        assert_eq!(index.access_keys(), 0);
    }

    #[test]
    fn a_key_that_changed_its_hash_is_known_by_the_new_one_only() {
        let index = snapshot(1, vec![user("u", 1), key("k", "u", 1, 1)]);
        let changed = delta(1, 2, vec![key("k", "u", 2, 2)], vec![]);
        let index = index.after(changed).unwrap();
        assert!(!knows(&index, 1) && knows(&index, 2));
    }

    #[test]
    fn an_expired_key_is_refused_after_the_allowed_skew() {
        let mut resource = key("k", "u", 1, 1);
        let expires_at = chrono::Utc::now();
        let Some(resource::Spec::AccessKey(spec)) = &mut resource.spec else {
            unreachable!()
        };
        spec.expires_at = Some(line::timestamp(expires_at));
        let index = snapshot(1, vec![user("u", 1), resource]);
        let hash = KeyHash::try_from([1; 32].as_slice()).unwrap();
        let after = |seconds| expires_at + chrono::TimeDelta::seconds(seconds);
        assert!(index.access_key(&hash, after(29)).is_some());
        assert!(index.access_key(&hash, after(30)).is_none());
    }

    #[test]
    fn what_makes_no_sense_is_reported_and_counts_in_the_digest() {
        let index = snapshot(1, vec![user("u", 1), key("k", "u", 1, 1)]);
        let mut broken = key("k", "u", 1, 2);
        let Some(resource::Spec::AccessKey(spec)) = &mut broken.spec else {
            unreachable!()
        };
        spec.key_hash = vec![1; 31];
        let mut from_the_future = user("x", 2);
        from_the_future.name = Some(ResourceName {
            kind: 999,
            id: "x".into(),
        });
        let index = index
            .after(delta(1, 2, vec![broken, from_the_future], vec![]))
            .unwrap();

        assert!(!knows(&index, 1), "a key not understood is refused");
        assert_eq!(index.rejected().count(), 2);
        let expected = proto::digest::of(Kind::User, "u", 1)
            ^ proto::digest::of(Kind::AccessKey, "k", 2)
            ^ proto::digest::of(999, "x", 2);
        assert_eq!(index.digest(), expected);

        let mended = delta(2, 3, vec![key("k", "u", 1, 3)], vec![]);
        let index = index.after(mended).unwrap();
        assert!(knows(&index, 1));
        assert_eq!(index.rejected().count(), 1);
    }

    proptest! {
        /// Whatever the history, deltas lead to the state that a snapshot of the
        /// end would give: the same keys, the same digest.
        #[test]
        fn deltas_lead_where_the_snapshot_leads(
            changes in prop::collection::vec((0u8..6, 0u8..4, any::<bool>()), 0..60)
        ) {
            let mut rows: BTreeMap<String, Resource> = BTreeMap::new();
            let mut index = snapshot(0, vec![]);
            for (revision, (id, hash, removed)) in (1u64..).zip(changes) {
                let (id, resource) = if id < 2 {
                    (format!("u{id}"), user(&format!("u{id}"), revision))
                } else {
                    // Hashes are unique per key, as in the database.
                    let key_id = format!("k{id}");
                    (key_id.clone(), key(&key_id, &format!("u{}", id % 2), id * 8 + hash, revision))
                };
                let name = resource.name.clone().unwrap();
                let change = if removed {
                    rows.remove(&id);
                    delta(revision - 1, revision, vec![], vec![name])
                } else {
                    rows.insert(id, resource.clone());
                    delta(revision - 1, revision, vec![resource], vec![])
                };
                index = index.after(change).unwrap();
            }
            let whole = snapshot(0, rows.into_values().collect());
            prop_assert_eq!(index.digest(), whole.digest());
            prop_assert_eq!(index.access_keys(), whole.access_keys());
            for hash in 0..=255 {
                prop_assert_eq!(knows(&index, hash), knows(&whole, hash));
            }
        }
    }
}
