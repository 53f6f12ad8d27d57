//! Metrics for CloudWatch, as lines of its embedded metric format on standard
//! output: whoever collects the log makes metrics of them.
//!
//! Source: "Specification: Embedded metric format" of the CloudWatch user guide.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit,
};
use metrics_util::registry::{AtomicStorage, Registry};
use serde_json::{Map, Value, json};

use crate::catalog::{CloudWatchMetric, Metric};

const NAMESPACE: &str = "ClaudeCodeProxy";

/// A line has no more values of one metric.
const MAX_VALUES: usize = 100;

/// Of more values between two collections, so many stand for all: what is wanted of
/// them are percentiles.
const MAX_SAMPLES: usize = 1_000;

/// Records what CloudWatch shall have. Clones belong together.
#[derive(Debug, Clone)]
pub struct CloudWatch {
    service: &'static str,
    metrics: Arc<HashMap<&'static str, Metric>>,
    registry: Arc<Registry<Key, AtomicStorage>>,
}

/// The values of dimensions, in their order.
type Place = Vec<(&'static str, String)>;

/// What one line says: of one metric, in one place.
#[derive(Debug, Clone, PartialEq)]
struct Datum {
    name: &'static str,
    unit: Unit,
    values: Vec<f64>,
}

impl CloudWatch {
    /// `service` is the dimension of what has no other.
    pub fn new(service: &'static str, catalog: &'static [Metric]) -> Self {
        let wanted = catalog.iter().filter(|it| it.cloudwatch.is_some());
        Self {
            service,
            metrics: Arc::new(wanted.map(|it| (it.name, *it)).collect()),
            registry: Arc::new(Registry::atomic()),
        }
    }

    /// What has been recorded since the last call, as lines.
    pub fn lines(&self, at: SystemTime) -> Vec<u8> {
        let since_epoch = at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let mut lines = Vec::new();
        for (place, datum) in self.collect() {
            let line = line(&place, &datum, since_epoch.as_millis());
            lines.extend_from_slice(line.to_string().as_bytes());
            lines.push(b'\n');
        }
        lines
    }

    fn collect(&self) -> Vec<(Place, Datum)> {
        let mut sums: BTreeMap<(&str, Place), f64> = BTreeMap::new();
        self.registry.visit_counters(|key, counter| {
            let more = counter.swap(0, Ordering::Relaxed);
            if more > 0
                && let Some((name, place)) = self.place(key)
            {
                *sums.entry((name, place)).or_default() += approximate(more);
            }
        });
        self.registry.visit_gauges(|key, gauge| {
            let value = f64::from_bits(gauge.load(Ordering::Relaxed));
            // What is not known now is no number.
            if value.is_finite()
                && let Some((name, place)) = self.place(key)
            {
                sums.insert((name, place), value);
            }
        });
        let sums = sums.into_iter().map(|(key, sum)| (key, vec![sum]));
        let mut values: BTreeMap<(&str, Place), Vec<f64>> = sums.collect();
        self.registry.visit_histograms(|key, bucket| {
            if let Some((name, place)) = self.place(key) {
                let samples = values.entry((name, place)).or_default();
                bucket.clear_with(|more| samples.extend_from_slice(more));
            }
        });
        let mut collected = Vec::new();
        for ((name, place), all) in values {
            let Some((metric, on_cloudwatch)) = self.metric(name) else {
                continue;
            };
            for values in thinned(all).chunks(MAX_VALUES) {
                let datum = Datum {
                    name: on_cloudwatch.name,
                    unit: metric.unit,
                    values: values.to_vec(),
                };
                collected.push((place.clone(), datum));
            }
        }
        collected
    }

    fn metric(&self, name: &str) -> Option<(&Metric, CloudWatchMetric)> {
        let metric = self.metrics.get(name)?;
        Some((metric, metric.cloudwatch?))
    }

    /// Where something that was recorded belongs; none: nowhere.
    fn place(&self, key: &Key) -> Option<(&'static str, Place)> {
        let (metric, on_cloudwatch) = self.metric(key.name())?;
        let value = |label: &str| {
            let found = key.labels().find(|it| it.key() == label);
            found.map(Label::value)
        };
        if let Some((label, wanted)) = on_cloudwatch.only
            && value(label) != Some(wanted)
        {
            return None;
        }
        let mut place = Place::new();
        for (label, dimension) in on_cloudwatch.dimensions {
            place.push((dimension, value(label)?.to_owned()));
        }
        if place.is_empty() {
            place.push(("Service", self.service.to_owned()));
        }
        Some((metric.name, place))
    }

    fn is_wanted(&self, key: &Key) -> bool {
        self.place(key).is_some()
    }
}

impl Recorder for CloudWatch {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if !self.is_wanted(key) {
            return Counter::noop();
        }
        self.registry
            .get_or_create_counter(key, |it| Counter::from_arc(it.clone()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        if !self.is_wanted(key) {
            return Gauge::noop();
        }
        self.registry
            .get_or_create_gauge(key, |it| Gauge::from_arc(it.clone()))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        if !self.is_wanted(key) {
            return Histogram::noop();
        }
        self.registry
            .get_or_create_histogram(key, |it| Histogram::from_arc(it.clone()))
    }
}

/// Evenly taken from all of them, in the order of their size.
fn thinned(mut values: Vec<f64>) -> Vec<f64> {
    if values.len() <= MAX_SAMPLES {
        return values;
    }
    values.sort_unstable_by(f64::total_cmp);
    let step = values.len().div_ceil(MAX_SAMPLES);
    values.into_iter().skip(step / 2).step_by(step).collect()
}

fn line(place: &Place, datum: &Datum, milliseconds: u128) -> Value {
    let mut line = Map::new();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": u64::try_from(milliseconds).unwrap_or(u64::MAX),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": dimensions(place),
                "Metrics": [{"Name": datum.name, "Unit": unit(datum.unit)}],
            }],
        }),
    );
    for (dimension, value) in place {
        line.insert((*dimension).to_owned(), value.as_str().into());
    }
    let values = match datum.values.as_slice() {
        [value] => json!(value),
        values => json!(values),
    };
    line.insert(datum.name.to_owned(), values);
    line.into()
}

/// All of them together, and the first alone, so that an alarm need not add up.
fn dimensions(place: &Place) -> Vec<Vec<&'static str>> {
    let names: Vec<&str> = place.iter().map(|(name, _)| *name).collect();
    match names.as_slice() {
        [first, _, ..] => vec![vec![*first], names],
        _ => vec![names],
    }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "Seconds",
        Unit::Milliseconds => "Milliseconds",
        Unit::Bytes => "Bytes",
        Unit::Count => "Count",
        _ => "None",
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn approximate(count: u64) -> f64 {
    count as f64
}
