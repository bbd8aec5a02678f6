//! Hop-by-hop fields: what belongs to one connection is not passed on (RFC 9110 section 7.6.1).

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Always taken away. `Trailer` stays: it tells the next hop which trailers to expect.
const ALWAYS: [HeaderName; 7] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HTTP2_SETTINGS,
    PROXY_AUTHENTICATE,
];

/// No sender may nominate these away: they frame the message or say whom it is for.
const NEVER: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER];

/// Strips a request. Ours are added afterwards, so that a nominated `X-Forwarded-For` is gone and
/// ours is not.
pub fn strip_request(headers: &mut HeaderMap) {
    // Most requests carry none of these, and one look costs less than ten removals.
    if !headers
        .keys()
        .any(|name| is_hop(name) || *name == PROXY_AUTHORIZATION || *name == TE)
    {
        return;
    }
    let trailers = wants_trailers(headers);
    strip(headers);
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(TE);
    if trailers {
        // Ours, for the next connection, which RFC 9110 section 10.1.4 wants told that it ends there.
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Strips an answer.
pub fn strip_response(headers: &mut HeaderMap) {
    if headers.keys().any(is_hop) {
        strip(headers);
    }
}

fn is_hop(name: &HeaderName) -> bool {
    ALWAYS.contains(name)
}

fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in nominated(headers) {
            headers.remove(name);
        }
    }
    for name in ALWAYS {
        headers.remove(name);
    }
}

/// The fields named on *all* `Connection` lines.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    tokens(headers, &CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !NEVER.contains(name))
        .collect()
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    let mut codings = tokens(headers, &TE).map(|coding| coding.split(';').next().unwrap_or(coding));
    codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// The protocol that a message switches to, or asks to: only if `Connection` says `upgrade` too.
pub fn upgrade(headers: &HeaderMap) -> Option<&HeaderValue> {
    let asked = tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    headers.get(UPGRADE).filter(|_| asked)
}

/// Puts back what [`strip_request`] and [`strip_response`] took from an upgrade that goes on.
pub fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// The elements of a comma-separated field, over all its lines.
pub fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
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
        let asked = |lines| upgrade(&headers(lines)).cloned();
        assert_eq!(asked(&[("upgrade", "websocket")]), None);
        assert_eq!(asked(&[("connection", "upgrade")]), None);
        let both = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ];
        assert_eq!(asked(&both), Some(HeaderValue::from_static("websocket")));
    }
}
