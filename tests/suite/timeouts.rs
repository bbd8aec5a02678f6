//! Every wait has an end and a word of its own; what moves is never cut.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, DEADLINE, Origin, Proxy, Reply, eventually, request, route};

/// The time limit under test, and a pause that stays well within it.
const LIMIT: &str = "400ms";
const PAUSE: Duration = Duration::from_millis(150);
/// Several of these pauses are longer than the limit.
const ROUNDS: usize = 6;

fn with(timeout: &str, origin: &Origin) -> Proxy {
    let route = route("all", "/*", &origin.url());
    Proxy::start(&format!("{route}timeout = {{ {timeout} }}\n"))
}

#[track_caller]
fn ended(proxy: &Proxy, why: &str) {
    proxy.counts("pointsman_errors_total", &[("why", why)], 1.0);
    proxy.counts("pointsman_errors_total", &[], 1.0);
    proxy.wait_for_log(why, |line| line["why"] == why);
    proxy.counts("pointsman_requests_in_flight", &[], 0.0);
}

/// The time runs from the last byte of the request, and no longer.
#[test]
fn a_silent_upstream_has_its_time_once_whatever_was_sent_to_it() {
    let origin = Origin::raw(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let route = route("all", "/*", &origin.url());
    let proxy = Proxy::start(&format!("{route}timeout = {{ response = \"3s\" }}\n"));
    let began = Instant::now();
    let answer = request(proxy.address(), "POST", "/", &[], "a");
    assert_eq!(answer.header("x-pointsman-error"), "header_timeout");
    // Twice the time is what it must not be.
    let took = began.elapsed();
    assert!((3..5).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn an_upload_that_stalls_is_the_clients_fault_and_one_that_is_slow_is_none() {
    let origin = Origin::new(|received| Reply::text(received.body.len().to_string()));
    let proxy = with(
        &format!("idle = \"{LIMIT}\", response = \"200ms\""),
        &origin,
    );
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
    for _ in 0..ROUNDS {
        thread::sleep(PAUSE);
        client.send("x");
    }
    assert_eq!(client.response().text(), "6");
    for framing in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nha",
    ] {
        let mut client = Client::connect(proxy.address());
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}"));
        let response = client.response();
        let seen = (response.status, response.header("x-pointsman-error"));
        assert_eq!(seen, (408, "body_timeout"), "{framing:?}");
        assert_eq!(response.header("connection"), "close");
        assert_eq!(client.until_closed().unwrap(), b"");
    }
    proxy.counts("pointsman_errors_total", &[("why", "body_timeout")], 2.0);
    proxy.counts("pointsman_errors_total", &[], 2.0);
}

/// Says its head, then so many pieces with a pause before each, then nothing more.
fn paused(pieces: usize) -> Origin {
    Origin::new(move |_| {
        Reply::Take(Box::new(move |mut stream: TcpStream| {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            for _ in 0..pieces {
                thread::sleep(PAUSE);
                if stream.write_all(b"x").is_err() {
                    return;
                }
            }
            // Open until the proxy gives up.
            let _ = stream.read(&mut [0]);
        }))
    })
}

#[test]
fn an_answer_that_is_slow_arrives_and_one_that_stalls_never_looks_whole() {
    let proxy = with(&format!("idle = \"{LIMIT}\""), &paused(6));
    assert_eq!(proxy.get("/").text(), "xxxxxx");
    let proxy = with(&format!("idle = \"{LIMIT}\""), &paused(2));
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 200);
    assert_eq!(client.until_closed().unwrap(), b"xx", "and no end");
    ended(&proxy, "upstream_stalled");
}

#[test]
fn an_upstream_may_be_silent_in_its_answer_while_the_client_sends() {
    let origin = Origin::raw(|mut stream| {
        let mut seen = Vec::new();
        let mut piece = [0; 1024];
        while !seen.ends_with(b"0\r\n\r\n") {
            let read = stream.read(&mut piece).unwrap();
            if seen.is_empty() {
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(head).unwrap();
            }
            seen.extend_from_slice(&piece[..read]);
        }
        stream.write_all(b"4\r\ndone\r\n0\r\n\r\n").unwrap();
    });
    let proxy = with(&format!("idle = \"{LIMIT}\""), &origin);
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 200);
    for _ in 0..ROUNDS {
        thread::sleep(PAUSE);
        client.send("1\r\nx\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.chunk().unwrap(), b"done");
    assert_eq!(client.chunk().unwrap(), b"");
    proxy.counts("pointsman_errors_total", &[], 0.0);
}

/// The client has sent all that it has, long before the upstream, which says nothing meanwhile, has
/// taken it.
#[test]
fn an_upstream_may_be_silent_in_its_answer_while_it_takes_the_request_little_by_little() {
    const LENGTH: usize = 3 * RATE;
    let origin = Origin::raw(|mut stream| {
        let mut byte = [0];
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).unwrap();
        let mut piece = vec![0; RATE / 20];
        for _ in 0..LENGTH / piece.len() {
            thread::sleep(Duration::from_millis(50));
            stream.read_exact(&mut piece).unwrap();
        }
        stream.write_all(b"4\r\ndone\r\n0\r\n\r\n").unwrap();
    });
    let proxy = with("idle = \"1s\"", &origin);
    let mut client = Client::connect(proxy.address());
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n"
    ));
    client.send(vec![b'u'; LENGTH]);
    assert_eq!(client.response().text(), "done");
    proxy.counts("pointsman_errors_total", &[], 0.0);
}

