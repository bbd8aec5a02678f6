//! Connecting to a server, within a time, until it is known what is spoken.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::{Place, PoolSettings};
use crate::config::{Scheme, bare_host};
use crate::net::proxy_protocol::{Ends, write};
use crate::net::tls::{self, ClientTls, Unconnected};
use crate::net::{Plain, Stream};

/// A new connection.
pub(super) enum Dialed {
    Http1(Stream),
    Http2(Stream),
}

/// For whom a connection is made.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Purpose {
    /// Told to servers that want to know; none if it is not known.
    pub(super) client: Option<Ends>,
    /// It is to be one of another protocol, which only HTTP/1.1 can turn into.
    pub(super) upgrades: bool,
}

#[derive(Debug, Error)]
pub(crate) enum DialError {
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error("cannot agree on TLS: {0}")]
    Tls(#[source] Unconnected),
}

pub(super) async fn dial(
    place: &Place,
    settings: &PoolSettings,
    purpose: Purpose,
) -> Result<Dialed, DialError> {
    let limit = settings.connect_timeout;
    let deadline = Instant::now() + limit;
    let mut stream = match place {
        Place::Host(authority, scheme) => connect_tcp(authority, *scheme, limit).await?,
        // One with a full backlog fails at once: the kernel tells nobody when there is room.
        Place::Unix(path) => within(limit, Plain::connect_unix(path)).await?,
    };
    if let Some(version) = settings.proxy_protocol {
        // A new connection has room for so few bytes.
        stream.write_all(&write(version, purpose.client)).await?;
    }
    match (place, &settings.tls) {
        (Place::Host(authority, Scheme::Https), Some(tls)) => {
            let left = deadline.saturating_duration_since(Instant::now());
            let secured = secure(stream, tls, authority, purpose.upgrades);
            let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
            timeout(left, secured).await.map_err(timed_out)?
        }
        (Place::Host(_, Scheme::H2c), _) => Ok(Dialed::Http2(Stream::Plain(stream))),
        _ => Ok(Dialed::Http1(Stream::Plain(stream))),
    }
}

async fn secure(
    stream: Plain,
    tls: &ClientTls,
    authority: &Authority,
    upgrades: bool,
) -> Result<Dialed, DialError> {
    let secured = tls::connect(stream, tls, bare_host(authority), upgrades).await;
    let (stream, http2) = secured.map_err(DialError::Tls)?;
    let stream = Stream::Tls(Arc::new(stream));
    Ok(match http2 {
        true => Dialed::Http2(stream),
        false => Dialed::Http1(stream),
    })
}

/// Resolves anew each time, so that a server that moved is found without a reload, and tries one
/// address after another. They share the time, so that one that swallows packets does not use it up.
async fn connect_tcp(server: &Authority, scheme: Scheme, limit: Duration) -> io::Result<Plain> {
    let deadline = Instant::now() + limit;
    let port = server.port_u16().unwrap_or(scheme.port());
    let host = bare_host(server);
    let addresses = match host.parse() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => within(limit, lookup_host((host, port))).await?.collect(),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
        match within(share, TcpStream::connect(address)).await {
            Ok(stream) => return Plain::to_upstream(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn within<T>(limit: Duration, act: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, act)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
