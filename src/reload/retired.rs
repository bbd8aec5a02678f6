//! Snapshots that were replaced and that requests may still use.

use std::sync::Arc;

use crate::snapshot::Snapshot;

/// Keeps each until nobody else has it, so that the work of taking a large one apart never falls to
/// the request that happens to be the last.
#[derive(Debug, Default)]
pub(super) struct Retired(Vec<Arc<Snapshot>>);

impl Retired {
    pub(super) fn keep(&mut self, snapshot: Arc<Snapshot>) {
        self.0.push(snapshot);
    }

    /// Lets go of those that nobody uses, on a thread where that holds nothing up.
    pub(super) fn sweep(&mut self) {
        let unused = |snapshot: &mut Arc<Snapshot>| Arc::strong_count(snapshot) == 1;
        let done: Vec<_> = self.0.extract_if(.., unused).collect();
        if !done.is_empty() {
            tokio::task::spawn_blocking(move || drop(done));
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
