//! How what is long-lived learns that it must end.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Held by a route or a listener for as long as its settings are the same. What outlives a request
/// holds it too, and waits on it.
#[derive(Debug)]
pub struct Drain {
    until: watch::Sender<Option<Until>>,
    begun: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
enum Until {
    Time(Instant),
    Forever,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            until: watch::Sender::new(None),
            begun: AtomicBool::new(false),
        }
    }
}

impl Drain {
    /// Starts to drain, with all gone after `limit`; without one, what is open may stay.
    pub fn begin(&self, limit: Option<Duration>) {
        let until = limit.map_or(Until::Forever, |limit| Until::Time(Instant::now() + limit));
        self.begun.store(true, Ordering::Release);
        self.until.send_replace(Some(until));
    }

    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Resolves once draining has begun.
    pub async fn begun(&self) {
        self.until().await;
    }

    /// Resolves when the time is over.
    pub async fn over(&self) {
        match self.until().await {
            Until::Time(end) => sleep_until(end).await,
            Until::Forever => std::future::pending().await,
        }
    }

    /// Resolves at a moment of its own between the beginning and the end, so that the clients of
    /// many connections do not all come back at once. The last tenth is for the goodbyes of those
    /// whose turn came last.
    pub async fn turn(&self) {
        match self.until().await {
            Until::Time(end) => {
                let left = end.saturating_duration_since(Instant::now());
                sleep_until(end - left.mul_f64(0.1 + 0.9 * fastrand::f64())).await;
            }
            Until::Forever => std::future::pending().await,
        }
    }

    /// Waits for [`Drain::begin`]. A connection polls this at each of its own wake-ups, and a poll
    /// of the channel takes a lock that all connections share: so it is polled once for each waker,
    /// and again only when there is something to see.
    async fn until(&self) -> Until {
        let mut receiver = self.until.subscribe();
        let mut change = std::pin::pin!(receiver.wait_for(Option::is_some));
        let mut registered: Option<Waker> = None;
        poll_fn(|cx| {
            let waits = registered
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()));
            if waits && !self.has_begun() {
                return Poll::Pending;
            }
            registered = Some(cx.waker().clone());
            match change.as_mut().poll(cx) {
                Poll::Ready(Ok(until)) => Poll::Ready(until.unwrap_or(Until::Forever)),
                // The sender is `self`: the channel cannot be closed while we wait.
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}
