//! What delimits a body, and whether another message may follow it (RFC 9112 sections 6 and 9.3).

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use super::Refusal;
use crate::message::fields::{lines, says};

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    Empty,
    Known(u64),
    Chunked,
    /// It ends with the connection; answers only.
    UntilClose,
}

/// May the connection carry another message?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    Keep,
    Close,
}

/// The body of a request. Stricter than the RFC must be, in what no honest client sends: a request
/// that two parsers may read differently is not repaired but refused.
pub fn request(version: Version, headers: &HeaderMap) -> Result<BodyLength, Refusal> {
    match (coding(version, headers)?, content_length(headers)?) {
        (true, None) => Ok(BodyLength::Chunked),
        (true, Some(_)) => Err(Refusal::BothLengths),
        (false, None | Some(0)) => Ok(BodyLength::Empty),
        (false, Some(length)) => Ok(BodyLength::Known(length)),
    }
}

/// The body of an answer to a request of this method.
pub fn response(
    method: &Method,
    status: StatusCode,
    version: Version,
    headers: &HeaderMap,
) -> Result<BodyLength, Refusal> {
    let bodiless = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || *method == Method::HEAD
        || *method == Method::CONNECT && status.is_success();
    if bodiless {
        // It is passed on, and says nothing to us but something to others.
        return content_length(headers).map(|_| BodyLength::Empty);
    }
    match (coding(version, headers)?, content_length(headers)?) {
        (true, None) => Ok(BodyLength::Chunked),
        (true, Some(_)) => Err(Refusal::BothLengths),
        (false, Some(0)) => Ok(BodyLength::Empty),
        (false, Some(length)) => Ok(BodyLength::Known(length)),
        (false, None) => Ok(BodyLength::UntilClose),
    }
}

/// Is it chunked? `chunked` alone, once, on one line, in any case.
fn coding(version: Version, headers: &HeaderMap) -> Result<bool, Refusal> {
    let mut lines = lines(headers, &TRANSFER_ENCODING);
    let Some(line) = lines.next() else {
        return Ok(false);
    };
    if version == Version::HTTP_10 {
        return Err(Refusal::CodingInHttp10);
    }
    if lines.next().is_some() {
        return Err(Refusal::TransferEncoding);
    }
    if line.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Ok(true);
    }
    // A coding that is known and whose bytes we would have to pass on unlabelled.
    let text = line.to_str().map_err(|_| Refusal::TransferEncoding)?;
    let mut codings = text.split(',').map(str::trim);
    let last = codings.next_back().unwrap_or_default();
    let others: Vec<&str> = codings.collect();
    let named = |coding: &&str| {
        ["gzip", "x-gzip", "deflate", "compress", "x-compress"]
            .iter()
            .any(|known| coding.eq_ignore_ascii_case(known))
    };
    let proper = last.eq_ignore_ascii_case("chunked") && !others.is_empty();
    if proper && others.iter().all(named) {
        Err(Refusal::UnsupportedCoding)
    } else {
        Err(Refusal::TransferEncoding)
    }
}

/// One line of digits, and no other.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let mut lines = lines(headers, &CONTENT_LENGTH);
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    let number = number(line).filter(|_| lines.next().is_none());
    number.map(Some).ok_or(Refusal::ContentLength)
}

/// Digits and nothing else: no sign, no space.
pub(crate) fn number(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    let add = |number: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    digits
        .iter()
        .try_fold(0, add)
        .filter(|_| !digits.is_empty())
}

