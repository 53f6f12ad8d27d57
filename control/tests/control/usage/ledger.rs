//! The rows, their sums, what the API says and what the test has counted itself:
//! all the same, whatever is asked for.

use std::collections::BTreeMap;

use chrono::{
    DateTime, Datelike, Days, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;
use control::money::Usd;
use proto::sync::{Outcome, Provider, Tokens, UsageEvent};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    TestApp,
    proxy::{Push, event},
};

const EVENTS: usize = 3_000;
const ZONE: Tz = Tz::Europe__Berlin;

/// What the test knows of a request.
#[derive(Debug, Clone)]
struct Known {
    event_id: Uuid,
    at: DateTime<Utc>,
    user: String,
    key: String,
    model: &'static str,
    provider: &'static str,
    /// None: it has none.
    rates: Option<Rates>,
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

/// Of the five counters, for a million tokens, in micro-dollars.
type Rates = [i64; 5];

/// Whose price it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Plan,
    Global,
    Regional,
}

/// As the built-in list has it.
const SONNET: &str = "claude-sonnet-4-5";

/// Its price differs everywhere, has changed, and is another one for long prompts.
const CHANGING: &str = "claude-changing-9";

/// It has no price.
const UNHEARD_OF: &str = "somebody-s-model";

/// A longer prompt is a long one.
const LONG_PROMPT: i64 = 400_000;

/// The day from which the changed price is in force, at midnight in UTC.
fn change(now: DateTime<Utc>) -> NaiveDate {
    now.date_naive() - Days::new(20)
}

fn of_sonnet(class: Class) -> Rates {
    match class {
        Class::Plan | Class::Global => [3_000_000, 15_000_000, 300_000, 3_750_000, 6_000_000],
        Class::Regional => [3_300_000, 16_500_000, 330_000, 4_125_000, 6_600_000],
    }
}

/// No two are the same.
fn of_changing(class: Class, is_late: bool, is_long: bool) -> Rates {
    let class = match class {
        Class::Plan => 1,
        Class::Global => 2,
        Class::Regional => 3,
    };
    let times = class * if is_late { 5 } else { 1 } * if is_long { 7 } else { 1 };
    [1_234_567, 5_000_001, 123_457, 1_500_003, 2_469_135].map(|rate| rate * times)
}

/// What the operator sets for it.
fn pricing(now: DateTime<Utc>) -> String {
    let named = |rates: Rates| {
        let names = [
            "input_price_per_million",
            "output_price_per_million",
            "cache_read_price_per_million",
            "cache_write_price_per_million",
            "cache_write_1h_price_per_million",
        ];
        let prices = names.into_iter().zip(rates);
        prices
            .map(|(name, rate)| (name.to_owned(), json!(Usd::from_micros(rate))))
            .collect::<serde_json::Map<_, _>>()
    };
    let prices = |class: Class| {
        let price = |is_late: bool| {
            let mut long = named(of_changing(class, is_late, true));
            long.insert("threshold_tokens".to_owned(), json!(LONG_PROMPT));
            let mut price = named(of_changing(class, is_late, false));
            price.insert("long_context".to_owned(), long.into());
            if is_late {
                price.insert("effective_date".to_owned(), json!(change(now)));
            }
            price
        };
        json!({ CHANGING: [price(true), price(false)] })
    };
    let (global, regional) = (prices(Class::Global), prices(Class::Regional));
    json!({
        "plan": { "global": prices(Class::Plan) },
        "bedrock": { "global": global, "regional": regional },
    })
    .to_string()
}

/// What a request is to cost; none without a price.
fn rates(model: &str, class: Class, is_late: bool, tokens: &[i64; 5]) -> Option<Rates> {
    let [input, _, cache @ ..] = tokens;
    let is_long = input + cache.iter().sum::<i64>() > LONG_PROMPT;
    match model {
        SONNET => Some(of_sonnet(class)),
        CHANGING => Some(of_changing(class, is_late, is_long)),
        _ => None,
    }
}

fn costs(tokens: &[i64; 5], rates: &Rates) -> [i64; 5] {
    std::array::from_fn(|counter| (tokens[counter] * rates[counter] + 500_000) / 1_000_000)
}

