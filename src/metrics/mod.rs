//! Every metric family of the process.
//!
//! What is counted for each request lives in a [`RouteRow`], which a snapshot looks up once when it
//! is built: a request finds its counters through its route, with no lookup and no lock. A row has
//! one shard a worker, added up at the scrape.

mod call;
mod codes;
mod connection;
mod expose;
mod gate;
mod health;
mod histogram;
mod reload;
mod route;
mod rows;
mod tls;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::Collector;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

pub(crate) use call::{CallRow, Calls};
pub(crate) use connection::{ConnectionRow, OpenConnection, Trust};
pub(crate) use gate::{GateOf, GateRow};
pub(crate) use health::HealthGauge;
pub(crate) use reload::{ReloadMetrics, ReloadResult};
pub(crate) use route::{MethodLabel, RouteRow, RouteShard};
pub(crate) use tls::{CertificateGauge, CertificateOf, HandshakeFailure, Handshaken, TlsRow};

use tokio::runtime::Handle;

use histogram::Bounds;
use rows::Rows;

/// Adds to a counter that one thread alone writes.
fn add(counter: &AtomicU64, more: u64) {
    let count = counter.load(Ordering::Relaxed).wrapping_add(more);
    counter.store(count, Ordering::Relaxed);
}

/// The label of requests that no route matches.
pub(crate) const UNMATCHED: &str = "_unmatched";
/// Methods that a route does not list.
const OTHER: &str = "_other";

/// The families and the rows of the process. One for its life: a reload adds and retires rows, and
/// never makes a new registry.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    workers: usize,
    bounds: Bounds,
    routes: Rows<RouteRow>,
    upstreams: Rows<ConnectionRow>,
    listeners: Rows<ConnectionRow>,
    tls: Rows<TlsRow>,
    calls: Rows<CallRow>,
    gates: Rows<GateRow>,
    certificates: Mutex<Vec<CertificateGauge>>,
    health: Mutex<Vec<HealthGauge>>,
    runtimes: Mutex<Vec<Handle>>,
    pub unmatched: Arc<RouteRow>,
    pub reload: ReloadMetrics,
    pub log_lines_dropped: IntCounter,
}

