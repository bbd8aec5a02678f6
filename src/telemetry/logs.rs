//! Setting up the logs, and letting them finish.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use prometheus::IntCounter;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, fmt, reload};

use super::access::{AccessSink, WAITING, write_all};
use super::format::Format;
use crate::config::{Log, LogFormat, LogLevel};

/// The target of access lines: they are written whatever the level.
pub(super) const ACCESS: &str = "access";

/// How long the last lines may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The logs of the process. Lines go to standard output through a bounded queue and a thread.
#[derive(Debug)]
pub struct Logs {
    level: reload::Handle<Targets, Registry>,
    lost: ErrorCounter,
    counted: usize,
    dropped: IntCounter,
    /// Taken when the logs are finished.
    threads: Option<(JoinHandle<()>, WorkerGuard)>,
}

impl Logs {
    /// Takes over the process's logging, to be called once; the sink is for the workers.
    pub fn start(config: &Log, dropped: IntCounter) -> io::Result<(Arc<Mutex<Self>>, AccessSink)> {
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(WAITING)
            .thread_name("pointsman-log")
            .finish(io::stdout());
        let lost = writer.error_counter();
        let (filter, level) = reload::Layer::new(targets(config.level));
        let format = Format {
            json: format(config) == LogFormat::Json,
        };
        let lines = fmt::layer().event_format(format).with_writer(writer);
        let subscriber = Registry::default().with(filter).with(lines);
        tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
        let (sink, written) = AccessSink::new(dropped.clone());
        let access = thread::Builder::new()
            .name("pointsman-access".to_owned())
            .spawn(move || write_all(&written))?;
        let threads = Some((access, guard));
        let logs = Self {
            level,
            lost,
            counted: 0,
            dropped,
            threads,
        };
        Ok((Arc::new(Mutex::new(logs)), sink))
    }

    /// Applies live.
    pub fn set_level(&self, level: LogLevel) {
        // Fails only when the subscriber is gone, with which the process ends.
        let _ = self.level.reload(targets(level));
    }

    /// Brings the counter of dropped lines up to date.
    pub fn count_lost(&mut self) {
        let lost = self.lost.dropped_lines();
        self.dropped.inc_by((lost - self.counted) as u64);
        self.counted = lost;
    }
}

impl Logs {
    /// Writes what was logged so far, as far as somebody reads it: a pipe that nobody empties must
    /// not keep the process from ending.
    pub fn finish(&mut self) {
        let Some((access, writer)) = self.threads.take() else {
            return;
        };
        let (done, finished) = mpsc::channel();
        let finish = move || {
            // The workers, which hold the senders, are gone by now or will be soon.
            let _ = access.join();
            drop(writer);
            let _ = done.send(());
        };
        if thread::Builder::new().spawn(finish).is_ok() {
            // Late or never is the same.
            let _ = finished.recv_timeout(PATIENCE);
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.finish();
    }
}

/// What is written where nothing was said: text for people, JSON for machines.
fn format(config: &Log) -> LogFormat {
    let terminal = io::stdout().is_terminal();
    config.format.unwrap_or(if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    })
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(level)
        .with_target(ACCESS, LevelFilter::INFO)
}
