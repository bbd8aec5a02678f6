//! gRPC as far as a proxy has to know it: what is a call, how long it may take, and how it is told that it
//! failed (the protocol is at github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md).

use std::time::Duration;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, Version};

use super::fields::lines;
use crate::why::Why;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What is told where nothing is known: not one of ours.
const UNKNOWN: u8 = 2;

/// Does this head begin a call? It does in HTTP/2 only, and by its `content-type`; gRPC-Web is another
/// protocol.
pub fn is_call(head: &Parts) -> bool {
    head.version == Version::HTTP_2 && says_call(&head.headers)
}

fn says_call(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let kind = lines(headers, &CONTENT_TYPE).next();
    let rest = kind.and_then(|kind| {
        let (name, rest) = kind.as_bytes().split_at_checked(GRPC.len())?;
        name.eq_ignore_ascii_case(GRPC).then_some(rest)
    });
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// How long the caller waits; none if it does not say, or nothing sound.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// The code that an answer ends with, in its trailers, or in its head if it has nothing else.
pub fn code(fields: &HeaderMap) -> Option<u8> {
    fields.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// A call that failed, as an answer that is nothing but trailers: their place is the head.
pub(super) fn failure(why: Why, message: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let code = why.grpc_code().unwrap_or(UNKNOWN);
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(code)));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let value = HeaderValue::from_static(value);
        HeaderMap::from_iter([(HeaderName::from_static(name), value)])
    }

    #[test]
    fn a_call_is_told_by_its_content_type() {
        for (kind, call) in [
            ("application/grpc", true),
            ("Application/gRPC+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(says_call(&headers("content-type", kind)), call, "{kind}");
        }
        assert!(!says_call(&HeaderMap::new()));
    }

    #[test]
    fn a_deadline_is_a_number_of_up_to_eight_digits_and_a_unit() {
        let hour = Duration::from_secs(3600);
        for (text, timeout) in [
            ("1H", Some(hour)),
            ("60M", Some(hour)),
            ("3600S", Some(hour)),
            ("3600000m", Some(hour)),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("99999999H", Some(hour * 99_999_999)),
            ("0S", Some(Duration::ZERO)),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("+1S", None),
            ("1", None),
            ("1s", None),
            ("1 S", None),
        ] {
            assert_eq!(
                super::timeout(&headers("grpc-timeout", text)),
                timeout,
                "{text}"
            );
        }
    }
}
