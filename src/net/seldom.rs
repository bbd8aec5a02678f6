//! What is told at most once in a while, however often there is a reason.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug, Default)]
pub struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Has it not been told for so long? Then it is now.
    pub(crate) fn is_due(&self, pause: Duration) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= pause);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}
