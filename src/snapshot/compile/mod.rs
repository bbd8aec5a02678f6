//! `compile`: the only way from a Config to a Snapshot.
//!
//! It has no side effects, starts no task, and reports all Problems at once; `pointsman check` is
//! this same function. What the previous snapshot has and the new Config did not change is carried
//! over by `Arc`: routes, upstreams with their pools, counters, listeners with their drains.

mod calls;
mod client_auth;
mod error_page;
mod gate;
mod header;
mod health;
mod http2;
mod listener;
mod local;
mod matcher;
mod name;
mod process;
mod route;
mod tls;
mod upgrade;
mod upstream;
mod upstream_tls;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderName;

use super::Snapshot;
use crate::config::{Config, KeyPath, Problem};
use crate::message::forwarded::Trusted;
use crate::metrics::Metrics;
use crate::net::tls::Tls;
use crate::route::{Conflict, Matcher, Route, Table, conflicts};

/// What a snapshot is built among.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub metrics: &'a Metrics,
    pub workers: usize,
    /// Where the demo origin listens, if it runs.
    pub demo: Option<SocketAddr>,
}

/// A snapshot, and what the operator should know of it.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub snapshot: Snapshot,
    pub warnings: Vec<Problem>,
}

pub(crate) fn compile(
    config: &Config,
    previous: Option<&Snapshot>,
    surroundings: Surroundings<'_>,
) -> Result<Compiled, Vec<Problem>> {
    let mut problems = Vec::new();
    process::check(config, &mut problems);
    let (listeners, tls) = listener::compile(config, previous, surroundings, &mut problems);
    let mut upstreams = upstream::Upstreams::new(config, previous, surroundings);
    upstreams.named(config, &mut problems);
    let lists = gate::Lists::new(&config.list_files);
    let routes = route::compile(
        config,
        previous,
        surroundings,
        &mut upstreams,
        &lists,
        &mut problems,
    );
    let access = listener::gates(config, &lists, surroundings, &mut problems);
    upstreams.warn_of_unused(config, &mut problems);
    let error_pages = error_page::compile(config, &routes, &mut problems);
    let table = table(&routes, &mut problems);
    if problems.iter().any(Problem::is_error) {
        return Err(problems);
    }
    let snapshot = Snapshot {
        generation: previous.map_or(1, |previous| previous.generation + 1),
        trusted: Trusted::new(config.server.trusted_proxies.clone()),
        access_log: config.log.access,
        shutdown_grace: config.server.shutdown_grace.0,
        drain_timeout: config.reload.drain_timeout,
        access,
        listeners,
        identity_headers: identity_headers(tls.values()),
        tls,
        routes,
        table,
        error_pages,
        upstreams: upstreams.into_shared(),
    };
    Ok(Compiled {
        snapshot,
        warnings: problems,
    })
}

/// Of all listeners: what one of them tells must not come by another.
fn identity_headers<'a>(tls: impl Iterator<Item = &'a Arc<Tls>>) -> Option<Arc<[HeaderName]>> {
    let policies = tls.flat_map(|tls| tls.policies());
    let mut names: Vec<HeaderName> = policies
        .flat_map(|policy| policy.headers.names().cloned())
        .collect();
    names.sort_by(|one, two| one.as_str().cmp(two.as_str()));
    names.dedup();
    (!names.is_empty()).then(|| names.into())
}

fn table(routes: &[Arc<Route>], problems: &mut Vec<Problem>) -> Table {
    let matchers: Vec<&Matcher> = routes.iter().map(|route| &route.matcher).collect();
    let table = Table::build(&matchers);
    let name = |route: usize| format!("`{}`", routes[route].name);
    for conflict in conflicts(&table, &matchers) {
        problems.push(match conflict {
            Conflict::Ambiguous {
                first,
                second,
                method,
            } => {
                let what = method.map_or("the same requests".to_owned(), |method| {
                    format!("the same {method} requests")
                });
                let message = format!(
                    "{} and {} (route[{first}]) take {what}, and nothing decides between them",
                    name(second),
                    name(first),
                );
                Problem::error(at(second), message).help(
                    "take one away, or tell them apart by host, path, method, header or query",
                )
            }
            Conflict::Unreachable { route, by } => {
                let by: Vec<String> = by.into_iter().map(name).collect();
                let message = format!(
                    "{} can never be reached: {} take its requests first",
                    name(route),
                    by.join(" and "),
                );
                Problem::warning(at(route), message)
            }
        });
    }
    table
}

/// The place of a route. Compile drops none before the table is built, so places are the file's.
fn at(route: usize) -> KeyPath {
    KeyPath::from("route").index(route)
}

fn fingerprint(settings: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    settings.hash(&mut hasher);
    hasher.finish()
}

/// Keeps the value of a sound part, and the Problem of one that is not.
fn sound<T>(result: Result<T, String>, at: &KeyPath, problems: &mut Vec<Problem>) -> Option<T> {
    result
        .map_err(|message| problems.push(Problem::error(at, message)))
        .ok()
}
