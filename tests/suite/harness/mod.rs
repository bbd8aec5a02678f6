//! The vocabulary of the tests: a proxy that runs, an origin behind it, a client before it.
//!
//! Everything listens on a port that the kernel picks, or one that no other test is given, and waits for conditions with a deadline,
//! never for a time.

mod backend;
mod client;
mod command;
pub(crate) mod extended;
mod frames;
pub(crate) mod http2;
mod http2_origin;
mod kernel;
mod lasting;
mod load;
mod long;
mod metrics;
mod origin;
mod page;
mod process;
mod program;
mod proxy;
mod site;
mod tls;
mod told;
mod unix;

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) use backend::{Backend, switch};
pub(crate) use client::{Client, Response, get, request};
pub(crate) use command::{Said, Written, pointsman, pointsman_in};
pub(crate) use frames::{Frames, is_close};
pub(crate) use http2_origin::{Asked, Http2Origin, Ways};
pub(crate) use kernel::End;
pub(crate) use lasting::Lasting;
pub(crate) use load::Load;
pub(crate) use long::{Events, Socket};
pub(crate) use metrics::Metrics;
pub(crate) use origin::{Origin, Received, Reply};
pub(crate) use page::{in_namespaces, page, page_with};
pub(crate) use process::{Usage, limit_files};
pub(crate) use program::{passes, peer, tool};
pub(crate) use proxy::{BINARY, Proxy};
pub(crate) use site::{Site, down};
pub(crate) use tls::{Authority, Pair, TlsClient, TlsSite, showing, trusting};
pub(crate) use told::Told;
pub(crate) use unix::UnixClient;

/// Long enough for a machine that is busy with other tests; nothing waits for it when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until the condition holds; fails with `what` if it does not before the deadline.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(DEADLINE, what, condition);
}

/// The same with a deadline that is itself what is tested.
#[track_caller]
pub(crate) fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// A port that nobody has, for the tests that must know one beforehand or want nobody there.
///
/// A port that the kernel gave out and took back may be the next one it gives to a test beside
/// this. So each is given out once, from below those the kernel chooses from by itself.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Another run of the suite beside this one begins elsewhere.
    let start = std::process::id().wrapping_mul(499);
    for _ in 0..COUNT {
        let number = start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + number % COUNT).expect("it is below 30,000");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("a port is free");
}

/// A route table of the file; further keys of it may follow.
pub(crate) fn route(name: &str, path: &str, upstream: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"{upstream}\"\n")
}
