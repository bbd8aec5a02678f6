//! What became of the edits.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntCounterVec, IntGauge, Opts, Registry};

use super::register;

/// How an attempt to reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReloadResult {
    Applied,
    Unchanged,
    Refused,
}

impl ReloadResult {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

#[derive(Debug)]
pub struct ReloadMetrics {
    reloads: IntCounterVec,
    last_successful: IntGauge,
    last_success: Gauge,
    generation: IntGauge,
    snapshots: IntGauge,
}

impl ReloadMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let reloads = IntCounterVec::new(
            Opts::new(
                "pointsman_config_reloads_total",
                "Attempts to reload, by result.",
            ),
            &["result"],
        )?;
        let last_successful = IntGauge::new(
            "pointsman_config_last_reload_successful",
            "1 if what the file holds is what serves, 0 if the last edit was refused.",
        )?;
        let last_success = Gauge::new(
            "pointsman_config_last_reload_success_timestamp_seconds",
            "When the configuration that serves was applied, as Unix time.",
        )?;
        let generation = IntGauge::new(
            "pointsman_config_generation",
            "The generation that serves; one more with each applied change.",
        )?;
        let snapshots = IntGauge::new(
            "pointsman_config_snapshots",
            "Generations in memory: the one that serves, and older ones that requests still use.",
        )?;
        snapshots.set(1);
        register(registry, &snapshots)?;
        for result in [
            ReloadResult::Applied,
            ReloadResult::Unchanged,
            ReloadResult::Refused,
        ] {
            reloads.with_label_values(&[result.word()]);
        }
        register(registry, &reloads)?;
        register(registry, &last_successful)?;
        register(registry, &last_success)?;
        register(registry, &generation)?;
        Ok(Self {
            reloads,
            last_successful,
            last_success,
            generation,
            snapshots,
        })
    }

    /// The first configuration, which is no reload.
    pub fn started(&self, generation: u64) {
        self.serves(generation);
    }

    pub fn applied(&self, generation: u64) {
        self.count(ReloadResult::Applied);
        self.serves(generation);
    }

    /// The file holds what serves already; so an edit that was refused has been taken back.
    pub fn unchanged(&self) {
        self.count(ReloadResult::Unchanged);
        self.last_successful.set(1);
    }

    pub fn refused(&self) {
        self.count(ReloadResult::Refused);
        self.last_successful.set(0);
    }

    pub fn snapshots(&self, count: usize) {
        self.snapshots.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn serves(&self, generation: u64) {
        self.generation
            .set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.last_successful.set(1);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.last_success.set(now.as_secs_f64());
    }

    fn count(&self, result: ReloadResult) {
        self.reloads.with_label_values(&[result.word()]).inc();
    }
}
