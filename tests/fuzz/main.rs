//! Fuzzing on stable: mutations of a small corpus, and properties that hold for whatever comes out.
//! Run by `make fuzz`.
//!
//! No coverage steers it. What was accepted joins the pool that is mutated further, so that damage
//! adds up; a run is repeated by its seed, and an input that breaks a property is printed.
#![allow(
    clippy::expect_used,
    reason = "a run that cannot start ends by saying why"
)]

mod forwarded;
mod head;
#[path = "../differential/engine/mutate.rs"]
mod mutate;
mod paths;
mod settings;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::Instant;

use fastrand::Rng;

/// What is fuzzed: `run` panics where a property does not hold, and says whether it was accepted.
struct Subject {
    name: &'static str,
    executions: u64,
    corpus: &'static [&'static str],
    run: fn(&[u8]) -> bool,
}

const SUBJECTS: [Subject; 4] = [
    head::SUBJECT,
    forwarded::SUBJECT,
    paths::SUBJECT,
    settings::SUBJECT,
];
/// Inputs that are mutated further.
const POOL: usize = 512;
/// Longer ones take time and show nothing new.
const LONGEST: usize = 4096;

/// `[NAME [EXECUTIONS [SEED]]]`; everything without a name.
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let number = |at: usize| words.get(at).map(|word| word.parse().expect("a number"));
    let (name, seed) = (words.first(), number(2).unwrap_or(1));
    let mut sound = true;
    for subject in &SUBJECTS {
        if name.is_none_or(|name| name == subject.name) {
            sound &= fuzz(subject, number(1).unwrap_or(subject.executions), seed);
        }
    }
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn fuzz(subject: &Subject, executions: u64, seed: u64) -> bool {
    let (start, mut rng, mut accepted) = (Instant::now(), Rng::with_seed(seed), 0);
    let mut pool: Vec<Vec<u8>> = subject
        .corpus
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    let seeds = pool.len();
    for number in 0..executions {
        // The corpus keeps its half, or all would drift to what is short and sound.
        let among = if rng.bool() { seeds } else { pool.len() };
        let mut input = pool[rng.usize(..among)].clone();
        if rng.u8(0..8) == 0 {
            let other = &pool[rng.usize(..pool.len())];
            input.truncate(rng.usize(0..=input.len()));
            input.extend_from_slice(&other[rng.usize(0..=other.len())..]);
        }
        mutate::mutate(&mut rng, &mut input);
        let Ok(taken) = panic::catch_unwind(AssertUnwindSafe(|| (subject.run)(&input))) else {
            println!(
                "{}: execution {number} of seed {seed}: {}",
                subject.name,
                input.escape_ascii()
            );
            return false;
        };
        accepted += u64::from(taken);
        if taken && rng.u8(0..16) == 0 && input.len() <= LONGEST {
            if pool.len() < POOL {
                pool.push(input);
            } else {
                let at = rng.usize(seeds..pool.len());
                pool[at] = input;
            }
        }
    }
    let (name, seconds) = (subject.name, start.elapsed().as_secs_f64());
    println!(
        "{name:<10} {executions:>9} executions, {accepted:>8} accepted, {seconds:>6.1} s, seed {seed}"
    );
    true
}
