//! Heads of requests and answers, and chunks: what is accepted can be written and read again, and
//! means the same however it was cut.

use std::fmt::Debug;

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use pointsman::config::ListenerLimit;
use pointsman::message::{Target, hop};
use pointsman::wire::chunked::{Decoded, Decoder};
use pointsman::wire::{Limits, Refusal, RequestHead};
use pointsman::wire::{encode, framing, parse};

use crate::Subject;

pub(crate) const SUBJECT: Subject = Subject {
    name: "head",
    executions: 1_000_000,
    corpus: &[
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /a?b=c HTTP/1.1\r\nHost: a.example:80\r\nContent-Length: 5\r\n\r\nhello",
        "PUT http://a/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\nX: y\r\nTE: trailers\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nX: \u{e9}\r\n\r\n",
        "5;a=b\r\nhello\r\n1\r\n,\r\n0\r\nX-Sum: 1\r\n\r\n",
    ],
    run,
};

const LIMITS: Limits = Limits {
    head: 2048,
    target: 512,
    fields: 32,
};

fn run(bytes: &[u8]) -> bool {
    let taken = [as_request(bytes), as_answer(bytes), as_chunks(bytes)];
    taken.contains(&true)
}

fn as_request(bytes: &[u8]) -> bool {
    // As a connection does it.
    let reader = || {
        let mut skipped = false;
        move |buffer: &mut BytesMut| {
            skipped = skipped || parse::skip_empty_line(buffer);
            parse::request(buffer, &LIMITS)
        }
    };
    let whole = whole_and_in_pieces(bytes, reader);
    let Ok(Some(head)) = whole else {
        return false;
    };
    let mut written = Vec::new();
    let sent = encode::Head {
        method: &head.method,
        target: &head.uri.to_string(),
        headers: &head.headers,
        forwarded: None,
    };
    encode::request(&sent, &mut written);
    let mut written = BytesMut::from(written.as_slice());
    let again = parse::request(&mut written, &roomy()).expect("what we write we take");
    let again = again.expect("it is whole");
    assert!(written.is_empty());
    assert_eq!(
        (&again.method, &again.uri, &again.headers),
        (&head.method, &head.uri, &head.headers)
    );
    if let Ok(length) = framing::request(head.version, &head.headers) {
        assert_eq!(framing::request(again.version, &again.headers), Ok(length));
    }
    handle(head);
    true
}

/// What the handler makes of it before it is forwarded.
fn handle(mut head: RequestHead) {
    let mut forwarded = head.headers.clone();
    hop::strip_request(&mut forwarded);
    for name in [
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "proxy-authorization",
    ] {
        assert!(!forwarded.contains_key(name), "{name} is passed on");
    }
    let lines = |headers: &HeaderMap, name: &HeaderName| -> Vec<HeaderValue> {
        headers.get_all(name).iter().cloned().collect()
    };
    for name in [HOST, CONTENT_LENGTH] {
        assert_eq!(lines(&forwarded, &name), lines(&head.headers, &name));
    }
    let (parts, ()) = head.take_request(()).into_parts();
    let Ok(target) = Target::parse(&parts) else {
        return;
    };
    let plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && byte != b'@';
    assert!(target.host().bytes().all(plain), "{:?}", target.host());
    assert!(
        !target.path().bytes().any(|byte| byte < b' '),
        "{:?}",
        target.path()
    );
    assert_eq!(parts.headers.get_all(HOST).iter().count().max(1), 1);
}

/// What we write may be a little longer than what was read.
fn roomy() -> Limits {
    Limits::from(&ListenerLimit::default())
}

fn as_answer(bytes: &[u8]) -> bool {
    let reader = || |buffer: &mut BytesMut| parse::response(buffer, &LIMITS);
    let whole = whole_and_in_pieces(bytes, reader);
    let Ok(Some(head)) = whole else {
        return false;
    };
    let mut headers = head.headers;
    hop::strip_response(&mut headers);
    assert!(!headers.contains_key(TRANSFER_ENCODING));
    let mut written = Vec::new();
    encode::response(head.status, &headers, &mut written);
    let mut written = BytesMut::from(written.as_slice());
    let again = parse::response(&mut written, &roomy()).expect("what we write we take");
    let again = again.expect("it is whole");
    assert_eq!((again.status, &again.headers), (head.status, &headers));
    true
}

fn as_chunks(bytes: &[u8]) -> bool {
    let whole = chunks(&[bytes]);
    let pieces: Vec<&[u8]> = bytes.chunks(cut(bytes)).collect();
    let cut = chunks(&pieces);
    match (&whole, &cut) {
        (Some((data, true, trailers)), _) => {
            assert_eq!(cut.as_ref(), Some(&(data.clone(), true, trailers.clone())));
        }
        (Some((data, false, _)), Some((other, ended, _))) => assert!(data == other && !ended),
        (None, Some((_, ended, _))) => assert!(!ended, "ended in pieces, refused whole"),
        (_, None) => {}
    }
    whole.is_some_and(|(_, ended, _)| ended)
}

/// Data, whether it ended, trailers; none if refused.
fn chunks(pieces: &[&[u8]]) -> Option<(Vec<u8>, bool, HeaderMap)> {
    let (mut decoder, mut buffer, mut data) = (Decoder::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer).ok()? {
                Decoded::Data(bytes) => data.extend_from_slice(&bytes),
                Decoded::End(trailers) => return Some((data, true, trailers)),
                Decoded::Incomplete => break,
            }
        }
    }
    Some((data, false, HeaderMap::new()))
}

/// Reads the bytes at once and in pieces, each with a reader of its own: it comes to the same. Only may
/// a fault show earlier in pieces, when the line that has it is not at its end.
fn whole_and_in_pieces<T: Debug, R>(
    bytes: &[u8],
    reader: impl Fn() -> R,
) -> Result<Option<T>, Refusal>
where
    R: FnMut(&mut BytesMut) -> Result<Option<T>, Refusal>,
{
    let whole = reader()(&mut BytesMut::from(bytes));
    let pieces = in_pieces(bytes, reader());
    if let (Ok(None), Err(_)) = (&whole, &pieces) {
        let ended = [bytes, b"\r\n\r\n"].concat();
        let refusal = reader()(&mut BytesMut::from(&ended[..]));
        assert!(refusal.is_err(), "refused in pieces, taken at once");
    } else {
        let seen =
            |read: &Result<Option<T>, Refusal>| read.as_ref().ok().map(|head| format!("{head:?}"));
        assert_eq!(seen(&whole), seen(&pieces));
    }
    whole
}

fn in_pieces<T, E>(
    bytes: &[u8],
    mut parse: impl FnMut(&mut BytesMut) -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let mut buffer = BytesMut::new();
    for piece in bytes.chunks(cut(bytes)) {
        buffer.extend_from_slice(piece);
        if let Some(head) = parse(&mut buffer)? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// A size of pieces that depends on nothing but the input, so that a failure repeats.
fn cut(bytes: &[u8]) -> usize {
    1 + bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>() % 13
}
