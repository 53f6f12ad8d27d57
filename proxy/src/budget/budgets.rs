//! What the users who have a budget have spent, as far as this proxy knows.
//!
//! There is an account for each of them who has spent something or has a request
//! running, so at most as many as there are budgets. Those whose budget was taken
//! away are forgotten with the next configuration.

use std::{
    collections::HashMap,
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
    /// The month that `spent` is about.
    period_start: DateTime<Utc>,
    standing: Standing,
}

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
        account.standing.held = account.standing.held.saturating_add(estimate);
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

    /// A usage event is counted by control, or will never be.
    pub fn settled(&self, event_id: &Bytes) {
        let settled = self.settling().remove(event_id);
        if let Some(Settling { user_id, cost }) = settled
            && let Some(mut account) = self.accounts.get_mut(&user_id)
        {
            let settling = &mut account.standing.settling;
            *settling = settling.saturating_sub(cost);
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
        let is_current = self.period_start == budget.period_start && now < budget.period_end;
        let spent = if is_current { self.standing.spent } else { 0 };
        Standing {
            spent,
            ..self.standing
        }
    }

    /// Amounts come on two ways and only grow: the larger one is the newer.
    fn counted(&mut self, period_start: DateTime<Utc>, spent: u64) {
        if period_start > self.period_start {
            self.period_start = period_start;
            self.standing.spent = spent;
        } else if period_start == self.period_start {
            self.standing.spent = self.standing.spent.max(spent);
        }
    }

    fn is_in_use(&self) -> bool {
        self.standing.held > 0 || self.standing.settling > 0
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
                account.standing.settling = account.standing.settling.saturating_add(cost);
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(mut account) = self.budgets.accounts.get_mut(&self.user_id) {
            account.standing.held = account.standing.held.saturating_sub(self.estimate);
        }
    }
}
