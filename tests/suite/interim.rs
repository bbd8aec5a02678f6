//! Interim answers: 1xx from the upstream, and the 100 that a client waits for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::harness::{Client, Origin, Proxy, Reply, eventually, free_port, route};

const FINAL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\
                     Connection: x-hop\r\nX-Hop: 1\r\n\r\n";
const PROCESSING: &str = "HTTP/1.1 102 Processing\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// An origin that sends these bytes, and the final answer once it is told to.
fn held(interim: String) -> (Origin, Sender<()>) {
    let (go, gone) = channel();
    let gone: Mutex<Receiver<()>> = Mutex::new(gone);
    let gone = std::sync::Arc::new(gone);
    let origin = Origin::raw(move |mut stream| {
        while skip_head(&mut stream) {
            stream.write_all(interim.as_bytes()).unwrap();
            // The test is over when nobody tells any more.
            if gone.lock().unwrap().recv().is_err() || stream.write_all(FINAL).is_err() {
                return;
            }
        }
    });
    (origin, go)
}

fn skip_head(stream: &mut TcpStream) -> bool {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return false;
        }
        head.push(byte[0]);
    }
    true
}

#[test]
fn interim_answers_are_relayed_at_once_and_are_not_the_answer() {
    let (origin, go) = held(format!("{CONTINUE}{PROCESSING}{HINTS}{CONTINUE}{HINTS}"));
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        for expected in [102, 103, 103] {
            // The final answer is still held back.
            let interim = client.try_head().unwrap();
            assert_eq!(interim.status, expected);
            if expected == 103 {
                assert_eq!(interim.all("link"), ["</a.css>; rel=preload"]);
            }
            for hop in ["connection", "x-hop", "content-length", "transfer-encoding"] {
                assert_eq!(interim.all(hop), [""; 0], "{hop} in {expected}");
            }
        }
        go.send(()).unwrap();
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (200, "final"));
    }
    assert_eq!(origin.connections(), 1, "the connection is used again");
    proxy.counts("pointsman_requests_total", &[("code", "200")], 3.0);
    proxy.counts("pointsman_requests_total", &[], 3.0);
}

#[test]
fn an_old_client_gets_the_final_answer_alone() {
    let (origin, go) = held(format!("{CONTINUE}{PROCESSING}{HINTS}"));
    let proxy = Proxy::to(&origin.url());
    go.send(()).unwrap();
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "final"));
    assert_eq!(client.until_closed().unwrap(), b"");
}

#[test]
fn an_origin_that_ends_after_an_interim_answer_has_not_answered() {
    let origin = Origin::new(|_| Reply::RawClose(HINTS.as_bytes().to_vec()));
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 103);
    let response = client.response();
    let seen = (response.status, response.header("x-pointsman-error"));
    assert_eq!(seen, (502, "upstream_reset"));
    assert_eq!(origin.received().len(), 1);
}

/// What a connection that was used before says to the next request, then what a new one says to the
/// same; each closes after it.
fn fickle(reused: &'static [u8], new: &'static [u8]) -> Origin {
    let first = AtomicBool::new(true);
    Origin::raw(move |mut stream| {
        if !skip_head(&mut stream) {
            return;
        }
        if first.swap(false, Ordering::Relaxed) {
            stream.write_all(FINAL).unwrap();
            if skip_head(&mut stream) {
                stream.write_all(reused).unwrap();
            }
        } else {
            stream.write_all(new).unwrap();
        }
    })
}

#[test]
fn a_request_that_is_sent_again_has_the_interim_answers_of_the_second_try_alone() {
    let new = [HINTS.as_bytes(), FINAL].concat().leak();
    let origin = fickle(b"", new);
    let proxy = Proxy::start(&format!(
        "server.workers = 1\n{}",
        route("all", "/*", &origin.url())
    ));
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.get("a", "/").text(), "final");
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 103);
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "final"));
    assert_eq!(origin.connections(), 2, "it was sent again");
    // Another 103 would be taken for the answer to this.
    assert_eq!(client.get("a", "/a/../b").status, 400);
}

/// Who has been told hints would be told others, of a try that it knows nothing of; and an origin that
/// began to answer has seen the request.
#[test]
fn a_request_whose_answer_has_begun_is_not_sent_again() {
    for begun in [HINTS, PROCESSING, CONTINUE, "HTTP/1.1 1"] {
        let new = [HINTS.as_bytes(), FINAL].concat().leak();
        let origin = fickle(begun.as_bytes(), new);
        let proxy = Proxy::start(&format!(
            "server.workers = 1\n{}",
            route("all", "/*", &origin.url())
        ));
        let mut client = Client::connect(proxy.address());
        assert_eq!(client.get("a", "/").text(), "final");
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut response = client.response();
        if [HINTS, PROCESSING].contains(&begun) {
            assert!([102, 103].contains(&response.status), "{begun:?}");
            response = client.response();
        }
        let seen = (response.status, response.header("x-pointsman-error"));
        assert_eq!(seen, (502, "upstream_reset"), "{begun:?}");
        assert_eq!(origin.connections(), 1, "{begun:?}");
    }
}

const EXPECTS: &str = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

#[test]
fn a_client_that_waits_for_a_100_gets_it_when_the_upstream_takes_the_body() {
    let origin = Origin::new(|received| Reply::text(String::from_utf8_lossy(&received.body)));
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    for expect in ["100-continue", "100-Continue"] {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: {expect}\r\nContent-Length: 4\r\n\r\n"
        ));
        assert_eq!(client.try_head().unwrap().status, 100);
        client.send("body");
        assert_eq!(client.response().text(), "body");
        assert_eq!(origin.last().all("expect"), [""; 0]);
    }
    // Who sends the body without waiting gets its answer as well.
    client.send(format!("PUT / HTTP/1.1\r\n{EXPECTS}body"));
    assert_eq!(client.try_head().unwrap().status, 100);
    assert_eq!(client.response().text(), "body");
    // Without a body there is nothing to wait for.
    client.send("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response().status, 200);
    client.send(format!("POST / HTTP/1.0\r\n{EXPECTS}body"));
    assert_eq!(client.response().text(), "body");
}

#[test]
fn a_client_that_waits_is_told_the_answer_without_a_100_if_nobody_takes_the_body() {
    let down = format!("http://127.0.0.1:{}", free_port());
    let proxy = Proxy::start(&route("down", "/down", &down));
    for (path, status, why) in [
        ("/none", 404, "no_route"),
        ("/down", 502, "connect_refused"),
        ("/down/../x", 400, "bad_path"),
    ] {
        let mut client = Client::connect(proxy.address());
        client.send(format!("POST {path} HTTP/1.1\r\n{EXPECTS}"));
        let response = client.response();
        let seen = (response.status, response.header("x-pointsman-error"));
        assert_eq!(seen, (status, why));
        // Whether the body still comes cannot be known.
        assert_eq!(response.header("connection"), "close", "{path}");
        assert_eq!(client.until_closed().unwrap(), b"", "{path}");
    }
}

#[test]
fn a_first_interim_answer_counts_as_none_for_the_time_that_an_answer_may_take() {
    let (origin, _held) = held(HINTS.to_owned());
    let mut config = route("all", "/*", &origin.url());
    config.push_str("timeout.response = \"300ms\"\n");
    let proxy = Proxy::start(&config);
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 103);
    let response = client.response();
    let seen = (response.status, response.header("x-pointsman-error"));
    assert_eq!(seen, (504, "header_timeout"));
    eventually("the exchange is over", || {
        proxy.metrics().sum("pointsman_requests_in_flight", &[]) == 0.0
    });
}
