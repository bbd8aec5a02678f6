//! Checks of the tables about the process as a whole.

use tokio::sync::Semaphore;

use crate::config::{Config, KeyPath, Problem};

/// A histogram with more buckets than this costs every scrape more than it tells.
const MOST_BUCKETS: usize = 40;
const MOST_WORKERS: usize = 512;

pub(super) fn check(config: &Config, problems: &mut Vec<Problem>) {
    let buckets = &config.metrics.buckets;
    let place = KeyPath::from("metrics").key("buckets");
    let sound = |bound: &f64| bound.is_finite() && *bound > 0.0;
    if !buckets.iter().all(sound) || !buckets.is_sorted_by(|one, two| one < two) {
        let message = "buckets are seconds above 0, each larger than the one before";
        problems.push(Problem::error(&place, message).help("write [0.001, 0.01, 0.1, 1.0, 10.0]"));
    }
    if buckets.is_empty() || buckets.len() > MOST_BUCKETS {
        let message = format!(
            "{} buckets; there must be 1 to {MOST_BUCKETS}",
            buckets.len()
        );
        problems.push(Problem::error(&place, message));
    }
    if config.server.workers > MOST_WORKERS {
        let message = format!(
            "{} workers; {MOST_WORKERS} is the most",
            config.server.workers
        );
        problems.push(
            Problem::error(KeyPath::from("server").key("workers"), message)
                .help("leave it out for one per core"),
        );
    }
    if !(1..=Semaphore::MAX_PERMITS).contains(&config.server.max_connections.unwrap_or(1)) {
        let place = KeyPath::from("server").key("max_connections");
        problems.push(
            Problem::error(place, "it must be 1 or more")
                .help("leave it out for no limit of its own"),
        );
    }
    if config.reload.poll_interval.0.is_zero() {
        problems.push(
            Problem::error(
                KeyPath::from("reload").key("poll_interval"),
                "it cannot be zero",
            )
            .help("write `mode = \"watch\"` to poll no more"),
        );
    }
}
