//! `/admin/usage`: who used what, and what it cost.

pub(super) mod export;
mod range;
pub(super) mod requests;
pub(super) mod sessions;
pub(super) mod top_users;

use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Utc};
use proto::sync::Outcome;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use self::range::{check_buckets, usage_query};
use super::{State, error::Error, query::Query};
use crate::{
    money::Usd,
    store::{
        reports::{self, BucketType, MAX_SERIES, StackBy, Sums},
        usage::Filter,
    },
};

usage_query! {
    struct ReadUsage {
        /// How wide `buckets` are; an hour when not given. The sums are the same
        /// with any.
        #[param(inline)]
        bucket_type: Option<BucketType>,
        /// What `series` are by; none when not given.
        #[param(inline)]
        stack_by: Option<StackBy>,
    }
}

/// What was used and what it cost: in sum, over time, and by label.
#[derive(Debug, Serialize, ToSchema)]
struct UsageReport {
    /// The range begins then.
    from: DateTime<Utc>,
    /// And ends before then.
    to: DateTime<Utc>,
    /// In which days, weeks and months begin; PROXY_TIMEZONE.
    timezone: String,
    bucket_type: BucketType,
    /// What `series` are by.
    stack_by: Option<StackBy>,
    #[serde(flatten)]
    overall: Overall,
    /// The same sums, named like those of each label.
    totals: Totals,
    /// Requests that Bedrock has answered for the plan, of all requests; null of
    /// none.
    fallback_rate: Option<f64>,
    /// Prompt tokens that were read from the cache, of all prompt tokens; null of
    /// none.
    cache_hit_ratio: Option<f64>,
    /// What the tokens that the plan has answered had cost on Bedrock.
    plan_cost_on_bedrock_usd: Usd,
    /// By model, for the models of `by_model`, in the order of their names.
    cost_breakdown: Vec<ModelCost>,
    /// The hundred models that cost the most, then those with the most requests.
    by_model: Vec<ModelTotals>,
    by_provider: Vec<ProviderTotals>,
    /// The hundred access keys that cost the most, of the user who is asked for or if
    /// stacked by access key; otherwise none.
    by_access_key: Vec<AccessKeyTotals>,
    by_outcome: Vec<OutcomeRequests>,
    /// In order; without those in which nothing was used.
    buckets: Vec<Bucket>,
    /// The same buckets by `stack_by`, for the seven that cost the most.
    series: Vec<Series>,
}

/// All requests of the range.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Overall {
    total_requests: i64,
    total_input_tokens: i64,
    total_output_tokens: i64,
    /// Input and output; without the cache's.
    total_tokens: i64,
    /// For five minutes and for one hour.
    total_cache_write_tokens: i64,
    total_cache_write_5m_tokens: i64,
    total_cache_write_1h_tokens: i64,
    total_cache_read_tokens: i64,
    total_input_cost_usd: Usd,
    total_output_cost_usd: Usd,
    total_cache_write_cost_usd: Usd,
    total_cache_read_cost_usd: Usd,
    /// The sum of the four costs.
    estimated_cost_usd: Usd,
    /// What the same tokens cost on Bedrock, whoever answered.
    bedrock_cost_usd: Usd,
    /// Requests that Bedrock has answered for the plan.
    fallback_requests: i64,
    /// Requests with tokens for which there was no price: they are in no cost.
    unpriced_requests: i64,
}

/// Sums. The counters of tokens are disjoint.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Totals {
    requests: i64,
    /// Requests that Bedrock has answered for the plan.
    fallback_requests: i64,
    /// Requests whose upstream has not said how many tokens it were.
    estimate_requests: i64,
    /// Requests with tokens for which there was no price: they are in no cost.
    unpriced_requests: i64,
    input_tokens: i64,
    output_tokens: i64,
    /// Input and output; without the cache's.
    total_tokens: i64,
    cache_read_tokens: i64,
    /// For five minutes and for one hour.
    cache_write_tokens: i64,
    cache_write_5m_tokens: i64,
    cache_write_1h_tokens: i64,
    input_cost_usd: Usd,
    output_cost_usd: Usd,
    cache_write_cost_usd: Usd,
    cache_read_cost_usd: Usd,
    /// The sum of the four costs.
    estimated_cost_usd: Usd,
    /// What the same tokens cost on Bedrock, whoever answered.
    bedrock_cost_usd: Usd,
}

/// What was used from one time on.
#[derive(Debug, Serialize, ToSchema)]
struct Bucket {
    /// It may be before `from`; what is summed is not.
    bucket_start: DateTime<Utc>,
    #[serde(flatten)]
    totals: Totals,
}

