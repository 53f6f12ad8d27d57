//! The rows, their sums, what the API says and what the test has counted itself:
//! all the same, whatever is asked for.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use control::money::Usd;
use proto::sync::{Outcome, Provider, Tokens, UsageEvent};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::Value;

use crate::support::{
    TestApp,
    proxy::{Push, event},
};

const EVENTS: usize = 3_000;
const ZONE: Tz = Tz::Europe__Berlin;

/// What the test knows of a request.
#[derive(Debug, Clone)]
struct Known {
    at: DateTime<Utc>,
    user: String,
    key: String,
    model: &'static str,
    provider: &'static str,
    counts: Counts,
}

/// Everything that is summed up.
const COUNTED: [&str; 20] = [
    "requests",
    "fallback_requests",
    "complete_requests",
    "client_cancelled_requests",
    "upstream_failed_requests",
    "refused_requests",
    "terminated_requests",
    "estimate_requests",
    "unpriced_requests",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "estimated_cost_usd",
    "input_cost_usd",
    "output_cost_usd",
    "cache_read_cost_usd",
    "cache_write_cost_usd",
    "bedrock_cost_usd",
];

/// The requests of an outcome have a list of their own in answers.
const OUTCOMES: [(usize, Outcome); 5] = [
    (2, Outcome::Complete),
    (3, Outcome::ClientCancelled),
    (4, Outcome::UpstreamFailed),
    (5, Outcome::Refused),
    (6, Outcome::Terminated),
];

/// The number of each; costs in micro-dollars.
type Counts = [i64; 20];

/// Of the five counters, for a million tokens, in micro-dollars, as the price list
/// has it.
fn costs(tokens: &[i64; 5], is_regional: bool) -> [i64; 5] {
    let rates = match is_regional {
        false => [3_000_000, 15_000_000, 300_000, 3_750_000, 6_000_000],
        true => [3_300_000, 16_500_000, 330_000, 4_125_000, 6_600_000],
    };
    std::array::from_fn(|counter| (tokens[counter] * rates[counter] + 500_000) / 1_000_000)
}

fn counted(event: &UsageEvent, is_priced: bool) -> Counts {
    let tokens = event.tokens.unwrap();
    let tokens = [
        tokens.input_tokens,
        tokens.output_tokens,
        tokens.cache_read_tokens,
        tokens.cache_write_5m_tokens,
        tokens.cache_write_1h_tokens,
    ]
    .map(u64::cast_signed);
    let costs = match is_priced {
        true => costs(&tokens, event.bedrock_model.starts_with("eu.")),
        false => [0; 5],
    };
    let mut counts = Counts::default();
    counts[0] = 1;
    counts[1] = event.is_fallback.into();
    for (column, outcome) in OUTCOMES {
        counts[column] = (event.outcome() == outcome).into();
    }
    counts[7] = event.is_estimate.into();
    counts[8] = (!is_priced).into();
    counts[9..14].copy_from_slice(&tokens);
    counts[14] = costs.iter().sum();
    counts[15..18].copy_from_slice(&costs[..3]);
    counts[18] = costs[3] + costs[4];
    // On the plan it is the price of Bedrock's global profile, which is the same.
    counts[19] = counts[14];
    counts
}

