//! Accepting connections, on the control thread.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::workers::Workers;
use crate::snapshot::Listener;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Out of descriptors or memory: trying again at once would only burn the processor.
const BREATHER: Duration = Duration::from_millis(100);

/// `shared` allows, until it listens, another socket of this process on the same port: the kernel
/// looks for a conflict at the bind and again at the listen.
pub(super) fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for the connections of the process before.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_reuse_port(false)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until aborted. The socket closes when its last loop has ended.
pub(super) async fn accept(
    socket: Arc<TcpListener>,
    listener: Arc<Listener>,
    workers: Arc<Workers>,
) {
    let mut tired = false;
    loop {
        match socket.accept().await.and_then(release) {
            Ok((stream, peer)) => {
                tired = false;
                workers.dispatch(stream, peer, &listener);
            }
            Err(error) if is_about_one(&error) => {}
            Err(error) => {
                if !tired {
                    tracing::error!(listener = listener.name, %error, "cannot accept connections");
                }
                tired = true;
                sleep(BREATHER).await;
            }
        }
    }
}

/// Takes the socket from this thread's poller; it will be registered with its worker's.
fn release(
    (stream, peer): (tokio::net::TcpStream, SocketAddr),
) -> io::Result<(TcpStream, SocketAddr)> {
    stream.set_nodelay(true)?;
    Ok((stream.into_std()?, peer))
}

/// Errors of the connection that was to be accepted, not of the socket.
fn is_about_one(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, InvalidInput,
        NotConnected,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | Interrupted
            | InvalidInput
            | NotConnected
    )
}
