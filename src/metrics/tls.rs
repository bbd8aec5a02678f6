//! Handshakes and certificates, by listener.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use prometheus::proto::{MetricFamily, MetricType};

use super::expose::{counter, family, gauge, metric};
use super::histogram::{Bounds, Histogram};
use super::rows::{Row, Rows, State};

/// How a handshake ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshaken {
    Full,
    /// By a ticket of a session before.
    Resumed,
}

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// It took longer than `timeout.handshake`.
    Timeout,
    /// The client left in the middle.
    Closed,
    /// What came first is not TLS.
    NotTls,
    /// The client gave up, mostly because it does not trust the certificate.
    Alert,
    /// The client knows no version that is spoken.
    NoVersion,
    /// The client knows no cipher, key exchange or signature that is spoken.
    NoCipher,
    /// The client wants a protocol inside TLS that is not spoken.
    NoProtocol,
    /// The client has to show a certificate and has none.
    NoClientCertificate,
    /// The client's certificate is not to be trusted.
    BadClientCertificate,
    /// The client breaks the rules of TLS.
    Malformed,
}

impl HandshakeFailure {
    const ALL: [Self; 10] = [
        Self::Timeout,
        Self::Closed,
        Self::NotTls,
        Self::Alert,
        Self::NoVersion,
        Self::NoCipher,
        Self::NoProtocol,
        Self::NoClientCertificate,
        Self::BadClientCertificate,
        Self::Malformed,
    ];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::Alert => "alert",
            Self::NoVersion => "no_version",
            Self::NoCipher => "no_cipher",
            Self::NoProtocol => "no_protocol",
            Self::NoClientCertificate => "no_client_certificate",
            Self::BadClientCertificate => "bad_client_certificate",
            Self::Malformed => "malformed",
        }
    }
}

/// Who shows a certificate to whom, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CertificateOf {
    /// To its clients.
    Listener(String),
    /// To its servers.
    Upstream(String),
}

/// What is told of one certificate that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateGauge {
    pub of: CertificateOf,
    pub certificate: String,
    /// As Unix time, in seconds.
    pub not_after: i64,
    pub kept_back: bool,
}

/// Touched once a connection, so that its counters serve all workers. Histograms do not: each has one
/// writer.
#[derive(Debug)]
pub struct TlsRow {
    name: String,
    under_way: AtomicI64,
    ended: [AtomicU64; 2],
    failed: [AtomicU64; HandshakeFailure::ALL.len()],
    durations: Box<[CachePadded<Histogram>]>,
}

impl TlsRow {
    pub(super) fn new(name: &str, workers: usize, bounds: &Bounds) -> Self {
        let histogram = |_| CachePadded::new(Histogram::new(bounds));
        Self {
            name: name.to_owned(),
            under_way: AtomicI64::new(0),
            ended: Default::default(),
            failed: Default::default(),
            durations: (0..workers).map(histogram).collect(),
        }
    }

    /// Counts a handshake on this worker as under way until the returned value is dropped.
    pub(crate) fn begin(&self, worker: usize) -> Handshake<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Handshake { row: self, worker }
    }
}

/// A handshake under way.
#[derive(Debug)]
pub(crate) struct Handshake<'a> {
    row: &'a TlsRow,
    worker: usize,
}

impl Handshake<'_> {
    pub(crate) fn ended(&self, how: Handshaken, took: Duration) {
        self.row.ended[how as usize].fetch_add(1, Ordering::Relaxed);
        self.row.durations[self.worker].observe(took);
    }

    pub(crate) fn failed(&self, why: HandshakeFailure) {
        self.row.failed[why as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.row.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Row for TlsRow {
    fn name(&self) -> &str {
        &self.name
    }

    fn busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }
}

pub(super) fn families(rows: &Rows<TlsRow>) -> Vec<MetricFamily> {
    let (mut under_way, mut ended, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let mut durations = Vec::new();
    rows.scrape(|row, state| {
        let listener = ("listener", row.name());
        if state == State::Live {
            under_way.push(gauge(&[listener], row.under_way.load(Ordering::Relaxed)));
        }
        for (kind, count) in ["full", "resumed"].iter().zip(&row.ended) {
            let count = count.load(Ordering::Relaxed);
            ended.push(counter(&[("kind", kind), listener], count));
        }
        for (why, count) in HandshakeFailure::ALL.iter().zip(&row.failed) {
            let count = count.load(Ordering::Relaxed);
            failed.push(counter(&[listener, ("reason", why.word())], count));
        }
        let total = Histogram::total(row.durations.iter().map(|shard| &**shard));
        durations.extend(total.map(|total| {
            let mut metric = metric(&[listener]);
            metric.set_histogram(total);
            metric
        }));
    });
    let (counters, gauges) = (MetricType::COUNTER, MetricType::GAUGE);
    let mut families = vec![
        family(
            "pointsman_tls_handshakes_in_flight",
            "TLS handshakes under way.",
            gauges,
            under_way,
        ),
        family(
            "pointsman_tls_handshakes_total",
            "TLS handshakes that ended well: full, or resumed by a ticket.",
            counters,
            ended,
        ),
        family(
            "pointsman_tls_handshake_failures_total",
            "TLS handshakes that failed, by reason.",
            counters,
            failed,
        ),
        family(
            "pointsman_tls_handshake_duration_seconds",
            "From the connection to the end of its TLS handshake, if it ended well.",
            MetricType::HISTOGRAM,
            durations,
        ),
    ];
    families.retain(|family| !family.get_metric().is_empty());
    families
}

/// Of the certificates that serve now, and of no others.
pub(super) fn certificates(certificates: &[CertificateGauge]) -> Vec<MetricFamily> {
    let gauges = |name, help, value: fn(&CertificateGauge) -> i64| {
        let gauge = |told: &CertificateGauge| {
            let certificate = ("certificate", told.certificate.as_str());
            let labels = match &told.of {
                CertificateOf::Listener(name) => [certificate, ("listener", name)],
                CertificateOf::Upstream(name) => [certificate, ("upstream", name)],
            };
            gauge(&labels, value(told))
        };
        let metrics = certificates.iter().map(gauge).collect();
        family(name, help, MetricType::GAUGE, metrics)
    };
    let mut families = vec![
        gauges(
            "pointsman_tls_certificate_not_after_seconds",
            "When the certificate that is shown ends, as Unix time.",
            |told| told.not_after,
        ),
        gauges(
            "pointsman_tls_certificate_kept_back",
            "1 while the files of a certificate hold what cannot be used, and the one before is shown.",
            |told| i64::from(told.kept_back),
        ),
    ];
    families.retain(|family| !family.get_metric().is_empty());
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_of_many_workers_at_once_are_all_counted() {
        const WORKERS: usize = 4;
        const EACH: u64 = 100_000;
        let row = TlsRow::new("a", WORKERS, &Bounds::new(&[0.1]));
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let row = &row;
                scope.spawn(move || {
                    for _ in 0..EACH {
                        let handshake = row.begin(worker);
                        handshake.ended(Handshaken::Full, Duration::from_millis(1));
                    }
                });
            }
        });
        let total = Histogram::total(row.durations.iter().map(|shard| &**shard)).unwrap();
        assert_eq!(total.get_sample_count(), WORKERS as u64 * EACH);
        assert_eq!(row.ended[0].load(Ordering::Relaxed), WORKERS as u64 * EACH);
        assert!(!row.busy());
    }
}
