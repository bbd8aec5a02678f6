//! A connection that speaks HTTP no longer, with what was read beyond the last message.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::net::Stream;

#[derive(Debug)]
pub struct Upgraded {
    early: Bytes,
    stream: Stream,
}

impl Upgraded {
    pub(super) fn new(stream: Stream, early: Bytes) -> Self {
        Self { early, stream }
    }

    /// The connection, and the early bytes.
    pub(crate) fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.early)
    }
}

/// In the extensions of a request: where its connection arrives once a 101 was sent.
#[derive(Debug, Clone)]
pub struct OnUpgrade(std::sync::Arc<std::sync::Mutex<Option<oneshot::Receiver<Upgraded>>>>);

impl OnUpgrade {
    pub(super) fn new() -> (oneshot::Sender<Upgraded>, Self) {
        let (sender, receiver) = oneshot::channel();
        (
            sender,
            Self(std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)))),
        )
    }

    /// The channel; none if it was taken before.
    pub fn take(self) -> Option<oneshot::Receiver<Upgraded>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
    }
}
