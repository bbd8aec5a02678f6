//! Accepting connections, on the control thread.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::socket::Socket;
use super::workers::Workers;
use crate::snapshot::Listener;

/// Out of descriptors or memory: trying again at once would only burn the processor.
const BREATHER: Duration = Duration::from_millis(100);

/// Accepts until aborted. The socket closes when its last loop has ended.
pub(super) async fn accept(socket: Arc<Socket>, listener: Arc<Listener>, workers: Arc<Workers>) {
    let mut tired = false;
    loop {
        match socket.accept().await {
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
