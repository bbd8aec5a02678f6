//! The sequence: parse, compile and prepare may fail and have changed nothing; publish, commit and
//! retire cannot.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::Shared;
use super::check::{needs_restart, unbound};
use super::named::Named;
use super::retired::Retired;
use super::source::{ConfigSource, Hash, Reading};
use super::status::{ListenerStatus, Outcome, Refused, SharedStatus, Status};
use crate::config::{Config, ListFiles, PageFiles, Problem, Reload, Report, TlsFiles};
use crate::demo::Demo;
use crate::metrics::{Metrics, ReloadResult};
use crate::server::{Listeners, Prepared};
use crate::snapshot::{Compiled, Live, Snapshot, Surroundings, compile};
use crate::telemetry::Logs;

/// What a reloader works on, made once by the composition root.
pub struct Parts {
    pub source: ConfigSource,
    pub live: Arc<Live>,
    pub listeners: Listeners,
    pub metrics: Arc<Metrics>,
    pub logs: Shared<Logs>,
    pub demo: Demo,
    pub workers: usize,
}

/// Applies configurations, one at a time.
pub struct Reloader {
    parts: Parts,
    status: SharedStatus,
    /// As the process started with it: some settings stay so until the next start.
    started: Config,
    settings: Reload,
    applied: Hash,
    /// The files that the text names that was read last, be it good or not.
    named: Named,
    /// Refused, told, and not to be told again until something else was read.
    refused: Option<Option<Hash>>,
    retired: Retired,
}

/// All that may fail, done.
struct Ready {
    config: Config,
    compiled: Compiled,
    prepared: Prepared,
}

impl Reloader {
    /// The first configuration, whose snapshot is live already: opens its sockets.
    pub fn start(
        mut parts: Parts,
        config: Config,
        reading: &Reading,
        warnings: &[Problem],
    ) -> Result<(Self, SharedStatus), Vec<Report>> {
        let snapshot = parts.live.load();
        let prepared = parts
            .listeners
            .prepare(&snapshot)
            .map_err(|errors| parts.source.reports(reading, &unbound(&config, &errors)))?;
        parts.listeners.commit(prepared);
        snapshot.publish_rows(&parts.metrics);
        snapshot.start_checks();
        parts.metrics.reload.started(snapshot.generation);
        let hash = reading.hash().unwrap_or(Hash::of(b""));
        let warnings = parts.source.reports(reading, warnings);
        for warning in &warnings {
            tracing::warn!("{}", warning.line());
        }
        let status = SharedStatus::new(Status {
            version: env!("CARGO_PKG_VERSION"),
            started: Timestamp::now(),
            workers: parts.workers,
            config: parts.source.name(),
            generation: snapshot.generation,
            hash: hash.to_string(),
            applied: Timestamp::now(),
            routes: snapshot.routes().len(),
            listeners: listeners(&parts.listeners),
            warnings,
            refused: None,
        });
        let reloader = Self {
            parts,
            status: status.clone(),
            settings: config.reload.clone(),
            // Only its settings are compared with later ones.
            started: Config {
                page_files: PageFiles::default(),
                list_files: ListFiles::default(),
                tls_files: TlsFiles::default(),
                local_authority: None,
                ..config
            },
            applied: hash,
            named: reading.named().cloned().unwrap_or_default(),
            refused: None,
            retired: Retired::default(),
        };
        Ok((reloader, status))
    }

    pub(super) fn source(&self) -> &ConfigSource {
        &self.parts.source
    }

    pub(super) fn settings(&self) -> &Reload {
        &self.settings
    }

