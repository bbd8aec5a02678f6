//! Our reading of bytes beside that of other parsers, shortly; `make differential` does it at length.

#[path = "../differential/engine/mod.rs"]
mod engine;

use engine::{H11, Tally};

const SEED: u64 = 7;

#[track_caller]
fn assert_explained(tally: &Tally) {
    let report = tally.report();
    assert_eq!(tally.unknown.len(), 0, "{:#?}\n{report}", tally.unknown);
    // Streams that all parsers refuse at once would agree on nothing.
    assert!(tally.messages > tally.streams / 3, "{report}");
    assert!(tally.known.len() > 10, "{report}");
}

#[test]
fn httparse_and_hyper_disagree_with_us_only_where_the_table_says_why() {
    assert_explained(&engine::run(SEED, 20_000, None));
}

#[test]
#[ignore = "needs h11; make test runs it"]
fn a_strict_reader_disagrees_with_us_only_where_the_table_says_why() {
    let mut h11 = H11::start();
    assert_explained(&engine::run(SEED, 5000, Some(&mut h11)));
}
