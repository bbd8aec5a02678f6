//! What the admin side and the CLI show of the configuration.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::config::{Address, Report};

/// The answer to one attempt to reload.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// `applied`, `unchanged` or `refused`.
    pub result: &'static str,
    /// The generation that serves after it.
    pub generation: u64,
    /// Of the configuration that serves after it.
    pub hash: String,
    pub warnings: Vec<Report>,
    /// Why it was refused.
    pub problems: Vec<Report>,
}

/// Generations, hashes and Problems as they stand.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub version: &'static str,
    pub started: Timestamp,
    pub workers: usize,
    /// The file, or what stands for it.
    pub config: String,
    pub generation: u64,
    /// Of what serves.
    pub hash: String,
    pub applied: Timestamp,
    pub routes: usize,
    pub listeners: Vec<ListenerStatus>,
    pub warnings: Vec<Report>,
    /// The last edit, if it was refused and not mended since.
    pub refused: Option<Refused>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ListenerStatus {
    pub name: String,
    pub address: Address,
}

#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    /// Of what the file holds; none if it cannot be read.
    pub hash: Option<String>,
    pub at: Timestamp,
    pub problems: Vec<Report>,
}

/// The one Status, written by the reloader and read by the admin side.
#[derive(Debug, Clone)]
pub struct SharedStatus(Arc<Mutex<Status>>);

impl SharedStatus {
    pub fn new(status: Status) -> Self {
        Self(Arc::new(Mutex::new(status)))
    }

    pub fn read(&self) -> Status {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
