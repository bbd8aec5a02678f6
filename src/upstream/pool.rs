//! Connections kept for reuse: a pool for each worker, so that no lock is shared.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connector::Connector;
use crate::metrics::ConnectionRow;

pub(super) type Client = legacy::Client<Connector, Body>;

/// What makes two pools the same: an upstream whose settings did not change keeps its connections
/// through a reload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolSettings {
    pub connect_timeout: Duration,
    pub max_idle: usize,
    pub idle_timeout: Duration,
}

/// The idle connections of one upstream.
#[derive(Debug)]
pub struct Pool {
    settings: PoolSettings,
    clients: Box<[Client]>,
}

impl Pool {
    pub fn new(settings: PoolSettings, workers: usize, row: &Arc<ConnectionRow>) -> Self {
        let clients = (0..workers)
            .map(|_| client(&settings, Arc::clone(row)))
            .collect();
        Self { settings, clients }
    }

    pub fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    /// The client that only this worker uses.
    pub(super) fn client(&self, worker: usize) -> &Client {
        &self.clients[worker]
    }
}

fn client(settings: &PoolSettings, row: Arc<ConnectionRow>) -> Client {
    legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(settings.idle_timeout)
        .pool_max_idle_per_host(settings.max_idle)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        // The `Host` is decided by the route.
        .set_host(false)
        .build(Connector::new(settings.connect_timeout, row))
}
