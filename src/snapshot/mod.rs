//! What requests use: immutable, built whole from a Config, behind one `ArcSwap`.

mod compile;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use tokio::sync::Semaphore;

pub(crate) use compile::{Compiled, Surroundings, compile};

use crate::config::{Address, Drain as DrainTimeout, Http2Table};
use crate::gate::Gates;
use crate::message::forwarded::Trusted;
use crate::message::{ErrorPages, Target};
use crate::metrics::{
    Calls, CertificateGauge, CertificateOf, ConnectionRow, HealthGauge, Metrics, TlsRow,
};
use crate::net::tls::{Entry, Tls};
use crate::net::{Drain, Seldom};
use crate::route::{Route, Table};
use crate::upstream::{Health, Upstream};
use crate::wire::server::Terms;

/// All that serves, of one generation.
#[derive(Debug)]
pub struct Snapshot {
    /// 1 for the first; one more with each change that was applied.
    pub generation: u64,
    pub trusted: Trusted,
    /// Write one log line a request.
    pub access_log: bool,
    pub shutdown_grace: Duration,
    pub listeners: Vec<Arc<Listener>>,
    /// Beside the listeners and not in them, so that a listener is kept when only its certificates
    /// change.
    tls: Tlses,
    /// Beside the listeners, so that their connections live on when other clients may pass; by their names,
    /// none if no listener has a gate.
    access: Option<HashMap<String, Gates>>,
    /// Beside the routes and not in them, so that a route is kept when only its pages change.
    pub error_pages: ErrorPages,
    /// Fields that tell who a client is by its certificate, and that no client may send itself; none
    /// where nobody is asked for one.
    pub identity_headers: Option<Arc<[HeaderName]>>,
    drain_timeout: DrainTimeout,
    routes: Vec<Arc<Route>>,
    table: Table,
    upstreams: HashMap<String, SharedUpstream>,
}

/// TLS by the name of its listener.
type Tlses = HashMap<String, Arc<Tls>>;

/// An upstream with the fingerprint by which the next snapshot knows that it did not change.
#[derive(Debug, Clone)]
struct SharedUpstream {
    fingerprint: u64,
    upstream: Arc<Upstream>,
    /// What its servers are shown. Not the upstream's: its files may hold something else by now that cannot
    /// be used.
    shown: Option<Entry>,
}

/// A listener as it is wanted; which sockets are open is the `server` room's business.
#[derive(Debug)]
pub struct Listener {
    pub name: String,
    pub address: Address,
    /// The permissions of its socket's file; the process's own if left out.
    pub mode: Option<u32>,
    /// Peers that must begin with a PROXY header.
    pub proxy_protocol: Option<Trusted>,
    /// That one did not.
    pub complaint: Seldom,
    /// What one of its connections may do.
    pub terms: Terms,
    /// What a client may take by HTTP/2; none where that is not spoken.
    pub http2: Option<Http2Table>,
    /// One for each connection that may be open, if there is a limit.
    pub slots: Option<Arc<Semaphore>>,
    pub row: Arc<ConnectionRow>,
    /// As it was when the listener was built; [`Snapshot::tls`] has what serves now.
    tls: Option<Arc<Tls>>,
    pub tls_row: Option<Arc<TlsRow>>,
    pub handshake_timeout: Duration,
    /// The port of HTTPS, if every request is sent there.
    pub redirect_to_https: Option<u16>,
    /// `Strict-Transport-Security`.
    pub hsts: Option<HeaderValue>,
    /// Its connections wait on it.
    pub drain: Arc<Drain>,
    fingerprint: u64,
}

impl Snapshot {
    /// The route that takes a request.
    pub fn route(&self, target: &Target<'_>, head: &Parts) -> Option<&Arc<Route>> {
        let found = self
            .table
            .find(target, head, |index| &self.routes[index].matcher);
        found.map(|index| &self.routes[index])
    }

    /// The TLS of the listener of that name.
    pub fn tls(&self, listener: &str) -> Option<&Tls> {
        self.tls.get(listener).map(Arc::as_ref)
    }

    /// The same for a connection that came by this listener, which may be on its way out.
    pub fn tls_of<'a>(&'a self, listener: &'a Listener) -> Option<&'a Arc<Tls>> {
        let now = self.tls.get(&listener.name);
        listener.tls.as_ref().map(|built| now.unwrap_or(built))
    }

