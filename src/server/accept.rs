//! Accepting connections, on the control thread.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::workers::{Slot, Workers};
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
        let slot = free(listener.slots.as_ref(), &listener).await;
        match socket.accept().await.and_then(release) {
            Ok((stream, peer)) => {
                tired = false;
                // Asked for only now: loops that wait for a client must not hold what others need.
                let slots = (slot, free(Some(&workers.slots), &listener).await);
                workers.dispatch(stream, peer, &listener, slots);
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

/// A place for one connection more, once there is one. Until then clients wait in the kernel's queue,
/// which costs nothing and loses none of them.
async fn free(slots: Option<&Arc<Semaphore>>, listener: &Listener) -> Slot {
    let slots = slots?;
    if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
        return Some(slot);
    }
    tracing::warn!(
        listener = listener.name,
        "as many connections as allowed are open; further ones wait"
    );
    // The semaphore is never closed.
    Arc::clone(slots).acquire_owned().await.ok()
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
