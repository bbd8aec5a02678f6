//! Upgrades: a tunnel begins when the upstream has agreed, never before.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};

use super::Connection;
use super::answer::Answer;
use super::tunnel::Tunnel;
use crate::message::hop;
use crate::message::websocket::Key;
use crate::metrics::OpenConnection;
use crate::net::tunnel::Terms;
use crate::route::{Route, Upgrades};
use crate::why::Why;
use crate::wire::OnUpgrade;
use crate::wire::client::{AnswerBody, Switched};

/// In the extensions of a request: it came as an extended CONNECT (RFC 8441) and was made the
/// handshake that HTTP/1.1 has for it. No success but a tunnel may be the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExtendedConnect;

pub(super) fn is_extended(head: &Parts) -> bool {
    head.extensions.get::<ExtendedConnect>().is_some()
}

/// A client that asks to switch protocols.
pub(super) struct Ask {
    protocol: HeaderValue,
    client: Client,
    terms: Terms,
}

enum Client {
    /// Its connection is switched.
    Connection(OnUpgrade),
    /// It has a stream of HTTP/2, which needs no proof that the server means it. The upstream's
    /// connection does, so that this key is ours.
    Stream(Key),
}

impl Ask {
    /// Of the protocols that the client would take, the first that the route allows is asked for,
    /// alone: the upstream then has nothing else to choose. Without one the request is an ordinary
    /// one, unless the client could not read the answer to that.
    pub(super) fn take(head: &mut Parts, upgrades: &Upgrades) -> Result<Option<Self>, Why> {
        let extended = is_extended(head);
        // In HTTP/1.0 the field has no meaning (RFC 9110 section 7.8).
        if head.version != Version::HTTP_11 && !extended {
            return Ok(None);
        }
        let allowed = hop::upgrades(&head.headers).find(|protocol| upgrades.allow(protocol));
        let Some(protocol) = allowed else {
            return if extended {
                Err(Why::Unsupported)
            } else {
                Ok(None)
            };
        };
        let terms = Terms {
            websocket: protocol.eq_ignore_ascii_case("websocket"),
            idle: upgrades.idle,
            half_closed: upgrades.half_closed,
        };
        let protocol = HeaderValue::from_str(protocol).map_err(|_| Why::BadRequest)?;
        let client = match extended {
            true => Some(Client::Stream(Key::fresh())),
            false => head.extensions.remove().map(Client::Connection),
        };
        Ok(client.map(|client| Self {
            protocol,
            client,
            terms,
        }))
    }

    /// Asks the upstream, in the head that it gets.
    pub(super) fn put(&self, headers: &mut HeaderMap) {
        hop::set_upgrade(headers, self.protocol.clone());
        if let Client::Stream(key) = &self.client {
            key.put(headers);
        }
    }

    fn is_for(&self, protocol: &HeaderValue) -> bool {
        self.protocol
            .as_bytes()
            .eq_ignore_ascii_case(protocol.as_bytes())
    }

    /// May this status be passed on, although the upstream does not switch? Over HTTP/2 any success
    /// would say that it does.
    pub(super) fn is_refused_by(&self, status: StatusCode) -> bool {
        match self.client {
            Client::Connection(_) => true,
            Client::Stream(_) => !status.is_success(),
        }
    }
}

/// A 101 that was asked for becomes a tunnel; any other is no answer to the request.
pub(super) fn accept(
    mut response: Response<AnswerBody>,
    ask: Option<Ask>,
    route: &Route,
    connection: &Connection,
) -> Result<Answer, Why> {
    let ask = ask.ok_or(Why::UpstreamInvalid)?;
    let headers = response.headers_mut();
    let agreed = headers.get(UPGRADE);
    if !agreed.is_some_and(|protocol| ask.is_for(protocol)) {
        return Err(Why::UpstreamInvalid);
    }
    hop::strip_response(headers);
    let client = match ask.client {
        Client::Connection(client) => {
            hop::set_upgrade(headers, ask.protocol);
            Some(client)
        }
        Client::Stream(key) => {
            if !key.is_answered(headers) {
                return Err(Why::UpstreamInvalid);
            }
            headers.remove(SEC_WEBSOCKET_ACCEPT);
            headers.remove(CONTENT_LENGTH);
            None
        }
    };
    let extensions = response.extensions_mut();
    let upstream = extensions.remove::<Switched<OpenConnection>>();
    let upstream = upstream.ok_or(Why::UpstreamInvalid)?;
    extensions.clear();
    Ok(Answer::tunnel(
        response,
        Tunnel {
            client,
            terms: ask.terms,
            upstream,
            until: connection.end_of(route),
            tracker: connection.worker.tunnels.clone(),
            held: Arc::clone(&connection.held),
        },
    ))
}
