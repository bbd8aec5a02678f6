//! WebSocket over HTTP/2 (RFC 8441): an extended CONNECT, and the handshake of HTTP/1.1 that says the
//! same. The handler sees the latter only, so that one route has one answer to both.

use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, response};
use hyper::ext::Protocol;

use crate::proxy::ExtendedConnect;

const WEBSOCKET: &str = "websocket";

/// Any other protocol stays a CONNECT, to which the handler says that this is not done.
pub(super) fn as_handshake(head: &mut Parts) {
    let protocol = head.extensions.get::<Protocol>();
    if !protocol.is_some_and(|protocol| protocol.as_str().eq_ignore_ascii_case(WEBSOCKET)) {
        return;
    }
    head.method = Method::GET;
    head.extensions.insert(ExtendedConnect);
    let headers = &mut head.headers;
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
}

/// What a 101 is to a client of HTTP/2.
pub(super) fn agree(head: &mut response::Parts) {
    head.status = StatusCode::OK;
}
