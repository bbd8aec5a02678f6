//! A stream of HTTP/2 as one end of a tunnel. What is written goes to a sender, which gives it to the
//! connection as the client's window allows; whoever runs the sender tells here how it ended.
//!
//! Tunnel and sender are run by the one task of the connection, so the lock is never waited for.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Written at once: a full frame. Some of these wait for the sender, and it holds one more.
const PIECE: usize = 16 * 1024;

pub(crate) struct Substream {
    io: Mutex<TokioIo<Upgraded>>,
    /// The client has reset the stream, or its connection has ended.
    broken: AtomicBool,
    watcher: AtomicWaker,
}

impl Substream {
    pub(crate) fn new(upgraded: Upgraded) -> Self {
        Self {
            io: Mutex::new(TokioIo::new(upgraded)),
            broken: AtomicBool::new(false),
            watcher: AtomicWaker::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, TokioIo<Upgraded>> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        poll_fn(|cx| Pin::new(&mut *self.lock()).poll_read(cx, &mut buffer)).await?;
        match buffer.filled().len() {
            // hyper gives the reset of a client that cancels out as the end of what it had to say.
            0 if self.is_broken() => Err(io::ErrorKind::ConnectionReset.into()),
            read => Ok(read),
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        let mut nobody = Context::from_waker(Waker::noop());
        match Pin::new(&mut *self.lock()).poll_write(&mut nobody, piece) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// To flush is to wait until the sender has taken enough for there to be room.
    pub(super) async fn write_ready(&self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self.lock()).poll_flush(cx)).await
    }

    /// Says that nothing more comes. The sender ends when it has sent what waits, and the stream this
    /// way with it.
    pub(crate) fn finish(&self) {
        // How the sender ends is told by whoever runs it.
        let _ = self.poll_finished();
    }

    /// The sender has ended. If it had not come to the end of what was written, the client takes nothing
    /// any more.
    pub(crate) fn sender_ended(&self) {
        if !matches!(self.poll_finished(), Poll::Ready(Ok(()))) {
            self.broken.store(true, Ordering::Relaxed);
            self.watcher.wake();
        }
    }

    fn poll_finished(&self) -> Poll<io::Result<()>> {
        let mut nobody = Context::from_waker(Waker::noop());
        Pin::new(&mut *self.lock()).poll_shutdown(&mut nobody)
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    pub(super) async fn broken(&self) {
        poll_fn(|cx| {
            self.watcher.register(cx.waker());
            match self.is_broken() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
