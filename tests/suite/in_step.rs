//! Several messages on one connection: each answer belongs to its request, and no byte of a body is
//! ever taken for the beginning of another message.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::harness::{Client, Origin, Proxy, Reply, eventually, route};

/// Tells which request an answer belongs to.
fn echo() -> Origin {
    Origin::new(|received| {
        let body = String::from_utf8_lossy(&received.body);
        Reply::text(format!("{} {} {body}", received.method, received.target))
    })
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let origin = echo();
    let proxy = Proxy::to(&origin.url());
    let requests = [
        ("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /1 "),
        (
            "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo",
            "POST /2 two",
        ),
        (
            "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\n",
            "POST /3 three",
        ),
        ("GET /4 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /4 "),
        (
            "\r\nDELETE /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "DELETE /5 ",
        ),
        ("GET /6 HTTP/1.1\r\nHost: a\r\n\r\n", ""),
    ];
    let bytes: String = requests.iter().map(|(request, _)| *request).collect();
    for size in [bytes.len(), 1000, 7, 1] {
        let mut client = Client::connect(proxy.address());
        for piece in bytes.as_bytes().chunks(size) {
            client.send(piece);
        }
        for (_, expected) in requests.iter().filter(|(_, expected)| !expected.is_empty()) {
            let response = client.response();
            let seen = (response.status, response.text());
            assert_eq!(seen, (200, (*expected).to_owned()), "in pieces of {size}");
        }
        assert_eq!(client.until_closed().unwrap(), b"", "nothing after close");
    }
    assert!(
        origin
            .received()
            .iter()
            .all(|received| received.target != "/6")
    );
}

