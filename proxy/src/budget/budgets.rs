//! What the users who have a budget have spent, as far as this proxy knows.
//!
//! There is an account for each of them who has spent something or has a request
//! running, so at most as many as there are budgets. Those whose budget was taken
//! away are forgotten with the next configuration.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use dashmap::DashMap;
use proto::{
    line,
    price::{Answered, PriceList},
    sync::{Provider, Spent, UsageEvent},
};

use super::{Refusal, Standing, admit, estimate, is_exhausted};
use crate::index::{Budget, Index};

/// The accounts of all users.
#[derive(Default)]
pub struct Budgets {
    accounts: DashMap<Arc<str>, Account>,
    /// What has ended and is not acknowledged yet, by the id of its usage event:
    /// as many as the outbox holds.
    settling: Mutex<HashMap<Bytes, Settling>>,
}

#[derive(Debug, Default)]
struct Account {
    /// What control has counted in the months that it has told of last, the newest
    /// last. The month of a budget is another one when it turns, and when control
    /// changes its time zone.
    spent: VecDeque<Spending>,
    /// What control had counted when the first of `settling` ended.
    spent_before: Option<Spending>,
    settling: u64,
    /// Of settling, what will not be delivered. Control being back, it is imported, or
    /// it never is.
    undeliverable: u64,
    held: u64,
}

/// What was spent in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spending {
    period_start: DateTime<Utc>,
    amount: u64,
}

/// Months that are remembered of each account: this one, the one before, and one by
/// another time zone.
const MAX_PERIODS: usize = 3;

struct Settling {
    user_id: Arc<str>,
    cost: u64,
}

/// What Bedrock is asked for, and by what.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub user_id: &'a Arc<str>,
    /// As the client asked.
    pub model: &'a str,
    pub bedrock_model: &'a str,
    pub bedrock_region: &'a str,
    pub body_bytes: usize,
    pub max_tokens: Option<u64>,
}

/// How a budget stands, in micro-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub budget: Budget,
    pub spent: u64,
    pub is_exhausted: bool,
}

impl Status {
    /// Rounded down.
    pub fn used_percent(&self) -> u64 {
        self.spent.saturating_mul(100) / self.budget.limit.max(1)
    }
}

/// A running request's place in a budget. When it is dropped without having been
/// settled, it has cost nothing.
pub struct Hold {
    budgets: Arc<Budgets>,
    user_id: Arc<str>,
    estimate: u64,
    prices: Arc<PriceList>,
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets")
            .field("accounts", &self.accounts.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("user_id", &self.user_id)
            .field("estimate", &self.estimate)
            .finish_non_exhaustive()
    }
}

