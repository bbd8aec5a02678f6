//! The bytes of a head, written into a buffer that is used again.

use http::{HeaderMap, Method, StatusCode};

use crate::message::forwarded_text::ForwardedLines;

/// What is sent of a request, but its body.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a Method,
    /// In origin-form.
    pub target: &'a str,
    pub headers: &'a HeaderMap,
    /// What comes after them.
    pub forwarded: Option<ForwardedLines<'a>>,
}

/// A request line and its fields, to the empty line.
pub fn request(head: &Head<'_>, out: &mut Vec<u8>) {
    let target = head.target;
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    // An absolute target may have a query after no path at all; in origin-form there is always one.
    if target.starts_with('?') {
        out.extend_from_slice(b"/");
    }
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    fields(head.headers, out);
    if let Some(lines) = head.forwarded {
        lines.encode(out);
    }
    out.extend_from_slice(b"\r\n");
}

/// A status line and its fields, to the empty line. An HTTP/1.0 client is answered in HTTP/1.1 too,
/// as RFC 9110 section 6.2 asks; what it cannot read is not sent to it.
pub fn response(status: StatusCode, headers: &HeaderMap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    fields(headers, out);
    out.extend_from_slice(b"\r\n");
}

/// Fields, each on its line, in the map's order.
pub(super) fn fields(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}
