//! Bodies on their way: streamed, never gathered; cut short when a side breaks off; never made to
//! look whole.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::harness::{Client, DEADLINE, Origin, Proxy, Reply, eventually};

const MIB: u64 = 1024 * 1024;
const LENGTH: u64 = 300 * MIB;
/// What sockets and buffers between two ends of a stalled stream may hold.
const IN_BETWEEN: u64 = 48 * MIB;
/// How much the proxy may grow while it carries [`LENGTH`].
const GROWTH: u64 = 24 * MIB;

/// Resident memory of a process.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: u64 = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib * 1024
}

/// Waits until nothing moves any more, and gives back how far it got.
fn stalls(moved: &AtomicU64) -> u64 {
    let mut before = 0;
    eventually("the stream stalls", || {
        sleep(Duration::from_millis(100));
        let now = moved.load(Ordering::Relaxed);
        now > 0 && std::mem::replace(&mut before, now) == now
    });
    before
}

/// Writes [`LENGTH`] bytes, counting them.
fn pour(stream: &mut TcpStream, moved: &AtomicU64) {
    let piece = vec![b'x'; 256 * 1024];
    while moved.load(Ordering::Relaxed) < LENGTH && stream.write_all(&piece).is_ok() {
        moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
}

/// Reads [`LENGTH`] bytes, and gives back the most memory that the process had meanwhile.
fn drink(stream: &mut TcpStream, process: u32) -> u64 {
    let (mut piece, mut left, mut most) = (vec![0; 256 * 1024], LENGTH, 0);
    while left > 0 {
        let read = stream.read(&mut piece).unwrap() as u64;
        assert!(read > 0, "{left} bytes are missing");
        if left / (8 * MIB) != (left - read) / (8 * MIB) {
            most = most.max(memory(process));
        }
        left -= read;
    }
    most
}

#[test]
fn a_download_waits_for_its_reader_and_not_in_the_proxys_memory() {
    let moved: Arc<AtomicU64> = Arc::default();
    let poured = Arc::clone(&moved);
    let origin = Origin::new(move |_| {
        let poured = Arc::clone(&poured);
        Reply::Take(Box::new(move |mut stream| {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            pour(&mut stream, &poured);
        }))
    });
    let proxy = Proxy::to(&origin.url());
    assert_eq!(proxy.metrics().sum("pointsman_requests_total", &[]), 0.0);
    let before = memory(proxy.id());

    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let stalled = stalls(&moved);
    assert!(
        stalled < IN_BETWEEN,
        "{stalled} bytes left the origin unread"
    );
    skip_head(&mut client);
    let most = drink(&mut client, proxy.id());
    assert!(most < before + GROWTH, "from {before} to {most} bytes");
}

#[test]
fn an_upload_waits_for_the_upstream_and_not_in_the_proxys_memory() {
    let (go, gone) = channel();
    let (gone, most) = (Mutex::new(gone), Arc::new(AtomicU64::new(0)));
    let seen = Arc::clone(&most);
    let origin = Origin::raw(move |mut stream| {
        let process: u32 = gone.lock().unwrap().recv().unwrap();
        skip_head(&mut stream);
        seen.store(drink(&mut stream, process), Ordering::Relaxed);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
    });
    let proxy = Proxy::to(&origin.url());
    let before = memory(proxy.id());

    let mut client = Client::connect(proxy.address());
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n"
    ));
    let moved: Arc<AtomicU64> = Arc::default();
    let (poured, mut stream) = (Arc::clone(&moved), client.stream().try_clone().unwrap());
    thread::spawn(move || pour(&mut stream, &poured));
    let stalled = stalls(&moved);
    assert!(
        stalled < IN_BETWEEN,
        "{stalled} bytes left the client unread"
    );
    go.send(proxy.id()).unwrap();
    assert_eq!(client.response().status, 200);
    let most = most.load(Ordering::Relaxed);
    assert!(most < before + GROWTH, "from {before} to {most} bytes");
    let bytes = proxy
        .metrics_at_rest()
        .sum("pointsman_request_bytes_total", &[("route", "all")]);
    assert_eq!(bytes, LENGTH as f64);
}

fn skip_head(stream: &mut TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
}