fn random(
    random: &mut StdRng,
    keys: &[(String, String)],
    now: DateTime<Utc>,
) -> (UsageEvent, Known) {
    let seconds = match random.random_bool(0.3) {
        true => random.random_range(0..3 * 86_400),
        false => random.random_range(0..75 * 86_400),
    };
    let at = now - TimeDelta::milliseconds(seconds * 1_000 + random.random_range(0..1_000));
    let (user, key) = keys[random.random_range(0..keys.len())].clone();
    let (upstream_model, model) = [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("somebody-s-model", "somebody-s-model"),
    ][usize::from(random.random_bool(0.2))];
    let (provider, bedrock_model) = [
        (Provider::Plan, ""),
        (
            Provider::Bedrock,
            "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        (
            Provider::Bedrock,
            "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
    ][random.random_range(0..3)];
    let outcome = [
        Outcome::Complete,
        Outcome::ClientCancelled,
        Outcome::UpstreamFailed,
        Outcome::Refused,
        Outcome::Terminated,
        // As a newer proxy may say.
        Outcome::Unspecified,
    ][random.random_range(0..6)];
    let (is_fallback, is_estimate) = (random.random_bool(0.3), random.random_bool(0.2));
    let mut count = || random.random_range(1..200_000);
    let tokens = Tokens {
        input_tokens: count(),
        output_tokens: count(),
        cache_read_tokens: count(),
        cache_write_5m_tokens: count(),
        cache_write_1h_tokens: count(),
    };
    let event = UsageEvent {
        started_at: Some(proto::line::timestamp(at)),
        user_id: user.clone(),
        access_key_id: key.clone(),
        provider: provider.into(),
        is_fallback,
        is_estimate,
        bedrock_model: bedrock_model.to_owned(),
        bedrock_region: "eu-central-1".to_owned(),
        upstream_model: upstream_model.to_owned(),
        outcome: outcome.into(),
        tokens: Some(tokens),
        ..event()
    };
    let known = Known {
        at,
        user,
        key,
        model,
        provider: provider.label(),
        counts: counted(&event, model == "claude-sonnet-4-5"),
    };
    (event, known)
}

fn add(sum: &mut Counts, counts: &Counts) {
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
}

/// What sums say of each; none where they have no such member.
fn shown(sums: &Value) -> [Option<i64>; 20] {
    COUNTED.map(|name| {
        let value = sums.get(format!("total_{name}")).or(sums.get(name))?;
        Some(match value.as_str() {
            Some(usd) => usd.parse::<Usd>().unwrap().micros(),
            None => value.as_i64().unwrap(),
        })
    })
}

/// The same without what those sums do not say.
fn as_shown(counts: &Counts) -> [Option<i64>; 20] {
    let mut shown = counts.map(Some);
    for (column, _) in OUTCOMES {
        shown[column] = None;
    }
    shown
}

/// The outcomes of a report.
fn outcomes(report: &Value) -> BTreeMap<String, i64> {
    let outcomes = report["by_outcome"].as_array().unwrap().iter();
    let text = |outcome: &Value| outcome["outcome"].as_str().unwrap().to_owned();
    outcomes
        .map(|it| (text(it), it["requests"].as_i64().unwrap()))
        .collect()
}

fn expected_outcomes(counts: &Counts) -> BTreeMap<String, i64> {
    let known = OUTCOMES.map(|(column, outcome)| (outcome, counts[column]));
    let others = counts[0] - known.iter().map(|(_, requests)| requests).sum::<i64>();
    let all = known.into_iter().chain([(Outcome::Unspecified, others)]);
    all.filter(|(_, requests)| *requests > 0)
        .map(|(outcome, requests)| (outcome.label().to_owned(), requests))
        .collect()
}

/// The sums of all that is kept under a bucket type.
async fn kept(sql: &tokio_postgres::Client, table: &str, bucket_type: &str) -> Counts {
    let sums = COUNTED.map(|name| match name.ends_with("_usd") {
        true => format!("(sum({name}) * 1000000)::bigint"),
        false => format!("sum({name})::bigint"),
    });
    let statement = format!(
        "select {} from {table} where bucket_type = '{bucket_type}'",
        sums.join(", ")
    );
    let row = sql.query_one(&statement, &[]).await.unwrap();
    std::array::from_fn(|column| row.get(column))
}

/// The test's own calendar.
fn bucket_start(bucket_type: &str, at: DateTime<Utc>) -> DateTime<Utc> {
    let second = |seconds: i64| {
        let over = at.timestamp().rem_euclid(seconds);
        DateTime::from_timestamp(at.timestamp() - over, 0).unwrap()
    };
    let day = at.with_timezone(&ZONE).date_naive();
    let day = match bucket_type {
        "minute" => return second(60),
        // Berlin is whole hours away from UTC.
        "hour" => return second(3_600),
        "day" => day,
        "week" => day - Days::new(day.weekday().num_days_from_sunday().into()),
        "month" => day.with_day(1).unwrap(),
        other => panic!("{other}"),
    };
    let midnight = ZONE.from_local_datetime(&day.and_time(NaiveTime::MIN));
    midnight.unwrap().to_utc()
}

/// Requests, tokens and cost by label and bucket.
type Series = BTreeMap<String, BTreeMap<DateTime<Utc>, [i64; 3]>>;

fn label<'k>(known: &'k Known, stack_by: &str) -> &'k str {
    match stack_by {
        "provider" => known.provider,
        "model" => known.model,
        "access_key" => &known.key,
        other => panic!("{other}"),
    }
}

