//! The server's side of a handshake.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use rustls::{Connection, Error, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::super::plain::{Plain, PlainRead, PlainWrite};
use super::client_auth::Identity;
use super::stream::{Session, TlsStream};
use super::{HTTP2, Secured, Tls};
use crate::metrics::{HandshakeFailure, Handshaken};

/// Why there is no TLS on a connection.
#[derive(Debug)]
pub(crate) enum Unaccepted {
    /// It was closed before anything was said on it.
    Silent,
    /// The client speaks HTTP in clear; with what it has said.
    Clear(Plain, BytesMut),
    Failed(Failed),
}

/// A handshake that came to nothing.
#[derive(Debug)]
pub(crate) struct Failed {
    pub why: HandshakeFailure,
    pub error: Option<Error>,
    /// Of a client that was told why, and may still be sending.
    told: Option<Plain>,
}

impl Failed {
    /// Ends the connection so that what the client was told is not lost to what it still sends.
    pub(crate) async fn part(self) {
        let Some(mut stream) = self.told else { return };
        if stream.shutdown().await.is_err() {
            return;
        }
        let (mut rest, mut nowhere) = (stream.take(LINGER_BYTES), tokio::io::sink());
        // Whoever sends on for longer is cut.
        let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut nowhere)).await;
    }
}

/// How long, and how much, a client may send that has failed.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

/// The type of a record that holds a message of a handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
/// Room for a first message, which has grown with the keys in it.
const ROOM: usize = 4 * 1024;

/// Speaks with a client until both have what they need. `early` was read already.
pub(crate) async fn accept(
    stream: Plain,
    early: BytesMut,
    tls: &Tls,
) -> Result<(TlsStream, Secured, Handshaken), Unaccepted> {
    let (read, write) = stream.into_split();
    let (hello, read, write) = hello(read, write, early).await?;
    let host = hello
        .client_hello()
        .server_name()
        .map(str::to_ascii_lowercase);
    let policy = tls.policy(host.as_deref());
    let connection = match hello.into_connection(policy.config.clone()) {
        Ok(connection) => connection,
        Err((error, alert)) => return Err(tell(alert, error, read, write).await),
    };
    let mut session = Session::new(read, Connection::Server(connection));
    let ended = poll_fn(|cx| session.poll_handshake(&write, cx)).await;
    match ended {
        Ok(()) => {}
        Err(None) => return Err(gone()),
        Err(Some(error)) => return Err(failed(error, session.read.reunite(write))),
    }
    let handshaken = match session.tls.handshake_kind() {
        Some(HandshakeKind::Resumed) => Handshaken::Resumed,
        _ => Handshaken::Full,
    };
    let shown = session.tls.peer_certificates().and_then(<[_]>::first);
    let identity = shown
        .and_then(Identity::of)
        .map(|identity| policy.headers.of(identity));
    let secured = Secured {
        policy: policy.id,
        http2: session.tls.alpn_protocol() == Some(HTTP2),
        identity: identity.unwrap_or_default(),
    };
    Ok((TlsStream::new(session, write), secured, handshaken))
}

/// The client's first message, whole.
async fn hello(
    mut read: PlainRead,
    write: PlainWrite,
    mut said: BytesMut,
) -> Result<(Accepted, PlainRead, PlainWrite), Unaccepted> {
    let mut acceptor = Acceptor::default();
    let mut fed = 0;
    loop {
        if said.first().is_some_and(|first| *first != HANDSHAKE) {
            let clear = said.first().is_some_and(u8::is_ascii_uppercase);
            let whole = read.reunite(write).filter(|_| clear);
            return Err(match whole {
                Some(stream) => Unaccepted::Clear(stream, said),
                None => cut(HandshakeFailure::NotTls),
            });
        }
        while fed < said.len() {
            let taken = acceptor.read_tls(&mut &said[fed..]);
            match taken {
                Ok(taken @ 1..) => fed += taken,
                Ok(0) | Err(_) => {
                    return Err(cut(HandshakeFailure::Malformed));
                }
            }
        }
        match acceptor.accept() {
            Ok(Some(hello)) => return Ok((hello, read, write)),
            Ok(None) => {}
            Err((error, alert)) => return Err(tell(alert, error, read, write).await),
        }
        if said.is_empty() {
            said.reserve(ROOM);
        }
        match read.read_buf(&mut said).await {
            Ok(1..) => {}
            Ok(0) | Err(_) if said.is_empty() => return Err(Unaccepted::Silent),
            Ok(0) | Err(_) => return Err(gone()),
        }
    }
}

/// Tells the client why. Whoever does not take it will see the connection end.
async fn tell(
    mut alert: AcceptedAlert,
    error: Error,
    read: PlainRead,
    write: PlainWrite,
) -> Unaccepted {
    // Of a connection that is so new it is not known yet whether it takes anything.
    if poll_fn(|cx| write.poll_write_ready(cx)).await.is_ok() {
        let _ = alert.write_all(&mut Socket(&write));
    }
    failed(error, read.reunite(write))
}

fn gone() -> Unaccepted {
    cut(HandshakeFailure::Closed)
}

fn cut(why: HandshakeFailure) -> Unaccepted {
    Unaccepted::Failed(Failed {
        why,
        error: None,
        told: None,
    })
}

fn failed(error: Error, told: Option<Plain>) -> Unaccepted {
    Unaccepted::Failed(Failed {
        why: reason(&error),
        error: Some(error),
        told,
    })
}

fn reason(error: &Error) -> HandshakeFailure {
    use rustls::PeerIncompatible as No;
    match error {
        Error::AlertReceived(_) => HandshakeFailure::Alert,
        Error::NoApplicationProtocol => HandshakeFailure::NoProtocol,
        Error::NoCertificatesPresented => HandshakeFailure::NoClientCertificate,
        Error::InvalidCertificate(_) => HandshakeFailure::BadClientCertificate,
        Error::PeerIncompatible(
            No::Tls12NotOffered
            | No::Tls12NotOfferedOrEnabled
            | No::ServerDoesNotSupportTls12Or13
            | No::ServerTlsVersionIsDisabledByOurConfig
            | No::SupportedVersionsExtensionRequired
            // Every client has sent it since TLS 1.2.
            | No::SignatureAlgorithmsExtensionRequired,
        ) => HandshakeFailure::NoVersion,
        Error::PeerIncompatible(_) => HandshakeFailure::NoCipher,
        _ => HandshakeFailure::Malformed,
    }
}

struct Socket<'a>(&'a PlainWrite);

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
