//! HTTP/2 to a server: one connection, which many requests share.
//!
//! It is h2's client, without hyper's around it: that gives each request a task and a channel, and tells
//! neither interim answers nor whether the server lives.

mod answer;
mod exchange;
mod keeper;
mod upload;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use thiserror::Error;
use tokio::sync::Notify;

pub(super) use exchange::exchange;
pub(super) use keeper::Idle;

use crate::config::UpstreamHttp2Table;
use crate::metrics::OpenConnection;
use crate::net::{Stream, Tap};
use keeper::{Keeper, Meter};

/// Bytes of one request that wait in h2 for the server's window or for the socket.
const UNSENT: usize = 128 * 1024;
/// As much as of HTTP/1.1.
const HEAD: u32 = 256 * 1024;

/// What broke an exchange.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error("the stream or its connection broke: {0}")]
    Stream(#[source] h2::Error),
    #[error("the body of the request broke off")]
    Body(#[source] axum::Error),
    #[error("the answer is not one that can be passed on: {0}")]
    Answer(&'static str),
    #[error("the server ended TLS: {0}")]
    Tls(rustls::Error),
}

/// A connection, in the hands of whoever gives it to requests. When all of these are gone, and all of its
/// streams, it ends.
#[derive(Debug)]
pub(super) struct Link {
    requests: SendRequest<Bytes>,
    state: Arc<State>,
    /// Requests at a time that we want on it.
    most: usize,
}

/// What is known of a connection.
#[derive(Debug, Default)]
struct State {
    /// Requests under way.
    streams: AtomicUsize,
    /// Requests that it has carried.
    carried: AtomicUsize,
    /// Bytes that came on it.
    read: AtomicU64,
    /// Nothing new is to be sent on it.
    ended: AtomicBool,
    /// What TLS ended with, if its server had a reason.
    alert: OnceLock<rustls::Error>,
    /// Told when the first request comes and when the last has gone.
    changed: Notify,
}

/// Room for one request on a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    requests: SendRequest<Bytes>,
    state: Arc<State>,
    /// It has carried requests before: the server may have ended it meanwhile.
    reused: bool,
}

/// Begins to speak on a new connection, and keeps it until it ends. `idle` is told when nothing was asked
/// on it for as long as the pool keeps connections.
pub(super) async fn start(
    stream: Stream,
    settings: &UpstreamHttp2Table,
    idle: Idle,
    open: OpenConnection,
) -> Result<Link, Fault> {
    let state = Arc::new(State::default());
    let window = u32::try_from(settings.stream_window.0).unwrap_or(u32::MAX);
    let streams = settings.max_concurrent_streams;
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(window)
        // Room for all of them, so that those whose clients read slowly do not hold up the others.
        .initial_connection_window_size(window.saturating_mul(streams).min(i32::MAX as u32))
        .max_header_list_size(HEAD)
        .max_send_buffer_size(UNSENT);
    let stream = Tap::new(stream, Meter::new(Arc::clone(&state)));
    let (requests, connection) = builder.handshake(stream).await.map_err(Fault::Stream)?;
    let keeper = Keeper::new(Arc::clone(&state), settings, idle, open);
    tokio::spawn(keeper.keep(connection));
    Ok(Link {
        requests,
        state,
        most: streams as usize,
    })
}

impl Link {
    /// Does it take no more requests, ever?
    pub(super) fn is_over(&mut self) -> bool {
        if self.state.ended.load(Ordering::Relaxed) {
            return true;
        }
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.requests.poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// Requests at a time that the server and we allow.
    pub(super) fn most(&self) -> usize {
        self.most.min(self.requests.current_max_send_streams())
    }

    /// Room for one more, if there is any now.
    pub(super) fn slot(&self) -> Option<Slot> {
        let streams = self.state.streams.load(Ordering::Relaxed);
        (streams < self.most()).then(|| {
            if self.state.streams.fetch_add(1, Ordering::Relaxed) == 0 {
                self.state.changed.notify_one();
            }
            Slot {
                requests: self.requests.clone(),
                state: Arc::clone(&self.state),
                reused: self.state.carried.fetch_add(1, Ordering::Relaxed) > 0,
            }
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.state.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.state.changed.notify_one();
        }
    }
}
