//! The results for a person: numbers beside their targets.

use std::fmt::Write;

use crate::{
    Results, circuits, costs, failover, keys, rescue,
    rounds::{self, Sample, Scenario},
    spread::{Spread, median_interval, quantile, sorted},
    system::{Machine, Name},
};

/// How much more CPU than nginx the proxy may use.
const CPU_SMALL: f64 = 2.0;
const CPU_OTHER: f64 = 1.5;

/// How much more CPU than on the plan path the proxy may use on the native path
/// to Bedrock.
const CPU_BEDROCK: f64 = 2.0;

/// Thousands of bytes that an open stream may hold.
const STREAM_KB: f64 = 30.0;

/// Milliseconds until a revoked key is refused, in 99 of 100 cases.
const REFUSAL_MS: f64 = 1_000.0;

/// Microseconds that failing over may add, in 99 of 100 cases.
const FAILOVER_US: f64 = 2_000.0;

/// Millions of bytes that the open circuits may hold, all together.
const CIRCUITS_MB: f64 = 10.0;

/// Usage events in a second, at least.
const EVENTS_PER_SECOND: f64 = 10_000.0;

/// Milliseconds from the end of a request to its row, in 99 of 100 cases.
const ROW_MS: f64 = 1_500.0;

/// Milliseconds until a month is summed up, in 99 of 100 cases.
const REPORT_MS: f64 = 200.0;

/// Milliseconds until a budget that is used up stops all proxies, each time.
const VERDICT_MS: f64 = 2_000.0;

/// What CPU time is counted by.
type Per = fn(&Sample) -> f64;

const CPU: [(&str, Scenario, Per); 5] = [
    ("small request", rounds::SMALL, Sample::cpu_us_per_request),
    ("150 KB request", rounds::LARGE, Sample::cpu_us_per_request),
    (
        "event, one per write",
        rounds::STREAM,
        Sample::cpu_us_per_event,
    ),
    (
        "event, ten per write",
        rounds::BURST,
        Sample::cpu_us_per_event,
    ),
    (
        "event, every 10 ms",
        rounds::PACED,
        Sample::cpu_us_per_event,
    ),
];

const LABEL: usize = 30;
const COLUMN: usize = 23;

pub(crate) fn table(results: &Results) -> String {
    let mut table = Table(String::new());
    table.machine(&results.machine);
    table.pinning(&results.machine);
    table.cpu(results);
    table.bedrock(results);
    table.throughput(results);
    table.latency(results);
    table.memory(results);
    table.failover(&results.failover);
    table.rescue(&results.rescue);
    table.circuits(&results.circuits);
    table.costs(&results.costs);
    table.keys(&results.keys);
    table.complaints(results);
    table.0
}

/// What usage takes, alone.
pub(crate) fn costs(machine: &Machine, costs: &costs::Results) -> String {
    let mut table = Table(String::new());
    table.machine(machine);
    table.costs(costs);
    table.0
}

struct Table(String);

impl Table {
    fn line(&mut self, text: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{}", text.trim_end());
    }

    fn head(&mut self, title: &str, columns: &[&str]) {
        self.line("");
        self.row(title, columns.iter().map(|it| (*it).to_owned()));
        self.line(&"-".repeat(LABEL + COLUMN * columns.len()));
    }

    fn row(&mut self, label: &str, columns: impl IntoIterator<Item = String>) {
        let columns: String = columns
            .into_iter()
            .map(|column| format!("{column:<COLUMN$}"))
            .collect();
        self.line(&format!("{label:<LABEL$}{columns}"));
    }

    fn machine(&mut self, machine: &Machine) {
        self.line(&format!(
            "{}, {} CPUs, Linux {}, load average {} at the start",
            machine.cpu, machine.cpus, machine.kernel, machine.load_average
        ));
    }

    fn pinning(&mut self, machine: &Machine) {
        self.line(if machine.is_pinned {
            "Proxy and nginx on CPU 1; upstream and load generator on CPU 0."
        } else {
            "Nothing is pinned: there is one CPU only, or no taskset."
        });
        if machine.nginx.is_none() {
            self.line("There is no nginx and none could be fetched, so nothing to compare with.");
        }
        self.line("Median (smallest .. largest) of all rounds; ratios are taken within a round.");
    }