/// Who could make the proxy read a body as a request would speak in another client's name.
#[test]
fn a_body_that_nobody_read_is_never_taken_for_a_request() {
    let origin = echo();
    let proxy = Proxy::start(&route("some", "/some", &origin.url()));
    let inner = "GET /some HTTP/1.1\r\nHost: a\r\n\r\n";
    let small = inner.repeat(3);
    let large = inner.repeat(1_000_000 / inner.len());
    for body in [&small, &large] {
        let length = format!("Content-Length: {}", body.len());
        let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        for (line, sent) in [
            (length.as_str(), body),
            ("Transfer-Encoding: chunked", &chunk),
        ] {
            for at_once in [true, false] {
                let mut client = Client::connect(proxy.address());
                let head = format!("POST /none HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
                let next = "GET /some?next HTTP/1.1\r\nHost: a\r\n\r\n";
                let refused = if at_once {
                    // The proxy may have answered and closed before it was all sent.
                    let _ = client.try_send(format!("{head}{sent}{next}"));
                    client.response()
                } else {
                    client.send(head);
                    let refused = client.response();
                    let _ = client.try_send(format!("{sent}{next}"));
                    refused
                };
                assert_eq!(refused.status, 404, "{line}");
                match client.try_response(false) {
                    Ok(response) => assert_eq!(response.text(), "GET /some?next ", "{line}"),
                    Err(_) => assert_eq!(refused.header("connection"), "close", "{line}"),
                }
            }
        }
    }
    for received in origin.received() {
        assert_eq!(
            received.target, "/some?next",
            "a body was read as a request"
        );
    }
}

#[test]
fn an_answer_of_doubtful_framing_is_not_passed_on() {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    let fields = |count: usize| "X: y\r\n".repeat(count);
    let refused = [
        format!("{OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{OK}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        format!("{OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{OK}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        format!("{OK}Transfer-Encoding: gzip\r\n\r\nhello"),
        format!("{OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        format!("{OK}Content-Length: +5\r\n\r\nhello"),
        format!("{OK}Content-Length:\r\n\r\n"),
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_owned(),
        format!("{OK}X: y\r\n folded\r\nContent-Length: 0\r\n\r\n"),
        format!("{OK}X : y\r\nContent-Length: 0\r\n\r\n"),
        format!("{OK}X: y\nContent-Length: 0\r\n\r\n"),
        format!("{OK}X: a\0b\r\nContent-Length: 0\r\n\r\n"),
        format!("{OK}{}Content-Length: 0\r\n\r\n", fields(300)),
        format!(
            "{OK}X: {}\r\nContent-Length: 0\r\n\r\n",
            "x".repeat(300_000)
        ),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_owned(),
        "ICY 200 OK\r\n\r\n".to_owned(),
    ];
    let passed = [
        format!("{OK}{}Content-Length: 0\r\n\r\n", fields(150)),
        format!("{OK}X: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(64_000)),
        format!("{OK}X: \u{e9}\r\nContent-Length: 0\r\n\r\n"),
        format!("{OK}Transfer-Encoding: chunked\r\n\r\n0;x=y\r\n\r\n"),
        "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n".to_owned(),
    ];
    let table = refused.iter().map(|answer| (answer, 502));
    let table = table.chain(passed.iter().map(|answer| (answer, 200)));
    let answers: Vec<(String, u16)> = table
        .map(|(answer, status)| (answer.clone(), status))
        .collect();
    let script = answers.clone();
    let origin = Origin::new(move |received| {
        let (answer, _) = &script[received.target[1..].parse::<usize>().unwrap()];
        Reply::Raw(answer.clone().into_bytes())
    });
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    for (at, (answer, status)) in answers.iter().enumerate() {
        let name = &answer[..answer.len().min(80)];
        let response = client.get("a", &format!("/{at}"));
        let why = if *status == 502 {
            "upstream_invalid"
        } else {
            ""
        };
        let seen = (response.status, response.header("x-pointsman-error"));
        assert_eq!(seen, (*status, why), "{name:?}");
    }
    eventually("no doubtful connection is kept", || {
        origin.connections() > refused.len() - 1
    });
}

#[test]
fn an_answer_that_ends_with_its_connection_is_framed_anew() {
    const BODY: &str = "to the end";
    let origin = Origin::new(|received| {
        let head = match received.target.as_str() {
            "/old" => "HTTP/1.0 200 OK\r\n\r\n",
            "/old-kept" => "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n",
            "/length" => {
                let head =
                    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 10\r\n\r\n";
                return Reply::Raw(format!("{head}{BODY}").into_bytes());
            }
            _ => "HTTP/1.1 200 OK\r\n\r\n",
        };
        Reply::RawClose(format!("{head}{BODY}").into_bytes())
    });
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    for target in ["/old", "/old-kept", "/new"] {
        let response = client.get("a", target);
        assert_eq!(response.text(), BODY, "{target}");
        assert_eq!(response.all("transfer-encoding"), ["chunked"], "{target}");
        assert_eq!(response.all("connection"), [""; 0], "{target}");
    }
    let opened = origin.connections();
    for _ in 0..3 {
        assert_eq!(client.get("a", "/length").text(), BODY);
    }
    assert_eq!(
        origin.connections(),
        opened + 1,
        "kept by an old origin that says so"
    );
}

/// Bytes behind an answer belong to nobody: the next request must not get them.
#[test]
fn an_answer_that_was_not_asked_for_reaches_nobody() {
    let origin = Origin::new(|received| {
        let target = &received.target;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}",
            target.len()
        );
        let more = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
        Reply::Raw(format!("{answer}{more}").into_bytes())
    });
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    for round in 0..20 {
        let target = format!("/{round}");
        assert_eq!(client.get("a", &target).text(), target);
    }
    assert_eq!(origin.connections(), 20);
}

/// An answer in chunks that cannot be read is cut where it stops to make sense.
#[test]
fn an_answer_in_malformed_chunks_never_looks_complete() {
    let bodies = [
        "5\r\nhello!\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX y\r\n\r\n",
    ];
    let origin = Origin::new(move |received| {
        let body = bodies[received.target[1..].parse::<usize>().unwrap()];
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        Reply::Raw(format!("{head}{body}").into_bytes())
    });
    let proxy = Proxy::to(&origin.url());
    for (at, body) in bodies.iter().enumerate() {
        let mut client = Client::connect(proxy.address());
        client.send(format!("GET /{at} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(client.try_response(false).is_err(), "{body:?}");
    }
}

/// A piece of what somebody might send who tries to hide one request in another.
fn line() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "Content-Length: 0\r\n",
        "Content-Length: 4\r\n",
        "Content-Length: 40\r\n",
        "Content-Length : 4\r\n",
        "content-length:4\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: \tchunked\r\n",
        "Transfer-Encoding: x, chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer_Encoding: chunked\r\n",
        "Connection: content-length, transfer-encoding\r\n",
        "Connection: close\r\n",
        "X: y\rz\r\n",
        "X: y\r\n",
    ])
}

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "0\r\n\r\n",
        "4\r\nwxyz\r\n",
        "4;x\r\nwxyz\r\n",
        "wxyz",
        "\r\n",
        "\n",
        "0\r\n",
        "28\r\n",
        "GET /inner HTTP/1.1\r\nHost: a\r\n\r\n",
        "0\r\nX: y\r\n\r\n",
    ])
}

/// What the proxy takes for one request is one request to an origin that reads by the book: the
/// proxy numbers what it forwards, and the origin never reads one without a number.
#[test]
fn no_request_is_hidden_in_another() {
    let origin = echo();
    let mut config = route("all", "/*", &origin.url());
    config.push_str("request_header.set = { x-counted = \"yes\" }\n");
    let proxy = Proxy::start(&config);
    let sent = (
        prop::collection::vec(line(), 0..4),
        prop::collection::vec(piece(), 0..6),
    );
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(300)
    });
    let outcome = runner.run(&sent, |(lines, pieces)| {
        let (lines, pieces) = (lines.concat(), pieces.concat());
        let mut client = Client::connect(proxy.address());
        // Whatever the proxy waits for after the pieces, these bytes end it.
        let end = "\0\0\0\0\r\n\r\n".repeat(20);
        let _ = client.try_send(format!(
            "POST /outer HTTP/1.1\r\nHost: a\r\n{lines}\r\n{pieces}{end}"
        ));
        let _ = client.until_closed();
        for received in origin.received() {
            prop_assert_eq!(received.all("x-counted"), ["yes"], "{:?}", received);
            prop_assert!(
                received.all("content-length").len() + received.all("transfer-encoding").len() <= 1
            );
        }
        Ok(())
    });
    outcome.unwrap();
    let targets: Vec<String> = origin
        .received()
        .into_iter()
        .map(|received| received.target)
        .collect();
    assert!(
        targets.iter().any(|target| target == "/outer")
            && targets.iter().any(|target| target == "/inner")
    );
}
