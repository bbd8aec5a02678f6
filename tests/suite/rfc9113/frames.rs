//! Sections 6.1 to 7: what each type of frame asks for, and codes of errors.

use super::peer::{
    END_HEADERS, END_STREAM, PADDED, PRIORITIZED, PRIORITY, PUSH_PROMISE, Peer, WINDOW_UPDATE,
    head, number,
};
use super::{
    Ends, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, Ignored, Last, NEVER, PROTOCOL_ERROR, Resets, Row,
    STREAM_CLOSED, Site, Status, must,
};
use crate::harness::http2::{
    ACK, CONTINUATION, END, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, fields,
};

/// The most that a window may hold.
const WIDEST: u32 = (1 << 31) - 1;

/// Before it and after it: bytes that say nothing, as many as the first of all says.
fn padded(before: &[u8], content: &[u8], length: u8) -> Vec<u8> {
    [&[length], before, content, &vec![0; length.into()]].concat()
}

/// A request whose body nobody reads.
fn begins(peer: &mut Peer) {
    peer.agrees();
    peer.post(1, "/hole");
}

/// So many bytes of a body.
fn fill(peer: &mut Peer, stream: u32, mut size: usize) {
    while size > 0 {
        let piece = size.min(16_384);
        peer.data(stream, 0, &vec![0; piece]);
        size -= piece;
    }
}

