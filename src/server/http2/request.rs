//! A request of HTTP/2, made one that the handler knows. What h2 lets pass and HTTP/1.1 could read
//! otherwise is refused; h2 itself resets streams with fields that belong to a connection (RFC 9113
//! section 8.2.2), upper case, or pseudo-fields that are missing, repeated or unknown.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::header::COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::extended_connect::as_handshake;
use crate::wire::chunked::HEAD_ONLY;
use crate::wire::{Limits, Refusal, framing};

/// The request, or the rule that it breaks.
pub(super) fn sound(request: Request<Incoming>, limits: &Limits) -> Result<Request<Body>, Refusal> {
    let (mut head, body) = request.into_parts();
    as_handshake(&mut head);
    check(&head, limits)?;
    join_cookies(&mut head.headers);
    let body = match body.is_end_stream() {
        true => Body::empty(),
        false => Body::new(RequestBody(body)),
    };
    Ok(Request::from_parts(head, body))
}

fn check(head: &Parts, limits: &Limits) -> Result<(), Refusal> {
    if head.method == Method::CONNECT {
        // The handler has an answer to it, whatever its target.
        return Ok(());
    }
    let target = head
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    let scheme = head.uri.scheme_str().unwrap_or("http");
    let asterisk = target == "*" && head.method == Method::OPTIONS;
    if !(target.starts_with('/') || asterisk) || !matches!(scheme, "http" | "https") {
        return Err(Refusal::Target);
    }
    if target.len() > limits.target {
        return Err(Refusal::TargetTooLong);
    }
    if head.headers.len() > limits.fields {
        return Err(Refusal::TooManyHeaders);
    }
    let mut length = head.method.as_str().len() + target.len();
    for (name, value) in &head.headers {
        // As long as it would be in HTTP/1.1.
        length += name.as_str().len() + value.len() + 4;
        if is_spaced(value) {
            return Err(Refusal::SpacedValue);
        }
    }
    if length > limits.head {
        return Err(Refusal::HeadTooLong);
    }
    // Of two lengths h2 has looked at one.
    framing::request(Version::HTTP_11, &head.headers).map(drop)
}

/// HTTP/1.1 would read it without the space, which RFC 9113 section 8.2.1 lets nobody send.
fn is_spaced(value: &HeaderValue) -> bool {
    let spaced = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    spaced(value.as_bytes().first()) || spaced(value.as_bytes().last())
}

/// HTTP/2 sends cookies in crumbs, which HTTP/1.1 reads from one field only (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.nth(1).is_none() {
        return;
    }
    let crumbs = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let joined = crumbs.collect::<Vec<_>>().join(&b"; "[..]);
    if let Ok(cookie) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, cookie);
    }
}

/// Its trailers must not say what only a head may, and their values are as those of a head.
struct RequestBody(Incoming);

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        let forbidden = |trailers: &HeaderMap| {
            HEAD_ONLY.iter().any(|name| trailers.contains_key(name))
                || trailers.values().any(is_spaced)
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) if frame.trailers_ref().is_some_and(forbidden) => {
                Some(Err(axum::Error::new(Refusal::Trailers)))
            }
            frame => frame.map(|frame| frame.map_err(axum::Error::new)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
