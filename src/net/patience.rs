//! Patience with somebody who is waited for, while there is progress.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::Alarm;

#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// How far it was when it was last looked.
    before: Option<u64>,
}

impl Patience {
    /// Ready after `limit` without progress. `progress` is how far it is, a number of bytes, if somebody
    /// is waited for.
    pub(crate) fn poll_over(
        &mut self,
        progress: Option<u64>,
        limit: Duration,
        alarm: &mut Alarm,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if progress.is_none() || self.before.is_none() {
            self.before = progress;
            if progress.is_none() {
                return Poll::Pending;
            }
            alarm.set(limit);
        }
        loop {
            ready!(alarm.poll(cx));
            if std::mem::replace(&mut self.before, progress) == progress {
                return Poll::Ready(());
            }
            alarm.set(limit);
        }
    }
}
