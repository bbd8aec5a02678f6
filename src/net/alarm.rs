//! A time limit that is set anew for each request and hardly ever runs out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer is left where it is while the deadline only moves away, and looked at again when it
/// rings too early: a busy connection then costs the timer wheel nothing.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: Pin<Box<Sleep>>,
    deadline: Instant,
}

impl Alarm {
    pub(crate) fn new(limit: Duration) -> Self {
        let deadline = Instant::now() + limit;
        Self {
            timer: Box::pin(sleep_until(deadline)),
            deadline,
        }
    }

    /// From now on it rings after `limit`.
    pub(crate) fn set(&mut self, limit: Duration) {
        self.set_from(Instant::now(), limit);
    }

    /// The same, where the time has just been asked for.
    pub(crate) fn set_from(&mut self, now: Instant, limit: Duration) {
        self.deadline = now + limit;
        if self.deadline < self.timer.deadline() {
            self.timer.as_mut().reset(self.deadline);
        }
    }

    /// Ready once the limit is over.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.deadline);
        }
    }
}
