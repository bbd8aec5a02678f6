//! What can be said of a configuration besides compiling it, and the check that serves nothing.

use super::source::ConfigSource;
use crate::config::{Config, KeyPath, Problem, Report};
use crate::metrics::Metrics;
use crate::server::BindError;
use crate::snapshot::{Surroundings, compile};

/// The checks of a configuration without applying it: what `pointsman check` does.
pub fn check(source: &ConfigSource) -> Result<Vec<Report>, Vec<Report>> {
    let reading = source.read_only();
    let checked = source.parse(&reading).and_then(|config| {
        let metrics =
            Metrics::new(1, &[]).map_err(|error| vec![Problem::error("", error.to_string())])?;
        compile(
            &config,
            None,
            Surroundings {
                metrics: &metrics,
                workers: 1,
                demo: None,
            },
        )
    });
    match checked {
        Ok(compiled) => Ok(source.reports(&reading, &compiled.warnings)),
        Err(problems) => Err(source.reports(&reading, &problems)),
    }
}

/// Listeners of the shorthand come first, then those of the tables.
pub(super) fn unbound(config: &Config, errors: &[BindError]) -> Vec<Problem> {
    let short = config.listen.iter().len();
    let place = |index: usize| match index.checked_sub(short) {
        None => KeyPath::from("listen"),
        Some(index) => KeyPath::from("listener").index(index).key("address"),
    };
    let problem = |error: &BindError| Problem::error(place(error.index), error.to_string());
    errors.iter().map(problem).collect()
}

/// What was changed and is read only at a start.
pub(super) fn needs_restart(started: &Config, config: &Config) -> Vec<Problem> {
    let changed = [
        (
            "server",
            "workers",
            started.server.workers != config.server.workers,
        ),
        (
            "server",
            "max_connections",
            started.server.max_connections != config.server.max_connections,
        ),
        (
            "admin",
            "listen",
            started.admin.listen != config.admin.listen,
        ),
        (
            "metrics",
            "buckets",
            started.metrics.buckets != config.metrics.buckets,
        ),
        ("log", "format", started.log.format != config.log.format),
    ];
    let warning = |(table, key, _): (&str, &str, bool)| {
        let message = format!("a change of {table}.{key} takes effect at the next start");
        Problem::warning(KeyPath::from(table).key(key), message)
    };
    changed
        .into_iter()
        .filter(|(_, _, changed)| *changed)
        .map(warning)
        .collect()
}