#[rustfmt::skip]
const OF_STREAMS: &[Row] = &[
    Row("6.1", "DATA of the connection", |p| p.data(0, 0, b"x"), must(Ends(PROTOCOL_ERROR))),
    Row("6.1", "DATA with padding",
        |p| { p.post(1, "/"); p.data(1, END_STREAM | PADDED, &padded(b"", b"body", 255)) }, must(Status(1, 200))),
    Row("6.1", "DATA of nothing but the length of no padding",
        |p| { p.post(1, "/"); p.data(1, END_STREAM | PADDED, &[0]) }, must(Status(1, 200))),
    Row("6.1", "DATA with as much padding as its length",
        |p| { p.post(1, NEVER); p.data(1, END_STREAM | PADDED, &[4, 0, 0, 0]) }, must(Ends(PROTOCOL_ERROR))),
    Row("6.1", "DATA with more padding than its length",
        |p| { p.post(1, NEVER); p.data(1, END_STREAM | PADDED, &[255, 0, 0, 0]) }, must(Ends(PROTOCOL_ERROR))),
    Row("6.1", "DATA with padding and no length of it",
        |p| { p.post(1, NEVER); p.data(1, END_STREAM | PADDED, b"") },
        must(Ends(FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.1", "DATA after the end of a body",
        |p| { p.post(1, "/held"); p.data(1, END_STREAM, b"x"); p.data(1, END_STREAM, b"y") },
        must(Resets(1, STREAM_CLOSED)).by(Ends(PROTOCOL_ERROR))),
    Row("6.2", "HEADERS of the connection", |p| p.get(0, NEVER), must(Ends(PROTOCOL_ERROR))),
    Row("6.2", "HEADERS with padding",
        |p| p.frame(HEADERS, END | PADDED, 1, &padded(b"", &head("GET", "/"), 255)), must(Status(1, 200))),
    Row("6.2", "HEADERS with padding and priority",
        |p| p.frame(HEADERS, END | PADDED | PRIORITIZED, 1, &padded(&[0, 0, 0, 0, 9], &head("GET", "/"), 9)),
        must(Status(1, 200))),
    Row("6.2", "HEADERS with as much padding as their length",
        |p| p.frame(HEADERS, END | PADDED, 1, &[4, 0, 0, 0]), must(Ends(PROTOCOL_ERROR))),
    Row("6.2", "HEADERS with more padding than what follows the priority",
        |p| p.frame(HEADERS, END | PADDED | PRIORITIZED, 1, &[4, 0, 0, 0, 0, 9, 0, 0]), must(Ends(PROTOCOL_ERROR))),
    Row("6.2", "HEADERS with half of a priority",
        |p| p.frame(HEADERS, END | PRIORITIZED, 1, &[0, 0]),
        must(Ends(FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.3", "PRIORITY of the connection",
        |p| p.frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 9]), must(Ends(PROTOCOL_ERROR))),
    Row("6.3", "PRIORITY of 4 bytes",
        |p| p.frame(PRIORITY, 0, 1, &[0; 4]), must(Resets(1, FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.3", "PRIORITY of 6 bytes",
        |p| p.frame(PRIORITY, 0, 1, &[0; 6]), must(Resets(1, FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.4", "RST_STREAM of the connection", |p| p.reset(0), must(Ends(PROTOCOL_ERROR))),
    Row("6.4", "RST_STREAM of a stream that is idle", |p| p.reset(1), must(Ends(PROTOCOL_ERROR))),
    Row("6.4", "RST_STREAM of 3 bytes",
        |p| { p.get(1, "/held"); p.frame(RST_STREAM, 0, 1, &[0; 3]) },
        must(Ends(FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.4", "RST_STREAM of 5 bytes",
        |p| { p.get(1, "/held"); p.frame(RST_STREAM, 0, 1, &[0; 5]) },
        must(Ends(FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.10", "CONTINUATION of the connection",
        |p| { p.frame(HEADERS, END_STREAM, 1, &head("GET", NEVER)); p.frame(CONTINUATION, END_HEADERS, 0, &[]) },
        must(Ends(PROTOCOL_ERROR))),
    Row("6.10", "CONTINUATION of another stream",
        |p| { p.frame(HEADERS, END_STREAM, 1, &head("GET", NEVER)); p.frame(CONTINUATION, END_HEADERS, 3, &[]) },
        must(Ends(PROTOCOL_ERROR))),
    Row("6.10", "CONTINUATION after nothing",
        |p| p.frame(CONTINUATION, END_HEADERS, 1, &head("GET", NEVER)), must(Ends(PROTOCOL_ERROR))),
    Row("6.10", "CONTINUATION after HEADERS that end their block",
        |p| { p.post(1, NEVER); p.frame(CONTINUATION, END_HEADERS, 1, &fields(&[("a", "b")])) },
        must(Ends(PROTOCOL_ERROR))),
    Row("6.10", "CONTINUATION after CONTINUATION that ends the block",
        |p| {
            p.frame(HEADERS, 0, 1, &head("POST", NEVER));
            for _ in 0..2 { p.frame(CONTINUATION, END_HEADERS, 1, &fields(&[("a", "b")])) }
        }, must(Ends(PROTOCOL_ERROR))),
    Row("6.10", "CONTINUATION after DATA",
        |p| { p.post(1, NEVER); p.data(1, 0, b"x"); p.frame(CONTINUATION, END_HEADERS, 1, &[]) },
        must(Ends(PROTOCOL_ERROR))),
    Row("6.10", "a block in six frames, some of them empty",
        |p| {
            p.frame(HEADERS, END_STREAM, 1, &[]);
            for piece in head("GET", "/").chunks(20) { p.frame(CONTINUATION, 0, 1, piece) }
            p.frame(CONTINUATION, END_HEADERS, 1, &[]);
        }, must(Status(1, 200))),
    Row("6.10", "trailers in two frames",
        |p| {
            p.post(1, "/"); p.data(1, 0, b"x");
            p.frame(HEADERS, END_STREAM, 1, &fields(&[("a", "b")]));
            p.frame(CONTINUATION, END_HEADERS, 1, &fields(&[("c", "d")]));
        }, must(Status(1, 200))),
    Row("7", "RST_STREAM with a code that is unknown",
        |p| { p.get(1, "/held"); p.frame(RST_STREAM, 0, 1, &number(0xfafa)) }, must(Ignored)),
    Row("7", "GOAWAY with a code that is unknown, and a request before it",
        |p| { p.get(1, "/"); p.frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0xfa, 0xfa]) }, must(Last(1, 200))),
];

#[rustfmt::skip]
const OF_CONNECTIONS: &[Row] = &[
    Row("6.5", "an acknowledgement with a payload",
        |p| p.frame(SETTINGS, ACK, 0, &[0; 6]), must(Ends(FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.5", "SETTINGS of a stream",
        |p| p.frame(SETTINGS, 0, 1, &[]), must(Ends(PROTOCOL_ERROR))),
    Row("6.5", "SETTINGS of 5 bytes",
        |p| p.frame(SETTINGS, 0, 0, &[0; 5]), must(Ends(FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.5", "SETTINGS of 7 bytes",
        |p| p.frame(SETTINGS, 0, 0, &[0; 7]), must(Ends(FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.5.2", "ENABLE_PUSH of 2", |p| p.settings(&[(2, 2)]), must(Ends(PROTOCOL_ERROR))),
    Row("6.5.2", "ENABLE_PUSH of 0 and of 1", |p| p.settings(&[(2, 0), (2, 1)]), must(Ignored)),
    Row("6.5.2", "INITIAL_WINDOW_SIZE of 2^31",
        |p| p.settings(&[(4, WIDEST + 1)]), must(Ends(FLOW_CONTROL_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.5.2", "INITIAL_WINDOW_SIZE of 2^31 - 1", |p| p.settings(&[(4, WIDEST)]), must(Ignored)),
    Row("6.5.2", "MAX_FRAME_SIZE of 2^14 - 1", |p| p.settings(&[(5, 16_383)]), must(Ends(PROTOCOL_ERROR))),
    Row("6.5.2", "MAX_FRAME_SIZE of 2^24", |p| p.settings(&[(5, 1 << 24)]), must(Ends(PROTOCOL_ERROR))),
    Row("6.5.2", "MAX_FRAME_SIZE of 2^24 - 1", |p| p.settings(&[(5, (1 << 24) - 1)]), must(Ignored)),
    Row("6.5.2", "HEADER_TABLE_SIZE of 0 and of 2^32 - 1",
        |p| { p.settings(&[(1, 0)]); p.settings(&[(1, u32::MAX)]) }, must(Ignored)),
    Row("6.5.2", "MAX_CONCURRENT_STREAMS of 0", |p| p.settings(&[(3, 0)]), must(Ignored)),
    Row("6.5.3", "an acknowledgement", |p| p.frame(SETTINGS, ACK, 0, &[]), must(Ignored)),
    Row("6.6", "PUSH_PROMISE of a stream that is open",
        |p| {
            p.get(1, "/held");
            p.frame(PUSH_PROMISE, END_HEADERS, 1, &[&number(2)[..], &head("GET", NEVER)].concat());
        }, must(Ends(PROTOCOL_ERROR))),
    Row("6.6", "PUSH_PROMISE of the connection",
        |p| p.frame(PUSH_PROMISE, END_HEADERS, 0, &[&number(2)[..], &head("GET", NEVER)].concat()),
        must(Ends(PROTOCOL_ERROR))),
    Row("6.6", "PUSH_PROMISE of a stream that is idle",
        |p| p.frame(PUSH_PROMISE, END_HEADERS, 1, &[&number(3)[..], &head("GET", NEVER)].concat()),
        must(Ends(PROTOCOL_ERROR))),
    Row("6.7", "PING of a stream", |p| p.frame(PING, 0, 1, &[0; 8]), must(Ends(PROTOCOL_ERROR))),
    Row("6.7", "PING of 7 bytes",
        |p| p.frame(PING, 0, 0, &[0; 7]), must(Ends(FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.7", "PING of 9 bytes",
        |p| p.frame(PING, 0, 0, &[0; 9]), must(Ends(FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.7", "the answer to a PING that was not sent", |p| p.frame(PING, ACK, 0, &[1; 8]), must(Ignored)),
    Row("6.8", "GOAWAY of a stream",
        |p| p.frame(GOAWAY, 0, 1, &[0; 8]), must(Ends(PROTOCOL_ERROR))),
    Row("6.8", "GOAWAY of 7 bytes",
        |p| p.frame(GOAWAY, 0, 0, &[0; 7]), must(Ends(FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.8", "GOAWAY after a request",
        |p| { p.post(1, "/"); p.frame(GOAWAY, 0, 0, &[0; 8]); p.data(1, END_STREAM, b"x") }, must(Last(1, 200))),
    Row("6.9", "WINDOW_UPDATE by 0, of the connection", |p| p.grant(0, 0), must(Ends(PROTOCOL_ERROR))),
    Row("6.9", "WINDOW_UPDATE by 0, of a stream",
        |p| { p.get(1, "/held"); p.grant(1, 0) }, must(Resets(1, PROTOCOL_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.9", "WINDOW_UPDATE with the reserved bit",
        |p| p.grant(0, 1 | 1 << 31), must(Ignored)),
    Row("6.9", "WINDOW_UPDATE of 3 bytes",
        |p| p.frame(WINDOW_UPDATE, 0, 0, &[0; 3]), must(Ends(FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.9", "WINDOW_UPDATE of 5 bytes",
        |p| p.frame(WINDOW_UPDATE, 0, 0, &[1; 5]), must(Ends(FRAME_SIZE_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("6.9.1", "the window of the connection filled beyond 2^31 - 1",
        |p| { p.grant(0, WIDEST); p.grant(0, WIDEST) }, must(Ends(FLOW_CONTROL_ERROR))),
    Row("6.9.1", "the window of a stream filled beyond 2^31 - 1",
        |p| { p.get(1, "/held"); p.grant(1, WIDEST); p.grant(1, WIDEST) }, must(Resets(1, FLOW_CONTROL_ERROR))),
    Row("6.9.1", "as much DATA as the window of the stream",
        |p| { begins(p); fill(p, 1, 65_536) }, must(Ignored)),
    Row("6.9.1", "one byte more than the window of the stream",
        |p| { begins(p); fill(p, 1, 65_537) }, must(Resets(1, FLOW_CONTROL_ERROR))),
    Row("6.9.1", "padding beyond the window of the stream",
        |p| {
            begins(p); fill(p, 1, 65_280);
            for _ in 0..2 { p.data(1, PADDED, &padded(b"", b"", 255)) }
        }, must(Resets(1, FLOW_CONTROL_ERROR))),
    Row("6.9.1", "DATA of no length where the window is full",
        |p| { begins(p); fill(p, 1, 65_536); p.data(1, END_STREAM, b"") }, must(Ignored)),
    Row("6.9.1", "one byte more than the window of the connection",
        |p| {
            begins(p); fill(p, 1, 65_536);
            p.post(3, "/hole"); fill(p, 3, 65_536);
            p.post(5, "/hole"); fill(p, 5, 1);
        }, must(Ends(FLOW_CONTROL_ERROR))),
    Row("6.9.2", "SETTINGS that fill the window of a stream beyond 2^31 - 1",
        |p| { p.get(1, "/held"); p.grant(1, WIDEST - 65_535); p.settings(&[(4, 65_536)]) },
        must(Ends(FLOW_CONTROL_ERROR))),
    Row("6.9.2", "a window of the stream below nothing",
        |p| { p.get(1, "/large"); p.settings(&[(4, 0)]); p.settings(&[(4, 65_535)]) }, must(Status(1, 200))),
];

#[test]
fn frames_of_streams_are_what_they_must_be() {
    Site::new().observes(OF_STREAMS, Site::open);
}

#[test]
fn frames_of_connections_are_what_they_must_be() {
    Site::new().observes(OF_CONNECTIONS, Site::open);
}
