//! `GET /ak/{key}/me`: what developers may know about themselves. A status line
//! can show it.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderValue, Response, header};
use proto::{
    line,
    sync::{Circuit, Provider},
};
use serde::Serialize;

use crate::{
    budget::{budgets::Status, usd},
    index::AccessKey,
    request::Proxy,
    route::{self, circuit::Admission},
};

/// How the owner of an access key stands.
#[derive(Serialize)]
struct Me<'a> {
    access_key_id: &'a str,
    user_id: &'a str,
    routing_strategy: &'static str,
    /// Who is asked first now: `plan` or `bedrock`.
    provider: &'static str,
    circuit: CircuitStatus,
    /// Null: no limit.
    budget: Option<BudgetStatus>,
}

#[derive(Serialize)]
struct CircuitStatus {
    /// `closed`, `open` or `half_open`.
    state: &'static str,
    /// When the plan is tried again; null while it is closed.
    open_until: Option<String>,
}

/// Amounts in US dollars, as texts with six decimals.
#[derive(Serialize)]
struct BudgetStatus {
    monthly_budget_usd: String,
    /// All that is known to be spent, within a second or two.
    spent_usd: String,
    remaining_usd: String,
    /// Per cent, rounded down; more than 100 when more was spent.
    used_percent: u64,
    is_exhausted: bool,
    resets_at: String,
}

/// The answer.
pub fn answer(proxy: &Proxy, access_key: &AccessKey, now: DateTime<Utc>) -> Response<Bytes> {
    let index = proxy.index.load();
    let strategy = route::strategy(index.user(&access_key.user_id));
    let has_bedrock = index.bedrock_key(&access_key.id).is_some() || proxy.bedrock.uses_role();
    let circuit = proxy.circuits.of(access_key, now);
    let admission = match circuit {
        Some(_) => Admission::Blocked,
        None => Admission::Pass,
    };
    let first = route::candidates(strategy, has_bedrock, admission).first();
    let me = Me {
        access_key_id: &access_key.id,
        user_id: &access_key.user_id,
        routing_strategy: route::strategy_name(strategy),
        provider: first.copied().unwrap_or(Provider::Plan).label(),
        circuit: circuit.into(),
        budget: proxy
            .budgets
            .status(&index, &access_key.user_id, now)
            .map(Into::into),
    };
    let body = serde_json::to_vec(&me).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl From<Option<Circuit>> for CircuitStatus {
    fn from(circuit: Option<Circuit>) -> Self {
        match circuit {
            Some(circuit) => Self {
                state: circuit.state().label(),
                open_until: circuit.open_until.as_ref().and_then(line::time).map(text),
            },
            None => Self {
                state: "closed",
                open_until: None,
            },
        }
    }
}

impl From<Status> for BudgetStatus {
    fn from(status: Status) -> Self {
        let limit = status.budget.limit;
        Self {
            monthly_budget_usd: usd(limit),
            spent_usd: usd(status.spent),
            remaining_usd: usd(limit.saturating_sub(status.spent)),
            used_percent: status.used_percent(),
            is_exhausted: status.is_exhausted,
            resets_at: text(status.budget.period_end),
        }
    }
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
