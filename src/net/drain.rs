//! How what is long-lived learns that it must end.

use std::future::{Future, poll_fn};
use std::sync::OnceLock;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Held by a route or a listener for as long as its settings are the same. What outlives a request
/// holds it too, and waits on it.
#[derive(Debug, Default)]
pub struct Drain {
    until: OnceLock<Until>,
    begins: Notify,
}

/// When what waits has to be gone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    Time(Instant),
    Forever,
}

impl Drain {
    /// Starts to drain, with all gone after `limit`; without one, what is open may stay. Only the
    /// first call counts.
    pub fn begin(&self, limit: Option<Duration>) {
        let until = limit.map_or(Until::Forever, |limit| Until::Time(Instant::now() + limit));
        // Whoever was told to go by one moment is not told another.
        let _ = self.until.set(until);
        self.begins.notify_waiters();
    }

    pub fn has_begun(&self) -> bool {
        self.until.get().is_some()
    }

    /// Resolves when the time is over.
    pub async fn over(&self) {
        self.begun().await.over().await;
    }

    /// Resolves at a moment of its own between the beginning and the end.
    pub async fn turn(&self) {
        self.begun().await.turn().await;
    }

    /// Resolves once draining has begun. A connection polls this at each of its own wake-ups, and a
    /// poll of the bell takes a lock that all connections share: so it is polled once for each waker,
    /// and again only when there is something to see.
    pub(crate) async fn begun(&self) -> Until {
        let mut begins = std::pin::pin!(self.begins.notified());
        let mut registered: Option<Waker> = None;
        poll_fn(|cx| {
            let waits = registered
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()));
            if !waits {
                registered = Some(cx.waker().clone());
                let _ = begins.as_mut().poll(cx);
            }
            // Looked at after waiting has begun, so that no beginning is missed.
            self.until
                .get()
                .map_or(Poll::Pending, |until| Poll::Ready(*until))
        })
        .await
    }
}

impl Until {
    /// Resolves when the time is over.
    pub(crate) async fn over(self) {
        match self {
            Self::Time(end) => sleep_until(end).await,
            Self::Forever => std::future::pending().await,
        }
    }

    /// Resolves at a moment of its own between now and the end, so that the clients of many
    /// connections do not all come back at once. The last tenth is for the goodbyes of those whose
    /// turn came last.
    pub(crate) async fn turn(self) {
        match self {
            Self::Time(end) => {
                let left = end.saturating_duration_since(Instant::now());
                sleep_until(end - left.mul_f64(0.1 + 0.9 * fastrand::f64())).await;
            }
            Self::Forever => std::future::pending().await,
        }
    }
}
