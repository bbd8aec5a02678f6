//! A socket that listens, of either kind.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use socket2::{Domain, SockRef, Type};
use tokio::net::TcpListener;

use super::unix::UnixSocket;
use crate::config::Address;
use crate::net::{Detached, Plain};
use crate::snapshot::Listener;

/// Connections that may wait to be accepted.
pub(super) const BACKLOG: i32 = 1024;

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// A connection, and the address of who made it; none by a unix socket.
pub(super) type Accepted = (Detached, Option<SocketAddr>);

impl Socket {
    /// `shared` allows, until it listens, another socket of this process on the same port: the
    /// kernel looks for a conflict at the bind and again at the listen.
    pub(super) fn listen(listener: &Listener, shared: bool) -> io::Result<Self> {
        match &listener.address {
            Address::Ip(address) => listen(*address, shared).map(Self::Tcp),
            Address::Unix(path) => UnixSocket::listen(path, listener.mode).map(Self::Unix),
        }
    }

    /// Takes the connection from this thread's poller; it will be registered with its worker's.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        Poll::Ready(match self {
            Self::Tcp(socket) => {
                let (stream, peer) = ready!(socket.poll_accept(cx))?;
                Plain::from_client(stream)?
                    .detach()
                    .map(|tcp| (tcp, Some(peer)))
            }
            Self::Unix(socket) => {
                let (stream, _) = ready!(socket.listener.poll_accept(cx))?;
                Plain::Unix(stream).detach().map(|unix| (unix, None))
            }
        })
    }

    /// What was really bound, where the kernel picked the port.
    pub(super) fn address(&self) -> io::Result<Address> {
        Ok(match self {
            Self::Tcp(socket) => Address::Ip(socket.local_addr()?),
            Self::Unix(socket) => Address::Unix(socket.path().to_owned()),
        })
    }

    /// Another listener has it from now on.
    pub(super) fn change_hands(&self, listener: &Listener) {
        if let Self::Unix(socket) = self
            && let Err(error) = socket.set_mode(listener.mode)
        {
            tracing::error!(listener = listener.name, %error, "cannot set the mode of the socket");
        }
    }

    /// It goes as soon as nobody accepts on it any more; its place is free at once.
    pub(super) fn give_up(&self) {
        if let Self::Unix(socket) = self {
            socket.unlink();
        }
    }

    /// To set options on; none of a unix socket, which has no port to share.
    pub(super) fn as_tcp(&self) -> Option<SockRef<'_>> {
        match self {
            Self::Tcp(socket) => Some(SockRef::from(socket)),
            Self::Unix(_) => None,
        }
    }
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for the connections of the process before.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_reuse_port(false)?;
    TcpListener::from_std(socket.into())
}
