//! The table once more, the slow and obvious way: look at every route, keep the most specific of
//! those that match. The fast table must find the same on anything.

use std::cmp::Reverse;

use http::request::Parts;
use proptest::prelude::*;

use super::pattern::Segment;
use super::{HostPattern, Matcher, PathPattern, Predicates, Table, conflicts};
use crate::message::Target;

fn find(matchers: &[Matcher], target: &Target<'_>, head: &Parts) -> Option<usize> {
    let candidates = matchers.iter().enumerate().filter_map(|(index, matcher)| {
        let host = match matcher.hosts.as_slice() {
            [] => Some((0, 0)),
            hosts => hosts
                .iter()
                .filter(|host| host.matches(target.host()))
                .map(rank_host)
                .max(),
        };
        let any = [PathPattern::any()];
        let paths = if matcher.paths.is_empty() {
            &any[..]
        } else {
            &matcher.paths[..]
        };
        let path = paths
            .iter()
            .filter(|path| path.matches(target.path()))
            .map(rank_path)
            .max();
        let holds = matcher.predicates.hold(head);
        let rank = (host?, path?, matcher.predicates.specificity());
        holds.then_some((rank, Reverse(index)))
    });
    candidates.max().map(|(_, Reverse(index))| index)
}

fn rank_host(host: &HostPattern) -> (u8, usize) {
    match host {
        HostPattern::Exact(_) => (2, 0),
        HostPattern::Below(name) => (1, name.len()),
    }
}

/// Segment by segment: a literal before a part, a part or an end before `/*`.
fn rank_path(path: &PathPattern) -> Vec<u8> {
    let segment = |segment: &Segment| match segment {
        Segment::Literal(_) => 3,
        Segment::Part(_) => 2,
    };
    let end = if path.open { 1 } else { 2 };
    path.segments.iter().map(segment).chain([end]).collect()
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "%61", "x%2Fy", ""]).prop_map(str::to_owned)
}

fn path_pattern() -> impl Strategy<Value = PathPattern> {
    let part = prop::sample::select(vec!["{p}", "{q}"]).prop_map(str::to_owned);
    let segment = prop_oneof![3 => word(), 1 => part];
    let end = prop::sample::select(vec!["", "/*"]);
    let text = (prop::collection::vec(segment, 0..4), end).prop_map(|(segments, end)| {
        let path = format!("/{}", segments.join("/"));
        if end.is_empty() {
            path
        } else {
            format!("{}{end}", path.trim_end_matches('/'))
        }
    });
    text.prop_filter_map("a pattern", |text| PathPattern::parse(&text).ok())
}

fn host_pattern() -> impl Strategy<Value = HostPattern> {
    let names = vec![
        "a.test",
        "B.a.test",
        "*.a.test",
        "*.test",
        "*.b.a.test",
        "[::1]",
    ];
    prop::sample::select(names).prop_map(|name| HostPattern::parse(name).unwrap())
}

fn predicates() -> impl Strategy<Value = Predicates> {
    let methods = prop::sample::subsequence(vec![http::Method::GET, http::Method::POST], 0..=2);
    let value = prop::option::of(prop::sample::select(vec!["1", "2"]));
    (
        methods,
        prop::option::of(value.clone()),
        prop::option::of(value),
    )
        .prop_map(|(methods, header, query)| {
            let name = http::HeaderName::from_static("x-a");
            let header = header.map(|value| (name, value.map(http::HeaderValue::from_static)));
            let query = query.map(|value| ("q".to_owned(), value.map(str::to_owned)));
            Predicates {
                methods,
                headers: header.into_iter().collect(),
                query: query.into_iter().collect(),
            }
        })
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let hosts = prop::collection::vec(host_pattern(), 0..3);
    let paths = prop::collection::vec(path_pattern(), 0..3);
    (hosts, paths, predicates()).prop_map(|(hosts, paths, predicates)| Matcher {
        hosts,
        paths,
        predicates,
    })
}

fn request() -> impl Strategy<Value = http::Request<()>> {
    let hosts = vec![
        "a.test",
        "A.TEST:80",
        "b.a.test.",
        "c.b.a.test:443",
        "x.test",
        "other",
        "[::1]:8080",
    ];
    let path =
        prop::collection::vec(word(), 1..5).prop_map(|words| format!("/{}", words.join("/")));
    let query = prop::sample::select(vec!["", "?q", "?q=1", "?x&q=2&q=1", "?"]);
    let method = prop::sample::select(vec!["GET", "POST", "BREW"]);
    let header = prop::option::of(prop::sample::select(vec!["1", "2"]));
    (prop::sample::select(hosts), path, query, method, header).prop_map(
        |(host, path, query, method, header)| {
            let builder = http::Request::builder()
                .method(method)
                .uri(format!("{path}{query}"));
            let builder = builder.header("host", host);
            let builder = header
                .into_iter()
                .fold(builder, |b, value| b.header("x-a", value));
            builder.body(()).unwrap()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        max_global_rejects: 100_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_table_finds_what_looking_at_every_route_finds(
        matchers in prop::collection::vec(matcher(), 1..12),
        request in request(),
    ) {
        let borrowed: Vec<&Matcher> = matchers.iter().collect();
        let table = Table::build(&borrowed);
        // Two that cannot be told apart are refused before any table serves.
        prop_assume!(conflicts(&table, &borrowed)
            .iter()
            .all(|conflict| !matches!(conflict, super::Conflict::Ambiguous { .. })));
        let (head, ()) = request.into_parts();
        let target = Target::parse(&head).unwrap();
        let found = table.find(&target, &head, |index| &matchers[index]);
        prop_assert_eq!(found, find(&matchers, &target, &head));
    }

    #[test]
    fn the_order_of_the_routes_does_not_matter(
        matchers in prop::collection::vec(matcher(), 2..8).prop_shuffle(),
        request in request(),
    ) {
        let forth: Vec<&Matcher> = matchers.iter().collect();
        let back: Vec<&Matcher> = matchers.iter().rev().collect();
        let (one, two) = (Table::build(&forth), Table::build(&back));
        prop_assume!(conflicts(&one, &forth)
            .iter()
            .all(|conflict| !matches!(conflict, super::Conflict::Ambiguous { .. })));
        let (head, ()) = request.into_parts();
        let target = Target::parse(&head).unwrap();
        let first = one.find(&target, &head, |index| forth[index]);
        let second = two.find(&target, &head, |index| back[index]);
        prop_assert_eq!(first, second.map(|index| matchers.len() - 1 - index));
    }

    #[test]
    fn a_route_called_unreachable_takes_no_request(
        matchers in prop::collection::vec(matcher(), 2..8),
        request in request(),
    ) {
        let borrowed: Vec<&Matcher> = matchers.iter().collect();
        let table = Table::build(&borrowed);
        let (head, ()) = request.into_parts();
        let target = Target::parse(&head).unwrap();
        let found = table.find(&target, &head, |index| &matchers[index]);
        for conflict in conflicts(&table, &borrowed) {
            if let super::Conflict::Unreachable { route, .. } = conflict {
                prop_assert_ne!(found, Some(route));
            }
        }
    }
}
