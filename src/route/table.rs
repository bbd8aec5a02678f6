//! The table of routes: the most specific host, then path, then predicates wins, whatever the order
//! in the file.

use std::cmp::Reverse;
use std::collections::HashMap;

use http::request::Parts;

use super::Matcher;
use super::pattern::{HostPattern, PathPattern};
use super::tree::Tree;
use crate::message::Target;

/// Finds the place of a route in the list that the table was built from.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<String, Tree>,
    below: HashMap<String, Tree>,
    any: Tree,
}

impl Table {
    pub fn build(matchers: &[&Matcher]) -> Self {
        let mut table = Self::default();
        let mut order: Vec<(usize, &&Matcher)> = matchers.iter().enumerate().collect();
        order.sort_by_cached_key(|(_, matcher)| Reverse(matcher.predicates.specificity()));
        for (index, matcher) in order {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            for host in &matcher.hosts {
                let tree = match host {
                    HostPattern::Exact(name) => table.exact.entry(name.clone()).or_default(),
                    HostPattern::Below(name) => table.below.entry(name.clone()).or_default(),
                };
                insert(tree, matcher, index);
            }
            if matcher.hosts.is_empty() {
                insert(&mut table.any, matcher, index);
            }
        }
        table
    }

    /// The index of the route that takes the request. `matchers(index)` gives back what the table
    /// was built from.
    pub fn find<'a>(
        &self,
        target: &Target<'_>,
        head: &Parts,
        matchers: impl Fn(usize) -> &'a Matcher,
    ) -> Option<usize> {
        let accept = |route: u32| matchers(route as usize).predicates.hold(head);
        let found = |tree: &Tree| tree.find(target.path(), &accept);
        let host = target.host();
        let exact = self.exact.get(host).and_then(found);
        let below = || self.wildcards(host).find_map(found);
        exact
            .or_else(below)
            .or_else(|| found(&self.any))
            .map(|route| route as usize)
    }

    /// The trees of the wildcards above a host, the longest first.
    fn wildcards<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Tree> {
        let host = if self.below.is_empty() { "" } else { host };
        let dots = host.match_indices('.').filter(|(at, _)| *at > 0);
        dots.filter_map(|(at, _)| self.below.get(&host[at + 1..]))
    }

    /// Every place at which routes compete by their predicates alone, the most specific first.
    pub(super) fn slots(&self) -> Vec<&[u32]> {
        let trees = self
            .exact
            .values()
            .chain(self.below.values())
            .chain([&self.any]);
        trees
            .flat_map(Tree::slots)
            .filter(|slot| !slot.is_empty())
            .collect()
    }
}

fn insert(tree: &mut Tree, matcher: &Matcher, index: u32) {
    for path in &matcher.paths {
        tree.insert(path, index);
    }
    if matcher.paths.is_empty() {
        tree.insert(&PathPattern::any(), index);
    }
}
