//! Whom gates did not let pass, by listener or route.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use prometheus::proto::{MetricFamily, MetricType};

use super::add;
use super::expose::{counter, family};
use super::rows::{Row, Rows};

/// Where a gate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GateOf<'a> {
    Listener(&'a str),
    Route(&'a str),
}

/// One gate of one listener or route, in one mode.
#[derive(Debug)]
pub(crate) struct GateRow {
    key: String,
    /// The label of its place, and the name.
    of: (&'static str, String),
    gate: &'static str,
    mode: &'static str,
    denied: Box<[CachePadded<AtomicU64>]>,
}

impl GateRow {
    pub(super) fn key(of: GateOf<'_>, gate: &str, mode: &str) -> String {
        let (label, name) = label(of);
        format!("{label} {gate} {mode} {name}")
    }

    pub(super) fn new(
        of: GateOf<'_>,
        gate: &'static str,
        mode: &'static str,
        workers: usize,
    ) -> Self {
        let (label, name) = label(of);
        Self {
            key: Self::key(of, gate, mode),
            of: (label, name.to_owned()),
            gate,
            mode,
            denied: (0..workers).map(|_| CachePadded::default()).collect(),
        }
    }

    /// To be called on this worker.
    pub(crate) fn denied(&self, worker: usize) {
        add(&self.denied[worker], 1);
    }
}

fn label(of: GateOf<'_>) -> (&'static str, &str) {
    match of {
        GateOf::Listener(name) => ("listener", name),
        GateOf::Route(name) => ("route", name),
    }
}

impl Row for GateRow {
    fn name(&self) -> &str {
        &self.key
    }

    /// It counts at once, and then no more.
    fn busy(&self) -> bool {
        false
    }
}

pub(super) fn families(rows: &Rows<GateRow>) -> Option<MetricFamily> {
    let mut denied = Vec::new();
    rows.scrape(|row, _| {
        let counts = row.denied.iter().map(|count| count.load(Ordering::Relaxed));
        let of = (row.of.0, row.of.1.as_str());
        let labels = [("gate", row.gate), of, ("mode", row.mode)];
        denied.push(counter(&labels, counts.sum()));
    });
    let help = "Requests that a gate did not let pass, or, in mode observe, would not have.";
    let name = "pointsman_gate_denied_total";
    (!denied.is_empty()).then(|| family(name, help, MetricType::COUNTER, denied))
}
