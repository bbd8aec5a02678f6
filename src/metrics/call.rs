//! Calls of gRPC, by method: for routes that list theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use prometheus::proto::{MetricFamily, MetricType};

use super::add;
use super::expose::{counter, family, metric};
use super::histogram::{Bounds, Histogram};
use super::rows::{Row, Rows};

/// The codes of gRPC, each at its own number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// Of a call that ended without a code, or with one that there is not.
const UNKNOWN: usize = 2;

/// One method of one route, or all those that it does not list.
#[derive(Debug)]
pub struct CallRow {
    key: String,
    route: String,
    method: String,
    shards: Box<[CachePadded<Shard>]>,
}

#[derive(Debug)]
struct Shard {
    ended: [AtomicU64; CODES.len()],
    duration: Histogram,
}

impl CallRow {
    /// Both names in one, which no other pair makes.
    pub(super) fn key(route: &str, method: &str) -> String {
        format!("{method} {route}")
    }

    pub(super) fn new(route: &str, method: &str, workers: usize, bounds: &Bounds) -> Self {
        let shard = |_| {
            CachePadded::new(Shard {
                ended: Default::default(),
                duration: Histogram::new(bounds),
            })
        };
        Self {
            key: Self::key(route, method),
            route: route.to_owned(),
            method: method.to_owned(),
            shards: (0..workers).map(shard).collect(),
        }
    }

    /// To be called on this worker.
    pub(crate) fn ended(&self, worker: usize, code: Option<u8>, took: Duration) {
        let shard = &self.shards[worker];
        let code = code.map_or(UNKNOWN, usize::from);
        add(shard.ended.get(code).unwrap_or(&shard.ended[UNKNOWN]), 1);
        shard.duration.observe(took);
    }
}

impl Row for CallRow {
    fn name(&self) -> &str {
        &self.key
    }

    /// Whoever still counts on it has it.
    fn busy(&self) -> bool {
        false
    }
}

pub(super) fn families(rows: &Rows<CallRow>) -> Vec<MetricFamily> {
    let (mut ended, mut durations) = (Vec::new(), Vec::new());
    rows.scrape(|row, _| {
        let (method, route) = (
            ("method", row.method.as_str()),
            ("route", row.route.as_str()),
        );
        for (code, name) in CODES.iter().enumerate() {
            let counts = row.shards.iter().map(|shard| &shard.ended[code]);
            let count: u64 = counts.map(|count| count.load(Ordering::Relaxed)).sum();
            // A method has few of them.
            if count > 0 || code == 0 {
                ended.push(counter(&[("code", name), method, route], count));
            }
        }
        let total = Histogram::total(row.shards.iter().map(|shard| &shard.duration));
        durations.extend(total.map(|total| {
            let mut metric = metric(&[method, route]);
            metric.set_histogram(total);
            metric
        }));
    });
    let mut families = vec![
        family(
            "pointsman_grpc_calls_total",
            "Calls of gRPC that ended, by method, for routes that list theirs.",
            MetricType::COUNTER,
            ended,
        ),
        family(
            "pointsman_grpc_call_duration_seconds",
            "From the head of a call to its end, by method.",
            MetricType::HISTOGRAM,
            durations,
        ),
    ];
    families.retain(|family| !family.get_metric().is_empty());
    families
}

/// The rows of one route.
#[derive(Debug)]
pub struct Calls {
    /// By the path of a call, in its order.
    listed: Vec<(String, Arc<CallRow>)>,
    other: Arc<CallRow>,
}

impl Calls {
    pub(super) fn new(mut listed: Vec<(String, Arc<CallRow>)>, other: Arc<CallRow>) -> Self {
        listed.sort_by(|one, other| one.0.cmp(&other.0));
        Self { listed, other }
    }

    pub(crate) fn of(&self, path: &str) -> &Arc<CallRow> {
        let found = self
            .listed
            .binary_search_by(|(known, _)| known.as_str().cmp(path));
        found.map_or(&self.other, |index| &self.listed[index].1)
    }

    pub fn rows(&self) -> impl Iterator<Item = &Arc<CallRow>> {
        let listed = self.listed.iter().map(|(_, row)| row);
        listed.chain([&self.other])
    }
}
