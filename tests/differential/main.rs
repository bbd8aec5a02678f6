//! Our parser beside httparse, hyper and h11, at length. Run by `make differential`.
#![allow(
    clippy::expect_used,
    reason = "a comparison that cannot run ends by saying why"
)]

mod engine;

use std::process::ExitCode;
use std::time::Instant;

use engine::{H11, Tally};

/// `[STREAMS [STREAMS-FOR-H11 [SEED]]]`
fn main() -> ExitCode {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok());
    let mut next = |otherwise: u64| numbers.next().unwrap_or(otherwise);
    let (streams, strict, seed) = (next(200_000), next(50_000), next(1));
    let count = |streams: u64| usize::try_from(streams).expect("a count");
    println!("seed {seed}");
    let mut sound = said("httparse and hyper", || {
        engine::run(seed, count(streams), None)
    });
    if strict > 0 {
        let mut h11 = H11::start();
        sound &= said("h11", || engine::run(seed, count(strict), Some(&mut h11)));
    }
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn said(peers: &str, run: impl FnOnce() -> Tally) -> bool {
    let start = Instant::now();
    let tally = run();
    println!(
        "{peers}, {:.1} s: {}",
        start.elapsed().as_secs_f64(),
        tally.report()
    );
    for (name, bytes) in &tally.unknown {
        println!("NOT IN THE TABLE: {name}\n    {bytes}");
    }
    tally.unknown.is_empty()
}
