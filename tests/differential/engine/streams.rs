//! Streams of messages, mostly sound or nearly so: from random bytes no parser learns much.

use fastrand::Rng;

use super::Kind;
use super::mutate::mutate;

const METHODS: [&str; 10] = [
    "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "CONNECT", "BREW", "get", "M-SEARCH",
];
const TARGETS: [&str; 22] = [
    "/",
    "/a",
    "/a?b=c",
    "/a/../b",
    "/a%2fb",
    "//x/y",
    "/caf\u{c3}\u{a9}",
    "/?",
    "?x",
    "*",
    "a",
    "a:443",
    "http://a",
    "http://a/",
    "HTTP://A.example:80/x?y",
    "https://a?x",
    "http://",
    "/a#b",
    "/a\\b",
    "ftp://a/",
    "/{x}|^`\"<>",
    "http://u@a/",
];
const VERSIONS: [&str; 9] = [
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "http/1.1",
    "HTTP/1.1 ",
    "HTTP/11",
];
const STATUSES: [&str; 10] = [
    "200 OK",
    "200",
    "200 ",
    "204 No Content",
    "304 Not Modified",
    "404 Caf\u{e9}",
    "099 Low",
    "999 High",
    "20 Short",
    "2000 Long",
];
const PLAIN_FIELDS: [&str; 19] = [
    "X: y",
    "x:y",
    "X:",
    "X: \t y \t",
    "X: a b",
    "X: caf\u{e9}",
    "X_y: z",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: content-length, x",
    "Expect: 100-continue",
    "TE: trailers",
    "Trailer: x",
    "Upgrade: websocket",
    "Cookie: a=b; c=d",
    "Accept: */*",
    "Host: a",
    "X-Long-Name-Of-Some-Kind: 0123456789",
    "!#$%&'*+-.^_`|~9: token",
];
const ODD_FIELDS: [&str; 13] = [
    "Host: b",
    "Host:",
    "Host: a b",
    "X : y",
    " X: y",
    "X",
    ": y",
    "X: y\r\n folded",
    "X: \x01",
    "X: a\0b",
    "X\t: y",
    "(x): y",
    "caf\u{e9}: y",
];
const LENGTHS: [&str; 32] = [
    "Content-Length: 0",
    "Content-Length: 5",
    "content-length:5",
    "Content-Length: 05",
    "Content-Length: 5, 5",
    "Content-Length: 5, 6",
    "Content-Length: +5",
    "Content-Length: -5",
    "Content-Length: 0x5",
    "Content-Length: 5 5",
    "Content-Length:",
    "Content-Length: 5;",
    "Content-Length: 18446744073709551616",
    "Content-Length: 18446744073709551615",
    "Content-Length : 5",
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "Transfer-Encoding: Chunked",
    "Transfer-Encoding:\tchunked\t",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding:",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding : chunked",
];
const SIZES: [&str; 18] = [
    "5",
    "5",
    "5",
    "5",
    "05",
    "5;a=b",
    "5;a=\"b\"",
    "5 ; a",
    "5 ",
    "0x5",
    "+5",
    " 5",
    "5;",
    "6",
    "4",
    "A",
    "fffffffffffffffff",
    "5;a\rb",
];
const TRAILERS: [&str; 8] = [
    "X: y",
    "X : y",
    "X",
    "Content-Length: 5",
    "Host: b",
    "X: y\r\n folded",
    "Trailer: x",
    "x:",
];

/// A stream, and what is in it.
pub(super) fn any(rng: &mut Rng) -> (Kind, Vec<u8>) {
    let kind = match rng.u8(0..8) {
        0 => Kind::Answers { head: rng.bool() },
        1 => Kind::Answers { head: false },
        _ => Kind::Requests,
    };
    let mut stream = Vec::new();
    for _ in 0..*rng.choice(&[1, 1, 2, 3]).unwrap_or(&1) {
        if rng.u8(0..30) == 0 {
            stream.extend_from_slice(b"\r\n");
        }
        message(rng, kind, &mut stream);
    }
    if rng.bool() {
        mutate(rng, &mut stream);
    }
    (kind, stream)
}

