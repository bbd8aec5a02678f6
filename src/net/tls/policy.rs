//! What is asked of clients, and the session tickets that hold for it.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::{Error, ServerConfig};

use super::client_auth::Identity;
use super::{HTTP1, HTTP2, Sites, provider};

/// The keys of session tickets. A ticket is worth what the handshake was that it came from, so these
/// are never those of another policy or another listener; they rotate by themselves.
#[derive(Debug, Clone)]
struct Tickets {
    /// Of all that a handshake has verified when it gives a ticket.
    verified: u64,
    keys: Arc<dyn ProducesTickets>,
}

/// What clients are asked.
#[derive(Debug)]
pub(crate) struct Asks {
    /// Tells policies apart, as they are written.
    pub id: u64,
    /// Changes with whatever clients are verified by, the content of files included.
    pub verified: u64,
    /// None if no certificate is asked for.
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
    pub headers: IdentityHeaders,
}

/// The fields that tell an upstream who a client is.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdentityHeaders {
    pub subject: Option<HeaderName>,
    pub san: Option<HeaderName>,
    pub fingerprint: Option<HeaderName>,
}

impl IdentityHeaders {
    pub(crate) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        [&self.subject, &self.san, &self.fingerprint]
            .into_iter()
            .flatten()
    }

    pub(super) fn of(&self, identity: Identity) -> Vec<(HeaderName, HeaderValue)> {
        let pairs = [
            (&self.subject, identity.subject),
            (&self.san, identity.san),
            (&self.fingerprint, identity.fingerprint),
        ];
        // Nothing to tell is told by nothing.
        let told = |(name, value): (&Option<HeaderName>, HeaderValue)| {
            name.clone()
                .filter(|_| !value.is_empty())
                .map(|name| (name, value))
        };
        pairs.into_iter().filter_map(told).collect()
    }
}

/// One way to be asked.
#[derive(Debug)]
pub(crate) struct Policy {
    pub id: u64,
    pub headers: IdentityHeaders,
    tickets: Tickets,
    pub(super) config: Arc<ServerConfig>,
}

impl Policy {
    /// The ticket keys of `previous` go on if it verifies by the same. `http2`: is it spoken?
    pub(crate) fn new(
        asks: Asks,
        sites: &Arc<Sites>,
        http2: bool,
        previous: Option<&Self>,
    ) -> Result<Self, Error> {
        let Asks {
            id,
            verified,
            verifier,
            headers,
        } = asks;
        let known = previous.map(|previous| &previous.tickets);
        let tickets = match known.filter(|tickets| tickets.verified == verified) {
            Some(tickets) => tickets.clone(),
            None => Tickets {
                verified,
                keys: aws_lc_rs::Ticketer::new()?,
            },
        };
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions()?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(sites) as _);
        let protocols: &[&[u8]] = if http2 { &[HTTP2, HTTP1] } else { &[HTTP1] };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        // Ours: a client that lists its weakest first does not get it.
        config.ignore_client_order = true;
        config.ticketer = Arc::clone(&tickets.keys);
        // What resumes is with the client, sealed. A store here would be one that all workers share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            id,
            headers,
            tickets,
            config: Arc::new(config),
        })
    }
}
