//! What is asked of clients, and the session tickets that hold for it.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WantsServerCert};
use rustls::{ConfigBuilder, Error, ServerConfig};

use super::{PROTOCOLS, Sites, provider};

/// The keys of session tickets. A ticket is worth what the handshake was that it came from, so these
/// are never those of another policy or another listener; they rotate by themselves.
#[derive(Debug, Clone)]
struct Tickets {
    /// Of all that a handshake has verified when it gives a ticket.
    verified: u64,
    keys: Arc<dyn ProducesTickets>,
}

/// One way to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// Tells policies apart, as they are written.
    pub id: u64,
    tickets: Tickets,
    pub(super) config: Arc<ServerConfig>,
}

impl Policy {
    /// `verified` changes with whatever clients are verified by, the content of files included. The
    /// keys of `previous` go on if it has not.
    pub(crate) fn new(
        id: u64,
        verified: u64,
        sites: &Arc<Sites>,
        previous: Option<&Self>,
    ) -> Result<Self, Error> {
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
        let builder: ConfigBuilder<ServerConfig, WantsServerCert> = builder.with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::clone(sites) as _);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.ticketer = Arc::clone(&tickets.keys);
        // What resumes is with the client, sealed. A store here would be one that all workers share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            id,
            tickets,
            config: Arc::new(config),
        })
    }
}
