//! What an upstream is told of a client, as text. Most requests bring none of these fields and meet no
//! rule that could change them: theirs need not go through the map of the headers.

use http::header::VIA;
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::forwarded::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, scheme};
use super::via::via;

/// The fields that are the same for every request of one client connection.
#[derive(Debug, Default)]
pub struct ForwardedText(Vec<u8>);

impl ForwardedText {
    /// Without an address nothing is made up: readers expect addresses there and nothing else.
    pub fn new(peer: Option<&HeaderValue>, secured: bool) -> Self {
        let mut text = Vec::new();
        if let Some(peer) = peer {
            push(&X_FORWARDED_FOR, peer, &mut text);
        }
        let scheme = HeaderValue::from_static(scheme(secured));
        push(&X_FORWARDED_PROTO, &scheme, &mut text);
        Self(text)
    }
}

/// The fields of one request.
#[derive(Debug, Clone, Copy)]
pub struct ForwardedLines<'a> {
    text: &'a ForwardedText,
    version: Version,
    authority: &'a HeaderValue,
}

impl<'a> ForwardedLines<'a> {
    /// None if the map has one of these fields already, which is to be added to or left.
    pub fn of(
        headers: &HeaderMap,
        text: &'a ForwardedText,
        version: Version,
        authority: &'a HeaderValue,
    ) -> Option<Self> {
        let ours = |name: &HeaderName| {
            matches!(
                name.as_str(),
                "via" | "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto"
            )
        };
        (!headers.keys().any(ours)).then_some(Self {
            text,
            version,
            authority,
        })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text.0);
        push(&VIA, via(self.version), out);
        push(&X_FORWARDED_HOST, self.authority, out);
    }
}

fn push(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::forwarded::{Sender, set};
    use super::*;

    fn text(headers: &HeaderMap) -> Vec<u8> {
        let mut text = Vec::new();
        for (name, value) in headers {
            push(name, value, &mut text);
        }
        text
    }

    fn sorted(text: &[u8]) -> Vec<&[u8]> {
        let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn lines_say_what_the_map_would_have_said() {
        let peers = [Some(HeaderValue::from_static("192.0.2.1")), None];
        let authorities = [("a.example:81", true), ("", false)];
        for (peer, (authority, secured)) in peers.iter().zip(authorities) {
            let authority = HeaderValue::from_static(authority);
            let sender = Sender {
                peer: None,
                peer_text: peer.as_ref(),
                authority: &authority,
                secured,
                version: Version::HTTP_2,
                forwarded: false,
            };
            let mut headers = HeaderMap::new();
            headers.insert("accept", HeaderValue::from_static("*/*"));
            let mut lines = text(&headers);
            let forwarded = ForwardedText::new(peer.as_ref(), secured);
            let forwarded =
                ForwardedLines::of(&headers, &forwarded, Version::HTTP_2, &authority).unwrap();
            forwarded.encode(&mut lines);
            set(&mut headers, &sender);
            assert_eq!(sorted(&lines), sorted(&text(&headers)));
        }
    }

    #[test]
    fn what_the_map_has_is_not_said_twice() {
        for name in [VIA, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO] {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static("x"))]);
            let authority = HeaderValue::from_static("a");
            let text = ForwardedText::default();
            let lines = ForwardedLines::of(&headers, &text, Version::HTTP_11, &authority);
            assert!(lines.is_none());
        }
    }
}
