//! Names of routes that the operator gave none.

use std::collections::BTreeMap;

use crate::config;

/// A longer name makes every one of its series larger, and nobody reads it.
pub(super) const LONGEST_NAME: usize = 128;

/// Made of everything that tells the route from others.
pub(super) fn made_name(route: &config::Route) -> String {
    let config::Route {
        method, host, path, ..
    } = route;
    let mut name = method.0.join(",");
    if !name.is_empty() {
        name.push(' ');
    }
    let place = format!("{}{}", host.0.join(","), path.0.join(","));
    name.push_str(if place.is_empty() { "default" } else { &place });
    let mut pairs = |pairs: &BTreeMap<String, String>, sign: char| {
        for (key, value) in pairs {
            name.push_str(&format!(" {sign}{key}={value}"));
        }
    };
    pairs(&route.header, '@');
    pairs(&route.query, '?');
    name.chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_NAME)
        .collect()
}

/// Such a pair is reported as one that cannot be told apart; its name is not what is wrong.
pub(super) fn equal_unnamed(one: &config::Route, two: &config::Route) -> bool {
    let unnamed = one.name.is_none() && two.name.is_none();
    unnamed
        && (&one.host, &one.path, &one.method) == (&two.host, &two.path, &two.method)
        && (&one.header, &one.query) == (&two.header, &two.query)
}
