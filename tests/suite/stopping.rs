//! The end of the process: no new connections, time for what is under way, and a bound on it.

use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{
    BINARY, Backend, Client, DEADLINE, Proxy, Socket, eventually, get, route, within,
};

fn with_grace(grace: &str, backend: &Backend) -> Proxy {
    let server = format!("server.shutdown_grace = \"{grace}\"\n");
    Proxy::start(&(server + &route("all", "/*", &backend.url())))
}

fn slow_request(proxy: &Proxy, backend: &Backend) -> Client {
    slow_path(proxy, backend, "/slow")
}

fn slow_path(proxy: &Proxy, backend: &Backend, path: &str) -> Client {
    let mut slow = Client::connect(proxy.address());
    slow.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
    eventually("the slow request is under way", || backend.has_seen(path));
    slow
}

fn was_stopping(proxy: &Proxy) {
    proxy.wait_for_log("stopping", |line| line["message"] == "stopping");
}

#[test]
fn a_stopping_process_accepts_no_more_finishes_requests_and_ends_within_its_grace() {
    for signal in ["TERM", "INT"] {
        let backend = Backend::new("one");
        let mut proxy = with_grace("3s", &backend);
        let address = proxy.address();
        let mut idle = Client::connect(address);
        idle.get("test", "/");
        let mut socket = Socket::open(address, "/socket");
        socket.echo();
        let mut half = Client::connect(address);
        half.send("GET / HTTP/1.1\r\nHos");
        let mut silent = Client::connect(address);
        let mut slow = slow_request(&proxy, &backend);

        let began = Instant::now();
        proxy.signal(signal);
        eventually("the listener closes first", || {
            TcpStream::connect(address).is_err()
        });
        assert_eq!(get(proxy.admin(), "/readyz").status, 503);
        for client in [&mut idle, &mut silent] {
            assert_eq!(client.until_closed().unwrap(), b"", "closed in order");
        }
        assert!(!proxy.has_ended(), "a request is under way");
        backend.release();
        let answer = slow.response();
        assert_eq!((answer.status, answer.text()), (200, "one".to_owned()));
        assert_eq!(answer.header("connection"), "close");

        assert_eq!(socket.goodbye(), Some(1001), "{signal}");
        eventually("the upstream is told, too", || {
            backend.goodbyes() == [Some(1001)]
        });
        // Nobody knows what the half request would have been, so it has all of the grace.
        assert!(half.until_closed().is_ok_and(|rest| rest.is_empty()) || proxy.has_ended());
        assert!(proxy.wait().success());
        let time = began.elapsed();
        assert!(time < Duration::from_secs(3) + DEADLINE / 4, "{time:?}");
    }
}

#[test]
fn the_grace_bounds_what_does_not_end() {
    let backend = Backend::new("one");
    let mut proxy = with_grace("500ms", &backend);
    let mut slow = slow_request(&proxy, &backend);
    let began = Instant::now();
    proxy.signal("TERM");
    slow.try_response(false).expect_err("the request is cut");
    let time = began.elapsed();
    assert!(time >= Duration::from_millis(500), "{time:?}");
    within(DEADLINE / 4, "the process ends", || proxy.has_ended());
    assert!(proxy.wait().success());
    proxy.wait_for_log("what was cut", |line| {
        line["level"] == "warn" && line["connections"] == 1
    });
}

#[test]
fn what_the_grace_cuts_is_not_taken_for_what_its_client_has_left() {
    let backend = Backend::new("one");
    let mut proxy = with_grace("500ms", &backend);
    let _slow = slow_request(&proxy, &backend);
    let mut body = Client::connect(proxy.address());
    body.send("GET /stream HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(body.try_head().unwrap().status, 200);
    // Its client answers no goodbye, which would be waited for longer than the grace.
    let _socket = Socket::open(proxy.address(), "/socket");
    let gone = slow_path(&proxy, &backend, "/slow/gone");
    drop(gone);
    let ended = |path: &str| {
        let line = proxy.wait_for_log(path, |line| line["path"] == path);
        (
            line["status"].as_u64(),
            line["why"].as_str().map(str::to_owned),
        )
    };
    let word = |status, why: &str| (Some(status), Some(why.to_owned()));
    assert_eq!(ended("/slow/gone"), word(499, "client_gone"));
    proxy.signal("TERM");
    assert_eq!(ended("/slow"), word(503, "draining"));
    assert_eq!(ended("/stream"), word(200, "draining"));
    assert_eq!(ended("/socket"), word(101, "draining"));
    assert!(proxy.wait().success());
}

#[test]
fn with_nothing_under_way_the_end_comes_at_once() {
    let backend = Backend::new("one");
    let mut proxy = with_grace("60s", &backend);
    let mut idle = Client::connect(proxy.address());
    idle.get("test", "/");
    let _silent = Client::connect(proxy.address());
    proxy.signal("TERM");
    within(DEADLINE / 4, "the process ends", || proxy.has_ended());
    assert!(proxy.wait().success());
    assert_eq!(idle.until_closed().unwrap(), b"");
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let backend = Backend::new("one");
        let mut proxy = with_grace("60s", &backend);
        let mut slow = slow_request(&proxy, &backend);
        proxy.signal(first);
        was_stopping(&proxy);
        assert!(!proxy.has_ended());
        proxy.signal(second);
        within(DEADLINE / 4, "the process ends", || proxy.has_ended());
        assert_eq!(
            proxy.wait().code(),
            Some(130),
            "it did not end in good order"
        );
        slow.try_response(false).expect_err("the request is cut");
    }
}

/// A proxy that asks for the name of its upstream and gets no answer: what the resolver looks into
/// is a pipe into which nobody writes.
fn with_silent_resolver(directory: &Path, grace: &str, connect: &str) -> Proxy {
    let pipe = directory.join("aliases");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let config = directory.join("pointsman.toml");
    let text = format!(
        "server.shutdown_grace = \"{grace}\"\n{}[upstream.app]\nserver = \"http://nowhere\"\n\
         timeout.connect = \"{connect}\"\n",
        route("all", "/*", "app")
    );
    std::fs::write(&config, Proxy::text(&text)).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["run", "--config"]).arg(&config);
    command.env("HOSTALIASES", &pipe);
    Proxy::run(command, &config)
}

/// Waits until the resolver reads from the pipe, and keeps it at that.
fn asked(directory: &Path) -> File {
    let pipe = directory.join("aliases");
    let (opened, opens) = mpsc::channel();
    // The kernel opens it when there is a reader. The test may have given up by then.
    thread::spawn(move || drop(opened.send(File::options().write(true).open(pipe))));
    let pipe = opens.recv_timeout(DEADLINE);
    pipe.expect("the resolver is asked").unwrap()
}

#[test]
fn a_name_that_is_still_being_looked_up_holds_no_end_up() {
    for (grace, connect, status) in [("60s", "200ms", Some(504)), ("500ms", "60s", None)] {
        let directory = TempDir::new().unwrap();
        let mut proxy = with_silent_resolver(directory.path(), grace, connect);
        let mut client = Client::connect(proxy.address());
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        let _pipe = asked(directory.path());
        if let Some(status) = status {
            // Nobody waits for the name any more, but for the resolver.
            assert_eq!(client.response().status, status);
        }
        proxy.signal("TERM");
        within(DEADLINE / 4, "the process ends", || proxy.has_ended());
        assert!(proxy.wait().success());
    }
}
