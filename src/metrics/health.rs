//! Which servers are well, of upstreams whose servers are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::proto::{MetricFamily, MetricType};

use super::expose::{family, gauge};

/// One server, and what is known of it.
#[derive(Debug)]
pub(crate) struct HealthGauge {
    pub upstream: String,
    pub server: String,
    pub well: Arc<AtomicBool>,
}

/// None without a server.
pub(super) fn families(servers: &[HealthGauge]) -> Option<MetricFamily> {
    let gauges = servers.iter().map(|told| {
        let labels = [
            ("server", told.server.as_str()),
            ("upstream", told.upstream.as_str()),
        ];
        gauge(&labels, i64::from(told.well.load(Ordering::Relaxed)))
    });
    let help = "1 if probes found the server well, or have not been answered yet; 0 if they found it not well.";
    let name = "pointsman_upstream_healthy";
    (!servers.is_empty()).then(|| family(name, help, MetricType::GAUGE, gauges.collect()))
}
