//! How a client of HTTP/2 begins, told from one of HTTP/1.1.

/// What a client of HTTP/2 begins with (RFC 9113 section 3.4). No request of HTTP/1.1 does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Does `buffer` begin with the preface of HTTP/2? `Some(false)` if more bytes could make it one.
pub(super) fn preface(buffer: &[u8]) -> Option<bool> {
    let length = buffer.len().min(PREFACE.len());
    (buffer[..length] == PREFACE[..length]).then_some(length == PREFACE.len())
}
