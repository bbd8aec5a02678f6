//! Sections 3.4 to 5.5: the beginning, sizes and blocks of fields, the states and numbers of streams.

use super::peer::{END_HEADERS, END_STREAM, PRIORITIZED, PRIORITY, Peer, head};
use super::{
    COMPRESSION_ERROR, Ends, FRAME_SIZE_ERROR, Ignored, NEVER, PROTOCOL_ERROR, REFUSED_STREAM,
    Resets, Row, STREAM_CLOSED, Site, Status, must,
};
use crate::harness::http2::{CONTINUATION, END, HEADERS, PING, PREFACE, SETTINGS, fields, frame};

/// What no frame of this document has as its type.
const UNKNOWN: u8 = 0xfe;

/// A whole request whose block ends with these bytes.
fn ends_block(peer: &mut Peer, bytes: &[u8]) {
    peer.frame(HEADERS, END, 1, &[&head("GET", NEVER), bytes].concat());
}

#[rustfmt::skip]
const PREFACE_FIRST: &[Row] = &[
    Row("3.4", "the preface, byte by byte",
        |p| for byte in [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat() { p.send([byte]) }, must(Ignored)),
    Row("3.4", "the preface and a request at once",
        |p| p.send([PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END, 1, &head("GET", "/"))].concat()),
        must(Status(1, 200))),
    Row("3.4", "PING before SETTINGS",
        |p| { p.send(PREFACE); p.frame(PING, 0, 0, &[0; 8]); p.settings(&[]) }, must(Ends(PROTOCOL_ERROR))),
    Row("3.4", "HEADERS before SETTINGS",
        |p| { p.send(PREFACE); p.get(1, NEVER); p.settings(&[]) }, must(Ends(PROTOCOL_ERROR))),
    Row("3.4", "a frame of an unknown type before SETTINGS",
        |p| { p.send(PREFACE); p.frame(UNKNOWN, 0, 0, &[]); p.settings(&[]) }, must(Ends(PROTOCOL_ERROR))),
];

