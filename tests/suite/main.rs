//! The tests of the program from outside: the real binary over real sockets, one file a feature.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test, its helpers included, fails by a panic that says what was expected"
)]

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test, its helpers included, fails by a panic that says what was expected"
)]

mod asking;
mod check;
mod cli;
mod deploy;
mod examples;
mod failures;
mod forwarding;
mod harness;
mod headers;
mod house;
mod logs;
mod metrics;
mod problems;
mod programs;
mod routing;
mod settling;
mod streaming;
mod upgrades;
mod watching;
mod applying;
mod deploy;
mod draining;
mod forwarding;
mod harness;
mod leaks;
mod listening;
mod stalls;
mod stopping;
mod under_load;