    fn cpu(&mut self, results: &Results) {
        self.head(
            "CPU us per …",
            &[
                "upstream itself",
                "nginx",
                "proxy",
                "proxy / upstream",
                "proxy / nginx",
                "target",
            ],
        );
        for (label, scenario, per) in CPU {
            let target = if scenario == rounds::SMALL {
                CPU_SMALL
            } else {
                CPU_OTHER
            };
            let to_nginx = ratio(results, scenario, Name::Proxy, Name::Nginx, per);
            self.row(
                label,
                [
                    spread(of(results, scenario, Name::Direct, per), 1),
                    spread(of(results, scenario, Name::Nginx, per), 1),
                    spread(of(results, scenario, Name::Proxy, per), 1),
                    spread(ratio(results, scenario, Name::Proxy, Name::Direct, per), 2),
                    spread(to_nginx, 2),
                    verdict(to_nginx.map(|it| it.median), target, "x"),
                ],
            );
        }
    }

    fn bedrock(&mut self, results: &Results) {
        self.head(
            "The same on Bedrock",
            &[
                "proxy, plan",
                "proxy, Bedrock",
                "Bedrock / plan",
                "target",
                "with a key pair",
                "key pair / plan",
            ],
        );
        for (label, scenario, per) in CPU {
            let to_plan = ratio(results, scenario, Name::Bedrock, Name::Proxy, per);
            let signed = ratio(results, scenario, Name::Signed, Name::Proxy, per);
            self.row(
                label,
                [
                    spread(of(results, scenario, Name::Proxy, per), 1),
                    spread(of(results, scenario, Name::Bedrock, per), 1),
                    spread(to_plan, 2),
                    verdict(to_plan.map(|it| it.median), CPU_BEDROCK, "x"),
                    spread(of(results, scenario, Name::Signed, per), 1),
                    spread(signed, 2),
                ],
            );
        }
    }

    fn throughput(&mut self, results: &Results) {
        self.head(
            "Per second",
            &[
                "direct",
                "nginx",
                "proxy",
                "proxy / direct",
                "proxy / nginx",
            ],
        );
        let rows = [
            ("small requests", rounds::SMALL),
            ("150 KB requests", rounds::LARGE),
            ("streams, one per write", rounds::STREAM),
            ("streams, ten per write", rounds::BURST),
        ];
        for (label, scenario) in rows {
            let per = |sample: &Sample| sample.report.requests_per_second;
            let mut columns: Vec<_> = Name::ON_PLAN
                .map(|name| spread(of(results, scenario, name, per), 0))
                .into();
            columns.push(spread(
                ratio(results, scenario, Name::Proxy, Name::Direct, per),
                2,
            ));
            columns.push(spread(
                ratio(results, scenario, Name::Proxy, Name::Nginx, per),
                2,
            ));
            self.row(label, columns);
        }
    }

    fn latency(&mut self, results: &Results) {
        self.head(
            "Latency us, small requests",
            &[
                "direct",
                "added by nginx",
                "added by proxy",
                "added on Bedrock",
            ],
        );
        let parts: [(&str, Per); 3] = [
            ("p50", |sample| micros(sample.report.latency_us.p50)),
            ("p90", |sample| micros(sample.report.latency_us.p90)),
            ("p99", |sample| micros(sample.report.latency_us.p99)),
        ];
        for scenario in [rounds::SLOW, rounds::FAST] {
            for (part, per) in parts {
                let added = |name| {
                    let pairs = paired(results, scenario, name, Name::Direct);
                    Spread::of(pairs.map(|(it, direct)| per(it) - per(direct)))
                };
                self.row(
                    &format!("{} {part}", scenario.name),
                    [
                        spread(of(results, scenario, Name::Direct, per), 0),
                        spread(added(Name::Nginx), 0),
                        spread(added(Name::Proxy), 0),
                        spread(added(Name::Bedrock), 0),
                    ],
                );
            }
        }
    }

