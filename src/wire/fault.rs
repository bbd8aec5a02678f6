//! Which rule a head broke that httparse refuses.

use memchr::memchr_iter;

use super::Refusal;

/// Of the head of a request, whose last line is there.
pub(super) fn of_request(error: httparse::Error, head: &[u8]) -> Refusal {
    if has_lone_cr(head) {
        return Refusal::LineEnd;
    }
    match error {
        httparse::Error::HeaderName => Refusal::HeaderName,
        httparse::Error::HeaderValue => Refusal::HeaderValue,
        httparse::Error::TooManyHeaders => Refusal::TooManyHeaders,
        // "GET / HTTP/2.0" is well formed, and of another time.
        httparse::Error::Version if names_a_version(head) => Refusal::Version,
        // Line ends are sound by now: what it misses is the end of the version.
        httparse::Error::NewLine
        | httparse::Error::Version
        | httparse::Error::Status
        | httparse::Error::Token => Refusal::RequestLine,
    }
}

fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    matches!(words[..], [_, _, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// Of the head of an answer, whose last line is there.
pub(super) fn of_response(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        _ if has_lone_cr(head) => Refusal::LineEnd,
        httparse::Error::NewLine => Refusal::LineEnd,
        httparse::Error::Version => Refusal::Version,
        httparse::Error::Status | httparse::Error::Token => Refusal::StatusLine,
        fields => of_request(fields, head),
    }
}

fn has_lone_cr(head: &[u8]) -> bool {
    memchr_iter(b'\r', head).any(|at| head.get(at + 1) != Some(&b'\n'))
}