fn counted(event: &UsageEvent, rates: impl Fn(Class, &[i64; 5]) -> Option<Rates>) -> Counts {
    let tokens = event.tokens.unwrap();
    let tokens = [
        tokens.input_tokens,
        tokens.output_tokens,
        tokens.cache_read_tokens,
        tokens.cache_write_5m_tokens,
        tokens.cache_write_1h_tokens,
    ]
    .map(u64::cast_signed);
    let costs_as = |class: Class| rates(class, &tokens).map_or([0; 5], |it| costs(&tokens, &it));
    let class = class(event);
    let costs = costs_as(class);
    let is_priced = rates(class, &tokens).is_some();
    // What the plan answers would have cost as much as on Bedrock's global profile.
    let on_bedrock = match class {
        Class::Plan => costs_as(Class::Global),
        Class::Global | Class::Regional => costs,
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
    counts[19] = on_bedrock.iter().sum();
    counts
}

fn class(event: &UsageEvent) -> Class {
    match event.bedrock_model.split_once('.') {
        None => Class::Plan,
        Some(("global", _)) => Class::Global,
        Some(_) => Class::Regional,
    }
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
        ("claude-sonnet-4-5-20250929", SONNET),
        ("claude-changing-9-20260101", CHANGING),
        (UNHEARD_OF, UNHEARD_OF),
    ][random.random_range(0..3)];
    let (provider, bedrock_model) = [
        (Provider::Plan, String::new()),
        (
            Provider::Bedrock,
            format!("global.anthropic.{upstream_model}-v1:0"),
        ),
        (
            Provider::Bedrock,
            format!("eu.anthropic.{upstream_model}-v1:0"),
        ),
    ][random.random_range(0..3)]
    .clone();
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
        bedrock_model,
        bedrock_region: "eu-central-1".to_owned(),
        upstream_model: upstream_model.to_owned(),
        outcome: outcome.into(),
        tokens: Some(tokens),
        ..event()
    };
    let is_late = at.date_naive() >= change(now);
    let priced = |class: Class, tokens: &[i64; 5]| rates(model, class, is_late, tokens);
    let counts = counted(&event, priced);
    let tokens = std::array::from_fn(|counter| counts[9 + counter]);
    let known = Known {
        event_id: Uuid::from_slice(&event.event_id).unwrap(),
        rates: priced(class(&event), &tokens),
        at,
        user,
        key,
        model,
        provider: provider.label(),
        counts,
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

/// Every request as the API exports it, with the price of its input.
async fn exported(app: &TestApp, now: DateTime<Utc>) -> BTreeMap<Uuid, (Counts, Option<i64>)> {
    let from = (now - TimeDelta::days(80)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let path = format!("/admin/usage/export?format=ndjson&from={from}");
    let answer = app.request(Method::GET, &path).send().await.unwrap();
    let text = answer.text().await.unwrap();
    let rows = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| {
        let usd = |name: &str| {
            row[name]
                .as_str()
                .map(|it| it.parse::<Usd>().unwrap().micros())
        };
        let mut counts = COUNTED.map(|name| match name.ends_with("_usd") {
            true => usd(name).unwrap(),
            false => row[name].as_i64().unwrap_or_default(),
        });
        counts[0] = 1;
        counts[1] = row["is_fallback"].as_bool().unwrap().into();
        for (column, outcome) in OUTCOMES {
            counts[column] = (row["outcome"] == outcome.label()).into();
        }
        counts[7] = row["is_estimate"].as_bool().unwrap().into();
        counts[8] = (!row["priced"].as_bool().unwrap()).into();
        let event_id = row["event_id"].as_str().unwrap().parse().unwrap();
        (event_id, (counts, usd("pricing_input_price")))
    })
    .collect()
}

/// The sums of all that is kept under a bucket type since then.
async fn kept(
    sql: &tokio_postgres::Client,
    table: &str,
    bucket_type: &str,
    since: DateTime<Utc>,
) -> Counts {
    let sums = COUNTED.map(|name| match name.ends_with("_usd") {
        true => format!("(sum({name}) * 1000000)::bigint"),
        false => format!("sum({name})::bigint"),
    });
    let since = since.to_rfc3339();
    let statement = format!(
        "select {} from {table} where bucket_type = '{bucket_type}' and bucket_start >= '{since}'",
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
    // Rows keep microseconds.
    let now = DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap();
    let app = TestApp::start_with(|settings| {
        settings.money.calendar.timezone = ZONE;
        settings.money.model_pricing = Some(pricing(now));
    })
    .await;
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

    let rows = exported(&app, now).await;
    assert_eq!(rows.len(), EVENTS);
    for it in &known {
        let input_price = it.rates.map(|[input, ..]| input);
        assert_eq!(rows[&it.event_id], (it.counts, input_price), "{it:?}");
    }
    let sql = app.sql().await;
    for table in ["usage_aggregates", "usage_totals"] {
        for bucket_type in ["hour", "day"] {
            let kept = kept(&sql, table, bucket_type, DateTime::UNIX_EPOCH).await;
            assert_eq!(kept, all, "{bucket_type} in {table}");
        }
    }
    // Minutes are kept for 14 days.
    let since = bucket_start("minute", now - TimeDelta::days(13));
    let mut recent = Counts::default();
    for known in known.iter().filter(|it| it.at >= since) {
        add(&mut recent, &known.counts);
    }
    let kept = kept(&sql, "usage_totals", "minute", since).await;
    assert_eq!(kept, recent);

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
