//! Connections kept for reuse: a pool for each worker, so that no lock is shared. Those of HTTP/1.1 are
//! here while they are idle, and those of HTTP/2 as long as they live.

mod shared;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

pub(super) use shared::Opened;
use shared::Shared;

use super::Place;
use crate::config::{ProxyVersion, UpstreamHttp2Table};
use crate::metrics::OpenConnection;
use crate::net::tls::ClientTls;
use crate::wire::client::{Connection, Reclaim};

/// A connection that is in the gauge until it is dropped.
pub(super) type Counted = Connection<OpenConnection>;

/// What makes two pools the same: an upstream whose settings did not change keeps its connections
/// through a reload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolSettings {
    pub connect_timeout: Duration,
    pub max_idle: usize,
    pub idle_timeout: Duration,
    /// Each connection begins with a header that tells one client, so none is used for another.
    pub proxy_protocol: Option<ProxyVersion>,
    /// None if no server speaks it.
    pub tls: Option<ClientTls>,
    pub http2: UpstreamHttp2Table,
}

/// The idle connections of one upstream.
#[derive(Debug)]
pub struct Pool {
    settings: PoolSettings,
    workers: Box<[Arc<WorkerPool>]>,
}

impl Pool {
    pub fn new(settings: PoolSettings, workers: usize) -> Self {
        let pool = || WorkerPool {
            settings: settings.clone(),
            idle: Mutex::default(),
            shared: Mutex::default(),
        };
        let workers = (0..workers).map(|_| Arc::new(pool())).collect();
        Self { settings, workers }
    }

    pub fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    /// The pool that only this worker uses.
    pub(super) fn worker(&self, worker: usize) -> &Arc<WorkerPool> {
        &self.workers[worker]
    }
}

/// One worker's part. The lock is there because a task may move in principle; nobody waits for it.
#[derive(Debug)]
pub(super) struct WorkerPool {
    settings: PoolSettings,
    idle: Mutex<Shelf>,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// A list, not a map: an upstream has few servers, and comparing names costs less than hashing
    /// one.
    servers: Vec<(Place, VecDeque<Idle>)>,
    /// Somebody looks after the old ones.
    swept: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Counted,
    since: Instant,
}

impl WorkerPool {
    /// The connection used last, so that those not needed grow old; `surely` as in
    /// [`Connection::is_usable`].
    pub(super) fn checkout(&self, server: &Place, now: Instant, surely: bool) -> Option<Counted> {
        let shelf = &mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = shelf.of(server)?;
        while let Some(Idle { connection, since }) = connections.pop_back() {
            let idle = now.saturating_duration_since(since);
            if idle < self.settings.idle_timeout && connection.is_usable(surely) {
                return Some(connection);
            }
        }
        None
    }

    fn put(self: &Arc<Self>, server: &Place, connection: Counted) {
        let shelf = &mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let since = Instant::now();
        let idle = Idle { connection, since };
        match shelf.of(server) {
            _ if self.settings.proxy_protocol.is_some() => return,
            Some(connections) if connections.len() >= self.settings.max_idle => return,
            Some(connections) => connections.push_back(idle),
            None if self.settings.max_idle == 0 => return,
            None => shelf.servers.push((server.clone(), [idle].into())),
        }
        if !std::mem::replace(&mut shelf.swept, true) {
            tokio::spawn(sweep(Arc::clone(self)));
        }
    }
}

impl Shelf {
    fn of(&mut self, server: &Place) -> Option<&mut VecDeque<Idle>> {
        let mut servers = self.servers.iter_mut();
        let found = servers.find(|(known, _)| known.is(server));
        found.map(|(_, connections)| connections)
    }
}

/// Closes what has been idle too long, until nothing is left.
async fn sweep(pool: Arc<WorkerPool>) {
    loop {
        sleep(pool.settings.idle_timeout).await;
        let shelf = &mut *pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let old = |idle: &Idle| idle.since.elapsed() >= pool.settings.idle_timeout;
        for (_, connections) in &mut shelf.servers {
            while connections.front().is_some_and(old) {
                connections.pop_front();
            }
        }
        shelf
            .servers
            .retain(|(_, connections)| !connections.is_empty());
        if shelf.servers.is_empty() {
            shelf.swept = false;
            return;
        }
    }
}

/// The way back into the pool.
pub(super) struct Return {
    pub(super) pool: Arc<WorkerPool>,
    pub(super) server: Place,
}

impl Reclaim<OpenConnection> for Return {
    fn reclaim(&mut self, connection: Counted) {
        self.pool.put(&self.server, connection);
    }
}