    fn memory(&mut self, results: &Results) {
        self.head("Memory", &["nginx", "proxy", "target", "on Bedrock"]);
        let kb = |name| {
            let held = results.memory.iter().find(|held| held.target == name)?;
            Some(held.report.rss_bytes_per_connection / 1e3)
        };
        let streams = results.memory.first().map_or(0, |held| held.streams);
        let columns = [
            number(kb(Name::Nginx), 1, "KB"),
            number(kb(Name::Proxy), 1, "KB"),
            verdict(kb(Name::Proxy), STREAM_KB, " KB"),
            number(kb(Name::Bedrock), 1, "KB"),
        ];
        self.row(&format!("a stream of {streams} open"), columns);
    }

    fn failover(&mut self, results: &[failover::Results]) {
        self.head("Failing over, us", &["p1", "p50", "p99", "target of p99"]);
        for results in results {
            let times = [
                ("plan's refusal", &results.refused_us),
                ("Bedrock's first content", &results.bedrock_us),
                ("the same after the refusal", &results.failed_over_us),
            ];
            self.line(&format!("requests of {} bytes:", results.body_bytes));
            for (label, times) in times {
                self.times(label, &sorted(times.iter().copied()), String::new());
            }
            let added = results.added_us();
            let target = verdict(quantile(&added, 0.99), FAILOVER_US, " us");
            self.times("added to both", &added, target);
            self.times(
                "later than by Bedrock alone",
                &results.later_us(),
                String::new(),
            );
        }
        let rounds = results.first().map_or(0, |it| it.refused_us.len());
        self.line(&format!(
            "({rounds} rounds; differences are taken within a round)"
        ));
    }

    fn rescue(&mut self, results: &rescue::Results) {
        self.head(
            "First content, us",
            &["p1", "p50", "p99", "median of all lies in", "target"],
        );
        for (label, times) in [("not held", &results.passed_us), ("held", &results.held_us)] {
            self.times(label, &sorted(times.iter().copied()), String::new());
        }
        let target = match results.is_measurable() {
            None => "-",
            Some(false) => "not measurable: ok",
            Some(true) => "not measurable: OVER",
        };
        for (label, differences, target) in [
            ("added by holding", results.added_us(), target),
            ("between two not held", results.noise_us(), ""),
        ] {
            let interval = median_interval(&differences);
            let interval = interval.map_or("-".to_owned(), |(low, high)| {
                format!("{low:.1} .. {high:.1}")
            });
            let columns = quantiles(&differences).into_iter();
            self.row(label, columns.chain([interval, target.to_owned()]));
        }
    }

    /// A row of sorted times.
    fn times(&mut self, label: &str, sorted: &[f64], target: String) {
        self.row(label, quantiles(sorted).into_iter().chain([target]));
    }

    fn circuits(&mut self, circuits: &circuits::Results) {
        self.head(&format!("{} open circuits", circuits.keys), &["", "target"]);
        let mb = |bytes: fn(&circuits::Held) -> f64| {
            Spread::of(circuits.proxies.iter().map(|it| bytes(it) / 1e6))
        };
        let held = mb(circuits::Held::circuits_bytes);
        let target = verdict(held.map(|it| it.median), CIRCUITS_MB, " MB");
        let rows = [
            ("memory for them, MB", held, target),
            (
                "for their credentials, MB",
                mb(circuits::Held::credentials_bytes),
                String::new(),
            ),
            (
                "for as many requests, MB",
                mb(circuits::Held::noise_bytes),
                String::new(),
            ),
            (
                "whole process, MB",
                mb(circuits::Held::whole_bytes),
                String::new(),
            ),
        ];
        for (label, value, target) in rows {
            self.row(label, [spread(value, 1), target]);
        }
        self.line(&format!("({} proxies, each fresh)", circuits.proxies.len()));
    }

