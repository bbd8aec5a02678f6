//! How long a tunnel may go on without a byte that moves.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{End, Terms};

/// The least time that a side has which does not take what waits for it. What it takes shows only in
/// steps, of 64 KiB and more, so that in less time who is slow cannot be told from who is stuck.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same once the other side's connection has broken: all that is left to do is to deliver what it
/// had said before.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The same for a client of HTTP/2 once its server has finished. Browsers (Chromium) leave it to the
/// server to end such a stream, and have nothing to say on it.
const PARTING: Duration = Duration::from_secs(2);

/// When the tunnel was last used. Atomics only because a task must be able to move.
pub(super) struct Clock {
    terms: Terms,
    started: Instant,
    /// Milliseconds after `started`.
    last: AtomicU64,
    half_closed: AtomicBool,
    /// There is nothing to wait for but the end of the client's stream.
    parting: AtomicBool,
    /// Directions with bytes that nobody takes.
    blocked: AtomicUsize,
    broken: OnceLock<End>,
    /// The limit is another one from now on.
    changed: Notify,
}

impl Clock {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            started: Instant::now(),
            last: AtomicU64::new(0),
            half_closed: AtomicBool::new(false),
            parting: AtomicBool::new(false),
            blocked: AtomicUsize::new(0),
            broken: OnceLock::new(),
            changed: Notify::new(),
        }
    }

    pub(super) fn touch(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    pub(super) fn one_side_finished(&self) {
        self.half_closed.store(true, Ordering::Relaxed);
        self.touch();
        self.changed.notify_one();
    }

    /// Besides, the other side is a client who may have parted without a word.
    pub(super) fn client_parts(&self) {
        self.parting.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// The connection of one side has broken, and this is the end that follows from it.
    pub(super) fn one_side_broke(&self, end: End) {
        // The first one was the reason.
        let _ = self.broken.set(end);
        self.touch();
        self.changed.notify_one();
    }

    /// Waits until a side takes more.
    pub(super) async fn blocked<T>(&self, takes_more: impl Future<Output = T>) -> T {
        self.blocked.fetch_add(1, Ordering::Relaxed);
        let taken = takes_more.await;
        self.blocked.fetch_sub(1, Ordering::Relaxed);
        if self.terms.idle.min(self.terms.half_closed) < PATIENCE {
            self.changed.notify_one();
        }
        taken
    }

    /// Resolves when the time is over, to how the tunnel ends.
    pub(super) async fn runs_out(&self) -> End {
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let end = self.started + last + self.limit();
            if Instant::now() >= end {
                let end = match self.parting.load(Ordering::Relaxed) {
                    true => End::Finished,
                    false => End::Idle,
                };
                return self.broken.get().copied().unwrap_or(end);
            }
            tokio::select! {
                () = sleep_until(end) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn limit(&self) -> Duration {
        let mut limit = match self.half_closed.load(Ordering::Relaxed) {
            true => self.terms.half_closed,
            false => self.terms.idle,
        };
        if self.parting.load(Ordering::Relaxed) {
            limit = limit.min(PARTING);
        }
        if self.blocked.load(Ordering::Relaxed) > 0 {
            limit = limit.max(PATIENCE);
        }
        match self.broken.get() {
            Some(_) => limit.min(LAST_WORDS),
            None => limit,
        }
    }
}
