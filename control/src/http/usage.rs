//! `/admin/usage`: who used what.

use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    State,
    error::{Code, Error},
    page::page,
    query::Query,
};
use crate::{
    page::Cursor,
    store::usage::{self, Filter, Sums, Usage},
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ReadUsage {
    user_id: Option<Uuid>,
    access_key_id: Option<Uuid>,
    /// Requests that started then or later; a day before `to` when not given.
    from: Option<DateTime<Utc>>,
    /// Requests that started before then; now when not given.
    to: Option<DateTime<Utc>>,
    /// How many of the newest requests to answer; 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before. Give the same `from` and `to`.
    cursor: Option<String>,
}

/// What was used, in sum and by label, and the newest requests.
#[derive(Debug, Serialize, ToSchema)]
struct UsageReport {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    totals: Totals,
    /// The hundred models with the most requests, by the name asked for.
    by_model: Vec<ModelTotals>,
    by_provider: Vec<ProviderTotals>,
    by_outcome: Vec<OutcomeTotals>,
    /// Newest first.
    recent: Vec<Usage>,
    /// Leads to the requests before `recent`; null when there are none.
    next_cursor: Option<String>,
}

/// Sums. The counters of tokens are disjoint.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Totals {
    requests: i64,
    input_tokens: i64,
    output_tokens: i64,
    cache_read_tokens: i64,
    cache_write_5m_tokens: i64,
    cache_write_1h_tokens: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct ModelTotals {
    model: String,
    #[serde(flatten)]
    totals: Totals,
}

#[derive(Debug, Serialize, ToSchema)]
struct ProviderTotals {
    /// `plan`, `bedrock`, or `none` when no upstream was asked.
    provider: String,
    #[serde(flatten)]
    totals: Totals,
}

#[derive(Debug, Serialize, ToSchema)]
struct OutcomeTotals {
    outcome: String,
    #[serde(flatten)]
    totals: Totals,
}

/// Read usage
#[utoipa::path(
    operation_id = "read_usage",
    tag = "usage",
    params(ReadUsage),
    responses((status = 200, description = "The report", body = UsageReport))
)]
#[get("/usage")]
pub(super) async fn read(
    state: web::Data<State>,
    Query(query): Query<ReadUsage>,
) -> Result<HttpResponse, Error> {
    let page = page(query.limit, query.cursor.as_deref())?;
    let (from, to) = range(query.from, query.to, Utc::now())?;
    let filter = Filter {
        from_inclusive: from,
        to_exclusive: to,
        user_id: query.user_id,
        access_key_id: query.access_key_id,
    };
    let mut connection = state.store.connection().await?;
    let sums = usage::sums(&mut connection, &filter).await?;
    let mut recent = usage::list(&mut connection, &filter, &page).await?;
    let next = page.cut(&mut recent, |usage| Cursor {
        at: usage.started_at,
        id: usage.event_id,
    });
    let mut report = UsageReport {
        from,
        to,
        totals: Totals::default(),
        by_model: Vec::new(),
        by_provider: Vec::new(),
        by_outcome: Vec::new(),
        recent,
        next_cursor: next.map(|cursor| cursor.encode()),
    };
    for sum in sums {
        report.add(sum);
    }
    Ok(HttpResponse::Ok().json(report))
}

impl UsageReport {
    fn add(&mut self, sums: Sums) {
        let totals = Totals {
            requests: sums.requests,
            input_tokens: sums.input_tokens,
            output_tokens: sums.output_tokens,
            cache_read_tokens: sums.cache_read_tokens,
            cache_write_5m_tokens: sums.cache_write_5m_tokens,
            cache_write_1h_tokens: sums.cache_write_1h_tokens,
        };
        match (sums.model, sums.provider, sums.outcome) {
            (Some(model), _, _) => self.by_model.push(ModelTotals { model, totals }),
            (_, Some(provider), _) => self.by_provider.push(ProviderTotals { provider, totals }),
            (_, _, Some(outcome)) => self.by_outcome.push(OutcomeTotals { outcome, totals }),
            (None, None, None) => self.totals = totals,
        }
    }
}

/// The last day, unless something else is asked for.
fn range(
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(DateTime<Utc>, DateTime<Utc>), Error> {
    let bad = |message| Error::with_message(Code::InvalidQuery, message);
    let to = to.unwrap_or(now);
    let from = match from {
        Some(from) => from,
        None => to
            .checked_sub_signed(TimeDelta::days(1))
            .ok_or_else(|| bad("to is too early."))?,
    };
    if from > to {
        return Err(bad("from must not be after to."));
    }
    if from.year() < 1 || to.year() > 9999 {
        return Err(bad("from and to must be in the years 1 to 9999."));
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_default_is_the_last_day() {
        let now = time("2026-11-20T12:00:00Z");
        assert_eq!(
            range(None, None, now).unwrap(),
            (time("2026-11-19T12:00:00Z"), now)
        );
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_refused() {
        let now = time("2026-11-20T12:00:00Z");
        assert!(range(Some(now), Some(time("2026-11-20T11:59:59Z")), now).is_err());
        assert!(range(Some(DateTime::<Utc>::MIN_UTC), None, now).is_err());
        assert!(range(None, Some(DateTime::<Utc>::MIN_UTC), now).is_err());
    }
}
