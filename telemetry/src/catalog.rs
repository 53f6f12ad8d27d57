//! What there is to know of a metric.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// One metric. Its labels come from closed sets, so that their number is bounded.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As Prometheus and OpenTelemetry know it.
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    pub labels: &'static [&'static str],
    pub meaning: &'static str,
    pub cloudwatch: Option<CloudWatchMetric>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The same metric in CloudWatch, in the namespace `ClaudeCodeProxy`.
#[derive(Debug, Clone, Copy)]
pub struct CloudWatchMetric {
    pub name: &'static str,
    /// Label and dimension; what has other labels is summed up over them. Without
    /// any, the dimension is `Service`.
    pub dimensions: &'static [(&'static str, &'static str)],
    /// Only what has this label with this value.
    pub only: Option<(&'static str, &'static str)>,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Metric {
    pub const fn counter(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Kind::Counter, meaning)
    }

    pub const fn gauge(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Kind::Gauge, meaning)
    }

    /// In seconds.
    pub const fn duration(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Kind::Histogram, meaning).in_unit(Unit::Seconds)
    }

    pub const fn by(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    pub const fn in_unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// CloudWatch has it too.
    pub const fn on_cloudwatch(
        mut self,
        name: &'static str,
        dimensions: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.cloudwatch = Some(CloudWatchMetric {
            name,
            dimensions,
            only: None,
        });
        self
    }

    /// Of what CloudWatch has, only that of this label.
    pub const fn only(mut self, label: &'static str, value: &'static str) -> Self {
        if let Some(metric) = &mut self.cloudwatch {
            metric.only = Some((label, value));
        }
        self
    }

    const fn new(name: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self {
            name,
            kind,
            unit: Unit::Count,
            labels: &[],
            meaning,
            cloudwatch: None,
        }
    }

    fn describe(&self) {
        match self.kind {
            Kind::Counter => describe_counter!(self.name, self.unit, self.meaning),
            Kind::Gauge => describe_gauge!(self.name, self.unit, self.meaning),
            Kind::Histogram => describe_histogram!(self.name, self.unit, self.meaning),
        }
    }
}

/// Tells the recorder of all of them.
pub fn describe(catalog: &[Metric]) {
    for metric in catalog {
        metric.describe();
    }
}
