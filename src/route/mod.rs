//! Where a request goes: the routes, and the table that finds one.

mod action;
mod conflict;
mod pattern;
mod predicate;
mod rewrite;
mod table;
mod tree;
mod upgrade;

#[cfg(test)]
mod naive;

use std::sync::Arc;

pub use action::{Action, Forward, Redirect, Respond, Timeouts};
pub use conflict::{Conflict, conflicts};
pub use pattern::{HostPattern, PathPattern};
pub use predicate::Predicates;
pub use rewrite::Rewrite;
pub use table::Table;
pub use upgrade::Upgrades;

use crate::gate::Gates;
use crate::message::rules::HeaderRules;
use crate::metrics::{Calls, RouteRow};
use crate::net::Drain;

/// One route, ready to serve.
#[derive(Debug)]
pub struct Route {
    pub name: String,
    /// Of everything that was configured for it, its upstream included: the same through a reload
    /// means that nothing about it changed.
    pub fingerprint: u64,
    pub matcher: Matcher,
    pub action: Action,
    /// Refuse paths with an encoded slash or backslash.
    pub reject_encoded_slash: bool,
    pub response_rules: HeaderRules,
    pub row: Arc<RouteRow>,
    pub gates: Gates,
    /// None if its calls of gRPC are not counted by method.
    pub calls: Option<Calls>,
    /// What outlives a request of this route waits on it.
    pub drain: Arc<Drain>,
}

/// The requests that a route takes: any of the hosts, any of the paths, all of the predicates.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    pub hosts: Vec<HostPattern>,
    pub paths: Vec<PathPattern>,
    pub predicates: Predicates,
}

impl Matcher {
    /// What `{name}` in a path pattern took of this raw path.
    pub fn part<'a>(&self, raw_path: &'a str, path: &str, name: &str) -> &'a str {
        let matching = self.paths.iter().find(|pattern| pattern.matches(path));
        matching
            .and_then(|pattern| pattern.part(raw_path, name))
            .unwrap_or_default()
    }

    /// The names of all parts.
    pub fn parts(&self) -> Vec<&str> {
        self.paths.iter().flat_map(PathPattern::parts).collect()
    }
}
