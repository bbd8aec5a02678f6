//! The tests of the program from outside: the real binary over real sockets, one file a feature.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test, its helpers included, fails by a panic that says what was expected"
)]

mod cli;
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers panic as tests do; clippy.toml allows it only inside of #[test] functions"
)]

mod asking;
mod check;
mod deploy;
mod examples;
mod failures;
mod forwarding;
mod harness;
mod headers;
mod house;
mod logs;
mod metrics;
mod programs;
mod routing;
mod streaming;
mod upgrades;
mod problems;
mod settling;
mod watching;
