//! Where a message ends: whatever could be read in two ways is refused and goes nowhere, and what
//! is forwarded has exactly one framing.

use crate::harness::{Client, Origin, Proxy, Received, eventually};

const POST: &str = "POST /a HTTP/1.1\r\nHost: a\r\n";
/// What follows a head that is to be refused: would any of it be taken for a request, it would show.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// These bytes get this status, the connection closes, and the origin never hears of it.
#[track_caller]
fn assert_refused(proxy: &Proxy, origin: &Origin, bytes: impl AsRef<[u8]>, status: u16) {
    let bytes = bytes.as_ref();
    let name = String::from_utf8_lossy(&bytes[..bytes.len().min(90)]).into_owned();
    let mut client = Client::connect(proxy.address());
    client.send(bytes);
    let response = client.try_response(false);
    let response = response.unwrap_or_else(|error| panic!("{name:?}: {error}"));
    let seen = (response.status, response.header("connection"));
    assert_eq!(seen, (status, "close"), "{name:?}");
    assert_ne!(response.header("x-pointsman-error"), "", "{name:?}");
    assert_eq!(client.until_closed().unwrap(), b"", "{name:?}");
    assert_eq!(origin.connections(), 0, "{name:?} reached the origin");
}

/// Its body, framed in exactly one way.
#[track_caller]
fn framed_once(received: &Received) -> &[u8] {
    let (lengths, codings) = (
        received.all("content-length"),
        received.all("transfer-encoding"),
    );
    match (&lengths[..], &codings[..]) {
        ([length], []) => assert_eq!(length.parse(), Ok(received.body.len())),
        ([], ["chunked"]) => {}
        ([], []) => assert_eq!(received.body, b""),
        other => panic!("framed as {other:?}"),
    }
    &received.body
}

#[test]
fn a_body_of_doubtful_length_is_refused_and_goes_nowhere() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let table = [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked", 400),
        ("Content-Length: 5\r\nContent-Length: 5", 400),
        ("Content-Length: 5\r\nX: y\r\ncontent-length: 6", 400),
        ("Content-Length: 5, 5", 400),
        ("Content-Length: 5,", 400),
        ("Content-Length:", 400),
        ("Content-Length: +5", 400),
        ("Content-Length: -5", 400),
        ("Content-Length: 0x5", 400),
        ("Content-Length: 5 5", 400),
        ("Content-Length: 5.0", 400),
        ("Content-Length: \"5\"", 400),
        ("Content-Length: \u{665}", 400),
        ("Content-Length: 18446744073709551616", 400),
        ("Content-Length : 5", 400),
        ("Content-Length\t: 5", 400),
        ("Content-Length\0: 5", 400),
        ("Content-Length: 5\0", 400),
        ("Transfer-Encoding:", 400),
        ("Transfer-Encoding: identity", 400),
        ("Transfer-Encoding: xchunked", 400),
        ("Transfer-Encoding: chunked2", 400),
        ("Transfer-Encoding: chunked,", 400),
        ("Transfer-Encoding: ,chunked", 400),
        ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding: chunked, identity", 400),
        ("Transfer-Encoding: chunked, gzip", 400),
        ("Transfer-Encoding: identity, chunked", 400),
        ("Transfer-Encoding: \"chunked\"", 400),
        ("Transfer-Encoding: chunked;q=1", 400),
        ("Transfer-Encoding: \u{b}chunked", 400),
        ("Transfer-Encoding: chunked\0", 400),
        ("Transfer-Encoding: ch\u{fc}nked", 400),
        ("Transfer-Encoding : chunked", 400),
        (" Transfer-Encoding: chunked", 400),
        ("Transfer-Encoding:\r\n chunked", 400),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            400,
        ),
        ("Transfer-Encoding: x\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: deflate, gzip,chunked", 501),
    ];
    for (lines, status) in table {
        let bytes = format!("{POST}{lines}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        assert_refused(&proxy, &origin, bytes, status);
    }
    let old = "POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_refused(&proxy, &origin, old, 400);
}

