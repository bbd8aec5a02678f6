//! Sections 8.1 to 8.5: what a request may be. What it may not be goes nowhere.

use super::peer::{DATA, END_HEADERS, END_STREAM, Fields, Peer, head};
use super::{Ends, NEVER, PROTOCOL_ERROR, Resets, Row, Site, Status, malformed, must};
use crate::harness::http2::{END, HEADERS, fields};

/// A request that is sound, but for this field.
fn with(peer: &mut Peer, name: &str, value: &str) {
    peer.frame(
        HEADERS,
        END,
        1,
        &[head("GET", NEVER), fields(&[(name, value)])].concat(),
    );
}

/// The head of a request with a body that is said to be so long.
fn post_of(peer: &mut Peer, length: &str, path: &str) {
    let length = fields(&[("content-length", length)]);
    peer.frame(
        HEADERS,
        END_HEADERS,
        1,
        &[head("POST", path), length].concat(),
    );
}

/// Trailers of a request that is sound so far.
fn trailer(peer: &mut Peer, flags: u8, all: Fields<'_>) {
    peer.post(1, NEVER);
    peer.data(1, 0, b"x");
    peer.frame(HEADERS, flags, 1, &fields(all));
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const AUTHORITY: (&str, &str) = (":authority", "a");
const PATH: (&str, &str) = (":path", NEVER);
const HOST: (&str, &str) = ("host", "a");

#[rustfmt::skip]
const FRAMING: &[Row] = &[
    Row("8.1", "a second head before the end of the request",
        |p| trailer(p, END_HEADERS, &[("a", "b")]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.1", "DATA after trailers",
        |p| {
            p.post(1, "/held"); p.frame(HEADERS, END, 1, &fields(&[("a", "b")])); p.data(1, END_STREAM, b"x");
        }, must(Resets(1, super::STREAM_CLOSED)).by(Ends(PROTOCOL_ERROR))),
    Row("8.1", "trailers with a pseudo-field",
        |p| { p.post(1, "/"); p.frame(HEADERS, END, 1, &fields(&[(":path", "/other")])) },
        malformed(Resets(1, PROTOCOL_ERROR)).departs(Status(1, 200))),
    Row("8.1", "trailers with a pseudo-field that is unknown",
        |p| trailer(p, END, &[(":what", "x")]), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.1", "trailers with the status of an answer",
        |p| { p.post(1, "/"); p.frame(HEADERS, END, 1, &fields(&[(":status", "200")])) },
        malformed(Resets(1, PROTOCOL_ERROR)).departs(Status(1, 200))),
    Row("8.1", "trailers with a field of a connection",
        |p| trailer(p, END, &[("connection", "close")]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.1", "trailers that say how long the body was",
        |p| trailer(p, END, &[("content-length", "1")]), malformed(Status(1, 400))),
    Row("8.1.1", "a body as long as is said, in pieces",
        |p| { post_of(p, "4", "/"); p.data(1, 0, b"bo"); p.data(1, 0, b""); p.data(1, END_STREAM, b"dy") },
        must(Status(1, 200))),
    Row("8.1.1", "a body that is longer",
        |p| { post_of(p, "4", NEVER); p.data(1, END_STREAM, b"body+") }, malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.1.1", "a body that is longer, in pieces",
        |p| { post_of(p, "4", "/held"); p.data(1, 0, b"body"); p.data(1, 0, b"+") },
        malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.1.1", "a body that is shorter",
        |p| { post_of(p, "4", NEVER); p.data(1, END_STREAM, b"bod") }, malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.1.1", "a body that is shorter, and ends by trailers",
        |p| { post_of(p, "4", NEVER); p.data(1, 0, b"bod"); p.frame(HEADERS, END, 1, &fields(&[("a", "b")])) },
        malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.1.1", "no body where a length is said",
        |p| with(p, "content-length", "1"), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.1.1", "a length that is no number",
        |p| with(p, "content-length", "1x"), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.1.1", "padding, which no length counts",
        |p| { post_of(p, "1", "/"); p.frame(DATA, END_STREAM | super::peer::PADDED, 1, &[3, b'x', 0, 0, 0]) },
        must(Status(1, 200))),
];

#[rustfmt::skip]
const FIELDS: &[Row] = &[
    Row("8.2.1", "a name in upper case", |p| with(p, "X-Upper", "1"), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.2.1", "a name with a space", |p| with(p, "x y", "1"), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.2.1", "a name with a colon", |p| with(p, "x:y", "1"), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.2.1", "a name with a line end", |p| with(p, "x\r\ny", "1"), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.2.1", "a name with a byte above 0x7e", |p| with(p, "x\u{7f}", "1"), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.2.1", "a name in letters beyond ASCII", |p| with(p, "\u{fc}", "1"), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.2.1", "a name of no length", |p| with(p, "", "1"), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.2.1", "a value with a zero", |p| with(p, "x", "a\0b"), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.2.1", "a value with a line feed", |p| with(p, "x", "a\nb"), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.2.1", "a value with a carriage return", |p| with(p, "x", "a\rb"), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.2.1", "a value after a space", |p| with(p, "x", " a"), malformed(Status(1, 400))),
    Row("8.2.1", "a value before a space", |p| with(p, "x", "a "), malformed(Status(1, 400))),
    Row("8.2.1", "a value after a tab", |p| with(p, "x", "\ta"), malformed(Status(1, 400))),
    Row("8.2.1", "a value before a tab", |p| with(p, "x", "a\t"), malformed(Status(1, 400))),
    Row("8.2.1", "a trailer's name in upper case",
        |p| trailer(p, END, &[("X-Upper", "1")]), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.2.1", "a trailer's value with a line end",
        |p| trailer(p, END, &[("x", "a\r\nb: c")]), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.2.1", "a trailer's value after a space",
        |p| trailer(p, END, &[("x", " a")]), malformed(Status(1, 400))),
    Row("8.2.2", "connection", |p| with(p, "connection", "close"), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.2.2", "connection, with a name of a field",
        |p| with(p, "connection", "x-foo"), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.2.2", "keep-alive", |p| with(p, "keep-alive", "5"), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.2.2", "proxy-connection",
        |p| with(p, "proxy-connection", "close"), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.2.2", "transfer-encoding",
        |p| with(p, "transfer-encoding", "chunked"), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.2.2", "upgrade", |p| with(p, "upgrade", "websocket"), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.2.2", "te of something else", |p| with(p, "te", "gzip"), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.2.2", "te of more", |p| with(p, "te", "trailers, gzip"), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.2.2", "te of trailers",
        |p| p.frame(HEADERS, END, 1, &[head("GET", "/"), fields(&[("te", "trailers")])].concat()),
        must(Status(1, 200))),
];

#[rustfmt::skip]
const CONTROL_DATA: &[Row] = &[
    Row("8.3", "a pseudo-field that is unknown",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, PATH, (":what", "x")]), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.3", "the status of an answer",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")]),
        malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3", "a pseudo-field after a field",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, ("x", "y"), PATH]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3", ":method twice",
        |p| p.fields(1, &[METHOD, METHOD, SCHEME, AUTHORITY, PATH]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3", ":scheme twice",
        |p| p.fields(1, &[METHOD, SCHEME, SCHEME, AUTHORITY, PATH]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3", ":authority twice",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3", ":path twice",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, PATH, PATH]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3.1", "no :method", |p| p.fields(1, &[SCHEME, AUTHORITY, PATH]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3.1", "no :scheme", |p| p.fields(1, &[METHOD, AUTHORITY, PATH]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3.1", "no :path", |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3.1", "no pseudo-field at all", |p| p.fields(1, &[HOST]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3.1", "nothing at all", |p| p.fields(1, &[]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3.1", ":method that is none",
        |p| p.fields(1, &[(":method", "GE T"), SCHEME, AUTHORITY, PATH]), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.3.1", ":method of no length",
        |p| p.fields(1, &[(":method", ""), SCHEME, AUTHORITY, PATH]), malformed(Ends(PROTOCOL_ERROR))),
    Row("8.3.1", ":scheme that is none",
        |p| p.fields(1, &[METHOD, (":scheme", "ht tp"), AUTHORITY, PATH]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3.1", ":scheme that nobody here speaks",
        |p| p.fields(1, &[METHOD, (":scheme", "ftp"), AUTHORITY, PATH]), malformed(Status(1, 400))),
    Row("8.3.1", ":path of no length",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, (":path", "")]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3.1", ":path without its slash",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, (":path", "never")]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3.1", ":path that is a whole URI",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, (":path", "http://a/never")]),
        malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3.1", ":path with a space",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, (":path", "/never x")]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3.1", ":path with a line end",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, (":path", "/never\r\nx: y")]),
        malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3.1", ":path * of GET",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, (":path", "*")]), malformed(Status(1, 400))),
    Row("8.3.1", ":path * of OPTIONS",
        |p| p.fields(1, &[(":method", "OPTIONS"), SCHEME, AUTHORITY, (":path", "*")]), must(Status(1, 200))),
    Row("8.3.1", ":path with a query and no more",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, (":path", "?never")]), malformed(Status(1, 400))),
    Row("8.3.1", ":authority and the same host",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, (":path", "/"), HOST]), must(Status(1, 200))),
    Row("8.3.1", ":authority and the same host, with the port of the scheme",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, (":path", "/"), ("host", "A:80")]), must(Status(1, 200))),
    Row("8.3.1", ":authority and another host",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "b")]), malformed(Status(1, 400))),
    Row("8.3.1", ":authority and two hosts",
        |p| p.fields(1, &[METHOD, SCHEME, AUTHORITY, PATH, HOST, HOST]), malformed(Status(1, 400))),
    Row("8.3.1", "host alone",
        |p| p.fields(1, &[METHOD, SCHEME, (":path", "/"), HOST]), must(Status(1, 200))),
    Row("8.3.1", "neither of them",
        |p| p.fields(1, &[METHOD, SCHEME, PATH]), malformed(Status(1, 400))),
    Row("8.3.1", ":authority with a user",
        |p| p.fields(1, &[METHOD, SCHEME, (":authority", "u@a"), PATH]), malformed(Status(1, 400))),
    Row("8.3.1", ":authority of no length",
        |p| p.fields(1, &[METHOD, SCHEME, (":authority", ""), PATH]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.3.1", ":authority that is none",
        |p| p.fields(1, &[METHOD, SCHEME, (":authority", "a/b"), PATH]), malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.5", "CONNECT", |p| p.fields(1, &[(":method", "CONNECT"), (":authority", "a:443")]), must(Status(1, 501))),
    Row("8.5", "CONNECT with :scheme",
        |p| p.fields(1, &[(":method", "CONNECT"), SCHEME, (":authority", "a:443")]),
        malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.5", "CONNECT with :path",
        |p| p.fields(1, &[(":method", "CONNECT"), (":authority", "a:443"), PATH]),
        malformed(Resets(1, PROTOCOL_ERROR))),
    Row("8.5", "CONNECT without :authority", |p| p.fields(1, &[(":method", "CONNECT")]), malformed(Status(1, 501))),
    Row("8.5", "CONNECT without a port",
        |p| p.fields(1, &[(":method", "CONNECT"), (":authority", "a")]), malformed(Status(1, 501))),
];

#[test]
fn messages_are_framed_as_they_must_be() {
    Site::new().observes(FRAMING, Site::open);
}

#[test]
fn fields_are_what_they_must_be() {
    Site::new().observes(FIELDS, Site::open);
}

#[test]
fn control_data_is_what_it_must_be() {
    Site::new().observes(CONTROL_DATA, Site::open);
}