    fn costs(&mut self, costs: &costs::Results) {
        self.ingest(costs);
        self.head("Usage, ms", &["p50", "p99", "max", "target"]);
        let p99 = |ms: &[f64], most| verdict(quantile(ms, 0.99), most, " ms");
        let delays = &costs.delays_ms;
        self.waited("end of request to row", delays, p99(delays, ROW_MS));
        let refused = &costs.budgets.refused_after_ms;
        let last = verdict(quantile(refused, 1.0), VERDICT_MS, " ms");
        self.waited("budget used up to refused", refused, last);
        for waited in &costs.reports.sums {
            let label = format!("a month of {}", waited.asked);
            self.waited(&label, &waited.ms, p99(&waited.ms, REPORT_MS));
        }
        for waited in &costs.reports.lists {
            self.waited(waited.asked, &waited.ms, String::new());
        }
        let (rows, seconds) = (costs.reports.rows, costs.reports.write_seconds);
        self.line(&format!(
            "({} requests; {} budgets, two proxies; {rows} rows, written in {seconds:.0} s)",
            delays.len(),
            refused.len(),
        ));
        let export = &costs.reports.export;
        self.line(&format!(
            "{} requests exported: {:.0} MB in {:.0} s, control's memory grows by {:.1} MB",
            export.rows,
            mega(export.bytes),
            export.seconds,
            mega(export.growth_bytes),
        ));
        let overshoot = &costs.budgets.overshoot;
        self.line(&format!(
            "{} requests at once on {:.2} USD: {} answered, {:.6} USD spent, {:.6} too much",
            overshoot.parallel,
            overshoot.budget_usd,
            overshoot.answered,
            overshoot.spent_usd,
            (overshoot.spent_usd - overshoot.budget_usd).max(0.0)
        ));
    }

    fn ingest(&mut self, costs: &costs::Results) {
        self.head(
            "Usage stored by",
            &[
                "events/s",
                "target",
                "Postgres CPU us each",
                "control CPU us each",
                "deadlocks",
            ],
        );
        for ingest in &costs.ingest {
            let proxies = if ingest.writers == 1 {
                "proxy"
            } else {
                "proxies"
            };
            let fsync = if ingest.kind.is_synced { "on" } else { "off" };
            let budgets = if ingest.kind.has_budgets {
                ", budgets"
            } else {
                ""
            };
            let rate = ingest.events_per_second();
            self.row(
                &format!("{} {proxies}, fsync {fsync}{budgets}", ingest.writers),
                [
                    number(Some(rate), 0, ""),
                    at_least(rate, EVENTS_PER_SECOND),
                    number(Some(ingest.postgres_us_per_event()), 1, ""),
                    number(Some(ingest.control_us_per_event()), 1, ""),
                    format!("{}", ingest.deadlocks),
                ],
            );
        }
        for ingest in costs.ingest.iter().filter(|it| !it.is_sound()) {
            self.line(&format!(
                "INVALID: {} rows and {} requests in sums are missing or too many",
                ingest.wrong_rows, ingest.wrong_sums
            ));
        }
    }

    /// A row of sorted times, of which the long ones count.
    fn waited(&mut self, label: &str, ms: &[f64], target: String) {
        let columns = [0.5, 0.99, 1.0].map(|share| number(quantile(ms, share), 1, ""));
        self.row(label, columns.into_iter().chain([target]));
    }

    fn keys(&mut self, keys: &keys::Results) {
        self.head(&format!("{} access keys", keys.keys), &["", "target"]);
        let ready = |starts: &[keys::Start]| Spread::of(starts.iter().map(|it| it.ready_ms));
        let rss = |starts: &[keys::Start]| Spread::of(starts.iter().map(|it| mega(it.rss_bytes)));
        let more = rss(&keys.full).zip(rss(&keys.empty));
        let quantile = |share| quantile(&keys.refused_after_ms, share);
        let rows = [
            (
                "inserted by SQL in, s",
                number(Some(keys.insert_seconds), 1, ""),
                String::new(),
            ),
            (
                "start to ready, ms",
                spread(ready(&keys.full), 0),
                String::new(),
            ),
            (
                "without the keys, ms",
                spread(ready(&keys.empty), 0),
                String::new(),
            ),
            (
                "memory for them, MB",
                number(more.map(|(full, empty)| full.median - empty.median), 1, ""),
                String::new(),
            ),
            (
                "whole process, MB",
                spread(rss(&keys.full), 1),
                String::new(),
            ),
            (
                "snapshot on the wire, MB",
                number(Some(mega(keys.snapshot_bytes)), 1, ""),
                String::new(),
            ),
            (
                "revoked to refused p50, ms",
                number(quantile(0.5), 1, ""),
                String::new(),
            ),
            (
                "revoked to refused p99, ms",
                number(quantile(0.99), 1, ""),
                verdict(quantile(0.99), REFUSAL_MS, " ms"),
            ),
            (
                "revoked to refused max, ms",
                number(quantile(1.0), 1, ""),
                String::new(),
            ),
        ];
        for (label, value, target) in rows {
            self.row(label, [value, target]);
        }
        self.line(&format!(
            "({} revocations; from the admin API's answer until the second of two proxies refuses)",
            keys.refused_after_ms.len()
        ));
    }

