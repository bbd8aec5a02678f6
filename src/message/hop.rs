//! Hop-by-hop fields: what belongs to one connection is not passed on (RFC 9110 section 7.6.1).

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::fields::{has, lines, says, tokens};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Taken away; the last two from requests only. `Trailer` stays: it tells the next hop which trailers
/// to expect.
const HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HTTP2_SETTINGS,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
];

/// No sender may nominate these away: they frame the message or say whom it is for.
const NEVER: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER];

/// Strips a request. Ours are added afterwards, so that a nominated `X-Forwarded-For` is gone and
/// ours is not. Does the client say that it reads trailers?
pub fn strip_request(headers: &mut HeaderMap) -> bool {
    let found = found(headers);
    if found == 0 {
        return false;
    }
    let trailers = found & bit(&TE) != 0 && wants_trailers(headers);
    strip(headers, found);
    if trailers {
        // Ours, for the next connection, which RFC 9110 section 10.1.4 wants told that it ends there.
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    trailers
}

/// Strips an answer.
pub fn strip_response(headers: &mut HeaderMap) {
    let found = found(headers) & !(bit(&PROXY_AUTHORIZATION) | bit(&TE));
    if found != 0 {
        strip(headers, found);
    }
}

/// Which of [`HOP`] are there. Most messages carry none or one, and one look at the names costs less
/// than a removal of each.
fn found(headers: &HeaderMap) -> u32 {
    headers.keys().map(bit).fold(0, |found, bit| found | bit)
}

/// By its place in [`HOP`].
fn bit(name: &HeaderName) -> u32 {
    // One comparison for nearly every name, where a search of the list takes nine.
    match name.as_str() {
        "connection" => 1,
        "keep-alive" => 1 << 1,
        "proxy-connection" => 1 << 2,
        "transfer-encoding" => 1 << 3,
        "upgrade" => 1 << 4,
        "http2-settings" => 1 << 5,
        "proxy-authenticate" => 1 << 6,
        "proxy-authorization" => 1 << 7,
        "te" => 1 << 8,
        _ => 0,
    }
}

fn strip(headers: &mut HeaderMap, found: u32) {
    if found & bit(&CONNECTION) != 0 {
        for name in nominated(headers) {
            headers.remove(name);
        }
    }
    for (place, name) in HOP.iter().enumerate() {
        if found & 1 << place != 0 {
            headers.remove(name);
        }
    }
}

/// The fields named on *all* `Connection` lines. `close` and `keep-alive`, which are all that most
/// say, are no fields that would still be there.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let plain = |line: &HeaderValue| line == "keep-alive" || line == "close";
    if lines(headers, &CONNECTION).all(plain) {
        return Vec::new();
    }
    tokens(headers, &CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !NEVER.contains(name))
        .collect()
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    let mut codings = tokens(headers, &TE).map(|coding| coding.split(';').next().unwrap_or(coding));
    codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// The protocols that a request asks to switch to, the dearest first: none unless `Connection` says
/// `upgrade` too.
pub fn upgrades(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let asked = has(headers, &UPGRADE) && says(headers, &CONNECTION, "upgrade");
    tokens(headers, &UPGRADE).filter(move |_| asked)
}

/// Puts back what [`strip_request`] and [`strip_response`] took from an upgrade that goes on.
pub fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn every_hop_by_hop_field_is_known_by_its_place() {
        for (place, name) in HOP.iter().enumerate() {
            assert_eq!(bit(name), 1 << place, "{name}");
        }
    }

    #[test]
    fn what_is_nominated_on_any_line_goes_and_framing_stays() {
        let mut request = headers(&[
            ("connection", ""),
            ("connection", "Close , X-Foo,host, content-length"),
            ("connection", "x-forwarded-for, cookie, bad name"),
            ("x-foo", "1"),
            ("x-forwarded-for", "1.2.3.4"),
            ("cookie", "a=b"),
            ("host", "a"),
            ("content-length", "3"),
            ("keep-alive", "5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("te", "gzip, Trailers;q=1"),
            ("trailer", "x-sum"),
            ("x-bar", "2"),
        ]);
        strip_request(&mut request);
        let left = headers(&[
            ("host", "a"),
            ("content-length", "3"),
            ("trailer", "x-sum"),
            ("x-bar", "2"),
            ("te", "trailers"),
            ("connection", "te"),
        ]);
        assert_eq!(request, left);
    }

    #[test]
    fn an_upgrade_needs_both_fields() {
        let asked = |lines| {
            let headers = headers(lines);
            upgrades(&headers).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(asked(&[("upgrade", "websocket")]), [""; 0]);
        assert_eq!(asked(&[("connection", "upgrade")]), [""; 0]);
        let both = [
            ("connection", "keep-alive"),
            ("connection", "close , UPGRADE"),
            ("upgrade", "foo/1 ,"),
            ("upgrade", "websocket"),
        ];
        assert_eq!(asked(&both), ["foo/1", "websocket"]);
    }
}
