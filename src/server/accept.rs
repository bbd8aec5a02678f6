//! Accepting connections, on the control thread.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::socket::Socket;
use super::workers::{Slots, Workers};
use crate::snapshot::Listener;

/// Out of descriptors or memory: trying again at once would only burn the processor.
const BREATHER: Duration = Duration::from_millis(100);

/// Accepts until aborted. The socket closes when its last loop has ended.
pub(super) async fn accept(socket: Arc<Socket>, listener: Arc<Listener>, workers: Arc<Workers>) {
    let mut tired = false;
    let mut freed = None;
    loop {
        // Places are looked for and clients are taken in one step. So no client is taken who would be
        // lost if this listener changed while there is no place; and no place is kept from others
        // while there is no client.
        let step = poll_fn(|cx| {
            let slots = freed.take().or_else(|| free(&listener, &workers));
            let Some(slots) = slots else {
                return Poll::Ready(None);
            };
            let accepted = socket.poll_accept(cx);
            accepted.map(|accepted| Some((accepted, slots)))
        });
        let Some((accepted, slots)) = step.await else {
            freed = Some(when_free(&listener, &workers).await);
            continue;
        };
        match accepted {
            Ok((stream, peer)) => {
                tired = false;
                workers.dispatch(stream, peer, &listener, slots);
            }
            Err(error) if is_about_one(&error) => {}
            Err(error) => {
                drop(slots);
                if !tired {
                    tracing::error!(listener = listener.name, %error, "cannot accept connections");
                }
                tired = true;
                sleep(BREATHER).await;
            }
        }
    }
}

/// Places for one connection more, if there are any.
fn free(listener: &Listener, workers: &Workers) -> Option<Slots> {
    let place = |slots: &Arc<Semaphore>| Arc::clone(slots).try_acquire_owned().ok();
    let own = match &listener.slots {
        Some(slots) => Some(place(slots)?),
        None => None,
    };
    Some((own, Some(place(&workers.slots)?)))
}

/// The same once there are some. Until then clients wait in the kernel's queue, which costs nothing
/// and loses none of them.
async fn when_free(listener: &Listener, workers: &Workers) -> Slots {
    tracing::warn!(
        listener = listener.name,
        "as many connections as allowed are open; further ones wait"
    );
    // The semaphores are never closed.
    let place = async |slots: &Arc<Semaphore>| Arc::clone(slots).acquire_owned().await.ok();
    let own = match &listener.slots {
        Some(slots) => place(slots).await,
        None => None,
    };
    (own, place(&workers.slots).await)
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