#[rustfmt::skip]
const FRAMES: &[Row] = &[
    Row("4.1", "a frame of an unknown type, of a stream",
        |p| p.frame(UNKNOWN, 0, 1, b"what?"), must(Ignored)),
    Row("4.1", "a frame of an unknown type, of the connection",
        |p| p.frame(UNKNOWN, 0xff, 0, &[0; 16_384]), must(Ignored)),
    Row("4.1", "flags that mean nothing, of a PING",
        |p| p.frame(PING, 0xfe, 0, &[0; 8]), must(Ignored)),
    Row("4.1", "flags that mean nothing, of HEADERS",
        |p| p.frame(HEADERS, END | 0xd2, 1, &head("GET", "/")), must(Status(1, 200))),
    Row("4.1", "the reserved bit of a stream's number",
        |p| p.frame(HEADERS, END, 1 | 1 << 31, &head("GET", "/")), must(Status(1, 200))),
    Row("4.2", "DATA of the largest size",
        |p| { p.post(1, "/"); p.data(1, END_STREAM, &[0; 16_384]) }, must(Status(1, 200))),
    Row("4.2", "DATA one byte larger",
        |p| { p.post(1, NEVER); p.data(1, END_STREAM, &[0; 16_385]) },
        must(Resets(1, FRAME_SIZE_ERROR)).by(Ends(FRAME_SIZE_ERROR))),
    Row("4.2", "HEADERS one byte larger",
        |p| p.frame(HEADERS, END, 1, &[0; 16_385]), must(Ends(FRAME_SIZE_ERROR))),
    Row("4.2", "a frame of an unknown type that is larger",
        |p| p.frame(UNKNOWN, 0, 1, &[0; 16_385]),
        must(Resets(1, FRAME_SIZE_ERROR)).by(Ends(FRAME_SIZE_ERROR))),
    Row("4.3", "a field of place 0 (RFC 7541, 6.1)",
        |p| ends_block(p, &[0x80]), must(Ends(COMPRESSION_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("4.3", "a field of a place beyond the tables (RFC 7541, 2.3.3)",
        |p| ends_block(p, &[0xff, 0x80, 0x01]), must(Ends(COMPRESSION_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("4.3", "a name of a place beyond the tables (RFC 7541, 6.2)",
        |p| ends_block(p, &[0x7f, 0x7f, 0x01, b'a']), must(Ends(COMPRESSION_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("4.3", "a number without end (RFC 7541, 5.1)",
        |p| ends_block(p, &[&[0x7f][..], &[0xff; 20], &[0x01]].concat()),
        must(Ends(COMPRESSION_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("4.3", "a string that is cut off (RFC 7541, 5.2)",
        |p| ends_block(p, &[0, 5, b'a']), must(Ends(COMPRESSION_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("4.3", "a string with the Huffman code of its end (RFC 7541, 5.2)",
        |p| ends_block(p, &[0, 1, b'a', 0x84, 0xff, 0xff, 0xff, 0xff]),
        must(Ends(COMPRESSION_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("4.3", "a string filled up with zeros (RFC 7541, 5.2)",
        |p| ends_block(p, &[0, 1, b'a', 0x81, 0x18]),
        must(Ends(COMPRESSION_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("4.3", "a string filled up with a whole byte (RFC 7541, 5.2)",
        |p| ends_block(p, &[0, 1, b'a', 0x82, 0x1f, 0xff]),
        must(Ends(COMPRESSION_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("4.3", "a table larger than was allowed (RFC 7541, 6.3)",
        |p| p.frame(HEADERS, END, 1, &[&[0x3f, 0xe2, 0x1f][..], &head("GET", NEVER)].concat()),
        must(Ends(COMPRESSION_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("4.3", "a size of the table after a field (RFC 7541, 4.2)",
        |p| ends_block(p, &[0x20]), must(Ends(COMPRESSION_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("4.3", "trailers that cannot be decoded",
        |p| { p.post(1, NEVER); p.frame(HEADERS, END, 1, &[0x80]) },
        must(Ends(COMPRESSION_ERROR)).by(Ends(PROTOCOL_ERROR))),
    Row("4.3", "DATA in the middle of a block",
        |p| { p.frame(HEADERS, 0, 1, &head("POST", NEVER)); p.data(1, 0, b"x") }, must(Ends(PROTOCOL_ERROR))),
    Row("4.3", "HEADERS of another stream in the middle of a block",
        |p| { p.frame(HEADERS, END_STREAM, 1, &head("GET", NEVER)); p.get(3, NEVER) },
        must(Ends(PROTOCOL_ERROR))),
    Row("4.3", "PRIORITY in the middle of a block",
        |p| { p.frame(HEADERS, END_STREAM, 1, &head("GET", NEVER)); p.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]) },
        must(Ends(PROTOCOL_ERROR))),
    Row("4.3", "PING in the middle of a block",
        |p| { p.frame(HEADERS, END_STREAM, 1, &head("GET", NEVER)); p.frame(PING, 0, 0, &[0; 8]) },
        must(Ends(PROTOCOL_ERROR))),
];

#[rustfmt::skip]
const STATES: &[Row] = &[
    Row("5.1", "idle: DATA", |p| p.data(1, 0, b"x"), must(Ends(PROTOCOL_ERROR))),
    Row("5.1", "idle: RST_STREAM", |p| p.reset(1), must(Ends(PROTOCOL_ERROR))),
    Row("5.1", "idle: WINDOW_UPDATE", |p| p.grant(1, 1), must(Ends(PROTOCOL_ERROR))),
    Row("5.1", "idle: CONTINUATION",
        |p| p.frame(CONTINUATION, END_HEADERS, 1, &head("GET", NEVER)), must(Ends(PROTOCOL_ERROR))),
    Row("5.1", "idle: PRIORITY", |p| p.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]), must(Ignored)),
    Row("5.1", "open: PRIORITY and WINDOW_UPDATE",
        |p| { p.post(1, "/"); p.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]); p.grant(1, 1); p.data(1, END_STREAM, b"") },
        must(Status(1, 200))),
    Row("5.1", "open: RST_STREAM", |p| { p.post(1, NEVER); p.reset(1) }, must(Ignored)),
    Row("5.1", "half-closed: DATA",
        |p| { p.get(1, "/held"); p.data(1, END_STREAM, b"x") },
        must(Resets(1, STREAM_CLOSED)).by(Ends(PROTOCOL_ERROR))),
    Row("5.1", "half-closed: HEADERS",
        |p| { p.get(1, "/held"); p.get(1, NEVER) },
        must(Resets(1, STREAM_CLOSED)).by(Ends(PROTOCOL_ERROR))),
    Row("5.1", "half-closed: CONTINUATION",
        |p| { p.get(1, "/held"); p.frame(CONTINUATION, END_HEADERS, 1, &head("GET", NEVER)) },
        must(Ends(PROTOCOL_ERROR))),
    Row("5.1", "half-closed: WINDOW_UPDATE and PRIORITY",
        |p| { p.get(1, "/held"); p.grant(1, 1); p.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]) }, must(Ignored)),
    Row("5.1", "half-closed: RST_STREAM", |p| { p.get(1, "/held"); p.reset(1) }, must(Ignored)),
    Row("5.1", "closed by both: DATA",
        |p| { p.asks(1, "/"); p.settles(); p.data(1, END_STREAM, b"x") }, must(Resets(1, STREAM_CLOSED))),
    Row("5.1", "closed by both: HEADERS",
        |p| { p.asks(1, "/"); p.settles(); p.get(1, NEVER) },
        must(Ends(STREAM_CLOSED)).by(Ends(PROTOCOL_ERROR))),
    Row("5.1", "closed by both: CONTINUATION",
        |p| { p.asks(1, "/"); p.settles(); p.frame(CONTINUATION, END_HEADERS, 1, &head("GET", NEVER)) },
        must(Ends(PROTOCOL_ERROR))),
    Row("5.1", "closed by both: WINDOW_UPDATE, RST_STREAM and PRIORITY",
        |p| { p.asks(1, "/"); p.settles(); p.grant(1, 1); p.reset(1); p.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]) },
        must(Ignored)),
    Row("5.1", "closed by the client's RST_STREAM: DATA",
        |p| { p.post(1, NEVER); p.reset(1); p.settles(); p.data(1, END_STREAM, b"x") },
        must(Resets(1, STREAM_CLOSED))),
    Row("5.1", "closed by the client's RST_STREAM: HEADERS",
        |p| { p.post(1, NEVER); p.reset(1); p.settles(); p.get(1, NEVER) },
        must(Ends(STREAM_CLOSED)).by(Ends(PROTOCOL_ERROR))),
    Row("5.1", "closed by the client's RST_STREAM: WINDOW_UPDATE, RST_STREAM and PRIORITY",
        |p| {
            p.post(1, NEVER); p.reset(1); p.settles();
            p.grant(1, 1); p.reset(1); p.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]);
        }, must(Ignored)),
    Row("5.1", "closed by the proxy's RST_STREAM: whatever was on its way",
        |p| {
            p.post(1, NEVER); p.frame(HEADERS, END_HEADERS, 1, &fields(&[("a", "b")]));
            p.data(1, 0, b"x"); p.grant(1, 1); p.frame(HEADERS, END, 1, &fields(&[("c", "d")]));
        }, must(Resets(1, PROTOCOL_ERROR))),
    Row("5.1.1", "a stream of an even number", |p| p.get(2, NEVER), must(Ends(PROTOCOL_ERROR))),
    Row("5.1.1", "a stream of a lower number than the one before",
        |p| { p.get(5, "/held"); p.get(3, NEVER) }, must(Ends(PROTOCOL_ERROR))),
    Row("5.1.1", "numbers that are left out", |p| p.get(1001, "/"), must(Status(1001, 200))),
    Row("5.1.1", "WINDOW_UPDATE of a number that was left out",
        |p| { p.get(5, "/"); p.grant(3, 1) }, must(Status(5, 200))),
    Row("5.1.2", "more streams than are allowed",
        |p| { for stream in [1, 3, 5, 7, 9] { p.get(stream, "/held") } p.reset(1) },
        must(Resets(9, REFUSED_STREAM))),
    Row("5.1.2", "as many again as were ended",
        |p| { for stream in [1, 3, 5, 7] { p.get(stream, "/held"); p.reset(stream) } p.get(9, "/") },
        must(Status(9, 200))),
    Row("5.3", "a stream that depends on itself, by PRIORITY",
        |p| p.frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 9]),
        must(Ignored).departs(Resets(1, PROTOCOL_ERROR))),
    Row("5.3", "a stream that depends on itself, by HEADERS",
        |p| p.frame(HEADERS, END | PRIORITIZED, 1, &[&[0, 0, 0, 1, 9][..], &head("GET", "/")].concat()),
        must(Status(1, 200)).departs(Resets(1, PROTOCOL_ERROR))),
    Row("5.3", "a stream that depends on one that is idle, and nobody else on that",
        |p| p.frame(HEADERS, END | PRIORITIZED, 1, &[&[0x80, 0, 0, 99, 255][..], &head("GET", "/")].concat()),
        must(Status(1, 200))),
    Row("5.4.1", "a request under way when the connection ends",
        |p| { p.get(1, "/held"); p.frame(PING, 0, 1, &[0; 8]) }, must(Ends(PROTOCOL_ERROR))),
    Row("5.5", "a setting that is unknown", |p| p.settings(&[(0xfafa, 1), (0, u32::MAX)]), must(Ignored)),
    Row("5.5", "a frame of an unknown type in the middle of a block",
        |p| { p.frame(HEADERS, END_STREAM, 1, &head("GET", NEVER)); p.frame(UNKNOWN, 0, 1, b"") },
        must(Ends(PROTOCOL_ERROR))),
];

#[test]
fn a_connection_begins_with_its_preface() {
    Site::new().observes(PREFACE_FIRST, Site::knock);
}

#[test]
fn frames_have_their_sizes_and_blocks_of_fields_are_decoded_whole() {
    Site::new().observes(FRAMES, Site::open);
}

#[test]
fn streams_have_their_states_and_numbers() {
    Site::new().observes(STATES, Site::open);
}