#[test]
fn a_head_of_doubtful_lines_is_refused_and_goes_nowhere() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let table: [(&[u8], u16); 27] = [
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        (b"GET / HTTP/1.1\rHost: a\r\r", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX(Y): b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\xc3\xa9: b\r\n\r\n", 400),
        (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"G@T{ / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\0\x01\0", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
    ];
    for (bytes, status) in table {
        assert_refused(&proxy, &origin, bytes, status);
    }
}

/// Of a request that is whole or not: how many are skipped must not depend on the network.
#[test]
fn one_empty_line_before_a_request_is_skipped_and_a_second_refused_in_whatever_pieces() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let first = "";
    let later = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    for before in [first, later] {
        for (lines, status) in [("\r\n", 200), ("\r\n\r\n", 400), ("\r\n\r\n\r\n", 400)] {
            for size in [1, 2, 3, lines.len()] {
                let name = format!("{lines:?} in pieces of {size}, after {before:?}");
                let mut client = Client::connect(proxy.address());
                let end = client.far_end();
                client.send(before);
                if !before.is_empty() {
                    assert_eq!(client.response().status, 200, "{name}");
                }
                for piece in lines.as_bytes().chunks(size) {
                    let _ = client.try_send(piece);
                    eventually("the piece is read", || end.has_read_all());
                }
                let asked = origin.received().len();
                // What was refused may be closed by now.
                let _ = client.try_send("GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
                assert_eq!(client.response().status, status, "{name}");
                let reached = origin.received().len() - asked;
                assert_eq!(reached, usize::from(status == 200), "{name}");
            }
        }
    }
    // All in one piece.
    for (lines, status) in [("\r\n", 200), ("\r\n\r\n", 400)] {
        let mut client = Client::connect(proxy.address());
        client.send(format!("{lines}GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.response().status, status, "{lines:?} at once");
    }
}

#[test]
fn a_target_in_a_form_that_its_method_does_not_have_is_refused() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    for (line, status) in [
        ("GET *", 400),
        ("OPTIONS *x", 400),
        ("GET a", 400),
        ("GET a.example:443", 400),
        ("GET ?x", 400),
        ("GET http:/a", 400),
        ("GET http:///a", 400),
        ("GET ftp://a/", 400),
        ("GET /a#b", 400),
        ("GET /a\\b", 400),
        ("CONNECT /", 400),
        ("CONNECT a.example", 400),
        ("CONNECT a.example:443", 501),
    ] {
        let bytes = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n{SMUGGLED}");
        assert_refused(&proxy, &origin, bytes, status);
    }
}

#[test]
fn a_target_in_the_right_form_arrives_in_origin_form() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    for (line, target) in [
        ("GET http://a.example", "/"),
        ("GET HTTP://a.example/x", "/x"),
        ("GET http://a.example?x=1", "/?x=1"),
        ("GET https://a.example:1/x?y", "/x?y"),
        ("GET /x?", "/x?"),
        ("OPTIONS *", "*"),
        ("BREW /pot", "/pot"),
    ] {
        let mut client = Client::connect(proxy.address());
        client.send(format!("{line} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        let response = client.response();
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "o"),
            "{line}"
        );
        assert_eq!(origin.last().target, target, "{line}");
    }
}

/// It is about the server as a whole, which no path of ours is put before.
#[test]
fn an_asterisk_arrives_as_it_is_also_where_the_upstream_has_a_path() {
    let origin = Origin::named("o");
    for path in ["", "/", "/base", "/base/"] {
        let proxy = Proxy::to(&format!("{}{path}", origin.url()));
        let mut client = Client::connect(proxy.address());
        for (line, target) in [
            ("OPTIONS *", "*".to_owned()),
            ("OPTIONS /x", format!("{}/x", path.trim_end_matches('/'))),
        ] {
            client.send(format!("{line} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
            assert_eq!(client.response().status, 200, "{line} to {path:?}");
            assert_eq!(origin.last().target, target, "{line} to {path:?}");
        }
    }
}

#[test]
fn a_head_beyond_a_limit_is_refused_with_the_limits_own_status() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let head = |line: String| format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
    let target = |length| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length));
    for (bytes, status) in [
        (target(70_000), 414),
        (format!("GET /{}", "x".repeat(200_000)), 414),
        (head(format!("X: {}\r\n", "x".repeat(140_000))), 431),
        (head("X: y\r\n".repeat(200)), 431),
        (head("X: y\r\n".repeat(1000)), 431),
    ] {
        assert_refused(&proxy, &origin, bytes, status);
    }
    for bytes in [
        target(60_000),
        head(format!("X: {}\r\n", "x".repeat(100_000))),
        head("X: y\r\n".repeat(120)),
    ] {
        let mut client = Client::connect(proxy.address());
        client.send(bytes);
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn odd_but_sound_framing_is_forwarded_as_one_plain_framing() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    for (lines, body) in [
        ("Content-Length: 5", "hello"),
        ("Content-Length:5", "hello"),
        ("Content-Length: \t5 \t", "hello"),
        ("CONTENT-LENGTH: 0", ""),
        ("X: y", ""),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding:\tCHUNKED\t", "5\r\nhello\r\n0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked",
            "005;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked",
            "1\r\nh\r\n4\r\nello\r\n000\r\n\r\n",
        ),
        (
            "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        ("Connection: content-length\r\nContent-Length: 5", "hello"),
    ] {
        let mut client = Client::connect(proxy.address());
        client.send(format!("{POST}{lines}\r\n\r\n{body}"));
        assert_eq!(client.response().status, 200, "{lines:?} {body:?}");
        let received = origin.last();
        let expected: &[u8] = if body.is_empty() { b"" } else { b"hello" };
        assert_eq!(framed_once(&received), expected, "{lines:?} {body:?}");
        assert_eq!(
            client.get("a", "/next").text(),
            "o",
            "in step after {lines:?}"
        );
        assert_eq!(origin.last().target, "/next");
    }
}

/// The head may be on its way already; what matters is that the origin never has a whole request.
#[test]
fn a_malformed_chunk_ends_the_request_and_the_connection() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    for body in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;a\0b\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX y\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\n\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "5\r\nhello\r\n0\r\n X: y\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
        "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
        "5\r\nhello\r\n0\r\nHost: b\r\n\r\n",
    ] {
        let mut client = Client::connect(proxy.address());
        let head = "Transfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{POST}{head}{body}{SMUGGLED}"));
        let response = client.response();
        let seen = (response.status, response.header("x-pointsman-error"));
        assert_eq!(seen, (400, "bad_request"), "{body:?}");
        assert_eq!(client.until_closed().unwrap(), b"", "{body:?}");
        assert_eq!(origin.received(), [], "{body:?}");
    }
    let errors = [("why", "client_gone")];
    assert_eq!(
        proxy
            .metrics_at_rest()
            .sum("pointsman_errors_total", &errors),
        0.0
    );
}
