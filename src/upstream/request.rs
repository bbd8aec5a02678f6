//! The head of a request as one server gets it.

use std::borrow::Cow;

use http::header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri};

use super::{Place, Server};
use crate::config;

/// Base path and request path, which meet in exactly one slash.
pub(super) fn target<'a>(head: &'a Parts, server: &Server) -> Cow<'a, str> {
    let own = head.uri.path_and_query();
    let own = own.map_or("/", |target| target.as_str());
    match server.base_path.as_str() {
        "" => Cow::Borrowed(own),
        // `OPTIONS *` asks the server as a whole, wherever on it our paths begin.
        _ if own == "*" => Cow::Borrowed(own),
        base => Cow::Owned(format!("{base}{own}")),
    }
}

/// The same in HTTP/2, which has a place of its own for the host and knows no fields of connections (RFC
/// 9113 section 8.3.1).
pub(super) fn http2(head: &Parts, server: &Server, own_host: bool) -> Request<()> {
    let mut headers = head.headers.clone();
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    let named = headers.remove(HOST).filter(|_| !own_host);
    let named = named.and_then(|host| Authority::from_maybe_shared(host).ok());
    let authority = named.or_else(|| server.place.host().parse().ok());
    let path = PathAndQuery::from_maybe_shared(target(head, server).into_owned());
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(match server.place {
        Place::Host(_, config::Scheme::Https) => Scheme::HTTPS,
        Place::Host(..) | Place::Unix(_) => Scheme::HTTP,
    });
    uri.authority = authority;
    uri.path_and_query = path.ok();
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    *request.headers_mut() = headers;
    request
}
