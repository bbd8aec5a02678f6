//! Connecting to a server, within a time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::uri::Authority;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::Place;
use crate::net::Stream;

const HTTP: u16 = 80;

pub(super) async fn connect(server: &Place, limit: Duration) -> io::Result<Stream> {
    match server {
        Place::Host(authority) => connect_tcp(authority, limit).await,
        // One with a full backlog fails at once: the kernel tells nobody when there is room.
        Place::Unix(path) => within(limit, Stream::connect_unix(path)).await,
    }
}

/// Resolves anew each time, so that a server that moved is found without a reload, and tries one
/// address after another. They share the time, so that one that swallows packets does not use it up.
async fn connect_tcp(server: &Authority, limit: Duration) -> io::Result<Stream> {
    let deadline = Instant::now() + limit;
    let port = server.port_u16().unwrap_or(HTTP);
    let host = server.host().trim_start_matches('[').trim_end_matches(']');
    let addresses = match host.parse() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => within(limit, lookup_host((host, port))).await?.collect(),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
        match within(share, TcpStream::connect(address)).await {
            Ok(stream) => return Stream::to_upstream(stream),
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
