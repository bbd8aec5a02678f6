//! The client's side of a handshake: whom a server has to be, and what it is shown.

use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, SignatureScheme,
};

use super::super::plain::Plain;
use super::stream::{Session, TlsStream};
use super::{Certificate, HTTP1, HTTP2, Roots, provider};

/// Sessions that can be resumed, of all servers of one upstream together.
const SESSIONS: usize = 64;

/// What is wanted of a server.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Who may have signed its certificate; none if anybody may.
    pub roots: Option<Roots>,
    /// The name that its certificate has to hold; none for the host of its URL.
    pub name: Option<ServerName<'static>>,
    /// What it is shown if it asks.
    pub pair: Option<Arc<Certificate>>,
    /// Is it asked for HTTP/2?
    pub http2: bool,
}

/// How the servers of one upstream are spoken to, for all its connections.
#[derive(Debug, Clone)]
pub struct ClientTls {
    id: u64,
    name: Option<ServerName<'static>>,
    insecure: bool,
    config: Arc<ClientConfig>,
    /// The same, but for connections that have to be of HTTP/1.1.
    http1: Arc<ClientConfig>,
}

/// By all that it was made of, files' content included.
impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for ClientTls {}

impl Hash for ClientTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl ClientTls {
    /// `id` tells it from any other.
    pub(crate) fn new(id: u64, wanted: Wanted) -> Result<Self, Error> {
        let Wanted {
            roots,
            name,
            pair,
            http2,
        } = wanted;
        let insecure = roots.is_none();
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions()?;
        let builder = match roots {
            Some(roots) => builder.with_root_certificates(roots),
            None => {
                let anybody = Arc::new(Anybody(provider()));
                let builder = builder.dangerous();
                builder.with_custom_certificate_verifier(anybody)
            }
        };
        let mut config = match pair {
            Some(pair) => {
                let shown = SingleCertAndKey::from(Arc::clone(&pair.key));
                builder.with_client_cert_resolver(Arc::new(shown))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        config.alpn_protocols = vec![HTTP1.to_vec()];
        let http1 = Arc::new(config.clone());
        if http2 {
            config.alpn_protocols.insert(0, HTTP2.to_vec());
        }
        Ok(Self {
            id,
            name,
            insecure,
            config: Arc::new(config),
            http1,
        })
    }

    pub(crate) fn is_insecure(&self) -> bool {
        self.insecure
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unconnected {
    #[error("the server closed the connection in the middle of the handshake")]
    Closed,
    #[error("{0}")]
    Failed(#[source] Error),
}

/// Speaks with a server until both have what they need. `host` is that of its URL; `upgrades` if the
/// connection is to be one of another protocol, which only HTTP/1.1 can turn into. Is it HTTP/2 that was
/// agreed on?
pub(crate) async fn connect(
    stream: Plain,
    tls: &ClientTls,
    host: &str,
    upgrades: bool,
) -> Result<(TlsStream, bool), Unconnected> {
    let name = match &tls.name {
        Some(name) => name.clone(),
        None => {
            let name = ServerName::try_from(host.to_owned());
            name.map_err(|error| Unconnected::Failed(Error::General(error.to_string())))?
        }
    };
    let config = if upgrades { &tls.http1 } else { &tls.config };
    let connection = ClientConnection::new(Arc::clone(config), name);
    let connection = connection.map_err(Unconnected::Failed)?;
    let (read, write) = stream.into_split();
    let mut session = Session::new(read, Connection::Client(connection));
    let ended = poll_fn(|cx| session.poll_handshake(&write, cx)).await;
    ended.map_err(|error| error.map_or(Unconnected::Closed, Unconnected::Failed))?;
    let http2 = session.tls.alpn_protocol() == Some(HTTP2);
    Ok((TlsStream::new(session, write), http2))
}

/// Has the other side said why it wants none of us? A server that misses our certificate says so only when
/// the handshake is over for us (RFC 8446 section 4.4.2.4).
pub(crate) fn alert(error: &io::Error) -> Option<&Error> {
    let error = error.get_ref()?.downcast_ref::<Error>();
    error.filter(|error| matches!(error, Error::AlertReceived(_)))
}

/// Takes every certificate, if whoever shows it has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