fn series(report: &Value) -> Series {
    let bucket = |bucket: &Value| {
        let start = bucket["bucket_start"].as_str().unwrap().parse().unwrap();
        let cost: Usd = bucket["estimated_cost_usd"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let count = |name: &str| bucket[name].as_i64().unwrap();
        (
            start,
            [count("requests"), count("total_tokens"), cost.micros()],
        )
    };
    let series = report["series"].as_array().unwrap().iter();
    series
        .map(|series| {
            let buckets = series["buckets"].as_array().unwrap();
            let starts: Vec<_> = buckets.iter().map(|it| bucket(it).0).collect();
            assert!(starts.is_sorted(), "{starts:?}");
            let label = series["label"].as_str().unwrap().to_owned();
            (label, buckets.iter().map(bucket).collect())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_sums_answers_and_a_recount_are_the_same_to_the_micro_dollar() {
    let app = TestApp::start_with(|settings| settings.money.calendar.timezone = ZONE).await;
    let mut keys = Vec::new();
    for name in ["Ada", "Grace", "Edsger"] {
        let user = app.user(name).await;
        for _ in 0..2 {
            let key = app.access_key(&user).await["id"]
                .as_str()
                .unwrap()
                .to_owned();
            keys.push((user.clone(), key));
        }
    }
    let mut draw = StdRng::seed_from_u64(5);
    // Rows keep microseconds.
    let now = DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap();
    let drawn: Vec<_> = (0..EVENTS).map(|_| random(&mut draw, &keys, now)).collect();
    let mut push = Push::open(app.running.grpc_addr).await;
    let mut events: Vec<UsageEvent> = drawn.iter().map(|(event, _)| event.clone()).collect();
    // Late ones come in any order, and many twice.
    events.shuffle(&mut draw);
    for batch in events.chunks(300) {
        push.deliver(batch.to_vec()).await.unwrap();
        push.deliver(batch[..100].to_vec()).await.unwrap();
    }
    let known: Vec<Known> = drawn.into_iter().map(|(_, known)| known).collect();
    let mut all = Counts::default();
    known.iter().for_each(|known| add(&mut all, &known.counts));

    let sql = app.sql().await;
    let rows = sql.query_one("select count(*) from token_usage", &[]).await;
    assert_eq!(rows.unwrap().get::<_, i64>(0), all[0]);
    for table in ["usage_aggregates", "usage_totals"] {
        for bucket_type in ["hour", "day"] {
            let kept = kept(&sql, table, bucket_type).await;
            assert_eq!(kept, all, "{bucket_type} in {table}");
        }
    }

    for round in 0..60 {
        let bucket_type = ["minute", "hour", "day", "week", "month"][round % 5];
        let days = match bucket_type {
            "minute" => 3,
            // More would be too many when they are split.
            "hour" => 25,
            _ => 80,
        };
        let longest = days * 86_400;
        let mut moment =
            |before: i64| now - TimeDelta::milliseconds(draw.random_range(0..before * 1_000));
        let to = moment(if round % 3 == 0 { 1 } else { 40 * 86_400 });
        let from = to - (now - moment(longest));
        let filtered = &known[draw.random_range(0..EVENTS)];
        let filter = round / 5 % 6;
        let query = match filter {
            0 => format!("&user_id={}", filtered.user),
            1 => format!("&access_key_id={}", filtered.key),
            2 => format!("&model={}", filtered.model),
            3 => format!("&provider={}", filtered.provider),
            _ => String::new(),
        };
        let stack_by = match bucket_type {
            "minute" => None,
            _ => [None, Some("provider"), Some("model"), Some("access_key")][round % 4],
        };
        let query = match stack_by {
            Some(stack_by) => format!("{query}&stack_by={stack_by}"),
            None => query,
        };
        let of_filter = |known: &&Known| match filter {
            0 => known.user == filtered.user,
            1 => known.key == filtered.key,
            2 => known.model == filtered.model,
            3 => known.provider == filtered.provider,
            _ => true,
        };
        let mut expected: BTreeMap<DateTime<Utc>, Counts> = BTreeMap::new();
        let mut expected_series: Series = BTreeMap::new();
        let mut expected_keys: BTreeMap<String, Counts> = BTreeMap::new();
        let mut total = Counts::default();
        let asked = known
            .iter()
            .filter(|known| from <= known.at && known.at < to);
        for known in asked.filter(of_filter) {
            let start = bucket_start(bucket_type, known.at);
            add(expected.entry(start).or_default(), &known.counts);
            add(&mut total, &known.counts);
            if let Some(label) = stack_by.map(|stack_by| label(known, stack_by)) {
                let buckets = expected_series.entry(label.to_owned()).or_default();
                let sum = buckets.entry(start).or_default();
                let counts = [
                    known.counts[0],
                    known.counts[9] + known.counts[10],
                    known.counts[14],
                ];
                sum.iter_mut()
                    .zip(counts)
                    .for_each(|(sum, count)| *sum += count);
            }
            if filter <= 1 || stack_by == Some("access_key") {
                let sum = expected_keys.entry(known.key.clone()).or_default();
                add(sum, &known.counts);
            }
        }
        let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
        let path = format!(
            "/admin/usage?bucket_type={bucket_type}&from={}&to={}{query}",
            text(from),
            text(to)
        );
        let report = app.get(&path).await;
        assert_eq!(report.status, 200, "{path} {report:?}");
        let report = report.body;
        assert_eq!(shown(&report["totals"]), as_shown(&total), "{path}");
        let mut overall = as_shown(&total);
        // It has no name there.
        overall[7] = None;
        assert_eq!(shown(&report), overall, "{path}");
        assert_eq!(outcomes(&report), expected_outcomes(&total), "{path}");
        let buckets: BTreeMap<DateTime<Utc>, [Option<i64>; 20]> = report["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bucket| {
                let start = bucket["bucket_start"].as_str().unwrap().parse().unwrap();
                (start, shown(bucket))
            })
            .collect();
        let expected: BTreeMap<_, _> = expected
            .iter()
            .map(|(start, counts)| (*start, as_shown(counts)))
            .collect();
        assert_eq!(buckets, expected, "{path}");
        assert_eq!(series(&report), expected_series, "{path}");
        let keys: BTreeMap<String, _> = report["by_access_key"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| {
                (
                    key["access_key_id"].as_str().unwrap().to_owned(),
                    shown(key),
                )
            })
            .collect();
        let expected_keys: BTreeMap<_, _> = expected_keys
            .iter()
            .map(|(key, counts)| (key.clone(), as_shown(counts)))
            .collect();
        assert_eq!(keys, expected_keys, "{path}");
        for label in ["by_model", "by_provider"] {
            let mut sum = Counts::default();
            for part in report[label].as_array().unwrap() {
                add(&mut sum, &shown(part).map(Option::unwrap_or_default));
            }
            assert_eq!(as_shown(&sum), as_shown(&total), "{label} {path}");
        }
    }
}
