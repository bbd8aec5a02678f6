//! What is counted for each request, by route.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use http::Method;
use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::add;
use super::codes::Codes;
use super::expose::{counter, family, gauge, metric};
use super::histogram::{Bounds, Histogram};
use super::rows::{Row, Rows, State};
use crate::why::Why;

/// The `method` label: a fixed list, so that no client can make a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodLabel(usize);

const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "OTHER",
];

impl From<&Method> for MethodLabel {
    fn from(method: &Method) -> Self {
        let known = METHODS.iter().position(|known| *known == method.as_str());
        Self(known.unwrap_or(METHODS.len() - 1))
    }
}

/// The counters of one route, a shard for each worker.
#[derive(Debug)]
pub struct RouteRow {
    name: String,
    shards: Box<[CachePadded<RouteShard>]>,
}

/// What one worker counts. Only that worker writes it, so its cache lines stay with its core, and
/// what is added needs no locked instruction.
#[derive(Debug)]
pub struct RouteShard {
    codes: Codes,
    whys: [AtomicU64; Why::ALL.len()],
    duration: Histogram,
    upstream: Histogram,
    overhead: Histogram,
    stream: Histogram,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    in_flight: AtomicI64,
    tunnels: AtomicI64,
}

impl RouteRow {
    pub(super) fn new(name: &str, workers: usize, bounds: &Bounds) -> Self {
        let shards = (0..workers)
            .map(|_| CachePadded::new(RouteShard::new(bounds)))
            .collect();
        Self {
            name: name.to_owned(),
            shards,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn shard(&self, worker: usize) -> &RouteShard {
        &self.shards[worker]
    }

    fn sum<T: std::iter::Sum>(&self, part: impl Fn(&RouteShard) -> T) -> T {
        self.shards.iter().map(|shard| part(shard)).sum()
    }
}

impl Row for RouteRow {
    fn name(&self) -> &str {
        &self.name
    }

    fn busy(&self) -> bool {
        self.sum(|shard| shard.in_flight.load(Ordering::Acquire)) > 0
    }
}

impl RouteShard {
    fn new(bounds: &Bounds) -> Self {
        Self {
            codes: Codes::default(),
            whys: Default::default(),
            duration: Histogram::new(bounds),
            upstream: Histogram::new(bounds),
            overhead: Histogram::new(bounds),
            stream: Histogram::new(bounds),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            in_flight: AtomicI64::new(0),
            tunnels: AtomicI64::new(0),
        }
    }

    pub fn started(&self) {
        let count = self.in_flight.load(Ordering::Relaxed) + 1;
        self.in_flight.store(count, Ordering::Relaxed);
    }

    pub fn ended(&self, method: MethodLabel, code: u16, why: Why) {
        self.codes.add(method.0, code);
        if why != Why::Ok {
            add(&self.whys[why.index()], 1);
        }
        // Last, and seen last: a retired row that is not busy any more has all of its counts.
        let count = self.in_flight.load(Ordering::Relaxed) - 1;
        self.in_flight.store(count, Ordering::Release);
    }

    pub fn bytes(&self, received: u64, sent: u64) {
        add(&self.bytes_in, received);
        add(&self.bytes_out, sent);
    }

    pub fn duration(&self, duration: Duration) {
        self.duration.observe(duration);
    }

    pub fn upstream(&self, duration: Duration) {
        self.upstream.observe(duration);
    }

    pub fn overhead(&self, duration: Duration) {
        self.overhead.observe(duration);
    }

    pub fn tunnel_opened(&self) {
        self.tunnels.fetch_add(1, Ordering::Relaxed);
    }

    pub fn tunnel_closed(&self) {
        self.tunnels.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn stream(&self, lifetime: Duration) {
        self.stream.observe(lifetime);
    }
}

/// name, help, what to read of a shard
type HistogramFamily = (&'static str, &'static str, fn(&RouteShard) -> &Histogram);
type CounterFamily = (&'static str, &'static str, fn(&RouteShard) -> &AtomicU64);
type GaugeFamily = (&'static str, &'static str, fn(&RouteShard) -> &AtomicI64);

const HISTOGRAMS: [HistogramFamily; 4] = [
    (
        "pointsman_request_duration_seconds",
        "From the request's head to the last byte of the answer; tunnels and event streams apart.",
        |shard| &shard.duration,
    ),
    (
        "pointsman_upstream_duration_seconds",
        "From handing the request to the upstream to the head of its answer, connecting included.",
        |shard| &shard.upstream,
    ),
    (
        "pointsman_proxy_overhead_seconds",
        "What the proxy itself took until it had the answer's head ready.",
        |shard| &shard.overhead,
    ),
    (
        "pointsman_stream_duration_seconds",
        "Lifetime of tunnels and event streams.",
        |shard| &shard.stream,
    ),
];

const COUNTERS: [CounterFamily; 2] = [
    (
        "pointsman_request_bytes_total",
        "Bytes of request bodies and tunnels from clients.",
        |shard| &shard.bytes_in,
    ),
    (
        "pointsman_response_bytes_total",
        "Bytes of response bodies and tunnels to clients.",
        |shard| &shard.bytes_out,
    ),
];

const GAUGES: [GaugeFamily; 2] = [
    (
        "pointsman_requests_in_flight",
        "Requests being answered, tunnels included.",
        |shard| &shard.in_flight,
    ),
    (
        "pointsman_tunnels",
        "Open tunnels of upgraded connections.",
        |shard| &shard.tunnels,
    ),
];

/// Shows all rows. Written out by hand rather than with the crate's `*Vec` types: those look a row
/// up by a hash of the joined label values, in which ("api", "v1") and ("apiv", "1") are the same.
pub(super) fn families(rows: &Rows<RouteRow>) -> Vec<MetricFamily> {
    let mut requests = Vec::new();
    let mut errors = Vec::new();
    let mut histograms = HISTOGRAMS.map(|_| Vec::new());
    let mut counters = COUNTERS.map(|_| Vec::new());
    let mut gauges = GAUGES.map(|_| Vec::new());
    rows.scrape(|row, state| {
        by_code(row, &mut requests);
        by_why(row, &mut errors);
        let label = [("route", row.name())];
        for (metrics, (_, _, read)) in histograms.iter_mut().zip(HISTOGRAMS) {
            let total = Histogram::total(row.shards.iter().map(|shard| read(shard)));
            metrics.extend(total.map(|total| {
                let mut metric = metric(&label);
                metric.set_histogram(total);
                metric
            }));
        }
        for (metrics, (_, _, read)) in counters.iter_mut().zip(COUNTERS) {
            let total = row.sum(|shard| read(shard).load(Ordering::Relaxed));
            metrics.push(counter(&label, total));
        }
        for (metrics, (_, _, read)) in gauges.iter_mut().zip(GAUGES) {
            let total = row.sum(|shard| read(shard).load(Ordering::Relaxed));
            metrics.extend((state == State::Live).then(|| gauge(&label, total)));
        }
    });
    let kind = MetricType::COUNTER;
    let mut families = vec![
        family(
            "pointsman_requests_total",
            "Requests answered, by route, method and status code.",
            kind,
            requests,
        ),
        family(
            "pointsman_errors_total",
            "Requests that the proxy itself ended, by the word that says why.",
            kind,
            errors,
        ),
    ];
    let named = |kind| move |((name, help), metrics)| family(name, help, kind, metrics);
    let names = HISTOGRAMS.map(|(name, help, _)| (name, help));
    families.extend(
        names
            .into_iter()
            .zip(histograms)
            .map(named(MetricType::HISTOGRAM)),
    );
    let names = COUNTERS.map(|(name, help, _)| (name, help));
    families.extend(
        names
            .into_iter()
            .zip(counters)
            .map(named(MetricType::COUNTER)),
    );
    let names = GAUGES.map(|(name, help, _)| (name, help));
    families.extend(names.into_iter().zip(gauges).map(named(MetricType::GAUGE)));
    families.retain(|family| !family.get_metric().is_empty());
    families
}

fn by_code(row: &RouteRow, metrics: &mut Vec<Metric>) {
    let mut totals = std::collections::BTreeMap::new();
    for shard in &row.shards {
        shard
            .codes
            .visit(|method, code, count| *totals.entry((method, code)).or_insert(0) += count);
    }
    for ((method, code), count) in totals {
        let code = if code == 0 {
            "other".to_owned()
        } else {
            code.to_string()
        };
        let labels = [
            ("code", code.as_str()),
            ("method", METHODS[method]),
            ("route", row.name()),
        ];
        metrics.push(counter(&labels, count));
    }
}

fn by_why(row: &RouteRow, metrics: &mut Vec<Metric>) {
    for why in Why::ALL {
        let count = row.sum(|shard| shard.whys[why.index()].load(Ordering::Relaxed));
        if count > 0 {
            metrics.push(counter(
                &[("route", row.name()), ("why", why.word())],
                count,
            ));
        }
    }
}
