//! A connection in clear, over TCP or a unix socket: the same to whoever reads and writes it.

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::writev;
use rustix::net::{SendFlags, send};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

/// Does the same with either kind.
macro_rules! either {
    ($self:expr, $stream:ident => $act:expr) => {
        match $self {
            Self::Tcp($stream) => $act,
            Self::Unix($stream) => $act,
        }
    };
}

#[derive(Debug)]
pub enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Bytes that the kernel may hold of what was written and not yet sent. Far more and a peer that reads
/// slowly could not be told from one that reads nothing, since room shows in steps of a third of it.
/// Answers are longer than requests, and each time that a client is waited for costs.
const UNSENT_TO_CLIENT: u32 = 512 * 1024;
const UNSENT_TO_UPSTREAM: u32 = 128 * 1024;

impl Plain {
    pub(crate) fn from_client(stream: TcpStream) -> io::Result<Self> {
        Self::tcp(stream, UNSENT_TO_CLIENT)
    }

    pub(crate) fn to_upstream(stream: TcpStream) -> io::Result<Self> {
        Self::tcp(stream, UNSENT_TO_UPSTREAM)
    }

    /// No packet waits for the one after it.
    fn tcp(stream: TcpStream, unsent: u32) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        SockRef::from(&stream).set_tcp_notsent_lowat(unsent)?;
        Ok(Self::Tcp(stream))
    }

    pub(crate) async fn connect_unix(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).await.map(Self::Unix)
    }

    /// Where a client connected to; none by a unix socket.
    pub(crate) fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(stream) => stream.local_addr().map(Some),
            Self::Unix(_) => Ok(None),
        }
    }

    pub(crate) fn into_split(self) -> (PlainRead, PlainWrite) {
        match self {
            Self::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (
                    PlainRead::Tcp(read),
                    PlainWrite::Tcp(TcpWriteHalf::new(write)),
                )
            }
            Self::Unix(stream) => {
                let (read, write) = stream.into_split();
                (PlainRead::Unix(read), PlainWrite::Unix(write))
            }
        }
    }

    /// Takes it from this thread's poller, for another to serve it.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        Ok(match self {
            Self::Tcp(stream) => Detached::Tcp(stream.into_std()?),
            Self::Unix(stream) => Detached::Unix(stream.into_std()?),
        })
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// A connection that belongs to no poller.
#[derive(Debug)]
pub(crate) enum Detached {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Detached {
    /// Gives it to this thread's poller.
    pub(crate) fn attach(self) -> io::Result<Plain> {
        Ok(match self {
            Self::Tcp(stream) => Plain::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Plain::Unix(UnixStream::from_std(stream)?),
        })
    }
}

/// Tokio's own half, which knows from a short read that there is no more.
#[derive(Debug)]
pub(crate) enum PlainRead {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

impl PlainRead {
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        either!(self, half => half.try_read(buffer))
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, half => half.as_ref().poll_read_ready(cx))
    }

    /// Reads by a system call of somebody else's choice.
    pub(crate) fn try_io(
        &self,
        read: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        either!(self, half => {
            let stream = half.as_ref();
            stream.try_io(Interest::READABLE, || read(stream.as_fd()))
        })
    }

    /// How many of one byte are there to be read, asked of the kernel and not of the poller.
    pub(crate) fn peek(&self) -> io::Result<usize> {
        let mut byte = [MaybeUninit::uninit()];
        either!(self, half => SockRef::from(half.as_ref()).peek(&mut byte))
    }

    /// Reads what is there, asked of the kernel and not of the poller.
    pub(crate) fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        either!(self, half => (&*SockRef::from(half.as_ref())).read(buffer))
    }

    /// The whole again; none if the halves are of two connections.
    pub(crate) fn reunite(self, write: PlainWrite) -> Option<Plain> {
        match (self, write) {
            (Self::Tcp(read), PlainWrite::Tcp(mut write)) => {
                let write = write.half.take()?;
                read.reunite(write).ok().map(Plain::Tcp)
            }
            (Self::Unix(read), PlainWrite::Unix(write)) => {
                read.reunite(write).ok().map(Plain::Unix)
            }
            (Self::Tcp(_), PlainWrite::Unix(_)) | (Self::Unix(_), PlainWrite::Tcp(_)) => None,
        }
    }
}

impl AsyncRead for PlainRead {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), half => Pin::new(half).poll_read(cx, buffer))
    }
}

#[derive(Debug)]
pub(crate) enum PlainWrite {
    Tcp(TcpWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

/// Does the same with either kind of stream that is written to.
macro_rules! write_to {
    ($self:expr, $stream:ident => $act:expr) => {
        match $self {
            Self::Tcp(half) => {
                let $stream = half.stream()?;
                $act
            }
            Self::Unix(half) => {
                let $stream: &UnixStream = half.as_ref();
                $act
            }
        }
    };
}

/// Written by system calls alone: those of libc can be cancelled, which costs in a process of many threads.
impl PlainWrite {
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_io(|to| Ok(send(to, bytes, SendFlags::empty())?))
    }

    pub(crate) fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_io(|to| Ok(writev(to, parts)?))
    }

    /// Writes by a system call of somebody else's choice.
    pub(crate) fn try_io(
        &self,
        write: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        write_to!(self, stream => stream.try_io(Interest::WRITABLE, || write(stream.as_fd())))
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        write_to!(self, stream => stream.poll_write_ready(cx))
    }

    /// Resolves when the connection has broken, whether or not anybody reads from it. The poller
    /// itself fails only when its runtime ends.
    pub(crate) async fn broken(&self) -> io::Result<()> {
        write_to!(self, stream => stream.ready(Interest::ERROR).await.map(drop))
    }

    /// Says that nothing more comes, though all the rest is still read.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        write_to!(self, stream => SockRef::from(stream).shutdown(Shutdown::Write))
    }

    /// Shall the peer see a reset when the connection is dropped, or the process dies? A unix socket
    /// knows none.
    pub(crate) fn reset_when_dropped(&self, resets: bool) -> io::Result<()> {
        if let Self::Tcp(half) = self {
            let linger = resets.then_some(Duration::ZERO);
            SockRef::from(half.stream()?).set_linger(linger)?;
            half.resets.store(resets, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Tokio's own half says that nothing more comes when it is dropped. A reset after that would be
/// too late: the peer has the end already.
#[derive(Debug)]
pub(crate) struct TcpWriteHalf {
    /// None only while it is being dropped or reunited.
    half: Option<tcp::OwnedWriteHalf>,
    resets: AtomicBool,
}

impl TcpWriteHalf {
    fn new(half: tcp::OwnedWriteHalf) -> Self {
        Self {
            half: Some(half),
            resets: AtomicBool::new(false),
        }
    }

    fn stream(&self) -> io::Result<&TcpStream> {
        let half = self.half.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(half.as_ref())
    }
}

impl Drop for TcpWriteHalf {
    fn drop(&mut self) {
        if *self.resets.get_mut()
            && let Some(half) = self.half.take()
        {
            half.forget();
        }
    }
}