impl Metrics {
    /// `bounds` are the upper bounds of every latency histogram, in seconds.
    pub fn new(workers: usize, bounds: &[f64]) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let bounds = Bounds::new(bounds);
        let unmatched = Arc::new(RouteRow::new(UNMATCHED, workers, &bounds));
        let reload = ReloadMetrics::register(&registry)?;
        let log_lines_dropped = IntCounter::new(
            "pointsman_log_lines_dropped_total",
            "Log lines given up because the writer could not keep up.",
        )?;
        register(&registry, &log_lines_dropped)?;
        register_process(&registry, workers)?;
        Ok(Self {
            registry,
            workers,
            bounds,
            routes: Rows::new(Some(Arc::clone(&unmatched))),
            upstreams: Rows::new(None),
            listeners: Rows::new(None),
            tls: Rows::new(None),
            calls: Rows::new(None),
            gates: Rows::new(None),
            certificates: Mutex::default(),
            health: Mutex::default(),
            runtimes: Mutex::default(),
            unmatched,
            reload,
            log_lines_dropped,
        })
    }

    /// The row of a route: the one that exists, or a new one that shows once it is published.
    pub fn route(&self, name: &str) -> Arc<RouteRow> {
        let new = || RouteRow::new(name, self.workers, &self.bounds);
        self.routes.find(name).unwrap_or_else(|| Arc::new(new()))
    }

    pub fn upstream(&self, name: &str) -> Arc<ConnectionRow> {
        self.upstreams
            .find(name)
            .unwrap_or_else(|| Arc::new(ConnectionRow::new(name)))
    }

    pub fn listener(&self, name: &str) -> Arc<ConnectionRow> {
        self.listeners
            .find(name)
            .unwrap_or_else(|| Arc::new(ConnectionRow::new(name)))
    }

    /// Of a listener that speaks TLS.
    pub fn tls(&self, name: &str) -> Arc<TlsRow> {
        let new = || Arc::new(TlsRow::new(name, self.workers, &self.bounds));
        self.tls.find(name).unwrap_or_else(new)
    }

    /// Of a route that lists methods of gRPC, as `package.Service/Method`.
    pub fn calls(&self, route: &str, methods: &[String]) -> Calls {
        let row = |method: &str| {
            let new = || CallRow::new(route, method, self.workers, &self.bounds);
            let known = self.calls.find(&CallRow::key(route, method));
            known.unwrap_or_else(|| Arc::new(new()))
        };
        let listed = methods
            .iter()
            .map(|method| (format!("/{method}"), row(method)));
        Calls::new(listed.collect(), row(OTHER))
    }

    /// Of a gate.
    pub(crate) fn gate(
        &self,
        of: GateOf<'_>,
        gate: &'static str,
        mode: &'static str,
    ) -> Arc<GateRow> {
        let new = || Arc::new(GateRow::new(of, gate, mode, self.workers));
        let known = self.gates.find(&GateRow::key(of, gate, mode));
        known.unwrap_or_else(new)
    }

    /// From now on these rows are the live ones. Gauges of all others are gone from the next
    /// scrape; their counters go after one scrape more, when nothing is in flight on them.
    pub fn publish(
        &self,
        routes: Vec<Arc<RouteRow>>,
        upstreams: Vec<Arc<ConnectionRow>>,
        listeners: Vec<Arc<ConnectionRow>>,
    ) {
        self.routes.publish(routes);
        self.upstreams.publish(upstreams);
        self.listeners.publish(listeners);
    }

    /// The same of listeners that speak TLS; `certificates` are those that serve from now on.
    pub(crate) fn publish_tls(&self, rows: Vec<Arc<TlsRow>>, certificates: Vec<CertificateGauge>) {
        self.tls.publish(rows);
        *locked(&self.certificates) = certificates;
    }

    /// The same of gates.
    pub(crate) fn publish_gates(&self, rows: Vec<Arc<GateRow>>) {
        self.gates.publish(rows);
    }

    /// The same of routes that list methods.
    pub(crate) fn publish_calls(&self, rows: Vec<Arc<CallRow>>) {
        self.calls.publish(rows);
    }

    /// Of these servers it is told from now on whether they are well.
    pub(crate) fn publish_health(&self, servers: Vec<HealthGauge>) {
        *locked(&self.health) = servers;
    }

    /// Counts the tasks of this runtime, too.
    pub fn watch(&self, runtime: Handle) {
        let mut runtimes = locked(&self.runtimes);
        runtimes.push(runtime);
    }

    fn tasks(&self) -> MetricFamily {
        let runtimes = locked(&self.runtimes);
        let tasks = runtimes
            .iter()
            .map(|runtime| runtime.metrics().num_alive_tasks());
        let tasks = i64::try_from(tasks.sum::<usize>()).unwrap_or(i64::MAX);
        let help = "Tasks alive on all threads: connections, tunnels, and what serves them.";
        let metrics = vec![expose::gauge(&[], tasks)];
        expose::family("pointsman_tasks", help, MetricType::GAUGE, metrics)
    }

    /// The exposition text. Large with many routes: not for a thread that serves.
    pub fn render(&self) -> String {
        let mut families = self.registry.gather();
        families.push(self.tasks());
        families.extend(route::families(&self.routes));
        families.extend(connection::families(
            &self.listeners,
            &connection::LISTENERS,
        ));
        families.extend(connection::families(
            &self.upstreams,
            &connection::UPSTREAMS,
        ));
        families.extend(gate::families(&self.gates));
        families.extend(call::families(&self.calls));
        families.extend(tls::families(&self.tls));
        families.extend(health::families(&locked(&self.health)));
        families.extend(tls::certificates(&locked(&self.certificates)));
        let mut text = String::new();
        // The encoder fails only on a family without metrics, and none of these is.
        if let Err(error) = TextEncoder::new().encode_utf8(&families, &mut text) {
            tracing::error!(%error, "metrics could not be written");
        }
        text
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: &C,
) -> Result<(), prometheus::Error> {
    registry.register(Box::new(collector.clone()))
}

fn register_process(registry: &Registry, workers: usize) -> Result<(), prometheus::Error> {
    let build = IntGaugeVec::new(
        Opts::new("pointsman_build_info", "1, with the version that runs."),
        &["version"],
    )?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    register(registry, &build)?;
    let threads = IntGauge::new("pointsman_workers", "Worker threads.")?;
    threads.set(i64::try_from(workers).unwrap_or(i64::MAX));
    register(registry, &threads)?;
    #[cfg(target_os = "linux")]
    registry.register(Box::new(
        prometheus::process_collector::ProcessCollector::for_self(),
    ))?;
    Ok(())
}