/// HTTP/1.1 keeps a connection unless told otherwise, HTTP/1.0 only if asked to.
pub fn reuse(version: Version, headers: &HeaderMap) -> Reuse {
    let said = |word| says(headers, &CONNECTION, word);
    let keep = match version {
        Version::HTTP_11 => !said("close"),
        _ => said("keep-alive") && !said("close"),
    };
    if keep { Reuse::Keep } else { Reuse::Close }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        lines.iter().map(line).collect()
    }

    const CL: &str = "content-length";
    const TE: &str = "transfer-encoding";

    #[test]
    fn a_request_has_one_length_or_is_refused() {
        type Row = (
            &'static [(&'static str, &'static str)],
            Result<BodyLength, Refusal>,
        );
        let table: [Row; 26] = [
            (&[], Ok(BodyLength::Empty)),
            (&[(CL, "0")], Ok(BodyLength::Empty)),
            (&[(CL, "5")], Ok(BodyLength::Known(5))),
            (&[(CL, "005")], Ok(BodyLength::Known(5))),
            (&[(TE, "chunked")], Ok(BodyLength::Chunked)),
            (&[(TE, "Chunked")], Ok(BodyLength::Chunked)),
            (&[(CL, "5"), (TE, "chunked")], Err(Refusal::BothLengths)),
            (&[(TE, "chunked"), (CL, "5")], Err(Refusal::BothLengths)),
            (&[(CL, "5"), (CL, "5")], Err(Refusal::ContentLength)),
            (&[(CL, "5"), (CL, "6")], Err(Refusal::ContentLength)),
            (&[(CL, "")], Err(Refusal::ContentLength)),
            (&[(CL, "+5")], Err(Refusal::ContentLength)),
            (&[(CL, "-5")], Err(Refusal::ContentLength)),
            (&[(CL, "5,5")], Err(Refusal::ContentLength)),
            (&[(CL, "0x5")], Err(Refusal::ContentLength)),
            (&[(CL, "5 5")], Err(Refusal::ContentLength)),
            (&[(CL, "99999999999999999999")], Err(Refusal::ContentLength)),
            (&[(TE, "")], Err(Refusal::TransferEncoding)),
            (&[(TE, "identity")], Err(Refusal::TransferEncoding)),
            (&[(TE, "chunked, chunked")], Err(Refusal::TransferEncoding)),
            (
                &[(TE, "chunked"), (TE, "chunked")],
                Err(Refusal::TransferEncoding),
            ),
            (&[(TE, "chunked, gzip")], Err(Refusal::TransferEncoding)),
            (&[(TE, "xchunked")], Err(Refusal::TransferEncoding)),
            (&[(TE, "\"chunked\"")], Err(Refusal::TransferEncoding)),
            (&[(TE, "chunked;q=1")], Err(Refusal::TransferEncoding)),
            (&[(TE, "gzip, chunked")], Err(Refusal::UnsupportedCoding)),
        ];
        for (lines, expected) in table {
            assert_eq!(
                request(Version::HTTP_11, &headers(lines)),
                expected,
                "{lines:?}"
            );
        }
        let old = request(Version::HTTP_10, &headers(&[(TE, "chunked")]));
        assert_eq!(old, Err(Refusal::CodingInHttp10));
    }

    #[test]
    fn the_length_of_an_answer_depends_on_what_was_asked() {
        let table = [
            ("GET", 200, &[(CL, "5")][..], Ok(BodyLength::Known(5))),
            ("GET", 200, &[(TE, "chunked")], Ok(BodyLength::Chunked)),
            ("GET", 200, &[], Ok(BodyLength::UntilClose)),
            ("HEAD", 200, &[(CL, "5")], Ok(BodyLength::Empty)),
            ("GET", 204, &[(CL, "5")], Ok(BodyLength::Empty)),
            ("GET", 304, &[(CL, "5")], Ok(BodyLength::Empty)),
            ("GET", 103, &[], Ok(BodyLength::Empty)),
            (
                "HEAD",
                200,
                &[(CL, "5"), (CL, "6")],
                Err(Refusal::ContentLength),
            ),
            ("GET", 304, &[(CL, "+5")], Err(Refusal::ContentLength)),
            ("CONNECT", 200, &[(CL, "5")], Ok(BodyLength::Empty)),
            ("CONNECT", 403, &[(CL, "5")], Ok(BodyLength::Known(5))),
            (
                "GET",
                200,
                &[(CL, "5"), (TE, "chunked")],
                Err(Refusal::BothLengths),
            ),
            (
                "GET",
                200,
                &[(TE, "chunked"), (TE, "chunked")],
                Err(Refusal::TransferEncoding),
            ),
        ];
        for (method, status, lines, expected) in table {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            let length = response(&method, status, Version::HTTP_11, &headers(lines));
            assert_eq!(length, expected, "{method} {status} {lines:?}");
        }
    }

    #[test]
    fn a_connection_is_kept_as_its_version_says() {
        let connection = |value| headers(&[("connection", value)]);
        for (version, value, expected) in [
            (Version::HTTP_11, "", Reuse::Keep),
            (Version::HTTP_11, "foo, Close", Reuse::Close),
            (Version::HTTP_10, "", Reuse::Close),
            (Version::HTTP_10, "Keep-Alive", Reuse::Keep),
            (Version::HTTP_10, "keep-alive, close", Reuse::Close),
        ] {
            assert_eq!(
                reuse(version, &connection(value)),
                expected,
                "{version:?} {value}"
            );
        }
    }
}
