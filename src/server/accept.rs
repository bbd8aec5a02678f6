//! Accepting connections, on the control thread.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::socket::Socket;
use super::workers::{Slot, Workers};
use crate::snapshot::Listener;

/// Out of descriptors or memory: trying again at once would only burn the processor.
const BREATHER: Duration = Duration::from_millis(100);

/// Accepts until aborted. The socket closes when its last loop has ended.
pub(super) async fn accept(socket: Arc<Socket>, listener: Arc<Listener>, workers: Arc<Workers>) {
    let mut tired = false;
    loop {
        let slot = free(listener.slots.as_ref(), &listener).await;
        // Waited for before a client is taken, which would be lost if this listener changed while it
        // waits. Not kept: loops that wait for clients must not hold what others need.
        drop(free(Some(&workers.slots), &listener).await);
        match socket.accept().await {
            Ok((stream, peer)) => {
                tired = false;
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