/// Resets instead of finishing.
fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn an_answer_that_breaks_off_never_looks_complete() {
    const LONG: &str = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let origin = Origin::new(|received| match received.target.as_str() {
        "/length" => Reply::RawClose(format!("{LONG}forty").into_bytes()),
        "/chunks" => Reply::RawClose(format!("{CHUNKED}5\r\nforty\r\n").into_bytes()),
        "/chunk" => Reply::RawClose(format!("{CHUNKED}9\r\nforty").into_bytes()),
        "/reset" => Reply::Take(Box::new(|mut stream| {
            stream.write_all(format!("{LONG}forty").as_bytes()).unwrap();
            // Not before the proxy has passed on what came: a reset may overtake it.
            stream
                .set_read_timeout(Some(Duration::from_millis(200)))
                .unwrap();
            let _ = stream.read(&mut [0]);
            reset(stream);
        })),
        other => panic!("{other}"),
    });
    let proxy = Proxy::to(&origin.url());
    for (count, target) in ["/length", "/chunks", "/chunk", "/reset"]
        .into_iter()
        .enumerate()
    {
        let mut client = Client::connect(proxy.address());
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.try_head().unwrap().status, 200, "{target}");
        let mut rest = Vec::new();
        // A reset is as plain an error as an early end.
        let _ = client.stream().read_to_end(&mut rest);
        let rest = String::from_utf8_lossy(&rest);
        let whole = ["forty", "5\r\nforty\r\n", ""];
        assert!(whole.contains(&rest.as_ref()), "{target} ended in {rest:?}");
        let truncated = [("route", "all"), ("why", "upstream_truncated")];
        proxy.counts("pointsman_errors_total", &truncated, (count + 1) as f64);
    }
    proxy.counts("pointsman_requests_in_flight", &[("route", "all")], 0.0);
}

/// Reads the connection to its end, then says so.
fn watch(mut stream: TcpStream, ended: &Sender<Instant>) {
    let _ = stream.read_to_end(&mut Vec::new());
    ended.send(Instant::now()).unwrap();
}

/// An origin that does this with a request, then tells when the proxy has let go of it.
fn watched(begin: &'static str) -> (Origin, Receiver<Instant>) {
    let (ended, ends) = channel();
    let origin = Origin::new(move |_| {
        let ended = ended.clone();
        Reply::Take(Box::new(move |mut stream| {
            stream.write_all(begin.as_bytes()).unwrap();
            watch(stream, &ended);
        }))
    });
    (origin, ends)
}

#[test]
fn a_client_that_leaves_takes_the_upstreams_work_with_it() {
    let table = [
        ("waiting for the head", "", false),
        (
            "in the middle of a body",
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
            true,
        ),
        (
            "in an idle event stream",
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n",
            true,
        ),
    ];
    for (when, begin, answers) in table {
        let (origin, ends) = watched(begin);
        let proxy = Proxy::to(&origin.url());
        let mut client = Client::connect(proxy.address());
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("the origin is asked", || !origin.received().is_empty());
        if answers {
            client.try_head().unwrap();
        }
        assert_eq!(
            proxy.metrics().sum("pointsman_requests_in_flight", &[]),
            1.0,
            "{when}"
        );
        let left = Instant::now();
        drop(client);
        let ended = ends.recv_timeout(DEADLINE).expect(when);
        assert!(
            ended - left < Duration::from_secs(1),
            "{when}: {:?}",
            ended - left
        );
        proxy.counts("pointsman_requests_in_flight", &[], 0.0);
        proxy.counts(
            "pointsman_requests_total",
            &[("route", "all"), ("code", "499")],
            1.0,
        );
        proxy.counts("pointsman_errors_total", &[("why", "client_gone")], 1.0);
        proxy.counts("pointsman_requests_total", &[], 1.0);
    }
}

#[test]
fn a_client_that_leaves_during_its_upload_ends_the_upload() {
    let (ended, ends) = channel();
    let origin = Origin::raw(move |stream| watch(stream, &ended));
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    eventually("the origin is asked", || origin.connections() == 1);
    let left = Instant::now();
    drop(client);
    let ended = ends.recv_timeout(DEADLINE).unwrap();
    assert!(ended - left < Duration::from_secs(1), "{:?}", ended - left);
    proxy.counts("pointsman_requests_in_flight", &[], 0.0);
    proxy.counts(
        "pointsman_requests_total",
        &[("route", "all"), ("code", "499")],
        1.0,
    );
}

#[test]
fn each_event_reaches_the_client_at_once() {
    let (events, sent) = channel::<String>();
    let sent = Arc::new(Mutex::new(sent));
    let origin = Origin::new(move |_| {
        let sent = Arc::clone(&sent);
        Reply::Take(Box::new(move |mut stream| {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            while let Ok(event) = sent.lock().unwrap().recv() {
                stream.write_all(event.as_bytes()).unwrap();
            }
        }))
    });
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    let asked = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.try_head().unwrap();
    assert_eq!(
        head.header("content-type"),
        "text/event-stream; charset=utf-8"
    );
    let mut took = vec![asked.elapsed()];
    for length in [1, 20_000, 10, 8_192, 1, 1] {
        let event = format!("data: {}\n\n", "x".repeat(length));
        let at = Instant::now();
        events.send(event.clone()).unwrap();
        let mut seen = Vec::new();
        while seen.len() < event.len() {
            seen.extend(client.chunk().unwrap());
        }
        assert_eq!(seen, event.as_bytes());
        took.push(at.elapsed());
    }
    // One may be late on a busy machine; held back, all would be.
    took.sort();
    assert!(took[took.len() / 2] < Duration::from_millis(50), "{took:?}");
    assert!(
        took.iter().all(|took| *took < Duration::from_millis(500)),
        "{took:?}"
    );
}
