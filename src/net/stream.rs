//! A connection, in clear or under TLS: the same to whoever reads and writes it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::plain::{Plain, PlainRead, PlainWrite};
use super::tls::TlsStream;

#[derive(Debug)]
pub enum Stream {
    Plain(Plain),
    Tls(Arc<TlsStream>),
}

impl Stream {
    pub(crate) fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Plain(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Plain(read), WriteHalf::Plain(write))
            }
            Self::Tls(stream) => (ReadHalf::Tls(Arc::clone(&stream)), WriteHalf::Tls(stream)),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => stream.poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => stream.poll_write(cx, &[IoSlice::new(bytes)]),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => stream.poll_write(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => stream.poll_shutdown(cx),
        }
    }
}

#[derive(Debug)]
pub(crate) enum ReadHalf {
    Plain(PlainRead),
    Tls(Arc<TlsStream>),
}

impl ReadHalf {
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.try_read(buffer),
            Self::Tls(stream) => stream.try_read(buffer),
        }
    }

    /// Ready if a read may find something, or does not have to wait.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(half) => half.poll_read_ready(cx),
            Self::Tls(stream) => stream.poll_read_ready(cx),
        }
    }

    /// How many of one byte are there to be read, asked of the kernel and not of the poller. Under TLS it is
    /// read: to be asked only where nothing is expected.
    pub(crate) fn peek(&self) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.peek(),
            Self::Tls(stream) => stream.peek(),
        }
    }

    /// The whole again; none if the halves are of two connections.
    pub(crate) fn reunite(self, write: WriteHalf) -> Option<Stream> {
        match (self, write) {
            (Self::Plain(read), WriteHalf::Plain(write)) => read.reunite(write).map(Stream::Plain),
            (Self::Tls(read), WriteHalf::Tls(write)) => {
                Arc::ptr_eq(&read, &write).then_some(Stream::Tls(read))
            }
            (Self::Plain(_), WriteHalf::Tls(_)) | (Self::Tls(_), WriteHalf::Plain(_)) => None,
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_read(cx, buffer),
            Self::Tls(stream) => stream.poll_read(cx, buffer),
        }
    }
}

/// What would block has to be tried again with the same bytes, to which more may have been added:
/// under TLS they may be encrypted already.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    Plain(PlainWrite),
    Tls(Arc<TlsStream>),
}

impl WriteHalf {
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.try_write(bytes),
            Self::Tls(stream) => stream.try_write(&[IoSlice::new(bytes)]),
        }
    }

    pub(crate) fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.try_write_vectored(parts),
            Self::Tls(stream) => stream.try_write(parts),
        }
    }

    /// Can the kernel move bytes to it?
    pub(crate) fn takes_pipes(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_write_ready(cx)
    }

    /// Resolves when a write may get further than the last one did.
    pub(crate) async fn write_ready(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write_ready(cx)).await
    }

    /// Resolves when the connection has broken, whether or not anybody reads from it. The poller
    /// itself fails only when its runtime ends.
    pub(crate) async fn broken(&self) -> io::Result<()> {
        self.socket().broken().await
    }

    /// Shall the peer see a reset when the connection is dropped, or the process dies? A unix socket
    /// knows none.
    pub(crate) fn reset_when_dropped(&self, resets: bool) -> io::Result<()> {
        self.socket().reset_when_dropped(resets)
    }

    /// Says that nothing more comes, though all the rest is still read.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        self.say_goodbye();
        self.socket().shutdown_write()
    }

    /// Says that all was said, where that can be told from a connection that was cut. To be left out
    /// after an answer that is not whole.
    pub(crate) fn say_goodbye(&self) {
        if let Self::Tls(stream) = self {
            stream.say_goodbye();
        }
    }

    fn socket(&self) -> &PlainWrite {
        match self {
            Self::Plain(half) => half,
            Self::Tls(stream) => stream.socket(),
        }
    }
}