/// What has one label, over time.
#[derive(Debug, Serialize, ToSchema)]
struct Series {
    /// A provider, the id of a model or of an access key, as in the sums by them.
    label: String,
    /// In order; without those in which nothing was used.
    buckets: Vec<SeriesBucket>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SeriesBucket {
    bucket_start: DateTime<Utc>,
    requests: i64,
    /// Input and output; without the cache's.
    total_tokens: i64,
    estimated_cost_usd: Usd,
}

/// What a model has cost.
#[derive(Debug, Serialize, ToSchema)]
struct ModelCost {
    /// Under which it is priced; empty when nobody named one.
    model_id: String,
    total_cost_usd: Usd,
    input_cost_usd: Usd,
    output_cost_usd: Usd,
    cache_write_cost_usd: Usd,
    cache_read_cost_usd: Usd,
}

#[derive(Debug, Serialize, ToSchema)]
struct ModelTotals {
    /// Under which it is priced; empty when nobody named one.
    model_id: String,
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
struct AccessKeyTotals {
    /// Nil of requests without one.
    access_key_id: Uuid,
    #[serde(flatten)]
    totals: Totals,
}

/// How many requests have ended so.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct OutcomeRequests {
    outcome: &'static str,
    requests: i64,
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
    let filter = query.filter(state.timezone)?;
    let bucket_type = query.bucket_type.unwrap_or(BucketType::Hour);
    let series = query.stack_by.map_or(1, |_| MAX_SERIES);
    let range = (filter.from_inclusive, filter.to_exclusive);
    check_buckets(bucket_type, range, series)?;
    let mut connection = state.store.connection().await?;
    let report = reports::report(&mut connection, &filter, bucket_type, query.stack_by).await?;
    let shown = UsageReport::new(&filter, bucket_type, query.stack_by, report);
    Ok(HttpResponse::Ok().json(shown))
}

impl UsageReport {
    fn new(
        filter: &Filter,
        bucket_type: BucketType,
        stack_by: Option<StackBy>,
        report: reports::Report,
    ) -> Self {
        let mut shown = Self {
            from: filter.from_inclusive,
            to: filter.to_exclusive,
            timezone: report.timezone,
            bucket_type,
            stack_by,
            overall: Overall::default(),
            totals: Totals::default(),
            fallback_rate: None,
            cache_hit_ratio: None,
            plan_cost_on_bedrock_usd: Usd::ZERO,
            cost_breakdown: Vec::new(),
            by_model: Vec::new(),
            by_provider: Vec::new(),
            by_access_key: Vec::new(),
            by_outcome: Vec::new(),
            buckets: Vec::new(),
            series: Vec::new(),
        };
        for sums in report.sums {
            shown.add(sums);
        }
        shown
            .cost_breakdown
            .sort_by(|one, other| one.model_id.cmp(&other.model_id));
        shown
    }

    fn add(&mut self, sums: Sums) {
        let totals = Totals::from(&sums);
        if let Some(bucket_start) = sums.bucket_start {
            match label(&sums) {
                Some(label) => self.add_to_series(label, bucket_start, &totals),
                None => self.buckets.push(Bucket {
                    bucket_start,
                    totals,
                }),
            }
        } else if let Some(access_key_id) = sums.access_key_id {
            self.by_access_key.push(AccessKeyTotals {
                access_key_id,
                totals,
            });
        } else if let Some(provider) = sums.provider {
            if provider == "plan" {
                self.plan_cost_on_bedrock_usd = sums.bedrock_cost_usd;
            }
            self.by_provider.push(ProviderTotals { provider, totals });
        } else if let Some(model_id) = sums.model_id {
            self.cost_breakdown.push(ModelCost {
                model_id: model_id.clone(),
                total_cost_usd: totals.estimated_cost_usd,
                input_cost_usd: totals.input_cost_usd,
                output_cost_usd: totals.output_cost_usd,
                cache_write_cost_usd: totals.cache_write_cost_usd,
                cache_read_cost_usd: totals.cache_read_cost_usd,
            });
            self.by_model.push(ModelTotals { model_id, totals });
        } else {
            let prompt = totals.input_tokens + totals.cache_write_tokens + totals.cache_read_tokens;
            self.fallback_rate = ratio(totals.fallback_requests, totals.requests);
            self.cache_hit_ratio = ratio(totals.cache_read_tokens, prompt);
            self.by_outcome = outcomes(&sums);
            self.overall = Overall::from(&totals);
            self.totals = totals;
        }
    }

