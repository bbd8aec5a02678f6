//! Rows by name, live and retired.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What [`Rows`] needs to know of a row.
pub(super) trait Row {
    fn name(&self) -> &str;
    /// Is something still to be counted on it?
    fn busy(&self) -> bool;
}

/// The rows of one set of families. Touched by compile, publish and scrape, never by a request.
#[derive(Debug)]
pub(super) struct Rows<T>(Mutex<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    rows: BTreeMap<String, Entry<T>>,
    /// A row that no publish retires.
    permanent: Option<Arc<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    row: Arc<T>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Live,
    Retired,
}

impl<T: Row> Rows<T> {
    pub(super) fn new(permanent: Option<Arc<T>>) -> Self {
        Self(Mutex::new(Inner {
            rows: BTreeMap::new(),
            permanent,
        }))
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<T>> {
        self.with(|inner| inner.rows.get(name).map(|entry| Arc::clone(&entry.row)))
    }

    pub(super) fn publish(&self, live: Vec<Arc<T>>) {
        self.with(|inner| {
            for entry in inner.rows.values_mut() {
                entry.state = State::Retired;
            }
            for row in live {
                inner.rows.insert(
                    row.name().to_owned(),
                    Entry {
                        row,
                        state: State::Live,
                    },
                );
            }
        });
    }

    /// Shows every row to `visit`, then forgets the retired ones on which nothing is in flight:
    /// what they counted last has now been scraped.
    pub(super) fn scrape(&self, mut visit: impl FnMut(&T, State)) {
        self.with(|inner| {
            if let Some(row) = &inner.permanent {
                visit(row, State::Live);
            }
            inner.rows.retain(|_, entry| {
                // Asked first: a request that ends between the two is scraped once more.
                let busy = entry.row.busy();
                visit(&entry.row, entry.state);
                entry.state == State::Live || busy
            });
        });
    }

    fn with<R>(&self, act: impl FnOnce(&mut Inner<T>) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
