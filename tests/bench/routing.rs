//! What it costs to find a route, by the number of routes. Run by `cargo bench`.
#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot run ends by saying why"
)]

use std::hint::black_box;
use std::time::Instant;

use http::request::Parts;
use pointsman::message::Target;
use pointsman::route::{HostPattern, Matcher, PathPattern, Predicates, Table};

const LOOKUPS: usize = 200_000;
const ROUNDS: usize = 7;

fn main() {
    println!("parsing the target and finding its route, median of {ROUNDS} rounds");
    println!(
        "{:>8}  {:>10}  {:>10}  {:>10}",
        "routes", "exact", "{part}", "/*"
    );
    for count in [1, 100, 10_000] {
        let matchers: Vec<Matcher> = (0..count).map(matcher).collect();
        let borrowed: Vec<&Matcher> = matchers.iter().collect();
        let table = Table::build(&borrowed);
        let cost = |kind: usize| {
            let heads: Vec<Parts> = (0..256)
                .map(|n| head(kind, n * 37 % count, count))
                .collect();
            median(|| round(&table, &matchers, &heads))
        };
        let (exact, part, open) = (cost(0), cost(1), cost(2));
        println!("{count:>8}  {exact:>7.0} ns  {part:>7.0} ns  {open:>7.0} ns");
    }
}

/// A tenth of the routes share a host; each takes one exact path, one with a part, one open.
fn matcher(number: usize) -> Matcher {
    let host = HostPattern::parse(&format!("app{}.example.com", number / 10)).expect("a host");
    let path = |text: &str| PathPattern::parse(text).expect("a path");
    let paths = vec![
        path(&format!("/service{number}/health")),
        path(&format!("/service{number}/users/{{id}}/orders")),
        path(&format!("/service{number}/static/*")),
    ];
    Matcher {
        hosts: vec![host],
        paths,
        predicates: Predicates::default(),
    }
}

fn head(kind: usize, number: usize, count: usize) -> Parts {
    let number = number % count;
    let path = match kind {
        0 => format!("/service{number}/health"),
        1 => format!("/service{number}/users/4711/orders?page=2"),
        _ => format!("/service{number}/static/css/site.css"),
    };
    let request =
        http::Request::get(path).header("host", format!("app{}.example.com", number / 10));
    request.body(()).expect("a request").into_parts().0
}

/// Nanoseconds for one look-up.
fn round(table: &Table, matchers: &[Matcher], heads: &[Parts]) -> f64 {
    let start = Instant::now();
    for head in heads.iter().cycle().take(LOOKUPS) {
        let target = Target::parse(black_box(head)).expect("a sound target");
        let found = table.find(&target, head, |index| &matchers[index]);
        assert!(black_box(found).is_some());
    }
    start.elapsed().as_nanos() as f64 / LOOKUPS as f64
}

fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| measure()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