    /// The gates of this listener, which may be on its way out.
    pub fn gates(&self, listener: &Listener) -> Option<&Gates> {
        self.access.as_ref()?.get(&listener.name)
    }

    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Tells the metrics which rows are live.
    pub fn publish_rows(&self, metrics: &Metrics) {
        let routes = self
            .routes
            .iter()
            .map(|route| Arc::clone(&route.row))
            .collect();
        let upstreams = self.upstreams.values();
        let upstreams = upstreams
            .map(|shared| {
                let upstream = &shared.upstream;
                upstream.row().set_trust(upstream.trust());
                Arc::clone(upstream.row())
            })
            .collect();
        let listeners = self
            .listeners
            .iter()
            .map(|listener| Arc::clone(&listener.row))
            .collect();
        metrics.publish(routes, upstreams, listeners);
        metrics.publish_health(self.health().collect());
        let gates = self.access.iter().flat_map(HashMap::values);
        let gates = gates.chain(self.routes.iter().map(|route| &route.gates));
        metrics.publish_gates(gates.flat_map(Gates::rows).map(Arc::clone).collect());
        let calls = self.routes.iter().filter_map(|route| route.calls.as_ref());
        metrics.publish_calls(calls.flat_map(Calls::rows).map(Arc::clone).collect());
        let rows = self.listeners.iter();
        let rows = rows.filter_map(|listener| listener.tls_row.clone());
        metrics.publish_tls(rows.collect(), self.certificates().collect());
    }

    fn certificates(&self) -> impl Iterator<Item = CertificateGauge> {
        let gauge = |of: CertificateOf, entry: &Entry| CertificateGauge {
            of,
            certificate: entry.label.clone(),
            not_after: entry.certificate.not_after,
            kept_back: entry.kept_back,
        };
        let listeners = self.tls.iter().flat_map(move |(name, tls)| {
            let of = CertificateOf::Listener(name.clone());
            let entries = tls.entries().iter();
            entries.map(move |entry| gauge(of.clone(), entry))
        });
        let upstreams = self.upstreams.iter().filter_map(move |(name, shared)| {
            let of = CertificateOf::Upstream(name.clone());
            shared.shown.as_ref().map(|entry| gauge(of, entry))
        });
        listeners.chain(upstreams)
    }

    /// Begins to ask servers whether they are well, on the runtime that this is called in.
    pub fn start_checks(&self) {
        for shared in self.upstreams.values() {
            shared.upstream.start_checks();
        }
    }

    fn health(&self) -> impl Iterator<Item = HealthGauge> {
        self.upstreams.values().flat_map(|shared| {
            let upstream = &shared.upstream;
            let marks = upstream.health().into_iter().flat_map(Health::marks);
            // A server may be listed twice, and so get more than its share.
            let marks = marks.map(|(server, well)| (server.to_string(), well));
            let marks: BTreeMap<String, &Arc<AtomicBool>> = marks.collect();
            marks.into_iter().map(|(server, well)| HealthGauge {
                upstream: upstream.name().to_owned(),
                server,
                well: Arc::clone(well),
            })
        })
    }

    /// Starts to drain what this snapshot had and the next one has not, or has changed.
    pub fn retire(&self, next: &Self) {
        let limit = match next.drain_timeout {
            DrainTimeout::After(limit) => Some(limit),
            DrainTimeout::Never => None,
        };
        let kept: HashMap<&str, &Arc<Route>> = next
            .routes
            .iter()
            .map(|route| (route.name.as_str(), route))
            .collect();
        for route in &self.routes {
            let same = kept
                .get(route.name.as_str())
                .is_some_and(|next| Arc::ptr_eq(&next.drain, &route.drain));
            if !same {
                route.drain.begin(limit);
            }
        }
        for listener in &self.listeners {
            if !next
                .listeners
                .iter()
                .any(|next| Arc::ptr_eq(&next.drain, &listener.drain))
            {
                listener.drain.begin(limit);
            }
        }
    }
}

/// The snapshot that serves: the one truth, swapped whole.
#[derive(Debug)]
pub struct Live(ArcSwap<Snapshot>);

impl Live {
    pub fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// To be called once a request, which keeps what it got to its end.
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Publishes; gives back the one before.
    pub fn swap(&self, next: Arc<Snapshot>) -> Arc<Snapshot> {
        self.0.swap(next)
    }
}
