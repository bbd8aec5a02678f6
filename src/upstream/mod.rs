//! Servers, and the one way we speak to them.

mod client;
mod connector;
mod pool;
mod reclaim;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use crossbeam_utils::CachePadded;
use http::uri::Authority;
use http::{Request, Response};
use hyper::body::Incoming;

pub(crate) use client::ExchangeError;
pub(crate) use pool::{Pool, PoolSettings};

use crate::metrics::ConnectionRow;
use client::Attempt;
use reclaim::Reclaim;

/// A group of servers that answer the same.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    servers: Vec<Server>,
    pool: Arc<Pool>,
    row: Arc<ConnectionRow>,
    /// Whose turn it is, for each worker apart.
    turns: Box<[CachePadded<AtomicUsize>]>,
}

/// Where to connect to, and the path put before each request's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    pub authority: Authority,
    pub base_path: String,
}

impl Upstream {
    pub fn new(
        name: String,
        servers: Vec<Server>,
        pool: Arc<Pool>,
        row: Arc<ConnectionRow>,
        workers: usize,
    ) -> Self {
        let turns = (0..workers).map(|_| CachePadded::default()).collect();
        Self {
            name,
            servers,
            pool,
            row,
            turns,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub fn row(&self) -> &Arc<ConnectionRow> {
        &self.row
    }

    /// Sends a request and waits for the head of its answer. Its URI is a path and query only; the
    /// server that is picked completes it. A server that cannot be connected to has seen nothing of
    /// the request, so the next one is tried, each at most once.
    pub async fn exchange(
        &self,
        worker: usize,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let client = self.pool.client(worker);
        let mut candidates = self.candidates(worker);
        let Some(mut server) = candidates.next() else {
            return Err(ExchangeError::no_server());
        };
        if candidates.len() == 0 {
            return Attempt { client, server }.send(request).await;
        }
        let (head, body) = request.into_parts();
        let reclaim = Reclaim::new(body);
        loop {
            let request = Request::from_parts(head.clone(), Body::new(reclaim.lend()));
            let result = Attempt { client, server }.send(request).await;
            match (result, candidates.next()) {
                (Err(error), Some(next)) if error.before_any_byte() => server = next,
                (result, _) => return result,
            }
        }
    }

    /// Every server once, beginning with the one whose turn it is.
    fn candidates(&self, worker: usize) -> impl ExactSizeIterator<Item = &Server> {
        let count = self.servers.len();
        let turn = match count {
            0 | 1 => 0,
            _ => self.turns[worker].fetch_add(1, Ordering::Relaxed),
        };
        (0..count).map(move |step| &self.servers[turn.wrapping_add(step) % count])
    }
}
