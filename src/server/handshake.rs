//! The TLS handshake of a connection, on its worker and within its time.

use bytes::BytesMut;
use tokio::time::{Instant, timeout};

use crate::metrics::HandshakeFailure;
use crate::net::tls::{Secured, Unaccepted, accept};
use crate::net::{Plain, Stream};
use crate::proxy::Worker;
use crate::snapshot::Listener;

/// What a connection is after its beginning.
pub(super) enum Begun {
    /// In clear, as its listener is.
    Clear(Stream, BytesMut),
    Secured(Stream, Secured),
    /// In clear, though its listener is not: it can only be told so.
    WantsTls(Stream, BytesMut),
}

/// None if there is no connection any more. What serves now decides, not what did when it was accepted.
pub(super) async fn begin(
    stream: Plain,
    early: BytesMut,
    listener: &Listener,
    worker: &Worker,
) -> Option<Begun> {
    let Some(row) = &listener.tls_row else {
        return Some(Begun::Clear(Stream::Plain(stream), early));
    };
    let tls = worker.live.load().tls_of(listener).cloned()?;
    let (handshake, began) = (row.begin(worker.recorder.worker), Instant::now());
    // Boxed for as long as it lasts: the task of every connection would be as large otherwise.
    let accepting = Box::pin(accept(stream, early, &tls));
    let failed = match timeout(listener.handshake_timeout, accepting).await {
        Ok(Ok((stream, secured, how))) => {
            handshake.ended(how, began.elapsed());
            return Some(Begun::Secured(Stream::Tls(stream.into()), secured));
        }
        Ok(Err(Unaccepted::Silent)) => return None,
        Ok(Err(Unaccepted::Clear(stream, early))) => {
            handshake.failed(HandshakeFailure::NotTls);
            return Some(Begun::WantsTls(Stream::Plain(stream), early));
        }
        Ok(Err(Unaccepted::Failed(failed))) => failed,
        Err(_) => {
            handshake.failed(HandshakeFailure::Timeout);
            return None;
        }
    };
    tracing::debug!(
        listener = listener.name,
        why = failed.why.word(),
        error = failed.error.as_ref().map(tracing::field::display),
        "TLS handshake failed"
    );
    handshake.failed(failed.why);
    drop(handshake);
    // Boxed, as above.
    Box::pin(failed.part()).await;
    None
}