impl Budgets {
    /// Lets a request begin, and holds what it may cost. None: the user has no
    /// budget.
    ///
    /// # Errors
    ///
    /// Why it may not begin.
    pub fn hold(
        self: &Arc<Self>,
        index: &Index,
        call: &Call<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<Hold>, Refusal> {
        let Some(budget) = index.budget(call.user_id) else {
            return Ok(None);
        };
        let answered = Answered {
            provider: Provider::Bedrock,
            upstream_model: "",
            bedrock_model: call.bedrock_model,
            bedrock_region: call.bedrock_region,
            model: call.model,
        };
        let prices = index.prices();
        let price = prices.find(&answered, now);
        // Held until the estimate is in it: two requests cannot both be the last.
        let mut account = self.accounts.entry(call.user_id.clone()).or_default();
        let standing = account.standing(&budget, now);
        admit(&budget, standing, price, now)?;
        let estimate = price.map_or(0, |it| estimate(it, call.body_bytes, call.max_tokens));
        account.held = account.held.saturating_add(estimate);
        Ok(Some(Hold {
            budgets: self.clone(),
            user_id: call.user_id.clone(),
            estimate,
            prices: prices.clone(),
        }))
    }

    /// None: the user has no budget.
    pub fn status(&self, index: &Index, user_id: &str, now: DateTime<Utc>) -> Option<Status> {
        let budget = index.budget(user_id)?;
        let account = self.accounts.get(user_id);
        let spent = account.map_or(0, |it| it.standing(&budget, now).known());
        Some(Status {
            budget,
            spent,
            is_exhausted: is_exhausted(&budget, now),
        })
    }

    /// Control has counted this.
    pub fn counted(&self, spent: &[Spent]) {
        for spent in spent {
            if let Some(start) = spent.period_start.as_ref().and_then(line::time) {
                let mut account = self
                    .accounts
                    .entry(spent.user_id.as_str().into())
                    .or_default();
                account.counted(start, spent.spent_micro_usd);
            }
        }
    }

    /// Control has said that a usage event is counted, or never will be.
    pub fn settled(&self, event_id: &Bytes) {
        self.ends(event_id, |account, cost| {
            account.settling = account.settling.saturating_sub(cost);
        });
    }

    /// A usage event was given up, because control is away for too long. It is spent
    /// nevertheless, until control is back and tells what it knows.
    pub fn given_up(&self, event_id: &Bytes) {
        self.ends(event_id, |account, cost| {
            account.undeliverable = account.undeliverable.saturating_add(cost);
        });
    }

    /// Nobody waits for a usage event any more; what it cost is settled so.
    fn ends(&self, event_id: &Bytes, settle: impl FnOnce(&mut Account, u64)) {
        let ended = self.settling().remove(event_id);
        if let Some(Settling { user_id, cost }) = ended
            && let Some(mut account) = self.accounts.get_mut(&user_id)
        {
            settle(&mut account, cost);
        }
    }

    /// Forgets those who have no budget any more.
    pub fn settle(&self, index: &Index) {
        self.accounts
            .retain(|user_id, account| index.budget(user_id).is_some() || account.is_in_use());
    }

    fn settling(&self) -> MutexGuard<'_, HashMap<Bytes, Settling>> {
        // Nothing under this lock panics.
        self.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// What was spent in another month than the budget's does not count.
    fn standing(&self, budget: &Budget, now: DateTime<Utc>) -> Standing {
        let in_month = |spending: &&Spending| {
            spending.period_start == budget.period_start && now < budget.period_end
        };
        let amount = |spending: Option<&Spending>| spending.map_or(0, |it| it.amount);
        Standing {
            spent: amount(self.spent.iter().find(in_month)),
            spent_before: amount(self.spent_before.iter().find(in_month)),
            settling: self.settling,
            held: self.held,
        }
    }

    /// Amounts come on two ways and only grow: the larger one is the newer.
    fn counted(&mut self, period_start: DateTime<Utc>, amount: u64) {
        let undeliverable = std::mem::take(&mut self.undeliverable);
        self.settling = self.settling.saturating_sub(undeliverable);
        let told = self
            .spent
            .iter()
            .position(|it| it.period_start == period_start);
        let known = told.and_then(|at| self.spent.remove(at));
        let amount = known.map_or(amount, |it| it.amount.max(amount));
        self.spent.push_back(Spending {
            period_start,
            amount,
        });
        if self.spent.len() > MAX_PERIODS {
            self.spent.pop_front();
        }
    }

    fn settles(&mut self, cost: u64) {
        if self.settling == 0 {
            self.spent_before = self.spent.back().copied();
        }
        self.settling = self.settling.saturating_add(cost);
    }

    fn is_in_use(&self) -> bool {
        self.held > 0 || self.settling > 0
    }
}

impl Hold {
    /// The request has ended so. Until control has counted its usage event, it is
    /// counted here.
    pub fn settle(self, event: &UsageEvent, started_at: DateTime<Utc>) {
        let answered = Answered {
            provider: event.provider(),
            upstream_model: &event.upstream_model,
            bedrock_model: &event.bedrock_model,
            bedrock_region: &event.bedrock_region,
            model: &event.model,
        };
        let tokens = event.tokens.unwrap_or_default();
        let price = self.prices.find(&answered, started_at);
        let cost = price.map_or(0, |it| it.cost(&tokens).total());
        if cost > 0 && answered.provider == Provider::Bedrock {
            let user_id = self.user_id.clone();
            let settling = Settling { user_id, cost };
            let event_id = event.event_id.clone();
            self.budgets.settling().insert(event_id, settling);
            if let Some(mut account) = self.budgets.accounts.get_mut(&self.user_id) {
                account.settles(cost);
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(mut account) = self.budgets.accounts.get_mut(&self.user_id) {
            account.held = account.held.saturating_sub(self.estimate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn standing(account: &Account, period_start: i64) -> Standing {
        let budget = Budget {
            limit: 100,
            is_exhausted: false,
            period_start: at(period_start),
            period_end: at(period_start + 2_600_000),
        };
        account.standing(&budget, at(period_start + 1))
    }

    #[test]
    fn an_amount_is_that_of_the_budgets_month() {
        let mut account = Account::default();
        account.counted(at(50_000), 40);
        // Control has moved to a time zone in which the month begins earlier.
        account.counted(at(20_000), 70);
        assert_eq!(standing(&account, 20_000).spent, 70);
        assert_eq!(standing(&account, 50_000).spent, 40);
        // Late news of either.
        account.counted(at(50_000), 45);
        account.counted(at(20_000), 60);
        assert_eq!(standing(&account, 20_000).spent, 70);
        assert_eq!(standing(&account, 50_000).spent, 45);
        // Another month.
        assert_eq!(standing(&account, 2_700_000).spent, 0);
        for month in 1..=3 {
            account.counted(at(2_700_000 * month), 1);
        }
        assert_eq!(standing(&account, 20_000).spent, 0);
        assert_eq!(account.spent.len(), MAX_PERIODS);
    }

    #[test]
    fn what_control_has_counted_and_not_said_is_known_once() {
        let mut account = Account::default();
        account.counted(at(0), 10);
        account.settles(30);
        account.settles(20);
        assert_eq!(standing(&account, 0).known(), 60);
        // On the shorter way.
        account.counted(at(0), 60);
        assert_eq!(standing(&account, 0).known(), 60);
        account.settling = 0;
        account.settles(5);
        assert_eq!(standing(&account, 0).known(), 65);
    }

    #[test]
    fn what_was_given_up_is_spent_until_control_tells_what_is() {
        let budgets = Budgets::default();
        let user_id: Arc<str> = "ada".into();
        let event_id = Bytes::from_static(b"an event's id");
        let known = || standing(&budgets.accounts.get(&user_id).unwrap(), 0).known();
        budgets
            .accounts
            .entry(user_id.clone())
            .or_default()
            .settles(30);
        let settling = Settling {
            user_id: user_id.clone(),
            cost: 30,
        };
        budgets.settling().insert(event_id.clone(), settling);
        budgets.given_up(&event_id);
        budgets.settled(&event_id);
        assert_eq!(known(), 30);
        let spent = Spent {
            user_id: user_id.to_string(),
            period_start: Some(line::timestamp(at(0))),
            spent_micro_usd: 12,
        };
        budgets.counted(&[spent]);
        assert_eq!(known(), 12);
    }
}