    /// What has the same label comes one after the other.
    fn add_to_series(&mut self, label: String, bucket_start: DateTime<Utc>, totals: &Totals) {
        let bucket = SeriesBucket {
            bucket_start,
            requests: totals.requests,
            total_tokens: totals.total_tokens,
            estimated_cost_usd: totals.estimated_cost_usd,
        };
        match self.series.last_mut().filter(|last| last.label == label) {
            Some(last) => last.buckets.push(bucket),
            None => self.series.push(Series {
                label,
                buckets: vec![bucket],
            }),
        }
    }
}

/// What a part of a bucket is called; none of all of it.
fn label(sums: &Sums) -> Option<String> {
    let of_key = || sums.access_key_id.map(|id| id.to_string());
    let of_model = || sums.model_id.clone();
    sums.provider.clone().or_else(of_model).or_else(of_key)
}

impl From<&Sums> for Totals {
    fn from(sums: &Sums) -> Self {
        Self {
            requests: sums.requests,
            fallback_requests: sums.fallback_requests,
            estimate_requests: sums.estimate_requests,
            unpriced_requests: sums.unpriced_requests,
            input_tokens: sums.input_tokens,
            output_tokens: sums.output_tokens,
            total_tokens: sums.input_tokens + sums.output_tokens,
            cache_read_tokens: sums.cache_read_tokens,
            cache_write_tokens: sums.cache_write_5m_tokens + sums.cache_write_1h_tokens,
            cache_write_5m_tokens: sums.cache_write_5m_tokens,
            cache_write_1h_tokens: sums.cache_write_1h_tokens,
            input_cost_usd: sums.input_cost_usd,
            output_cost_usd: sums.output_cost_usd,
            cache_write_cost_usd: sums.cache_write_cost_usd,
            cache_read_cost_usd: sums.cache_read_cost_usd,
            estimated_cost_usd: sums.estimated_cost_usd,
            bedrock_cost_usd: sums.bedrock_cost_usd,
        }
    }
}

impl From<&Totals> for Overall {
    fn from(totals: &Totals) -> Self {
        Self {
            total_requests: totals.requests,
            total_input_tokens: totals.input_tokens,
            total_output_tokens: totals.output_tokens,
            total_tokens: totals.total_tokens,
            total_cache_write_tokens: totals.cache_write_tokens,
            total_cache_write_5m_tokens: totals.cache_write_5m_tokens,
            total_cache_write_1h_tokens: totals.cache_write_1h_tokens,
            total_cache_read_tokens: totals.cache_read_tokens,
            total_input_cost_usd: totals.input_cost_usd,
            total_output_cost_usd: totals.output_cost_usd,
            total_cache_write_cost_usd: totals.cache_write_cost_usd,
            total_cache_read_cost_usd: totals.cache_read_cost_usd,
            estimated_cost_usd: totals.estimated_cost_usd,
            bedrock_cost_usd: totals.bedrock_cost_usd,
            fallback_requests: totals.fallback_requests,
            unpriced_requests: totals.unpriced_requests,
        }
    }
}

/// Those that there were, the most frequent first. Aggregates do not know the
/// outcomes of a newer proxy, but how many there must be.
fn outcomes(sums: &Sums) -> Vec<OutcomeRequests> {
    let known = [
        (Outcome::Complete, sums.complete_requests),
        (Outcome::ClientCancelled, sums.client_cancelled_requests),
        (Outcome::UpstreamFailed, sums.upstream_failed_requests),
        (Outcome::Refused, sums.refused_requests),
        (Outcome::Terminated, sums.terminated_requests),
    ];
    let counted: i64 = known.iter().map(|(_, requests)| requests).sum();
    let others = (Outcome::Unspecified, sums.requests - counted);
    let mut outcomes: Vec<_> = known
        .into_iter()
        .chain([others])
        .filter(|(_, requests)| *requests > 0)
        .map(|(outcome, requests)| OutcomeRequests {
            outcome: outcome.label(),
            requests,
        })
        .collect();
    outcomes.sort_by_key(|outcome| std::cmp::Reverse(outcome.requests));
    outcomes
}

/// To four decimals; none of nothing.
fn ratio(part: i64, whole: i64) -> Option<f64> {
    if whole <= 0 {
        return None;
    }
    // Counts are far below 2^53.
    let share = part as f64 / whole as f64;
    Some((share * 10_000.0).round() / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_nothing_is_unknown() {
        assert_eq!(ratio(0, 0), None);
        assert_eq!(ratio(0, 3), Some(0.0));
        assert_eq!(ratio(1, 3), Some(0.3333));
        assert_eq!(ratio(3, 3), Some(1.0));
    }

    #[test]
    fn outcomes_of_a_newer_proxy_are_counted_too() {
        let sums = Sums {
            requests: 7,
            complete_requests: 2,
            refused_requests: 4,
            ..Sums::default()
        };
        let outcome = |outcome, requests| OutcomeRequests { outcome, requests };
        assert_eq!(
            outcomes(&sums),
            [
                outcome("refused", 4),
                outcome("complete", 2),
                outcome("unspecified", 1)
            ]
        );
    }
}
