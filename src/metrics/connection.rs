//! Connections: of clients by listener, to servers by upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

use prometheus::proto::{MetricFamily, MetricType};

use super::expose::{counter, family, gauge};
use super::rows::{Row, Rows, State};

/// Touched once a connection, not once a request, so one row serves all workers.
#[derive(Debug)]
pub struct ConnectionRow {
    name: String,
    open: AtomicI64,
    total: AtomicU64,
    refused: AtomicU64,
    trust: AtomicU8,
}

/// Are the servers of an upstream asked who they are?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Trust {
    /// They speak no TLS.
    InClear,
    Verified,
    /// Whoever answers is believed.
    Blind,
}

impl ConnectionRow {
    /// One that shows only once it is published.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            open: AtomicI64::new(0),
            total: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            trust: AtomicU8::new(Trust::InClear as u8),
        }
    }

    /// Counts a connection until the returned value is dropped.
    pub fn open(self: &Arc<Self>) -> OpenConnection {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(self))
    }

    pub fn set_trust(&self, trust: Trust) {
        self.trust.store(trust as u8, Ordering::Relaxed);
    }

    /// Counts a connection that was closed before its first request, because of how it began.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Row for ConnectionRow {
    fn name(&self) -> &str {
        &self.name
    }

    fn busy(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }
}

/// One open connection.
#[derive(Debug)]
pub struct OpenConnection(Arc<ConnectionRow>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The words of one pair of families.
pub(super) struct Words {
    label: &'static str,
    open: (&'static str, &'static str),
    total: (&'static str, &'static str),
    refused: Option<(&'static str, &'static str)>,
}

pub(super) const LISTENERS: Words = Words {
    label: "listener",
    open: ("pointsman_connections", "Open client connections."),
    total: (
        "pointsman_connections_total",
        "Client connections accepted.",
    ),
    refused: Some((
        "pointsman_connections_refused_total",
        "Client connections closed for want of a sound PROXY header.",
    )),
};

pub(super) const UPSTREAMS: Words = Words {
    label: "upstream",
    open: (
        "pointsman_upstream_connections",
        "Open connections to upstream servers.",
    ),
    total: (
        "pointsman_upstream_connects_total",
        "Connections made to upstream servers.",
    ),
    refused: None,
};

pub(super) fn families(rows: &Rows<ConnectionRow>, words: &Words) -> Vec<MetricFamily> {
    let (mut open, mut total) = (Vec::new(), Vec::new());
    let (mut refused, mut blind) = (Vec::new(), Vec::new());
    rows.scrape(|row, state| {
        let labels = [(words.label, row.name())];
        if state == State::Live {
            open.push(gauge(&labels, row.open.load(Ordering::Relaxed)));
            let trust = row.trust.load(Ordering::Relaxed);
            if trust != Trust::InClear as u8 {
                blind.push(gauge(&labels, i64::from(trust == Trust::Blind as u8)));
            }
        }
        total.push(counter(&labels, row.total.load(Ordering::Relaxed)));
        refused.push(counter(&labels, row.refused.load(Ordering::Relaxed)));
    });
    let mut families = vec![
        family(words.open.0, words.open.1, MetricType::GAUGE, open),
        family(words.total.0, words.total.1, MetricType::COUNTER, total),
    ];
    if let Some((name, help)) = words.refused {
        families.push(family(name, help, MetricType::COUNTER, refused));
    }
    families.push(family(
        "pointsman_upstream_tls_insecure",
        "1 if whoever answers is taken for the upstream's server, of those that speak TLS.",
        MetricType::GAUGE,
        blind,
    ));
    families.retain(|family| !family.get_metric().is_empty());
    families
}
