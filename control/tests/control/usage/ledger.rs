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

/// Requests, the five counters of tokens, micro-dollars, unpriced requests.
type Counts = [i64; 8];

/// For a million tokens, in micro-dollars, as the price list has it.
fn cost(tokens: &Tokens, is_regional: bool) -> i64 {
    let rates = match is_regional {
        false => [3_000_000, 15_000_000, 300_000, 3_750_000, 6_000_000],
        true => [3_300_000, 16_500_000, 330_000, 4_125_000, 6_600_000],
    };
    let rounded = |micros: u64| (micros + 500_000) / 1_000_000;
    let sum = rounded(tokens.input_tokens * rates[0])
        + rounded(tokens.output_tokens * rates[1])
        + rounded(tokens.cache_read_tokens * rates[2])
        + rounded(tokens.cache_write_5m_tokens * rates[3])
        + rounded(tokens.cache_write_1h_tokens * rates[4]);
    sum.cast_signed()
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
    ][random.random_range(0..3)];
    let mut count = || random.random_range(1..200_000);
    let tokens = Tokens {
        input_tokens: count(),
        output_tokens: count(),
        cache_read_tokens: count(),
        cache_write_5m_tokens: count(),
        cache_write_1h_tokens: count(),
    };
    let is_priced = model == "claude-sonnet-4-5";
    let event = UsageEvent {
        started_at: Some(proto::line::timestamp(at)),
        user_id: user.clone(),
        access_key_id: key.clone(),
        provider: provider.into(),
        bedrock_model: bedrock_model.to_owned(),
        bedrock_region: "eu-central-1".to_owned(),
        upstream_model: upstream_model.to_owned(),
        outcome: outcome.into(),
        tokens: Some(tokens),
        ..event()
    };
    let signed = u64::cast_signed;
    let known = Known {
        at,
        user,
        key,
        model,
        provider: provider.label(),
        counts: [
            1,
            signed(tokens.input_tokens),
            signed(tokens.output_tokens),
            signed(tokens.cache_read_tokens),
            signed(tokens.cache_write_5m_tokens),
            signed(tokens.cache_write_1h_tokens),
            if is_priced {
                cost(&tokens, bedrock_model.starts_with("eu."))
            } else {
                0
            },
            i64::from(!is_priced),
        ],
    };
    (event, known)
}

fn add(sum: &mut Counts, counts: &Counts) {
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
}

fn counts(sums: &Value, prefix: &str) -> Counts {
    let number = |name: &str| sums[format!("{prefix}{name}")].as_i64().unwrap();
    let usd: Usd = sums["estimated_cost_usd"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    [
        number("requests"),
        number("input_tokens"),
        number("output_tokens"),
        number("cache_read_tokens"),
        number("cache_write_5m_tokens"),
        number("cache_write_1h_tokens"),
        usd.micros(),
        sums["unpriced_requests"].as_i64().unwrap(),
    ]
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
    for (table, count) in [
        ("token_usage", "count(*)"),
        (
            "usage_aggregates where bucket_type = 'hour'",
            "sum(requests)",
        ),
        (
            "usage_aggregates where bucket_type = 'day'",
            "sum(requests)",
        ),
    ] {
        let row = sql
            .query_one(
                &format!(
                    "select {count}::bigint, (sum(estimated_cost_usd) * 1000000)::bigint,
                        sum(cache_write_1h_tokens)::bigint from {table}"
                ),
                &[],
            )
            .await
            .unwrap();
        let sums: [i64; 3] = [row.get(0), row.get(1), row.get(2)];
        assert_eq!(sums, [all[0], all[6], all[5]], "{table}");
    }

    for round in 0..60 {
        let bucket_type = ["minute", "hour", "day", "week", "month"][round % 5];
        let longest = if bucket_type == "minute" { 3 } else { 80 } * 86_400;
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
        let of_filter = |known: &&Known| match filter {
            0 => known.user == filtered.user,
            1 => known.key == filtered.key,
            2 => known.model == filtered.model,
            3 => known.provider == filtered.provider,
            _ => true,
        };
        let mut expected: BTreeMap<DateTime<Utc>, Counts> = BTreeMap::new();
        let mut total = Counts::default();
        let asked = known
            .iter()
            .filter(|known| from <= known.at && known.at < to);
        for known in asked.filter(of_filter) {
            let start = bucket_start(bucket_type, known.at);
            add(expected.entry(start).or_default(), &known.counts);
            add(&mut total, &known.counts);
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
        assert_eq!(counts(&report["totals"], ""), total, "{path}");
        assert_eq!(counts(&report, "total_"), total, "{path}");
        let buckets: BTreeMap<DateTime<Utc>, Counts> = report["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bucket| {
                let start = bucket["bucket_start"].as_str().unwrap().parse().unwrap();
                (start, counts(bucket, ""))
            })
            .collect();
        assert_eq!(buckets, expected, "{path}");
        for label in ["by_model", "by_provider"] {
            let mut sum = Counts::default();
            for part in report[label].as_array().unwrap() {
                add(&mut sum, &counts(part, ""));
            }
            assert_eq!(sum, total, "{label} {path}");
        }
    }
}