    /// The file, and those that belong to it.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let file = self.parts.source.path().map(Path::to_owned);
        let named = self.named.paths().cloned();
        file.into_iter().chain(named).collect()
    }

    pub(super) async fn read(&mut self) -> Reading {
        let reading = self.parts.source.read(self.named.clone()).await;
        // While there is no text, as in the middle of a save, its files are still of interest.
        if let Some(named) = reading.named() {
            self.named = named.clone();
        }
        reading
    }

    /// Is this neither what serves nor what was just refused?
    pub(super) fn is_news(&self, reading: &Reading) -> bool {
        let hash = reading.hash();
        (hash != Some(self.applied) || self.refused.is_some()) && self.refused != Some(hash)
    }

    /// Reads and applies at once, whatever is known of the content.
    pub(super) async fn reload_now(&mut self) -> Outcome {
        self.refused = None;
        let reading = self.read().await;
        self.reload(reading).await
    }

    pub(super) async fn reload(&mut self, reading: Reading) -> Outcome {
        if reading.hash() == Some(self.applied) {
            return self.unchanged();
        }
        match self.prepare(&reading).await {
            Ok(ready) => self.apply(ready, &reading),
            Err(problems) => self.refuse(&reading, &problems),
        }
    }

    /// Everything up to here may fail, and has changed nothing that serves.
    async fn prepare(&mut self, reading: &Reading) -> Result<Ready, Vec<Problem>> {
        let (source, read) = (self.parts.source.clone(), reading.clone());
        let parsing = tokio::task::spawn_blocking(move || source.parse(&read));
        let config = parsing.await.unwrap_or_else(|error| failed(&error))?;
        let demo = match config.uses_demo() {
            true => self.parts.demo.address().map_err(|error| {
                vec![Problem::error(
                    "route",
                    format!("the demo origin cannot start: {error}"),
                )]
            })?,
            false => None,
        };
        let (metrics, previous) = (Arc::clone(&self.parts.metrics), self.parts.live.load());
        let workers = self.parts.workers;
        // Thousands of routes take a while, in which connections are to be accepted.
        let compiling = tokio::task::spawn_blocking(move || {
            let surroundings = Surroundings {
                metrics: &metrics,
                workers,
                demo,
            };
            let compiled = compile(&config, Some(&previous), surroundings);
            compiled.map(|compiled| (config, compiled))
        });
        let (config, mut compiled) = compiling.await.unwrap_or_else(|error| failed(&error))?;
        compiled
            .warnings
            .extend(needs_restart(&self.started, &config));
        let prepared = self.parts.listeners.prepare(&compiled.snapshot);
        let prepared = prepared.map_err(|errors| unbound(&config, &errors))?;
        Ok(Ready {
            config,
            compiled,
            prepared,
        })
    }

    /// From here on nothing can fail.
    fn apply(&mut self, ready: Ready, reading: &Reading) -> Outcome {
        let Ready {
            config,
            compiled: Compiled { snapshot, warnings },
            prepared,
        } = ready;
        let parts = &mut self.parts;
        let next = Arc::new(snapshot);
        next.publish_rows(&parts.metrics);
        let before = parts.live.swap(Arc::clone(&next));
        parts.listeners.commit(prepared);
        next.start_checks();
        before.retire(&next);
        self.retired.keep(before);
        let level = config.log.level;
        parts
            .logs
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .set_level(level);
        parts.metrics.reload.applied(next.generation);
        self.settings = config.reload;
        self.applied = reading.hash().unwrap_or(self.applied);
        self.refused = None;
        let warnings = self.parts.source.reports(reading, &warnings);
        self.tell_applied(&next, &warnings);
        self.outcome(ReloadResult::Applied, warnings, Vec::new())
    }

    fn tell_applied(&self, next: &Snapshot, warnings: &[Report]) {
        for warning in warnings {
            tracing::warn!("{}", warning.line());
        }
        let (generation, hash) = (next.generation, self.applied.to_string());
        tracing::info!(
            generation,
            hash,
            routes = next.routes().len(),
            "configuration applied"
        );
        let listeners = listeners(&self.parts.listeners);
        self.status.update(|status| {
            status.generation = generation;
            status.hash = hash;
            status.applied = Timestamp::now();
            status.routes = next.routes().len();
            status.listeners = listeners;
            status.warnings = warnings.to_vec();
            status.refused = None;
        });
    }

    fn unchanged(&mut self) -> Outcome {
        self.parts.metrics.reload.unchanged();
        if self.refused.take().is_some() {
            tracing::info!(hash = %self.applied, "the file is again the configuration that serves");
        }
        self.status.update(|status| status.refused = None);
        let warnings = self.status.read().warnings;
        self.outcome(ReloadResult::Unchanged, warnings, Vec::new())
    }

    fn refuse(&mut self, reading: &Reading, problems: &[Problem]) -> Outcome {
        let reports = self.parts.source.reports(reading, problems);
        let (errors, warnings): (Vec<Report>, Vec<Report>) =
            reports.into_iter().partition(Report::is_error);
        self.parts.metrics.reload.refused();
        self.refused = Some(reading.hash());
        let lines: Vec<String> = errors.iter().map(Report::line).collect();
        tracing::error!(
            still_serving = %self.applied,
            problems = errors.len(),
            "configuration refused, still serving {}: {}",
            self.applied,
            lines.join("; "),
        );
        self.status.update(|status| {
            let hash = reading.hash().map(|hash| hash.to_string());
            let problems = errors.clone();
            status.refused = Some(Refused {
                hash,
                at: Timestamp::now(),
                problems,
            });
        });
        self.outcome(ReloadResult::Refused, warnings, errors)
    }

    fn outcome(
        &self,
        result: ReloadResult,
        warnings: Vec<Report>,
        problems: Vec<Report>,
    ) -> Outcome {
        let Status {
            generation, hash, ..
        } = self.status.read();
        Outcome {
            result: result.word(),
            generation,
            hash,
            warnings,
            problems,
        }
    }

    /// Looks after the snapshots that were replaced.
    pub(super) fn sweep(&mut self) {
        self.retired.sweep();
        self.parts
            .metrics
            .reload
            .snapshots(1 + self.retired.count());
    }

    pub(super) fn has_retired(&self) -> bool {
        self.retired.count() > 0
    }

    /// Gives the sockets back, to be closed.
    pub fn into_listeners(self) -> Listeners {
        self.parts.listeners
    }
}

fn listeners(listeners: &Listeners) -> Vec<ListenerStatus> {
    let status = |(name, address)| ListenerStatus { name, address };
    listeners.addresses().into_iter().map(status).collect()
}

/// A panic beside the control thread refuses the configuration that caused it.
fn failed<T>(error: &tokio::task::JoinError) -> Result<T, Vec<Problem>> {
    Err(vec![Problem::error("", error.to_string())])
}
