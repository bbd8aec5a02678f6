//! The tests of the program from outside: the real binary over real sockets, one file a feature.

mod deploy;
mod examples;
mod forwarding;
mod harness;
mod house;
