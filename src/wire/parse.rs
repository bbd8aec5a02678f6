//! The head of a message: httparse finds the parts, and what it lets pass is checked here.

use std::mem::{self, MaybeUninit};

use bytes::{Buf, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use httparse::{Header, ParserConfig, Status};

use super::head_end::{check_unfinished, head_end, is_line_too_long, is_sound, is_worth_parsing};
use super::heads::Head;
use super::{Refusal, fault, target};
use crate::config::{ListenerLimit, Size};

/// Fields that fit on the stack. More are not taken whatever the limits say.
const MOST_FIELDS: usize = 256;

/// Not filled in beforehand: that would write 8 KiB for each message.
const NO_FIELDS: [MaybeUninit<Header<'static>>; MOST_FIELDS] =
    [const { MaybeUninit::uninit() }; MOST_FIELDS];

/// Room for the fields that a proxy adds, to requests and to answers, so that the map does not grow.
const SPARE_IN_REQUEST: usize = 5;
const SPARE_IN_RESPONSE: usize = 1;

/// What one head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Bytes of the whole head, its last empty line included.
    pub head: usize,
    /// Bytes of the request target.
    pub target: usize,
    /// Fields; at most 256.
    pub fields: usize,
}

impl From<&ListenerLimit> for Limits {
    fn from(limit: &ListenerLimit) -> Self {
        let bytes = |size: Size| usize::try_from(size.0).unwrap_or(usize::MAX);
        Self {
            head: bytes(limit.head),
            target: bytes(limit.target),
            fields: limit.fields,
        }
    }
}

#[derive(Debug)]
pub struct RequestHead {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub headers: HeaderMap,
}

impl RequestHead {
    /// The request with this head, of which only the version stays.
    pub fn take_request<B>(&mut self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = mem::take(&mut self.method);
        *request.uri_mut() = mem::take(&mut self.uri);
        *request.version_mut() = self.version;
        *request.headers_mut() = mem::take(&mut self.headers);
        request
    }
}

#[derive(Debug)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
}

/// Takes an empty line off the front of `buffer`; was there one? RFC 9112 section 2.2 asks to skip one
/// before a request line, as old clients send one after a body. It is apart from the request, so that
/// whoever reads can tell the first from a second, in whatever pieces they arrive.
pub fn skip_empty_line(buffer: &mut BytesMut) -> bool {
    let empty = buffer.starts_with(b"\r\n");
    if empty {
        buffer.advance(2);
    }
    empty
}

/// Takes a request's head off the front of `buffer`; none if it is not all there yet.
pub fn request(buffer: &mut BytesMut, limits: &Limits) -> Result<Option<RequestHead>, Refusal> {
    let mut fields = NO_FIELDS;
    let mut parsed = httparse::Request::new(&mut []);
    let parsing = match is_worth_parsing(buffer) {
        true => parsed.parse_with_uninit_headers(buffer, &mut fields),
        false => Ok(Status::Partial),
    };
    let end = match parsing {
        Ok(Status::Complete(end)) if is_sound(buffer, end, limits) => end,
        parsing => return refuse_request(buffer, parsing, limits),
    };
    let (Some(method), Some(path)) = (parsed.method, parsed.path) else {
        return Err(Refusal::RequestLine);
    };
    if path.len() > limits.target {
        return Err(Refusal::TargetTooLong);
    }
    let head = Head::copy(buffer, end);
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::RequestLine)?;
    let uri = target::parse(&method, head.part(path.as_bytes()))?;
    let version = version(parsed.version)?;
    let headers = head.fields(parsed.headers, |_| false, limits, SPARE_IN_REQUEST)?;
    buffer.advance(end);
    Ok(Some(RequestHead {
        method,
        uri,
        version,
        headers,
    }))
}

/// What is no whole sound head: why it is refused, unless more bytes could make it one.
fn refuse_request<T>(
    buffer: &[u8],
    parsing: httparse::Result<usize>,
    limits: &Limits,
) -> Result<Option<T>, Refusal> {
    let end = match head_end(buffer, limits) {
        Err(Refusal::HeadTooLong) if is_line_too_long(buffer, limits) => {
            return Err(Refusal::TargetTooLong);
        }
        end => end?,
    };
    match (end, parsing) {
        (None, _) => check_unfinished(buffer, limits).map(|()| None),
        (Some(end), Err(error)) => Err(fault::of_request(error, &buffer[..end])),
        (Some(_), Ok(_)) => Err(Refusal::RequestLine),
    }
}

