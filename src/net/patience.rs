//! Patience with a receiver that takes nothing of what waits for it.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::Alarm;

#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// What had been taken when it was last looked.
    taken: Option<u64>,
}

impl Patience {
    /// `blocked` is how much was taken so far, if there is more to be taken.
    pub(crate) fn poll_over(
        &mut self,
        blocked: Option<u64>,
        limit: Duration,
        alarm: &mut Alarm,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if blocked.is_none() || self.taken.is_none() {
            self.taken = blocked;
            if blocked.is_none() {
                return Poll::Pending;
            }
            alarm.set(limit);
        }
        loop {
            ready!(alarm.poll(cx));
            if std::mem::replace(&mut self.taken, blocked) == blocked {
                return Poll::Ready(());
            }
            alarm.set(limit);
        }
    }
}