    /// What makes a row less than it seems.
    fn complaints(&mut self, results: &Results) {
        for held in results.memory.iter().filter(|held| held.report.errors > 0) {
            self.line(&format!(
                "INVALID: {} of {} streams through {:?} ended early",
                held.report.errors, held.streams, held.target
            ));
        }
        if !results.circuits.is_sound() {
            self.line("INVALID: a proxy says that not all circuits are open");
        }
        for sample in &results.samples {
            let place = format!(
                "{:?}, {}, round {}",
                sample.target, sample.scenario, sample.round
            );
            if !sample.is_valid() {
                self.line(&format!(
                    "INVALID and left out: {place}: {} answers, {} errors, {} not sent",
                    sample.report.requests, sample.report.errors, sample.report.dropped
                ));
            }
            if sample.given_up > 0.0 {
                self.line(&format!(
                    "{place}: {} usage events were given up and logged, because control takes \
                     fewer per second than one core relays",
                    sample.given_up
                ));
            }
        }
    }
}

/// The valid samples of one target under one load.
fn samples(results: &Results, scenario: Scenario, name: Name) -> impl Iterator<Item = &Sample> {
    results.samples.iter().filter(move |sample| {
        sample.scenario == scenario.name && sample.target == name && sample.is_valid()
    })
}

fn of(
    results: &Results,
    scenario: Scenario,
    name: Name,
    value: impl Fn(&Sample) -> f64,
) -> Option<Spread> {
    Spread::of(samples(results, scenario, name).map(value))
}

/// What two targets did in the same round.
fn paired(
    results: &Results,
    scenario: Scenario,
    name: Name,
    other: Name,
) -> impl Iterator<Item = (&Sample, &Sample)> {
    samples(results, scenario, name).filter_map(move |sample| {
        let other = samples(results, scenario, other).find(|it| it.round == sample.round)?;
        Some((sample, other))
    })
}

/// The value of the one divided by the other's.
fn ratio(
    results: &Results,
    scenario: Scenario,
    name: Name,
    other: Name,
    value: impl Fn(&Sample) -> f64,
) -> Option<Spread> {
    let pairs = paired(results, scenario, name, other);
    Spread::of(pairs.map(|(it, other)| value(it) / value(other)))
}

fn spread(spread: Option<Spread>, digits: usize) -> String {
    let Some(Spread { median, min, max }) = spread else {
        return "-".to_owned();
    };
    format!("{median:.digits$} ({min:.digits$} .. {max:.digits$})")
}

/// The smallest but a hundredth, the middle and the largest but a hundredth.
fn quantiles(sorted: &[f64]) -> [String; 3] {
    [0.01, 0.5, 0.99].map(|share| number(quantile(sorted, share), 1, ""))
}

fn number(number: Option<f64>, digits: usize, unit: &str) -> String {
    number.map_or("-".to_owned(), |number| format!("{number:.digits$} {unit}"))
}

fn verdict(number: Option<f64>, most: f64, unit: &str) -> String {
    let verdict = match number {
        None => "-",
        Some(number) if number <= most => "ok",
        Some(_) => "OVER",
    };
    format!("<= {most}{unit}: {verdict}")
}

fn at_least(number: f64, least: f64) -> String {
    let verdict = if number >= least { "ok" } else { "UNDER" };
    format!(">= {least}: {verdict}")
}

#[expect(
    clippy::cast_precision_loss,
    reason = "measured numbers are far below 2^52"
)]
fn micros(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "measured numbers are far below 2^52"
)]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
