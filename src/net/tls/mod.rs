//! TLS: whose certificate is shown, what is asked of the other side, and the handshake. rustls does the
//! protocol and aws-lc-rs the cryptography; what they hold safe is what is spoken, with nothing to tune.

mod accept;
mod certificate;
mod client_auth;
mod connect;
mod handshake;
pub(crate) mod local;
mod policy;
mod roots;
mod sealed;
mod sites;
mod stream;

pub(crate) use accept::{Unaccepted, accept};
pub(crate) use certificate::{Certificate, Fault, Part};
pub(crate) use client_auth::verifier;
pub(crate) use connect::{ClientTls, Unconnected, Wanted, alert, connect};
pub(crate) use policy::{Asks, IdentityHeaders, Policy};
pub(crate) use roots::{Roots, roots, roots_of_system};
pub(crate) use sites::{Entry, Sites};
pub(crate) use stream::TlsStream;

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// What a listener may speak inside TLS, in the order of preference: names that a handshake agrees on
/// (RFC 7301).
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// One for the process: making it costs more than a reference.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// All of TLS on one listener, as one snapshot has it.
#[derive(Debug)]
pub struct Tls {
    sites: Arc<Sites>,
    policies: Vec<Policy>,
}

impl Tls {
    /// `policies` are in the order by which the entries of `sites` number them.
    pub(crate) fn new(sites: Arc<Sites>, policies: Vec<Policy>) -> Self {
        Self { sites, policies }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        self.sites.entries()
    }

    pub(crate) fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// Is not the same asked of everyone?
    pub(crate) fn differs(&self) -> bool {
        self.policies.len() > 1
    }

    /// What is asked of a client that names this host, in its handshake or in a request.
    pub(crate) fn policy(&self, host: Option<&str>) -> &Policy {
        &self.policies[self.sites.policy(host)]
    }
}

/// What a handshake found out, for the requests on the connection.
#[derive(Debug, Clone)]
pub(crate) struct Secured {
    /// The id of the policy.
    pub policy: u64,
    /// HTTP/2 is what was agreed on.
    pub http2: bool,
    /// What upstreams are told of the client.
    pub identity: Vec<(HeaderName, HeaderValue)>,
}