#[test]
fn a_request_that_takes_too_long_in_all_ends_before_or_within_its_answer() {
    let silent =
        Origin::raw(|mut stream| while stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {});
    let proxy = with(&format!("total = \"{LIMIT}\""), &silent);
    let began = Instant::now();
    let response = proxy.get("/");
    assert_in_time(began);
    let seen = (response.status, response.header("x-pointsman-error"));
    assert_eq!(seen, (504, "total_timeout"));
    ended(&proxy, "total_timeout");

    for origin in [paused(6), chunks()] {
        let proxy = with(&format!("total = \"{LIMIT}\""), &origin);
        let mut client = Client::connect(proxy.address());
        let began = Instant::now();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = client.try_head().unwrap();
        assert_eq!(head.status, 200);
        let body = client.until_closed().unwrap();
        assert_in_time(began);
        match head.header("content-length") {
            "" => assert!(!body.ends_with(b"0\r\n\r\n"), "it looks whole"),
            _ => assert!(body.len() < 6, "it is whole"),
        }
        ended(&proxy, "total_timeout");
    }
}

/// Not before the limit, and not long after it.
#[track_caller]
fn assert_in_time(began: Instant) {
    let time = began.elapsed();
    let limit = Duration::from_millis(400);
    assert!(limit <= time && time < limit + DEADLINE / 4, "{time:?}");
}

/// One piece after another without end, as chunks.
fn chunks() -> Origin {
    Origin::new(|_| {
        Reply::Take(Box::new(|mut stream: TcpStream| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            while stream.write_all(b"1\r\nx\r\n").is_ok() {
                thread::sleep(PAUSE);
            }
        }))
    })
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_given_up() {
    let origin = Origin::new(|_| Reply::Whole(200, Vec::new(), vec![b'x'; 64 << 20]));
    let text = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n[[listener]]\n\
         address = \"127.0.0.1:0\"\ntimeout = {{ write = \"{LIMIT}\" }}\n{}",
        route("all", "/*", &origin.url())
    );
    let proxy = Proxy::with_config(&text);
    let mut slow = Client::connect(proxy.address());
    slow.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = slow.try_head().unwrap();
    assert_eq!(head.status, 200);
    for _ in 0..ROUNDS {
        thread::sleep(PAUSE);
        // More than the sockets between hold, so that something moves each time.
        slow.bytes(8 << 20).unwrap();
    }
    slow.bytes((64 - 8 * ROUNDS) << 20).unwrap();
    let mut stuck = Client::connect(proxy.address());
    let began = Instant::now();
    stuck.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    ended(&proxy, "client_stalled");
    assert!(began.elapsed() >= Duration::from_millis(400));
}

/// Slower than the kernel's buffers would let it show.
const RATE: usize = 500_000;

#[test]
fn whoever_takes_little_at_a_time_is_not_taken_for_stalled() {
    let slow_origin = Origin::raw(|mut stream| {
        let mut piece = vec![0; RATE / 10];
        while stream.read(&mut piece).is_ok_and(|read| read > 0) {
            thread::sleep(Duration::from_millis(100));
        }
    });
    // The client has more to send all the time; what ends it is that the test drops it.
    let proxy = with("response = \"1s\", idle = \"1s\"", &slow_origin);
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        client.send(vec![b'u'; RATE / 10]);
    }
    proxy.counts("pointsman_errors_total", &[], 0.0);
    let socket = socket2::Socket::from(client.stream().try_clone().unwrap());
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop((client, socket));
    proxy.counts("pointsman_errors_total", &[("why", "client_gone")], 1.0);

    let large = Origin::new(|_| Reply::Whole(200, Vec::new(), vec![b'x'; 64 << 20]));
    let proxy = Proxy::with_config(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n[[listener]]\n\
         address = \"127.0.0.1:0\"\ntimeout = {{ write = \"1s\" }}\n{}",
        route("all", "/*", &large.url())
    ));
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 200);
    for _ in 0..30 {
        client.bytes(RATE / 10).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    proxy.counts("pointsman_errors_total", &[], 0.0);
}

/// Old clients send one after a body, and then perhaps nothing for a while.
#[test]
fn an_empty_line_begins_no_request_whose_head_must_come_in_time() {
    let origin = Origin::named("o");
    let proxy = Proxy::with_config(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n[[listener]]\n\
         address = \"127.0.0.1:0\"\ntimeout = {{ header = \"{LIMIT}\" }}\n{}",
        route("all", "/*", &origin.url())
    ));
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.response().text(), "o");
    client.send("\r\n");
    thread::sleep(PAUSE * 5);
    assert_eq!(client.get("a", "/").text(), "o");
}

#[test]
fn events_may_be_far_apart() {
    let origin = Origin::new(|_| {
        Reply::Take(Box::new(|mut stream: TcpStream| {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            thread::sleep(PAUSE * 5);
            stream.write_all(b"data: late\n\n").unwrap();
        }))
    });
    let proxy = with(&format!("idle = \"{LIMIT}\""), &origin);
    assert_eq!(proxy.get("/").text(), "data: late\n\n");
    proxy.counts("pointsman_errors_total", &[], 0.0);
}

#[test]
fn no_time_at_all_is_refused_with_what_to_write() {
    for key in ["response", "idle", "total"] {
        let origin = Origin::named("o");
        let proxy = Proxy::to(&origin.url());
        let route = route("all", "/*", &origin.url());
        let (status, outcome) = proxy.reload(&format!("{route}timeout = {{ {key} = \"0s\" }}\n"));
        assert_eq!(status, 422, "{outcome:#}");
        let text = outcome.to_string();
        assert!(text.contains(&format!("route[0].timeout.{key}")), "{text}");
        eventually("it serves on", || proxy.get("/").status == 200);
    }
}