fn message(rng: &mut Rng, kind: Kind, out: &mut Vec<u8>) {
    let old = VERSIONS[3];
    let version = odd(rng, &VERSIONS[..4], &VERSIONS);
    match kind {
        Kind::Requests => {
            let method = pick(rng, &METHODS);
            let target = match method {
                "CONNECT" => odd(rng, &["a:443"], &TARGETS),
                _ => odd(rng, &TARGETS[..8], &TARGETS),
            };
            line(rng, &format!("{method} {target} {version}"), out);
            if version != old || rng.bool() {
                {
                    let text = odd(rng, &["Host: a"], &["Host: a:80", "Host: a@b", "X: none"]);
                    line(rng, text, out);
                }
            }
        }
        Kind::Answers { .. } => {
            if rng.u8(0..10) == 0 {
                out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
            }
            let status = odd(rng, &STATUSES[..4], &STATUSES);
            line(rng, &format!("{version} {status}"), out);
        }
    }
    if rng.u16(0..500) == 0 {
        for _ in 0..rng.usize(90..200) {
            line(rng, "X: y", out);
        }
    }
    for _ in 0..rng.usize(0..4) {
        {
            let text = odd(rng, &PLAIN_FIELDS, &ODD_FIELDS);
            line(rng, text, out);
        }
    }
    match rng.u8(0..8) {
        0..3 => line(rng, "", out),
        3 => {
            let text = pick(rng, &LENGTHS);
            line(rng, text, out);
            line(rng, "", out);
            let chunked = rng.bool();
            body(rng, chunked, out);
        }
        4 | 5 => {
            line(rng, "Content-Length: 5", out);
            line(rng, "", out);
            body(rng, false, out);
        }
        _ => {
            line(rng, "Transfer-Encoding: chunked", out);
            line(rng, "", out);
            body(rng, true, out);
        }
    }
}

fn body(rng: &mut Rng, chunked: bool, out: &mut Vec<u8>) {
    if !chunked {
        out.extend_from_slice(
            odd(rng, &["hello"], &["", "hell", "GET / ", "5\r\n\r\n"]).as_bytes(),
        );
        return;
    }
    if rng.u16(0..200) == 0 {
        let extension = "x".repeat(rng.usize(200..300));
        line(rng, &format!("0;{extension}"), out);
    }
    for _ in 0..rng.usize(0..3) {
        {
            let text = odd(rng, &SIZES[..7], &SIZES);
            line(rng, text, out);
        }
        out.extend_from_slice(odd(rng, &["hello"], &["hell", "hello!", ""]).as_bytes());
        line(rng, "", out);
    }
    {
        let text = odd(rng, &["0"], &["00", "0;x", "0 ", "", "-0"]);
        line(rng, text, out);
    }
    if rng.u8(0..5) == 0 {
        {
            let text = odd(rng, &TRAILERS[..1], &TRAILERS);
            line(rng, text, out);
        }
    }
    line(rng, "", out);
}

/// Ends in CR LF, but for one in two hundred.
fn line(rng: &mut Rng, text: &str, out: &mut Vec<u8>) {
    // Texts hold one byte a character, as the wire does.
    out.extend(text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')));
    let end: &[u8] = match rng.u16(0..400) {
        0 => b"\n",
        1 => b"\r",
        _ => b"\r\n",
    };
    out.extend_from_slice(end);
}

fn pick<'a>(rng: &mut Rng, texts: &[&'a str]) -> &'a str {
    texts[rng.usize(..texts.len())]
}

/// Mostly one of the sound ones.
fn odd<'a>(rng: &mut Rng, sound: &[&'a str], all: &[&'a str]) -> &'a str {
    if rng.u8(0..16) == 0 {
        pick(rng, all)
    } else {
        pick(rng, sound)
    }
}