/// Takes an answer's head off the front of `buffer`; none if it is not all there yet.
pub fn response(buffer: &mut BytesMut, limits: &Limits) -> Result<Option<ResponseHead>, Refusal> {
    let mut fields = NO_FIELDS;
    let mut parsed = httparse::Response::new(&mut []);
    let parser = ParserConfig::default();
    let parsing = match is_worth_parsing(buffer) {
        true => parser.parse_response_with_uninit_headers(&mut parsed, buffer, &mut fields),
        false => Ok(Status::Partial),
    };
    let end = match parsing {
        Ok(Status::Complete(end)) if is_sound(buffer, end, limits) => end,
        parsing => {
            return match (head_end(buffer, limits)?, parsing) {
                (None, _) => Ok(None),
                (Some(end), Err(error)) => Err(fault::of_response(error, &buffer[..end])),
                (Some(_), Ok(_)) => Err(Refusal::StatusLine),
            };
        }
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status
        .filter(|status| status.as_u16() < 1000)
        .ok_or(Refusal::StatusLine)?;
    let version = version(parsed.version)?;
    let head = Head::copy(buffer, end);
    let idle = |field: &Header<'_>| version == Version::HTTP_11 && is_keep_alive(field);
    let headers = head.fields(parsed.headers, idle, limits, SPARE_IN_RESPONSE)?;
    buffer.advance(end);
    Ok(Some(ResponseHead {
        status,
        version,
        headers,
    }))
}

/// Many say it with each answer. In HTTP/1.1 it tells nothing, and it would only be taken away again.
fn is_keep_alive(field: &Header<'_>) -> bool {
    field.name.eq_ignore_ascii_case("connection") && field.value.eq_ignore_ascii_case(b"keep-alive")
}

fn version(minor: Option<u8>) -> Result<Version, Refusal> {
    match minor {
        Some(0) => Ok(Version::HTTP_10),
        Some(1) => Ok(Version::HTTP_11),
        _ => Err(Refusal::Version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits::from(&ListenerLimit::default())
    }

    fn parsed(text: &str) -> Result<Option<RequestHead>, Refusal> {
        request(&mut BytesMut::from(text), &limits())
    }

    #[test]
    fn a_head_is_taken_whole_and_what_follows_is_left() {
        let mut buffer =
            BytesMut::from("\r\nPOST /a?b HTTP/1.1\r\nHost: x\r\nA: 1\r\nA: 2\r\n\r\nrest");
        assert!(skip_empty_line(&mut buffer) && !skip_empty_line(&mut buffer));
        let head = request(&mut buffer, &limits()).unwrap().unwrap();
        assert_eq!(
            (head.method, head.uri.to_string()),
            (Method::POST, "/a?b".to_owned())
        );
        assert_eq!(head.headers.get_all("a").iter().count(), 2);
        assert_eq!(&buffer[..], b"rest");
    }

    #[test]
    fn every_beginning_of_a_sound_head_waits_for_more() {
        let text = "GET /é HTTP/1.1\r\nHost: x\r\nLong-Name: value\r\n\r\n";
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            assert!(
                matches!(parsed(&text[..end]), Ok(None)),
                "{:?}",
                &text[..end]
            );
        }
        assert!(matches!(parsed(text), Ok(Some(_))));
    }

    #[test]
    fn malformed_heads_are_refused_by_the_rule_they_break() {
        let table = [
            ("GET / HTTP/1.1\nHost: x\r\n\r\n", Refusal::LineEnd),
            ("GET / HTTP/1.1\r\nHost: x\n\r\n", Refusal::LineEnd),
            ("GET / HTTP/1.1\r\nHost: x\r\n\n", Refusal::LineEnd),
            ("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", Refusal::LineEnd),
            ("GET / HTTP/1.1\rA: b\r\r", Refusal::LineEnd),
            (
                "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
                Refusal::HeaderName,
            ),
            ("GET / HTTP/1.1\r\n A: b\r\n\r\n", Refusal::HeaderName),
            ("GET / HTTP/1.1\r\nA : b\r\n\r\n", Refusal::HeaderName),
            ("GET / HTTP/1.1\r\nA\t: b\r\n\r\n", Refusal::HeaderName),
            ("GET / HTTP/1.1\r\n: b\r\n\r\n", Refusal::HeaderName),
            ("GET / HTTP/1.1\r\nAB\r\n\r\n", Refusal::HeaderName),
            ("GET / HTTP/1.1\r\nA: b\0\r\n\r\n", Refusal::HeaderValue),
            ("GET / HTTP/1.1\r\nA: \x1b[1m\r\n\r\n", Refusal::HeaderValue),
            ("GET / HTTP/1.1\r\nA\0: b\r\n\r\n", Refusal::HeaderName),
            ("GET / HTTP/2.0\r\n\r\n", Refusal::Version),
            ("GET / HTTP/1.2\r\n\r\n", Refusal::Version),
            ("GET / HTTP/1.1x\r\n\r\n", Refusal::RequestLine),
            ("GET / http/1.1\r\n\r\n", Refusal::RequestLine),
            ("GET /\r\n\r\n", Refusal::RequestLine),
            ("GET  / HTTP/1.1\r\n\r\n", Refusal::RequestLine),
            ("GET / a HTTP/1.1\r\n\r\n", Refusal::RequestLine),
            ("G\tT / HTTP/1.1\r\n\r\n", Refusal::RequestLine),
            ("\r\nGET / HTTP/1.1\r\n\r\n", Refusal::RequestLine),
            ("\x16\x03\x01\x02", Refusal::RequestLine),
        ];
        for (text, expected) in table {
            assert_eq!(parsed(text).err(), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn limits_hold_to_the_byte_and_before_the_end_is_seen() {
        let limits = Limits {
            head: 100,
            target: 40,
            fields: 2,
        };
        let run = |text: String| request(&mut BytesMut::from(text.as_str()), &limits).err();
        let head = |fill: usize| format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(fill));
        let spare = 100 - head(0).len();
        assert_eq!(run(head(spare)), None);
        assert_eq!(run(head(spare + 1)), Some(Refusal::HeadTooLong));
        assert_eq!(run("x".repeat(100)), Some(Refusal::HeadTooLong));
        let target = |fill: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(fill));
        assert_eq!(run(target(39)), None);
        assert_eq!(run(target(40)), Some(Refusal::TargetTooLong));
        let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert_eq!(run(fields(2)), None);
        assert_eq!(run(fields(3)), Some(Refusal::TooManyHeaders));
    }

    #[test]
    fn answers_are_read_as_strictly() {
        let parsed = |text: &str| response(&mut BytesMut::from(text), &limits());
        let head = parsed("HTTP/1.1 200 Fine\r\nA: é\r\n\r\nbody")
            .unwrap()
            .unwrap();
        assert_eq!(
            (head.status, head.version),
            (StatusCode::OK, Version::HTTP_11)
        );
        assert!(parsed("HTTP/1.0 204\r\n\r\n").unwrap().is_some());
        assert!(parsed("HTTP/1.1 200 OK\r\n").unwrap().is_none());
        let said = |text: &str| parsed(text).unwrap().unwrap().headers.len();
        assert_eq!(said("HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\n\r\n"), 0);
        assert_eq!(said("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"), 1);
        for (text, expected) in [
            ("HTTP/1.1 200 OK\nA: b\r\n\r\n", Refusal::LineEnd),
            ("HTTP/1.1 2000 OK\r\n\r\n", Refusal::StatusLine),
            ("HTTP/1.1 20 OK\r\n\r\n", Refusal::StatusLine),
            ("HTTP/1.1 099 OK\r\n\r\n", Refusal::StatusLine),
            ("HTTP/2.0 200 OK\r\n\r\n", Refusal::Version),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Refusal::HeaderName),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Refusal::HeaderName),
        ] {
            assert_eq!(parsed(text).err(), Some(expected), "{text:?}");
        }
    }
}
