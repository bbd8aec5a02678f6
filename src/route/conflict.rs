//! Routes that cannot be told apart, and routes that no request reaches.

use std::collections::BTreeMap;

use http::Method;

use super::{Matcher, Table};

/// By the places of the routes in the list that the table was built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// Both would take the same request with equal right.
    Ambiguous {
        first: usize,
        second: usize,
        method: Option<Method>,
    },
    /// Wherever it could take a request, others take it first.
    Unreachable { route: usize, by: Vec<usize> },
}

/// Looks at each place where several routes stand: same host, same path.
pub fn conflicts(table: &Table, matchers: &[&Matcher]) -> Vec<Conflict> {
    let mut ambiguous = BTreeMap::new();
    let mut reachable = vec![false; matchers.len()];
    let mut shadowed: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for slot in table.slots() {
        let slot: Vec<usize> = slot.iter().map(|route| *route as usize).collect();
        for (place, route) in slot.iter().enumerate() {
            let above = &slot[..place];
            for other in above {
                if let Some(method) = overlap(matchers[*other], matchers[*route]) {
                    let pair = (*other.min(route), *other.max(route));
                    ambiguous.entry(pair).or_insert(method);
                }
            }
            match shadow(*route, above, matchers) {
                Some(by) => shadowed.entry(*route).or_default().extend(by),
                None => reachable[*route] = true,
            }
        }
    }
    let told = |route: &usize| {
        ambiguous
            .keys()
            .any(|(one, two)| one == route || two == route)
    };
    let unreachable: Vec<Conflict> = shadowed
        .iter()
        .filter(|(route, _)| !reachable[**route] && !told(route))
        .map(|(route, by)| {
            let mut by = by.clone();
            by.sort_unstable();
            by.dedup();
            Conflict::Unreachable { route: *route, by }
        })
        .collect();
    let pair = |((first, second), method)| Conflict::Ambiguous {
        first,
        second,
        method,
    };
    ambiguous.into_iter().map(pair).chain(unreachable).collect()
}

/// With the same headers and query asked for, the same number of methods and one in common, nothing
/// decides between the two. Gives that method, if it is not every method.
fn overlap(one: &Matcher, two: &Matcher) -> Option<Option<Method>> {
    let (one, two) = (&one.predicates, &two.predicates);
    let same = one.headers == two.headers
        && one.query == two.query
        && one.methods.len() == two.methods.len();
    if !same {
        return None;
    }
    match one.methods.is_empty() {
        true => Some(None),
        false => one
            .methods
            .iter()
            .find(|method| two.takes(method))
            .cloned()
            .map(Some),
    }
}

/// The more specific routes of the same place that take every method of this one, asking for no
/// header or query that it does not ask for itself.
fn shadow(route: usize, above: &[usize], matchers: &[&Matcher]) -> Option<Vec<usize>> {
    let own = &matchers[route].predicates;
    let asks_no_more = |other: &&usize| {
        let other = &matchers[**other].predicates;
        other
            .headers
            .iter()
            .all(|header| own.headers.contains(header))
            && other.query.iter().all(|query| own.query.contains(query))
    };
    let by: Vec<usize> = above.iter().filter(asks_no_more).copied().collect();
    let taken = |method: &Method| {
        by.iter()
            .any(|other| matchers[*other].predicates.takes(method))
    };
    let all = !own.methods.is_empty() && own.methods.iter().all(taken);
    all.then_some(by)
}
