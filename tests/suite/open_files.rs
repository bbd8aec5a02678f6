//! How many files the process may open, and how many connections that is.

use std::process::Command;

use crate::harness::{BINARY, Client, Origin, Proxy, Written, route};

/// Started by somebody who allows it so many open files to begin with, and so many at most.
fn allowed(soft: usize, hard: usize, config: &Written) -> Proxy {
    let script =
        format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" run --config \"$1\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, BINARY]).arg(&config.path);
    Proxy::run(command, &config.path)
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_goes_and_half_of_it_are_connections() {
    let origin = Origin::named("one");
    let config = Written::new(Proxy::text(&route("all", "/*", &origin.url())));
    for (soft, hard) in [(64, 256), (64, 64)] {
        let proxy = allowed(soft, hard, &config);
        let most = hard / 2;
        let mut held: Vec<_> = (0..most)
            .map(|_| Client::connect(proxy.address()))
            .collect();
        for client in &mut held {
            assert_eq!(client.get("test", "/").status, 200);
        }
        let mut waits = Client::connect(proxy.address());
        waits.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        proxy.wait_for_log("that one waits", |line| {
            let text = line["message"].as_str();
            text.is_some_and(|text| text.contains("further ones wait"))
        });
        proxy.counts("pointsman_connections", &[], most as f64);
        drop(held);
        assert_eq!(waits.response().status, 200);
    }
}
