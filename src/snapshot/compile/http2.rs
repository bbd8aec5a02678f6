//! Values that HTTP/2 can tell a peer (RFC 9113 section 6.5.2), and with which it can work.

use std::ops::RangeInclusive;

use crate::config::{Http2Table, KeyPath, Problem, Size, Time, UpstreamHttp2Table};

const WINDOWS: RangeInclusive<u64> = 64 << 10..=64 << 20;
const WINDOW_RULE: &str = "it must be from 64KiB to 64MiB";

pub(super) fn check_listener(table: &Http2Table, place: &KeyPath, problems: &mut Vec<Problem>) {
    let mut bench = Bench { place, problems };
    bench.streams(table.max_concurrent_streams);
    bench.window("stream_window", table.stream_window);
    bench.window("connection_window", table.connection_window);
    let window = table.connection_window.0;
    let holds = window >= table.stream_window.0 || !WINDOWS.contains(&window);
    let rule = "it must be at least `stream_window`, or no request could use all of that";
    bench.wrong("connection_window", holds, rule);
    bench.ping(table.ping_interval, table.ping_timeout, "20s");
}

pub(super) fn check_upstream(
    table: &UpstreamHttp2Table,
    place: &KeyPath,
    problems: &mut Vec<Problem>,
) {
    let mut bench = Bench { place, problems };
    bench.streams(table.max_concurrent_streams);
    bench.window("stream_window", table.stream_window);
    bench.ping(table.ping_interval, table.ping_timeout, "5s");
}

struct Bench<'a> {
    place: &'a KeyPath,
    problems: &'a mut Vec<Problem>,
}

impl Bench<'_> {
    fn wrong(&mut self, key: &str, holds: bool, rule: &str) {
        if !holds {
            self.problems
                .push(Problem::error(self.place.key(key), rule));
        }
    }

    fn streams(&mut self, streams: u32) {
        let holds = (1..=10_000).contains(&streams);
        self.wrong(
            "max_concurrent_streams",
            holds,
            "it must be from 1 to 10000",
        );
    }

    fn window(&mut self, key: &str, window: Size) {
        self.wrong(key, WINDOWS.contains(&window.0), WINDOW_RULE);
    }

    fn ping(&mut self, interval: Time, timeout: Time, default: &str) {
        let holds = !timeout.0.is_zero() || interval.0.is_zero();
        let rule = format!("it cannot be zero; leave it out for \"{default}\"");
        self.wrong("ping_timeout", holds, &rule);
    }
}
