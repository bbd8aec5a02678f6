//! A request body that comes back when a server could not be connected to.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};

/// Keeps a body while it is lent to an attempt.
pub(super) struct Reclaim(Arc<Mutex<Body>>);

impl Reclaim {
    pub(super) fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// For one attempt at a time. An attempt that failed to connect has read nothing of it.
    pub(super) fn lend(&self) -> Lent {
        Lent(Arc::clone(&self.0))
    }
}

/// The same body, as the attempt sees it. The lock is never waited for: one attempt has it.
pub(super) struct Lent(Arc<Mutex<Body>>);

impl Lent {
    fn with<R>(&self, act: impl FnOnce(&mut Body) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.with(|body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint())
    }
}
