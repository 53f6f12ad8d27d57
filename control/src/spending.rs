//! How much users have spent, on its way to the proxies.
//!
//! Amounts change with every request, so they are no part of the configuration:
//! each replica reads every second what has changed, whoever has written it, and
//! tells the proxies that watch it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use proto::sync::Spent;
use tokio::{
    sync::watch,
    time::{self, MissedTickBehavior},
};
use uuid::Uuid;

use crate::store::{
    self, Store,
    budgets::{self, Budget},
};

/// A transaction that began earlier may commit later: what it has written is looked
/// for again for so long.
const OVERLAP: TimeDelta = TimeDelta::seconds(30);

/// A message has this many users at most.
const MAX_USERS: usize = 5_000;

/// Every amount that this replica knows, and when it learned of it.
#[derive(Debug, Clone, Default)]
pub struct Amounts {
    /// Counts the readings in which something had changed.
    version: u64,
    by_user: HashMap<Uuid, Amount>,
}

#[derive(Debug, Clone)]
struct Amount {
    version: u64,
    budget: Budget,
}

/// The newest amounts; each stream follows them at its own pace.
pub type AmountsWatch = watch::Receiver<Arc<Amounts>>;

/// What one stream has told.
#[derive(Debug, Default)]
pub struct Told(u64);

impl Amounts {
    /// What has changed since, in messages of a bearable size. An amount that has
    /// changed several times is told once.
    pub fn since(&self, told: &mut Told) -> Vec<Vec<Spent>> {
        let news: Vec<Spent> = self
            .by_user
            .values()
            .filter(|amount| amount.version > told.0)
            .map(|amount| Spent::from(&amount.budget))
            .collect();
        told.0 = self.version;
        news.chunks(MAX_USERS).map(<[Spent]>::to_vec).collect()
    }

    /// Of how many users.
    fn len(&self) -> i64 {
        i64::try_from(self.by_user.len()).unwrap_or(i64::MAX)
    }

    /// Without the users who have no budget any more, these being all that have one.
    fn of_those_in(&self, all: &[Budget]) -> Self {
        let users: HashSet<Uuid> = all.iter().map(|budget| budget.user_id).collect();
        let mut next = self.clone();
        next.by_user.retain(|user_id, _| users.contains(user_id));
        next
    }

    /// The amounts after a reading; none when nothing is other than before.
    fn after(&self, read: Vec<Budget>) -> Option<Self> {
        let news: Vec<Budget> = read
            .into_iter()
            .filter(|budget| match self.by_user.get(&budget.user_id) {
                Some(known) => {
                    (known.budget.spent_usd, known.budget.period_start)
                        != (budget.spent_usd, budget.period_start)
                }
                None => true,
            })
            .collect();
        if news.is_empty() {
            return None;
        }
        let mut next = self.clone();
        next.version += 1;
        for budget in news {
            let version = next.version;
            next.by_user
                .insert(budget.user_id, Amount { version, budget });
        }
        Some(next)
    }
}

/// Reads amounts until the process ends.
pub async fn read(store: Store, every: Duration, amounts: watch::Sender<Arc<Amounts>>) {
    let mut ticks = time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut since = DateTime::<Utc>::UNIX_EPOCH;
    loop {
        ticks.tick().await;
        if let Err(error) = read_once(&store, &mut since, &amounts).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "spending.not_read"
            );
        }
    }
}

/// Reads what has changed since; everything, when there are fewer budgets than
/// amounts: a budget that was taken away leaves no trace.
async fn read_once(
    store: &Store,
    since: &mut DateTime<Utc>,
    amounts: &watch::Sender<Arc<Amounts>>,
) -> store::Result<()> {
    let mut connection = store.connection().await?;
    let read = budgets::spent_since(&mut connection, *since).await?;
    let newest = read.iter().map(|budget| budget.spent_at).max();
    *since = newest.map_or(*since, |at| (*since).max(at - OVERLAP));
    let mut known = amounts.borrow().clone();
    if let Some(next) = known.after(read) {
        known = Arc::new(next);
        amounts.send_replace(known.clone());
    }
    if budgets::count(&mut connection).await? < known.len() {
        let all = budgets::spent_since(&mut connection, DateTime::UNIX_EPOCH).await?;
        amounts.send_replace(Arc::new(known.of_those_in(&all)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usd;

    fn budget(user: u128, spent: i64) -> Budget {
        Budget {
            user_id: Uuid::from_u128(user),
            monthly_budget_usd: Usd::from_micros(100),
            period_start: DateTime::UNIX_EPOCH,
            period_end: DateTime::UNIX_EPOCH + TimeDelta::days(31),
            spent_usd: Usd::from_micros(spent),
            is_exhausted: false,
            spent_at: DateTime::UNIX_EPOCH,
        }
    }

    fn amounts(told: Vec<Vec<Spent>>) -> Vec<u64> {
        let mut amounts: Vec<_> = told
            .into_iter()
            .flatten()
            .map(|it| it.spent_micro_usd)
            .collect();
        amounts.sort_unstable();
        amounts
    }

    #[test]
    fn a_stream_is_told_everything_once_and_then_what_is_new() {
        let mut told = Told::default();
        let none = Amounts::default();
        assert!(none.since(&mut told).is_empty());
        let first = none.after(vec![budget(1, 10), budget(2, 20)]).unwrap();
        let second = first.after(vec![budget(1, 11), budget(2, 20)]).unwrap();
        assert_eq!(amounts(second.since(&mut Told::default())), [11, 20]);
        assert_eq!(amounts(first.since(&mut told)), [10, 20]);
        assert_eq!(amounts(second.since(&mut told)), [11]);
        assert!(second.since(&mut told).is_empty());
        assert!(second.after(vec![budget(1, 11)]).is_none());
    }

    #[test]
    fn whose_budget_is_gone_is_told_of_no_more() {
        let both = Amounts::default().after(vec![budget(1, 10), budget(2, 20)]);
        let one = both.unwrap().of_those_in(&[budget(2, 20)]);
        assert_eq!(amounts(one.since(&mut Told::default())), [20]);
        // It is news again when there is one again.
        let again = one.after(vec![budget(1, 10)]).unwrap();
        assert_eq!(amounts(again.since(&mut Told(one.version))), [10]);
    }

    #[test]
    fn many_users_are_told_in_several_messages() {
        let users = (0..u128::from(12_000_u32))
            .map(|user| budget(user, 1))
            .collect();
        let amounts = Amounts::default().after(users).unwrap();
        let messages = amounts.since(&mut Told::default());
        let sizes: Vec<_> = messages.iter().map(Vec::len).collect();
        assert_eq!(sizes, [5_000, 5_000, 2_000]);
    }
}
