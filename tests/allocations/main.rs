//! How many allocations a request costs. A test binary of its own, because it counts for the whole
//! process: client and origin live in it too, and allocate nothing while it counts.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by a panic that says what was expected"
)]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use pointsman::app;
use pointsman::reload::ConfigSource;

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// As browsers and curl send: some fields, no body.
const REQUEST: &[u8] = b"GET /path?query HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\n\
                         Accept: */*\r\nCookie: a=b\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: o\r\nContent-Type: text/plain\r\n\
                        Connection: keep-alive\r\nContent-Length: 5\r\n\r\nhello";
const REQUESTS: usize = 2_000;
const MOST: f64 = 4.0;
const IDLE: usize = 48;
const TOGETHER: &[u8] = b"GET /together";
/// Far less than a buffer, of which the worker may keep some that nobody holds.
const MOST_IDLE: i64 = 16 * 1024;

/// Reads up to the end of a message that ends so.
fn read_message(stream: &mut TcpStream, buffer: &mut [u8], end: &[u8]) -> bool {
    let mut have = 0;
    while !buffer[..have].ends_with(end) {
        match stream.read(&mut buffer[have..]) {
            Ok(0) | Err(_) => return false,
            Ok(read) => have += read,
        }
    }
    true
}

/// Answers at once, but those who ask for `/together` all together, once there are as many as are to be
/// idle: so each has a connection of its own.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let all = Arc::new(Barrier::new(IDLE));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let all = Arc::clone(&all);
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while read_message(&mut stream, &mut buffer, b"\r\n\r\n") {
                    if buffer.starts_with(TOGETHER) {
                        all.wait();
                    }
                    stream.write_all(ANSWER).unwrap();
                }
            });
        }
    });
    address
}

/// One worker, no access log: what is counted is the path of the request alone.
fn proxy(origin: SocketAddr) -> SocketAddr {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pointsman.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[server]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [log]\naccess = false\n[reload]\nmode = \"off\"\n[[route]]\nupstream = \"http://{origin}\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let (tell, told) = channel();
    thread::spawn(move || {
        let _directory = directory;
        let started = app::run(ConfigSource::File(file), |started| {
            tell.send(started.listeners[0].1.clone()).unwrap();
        });
        started.expect("it starts");
    });
    told.recv().unwrap().to_string().parse().unwrap()
}

/// One test, because what it counts is that of the whole process.
#[test]
fn a_request_costs_few_allocations_and_keeps_nothing_and_an_idle_connection_little() {
    let proxy = proxy(origin());
    a_request_costs_few_allocations_and_keeps_nothing(proxy);
    an_idle_connection_holds_no_buffer(proxy);
}

fn a_request_costs_few_allocations_and_keeps_nothing(proxy: SocketAddr) {
    let mut client = TcpStream::connect(proxy).unwrap();
    let mut buffer = [0; 4096];
    let mut ask = |count| {
        for _ in 0..count {
            client.write_all(REQUEST).unwrap();
            assert!(read_message(&mut client, &mut buffer, b"hello"));
        }
    };
    ask(REQUESTS);
    for round in 0..3 {
        let region = Region::new(COUNTED);
        ask(REQUESTS);
        let change = region.change();
        let each = change.allocations as f64 / REQUESTS as f64;
        let kept = change.bytes_allocated as i64 - change.bytes_deallocated as i64;
        println!("round {round}: {each:.2} allocations a request, {kept} bytes kept in all");
        assert!(each <= MOST, "{each} allocations a request");
        assert!(kept.abs() < 64 * 1024, "{kept} bytes kept");
    }
}

/// A client's connection and the one to the origin that it needed.
fn an_idle_connection_holds_no_buffer(proxy: SocketAddr) {
    let mut buffer = [0; 4096];
    let request = [TOGETHER, b" HTTP/1.1\r\nHost: example.com\r\n\r\n"].concat();
    let region = Region::new(COUNTED);
    let ask = |_| {
        let mut client = TcpStream::connect(proxy).unwrap();
        client.write_all(&request).unwrap();
        client
    };
    let mut clients: Vec<TcpStream> = (0..IDLE).map(ask).collect();
    for client in &mut clients {
        assert!(read_message(client, &mut buffer, b"hello"));
    }
    let each = || {
        let change = region.change();
        (change.bytes_allocated as i64 - change.bytes_deallocated as i64) / IDLE as i64
    };
    // The last one may not have come to rest.
    let end = Instant::now() + Duration::from_secs(5);
    while each() > MOST_IDLE && Instant::now() < end {
        thread::yield_now();
    }
    println!("{} bytes for each of {IDLE} idle connections", each());
    assert!(each() <= MOST_IDLE, "{} bytes each", each());
}
