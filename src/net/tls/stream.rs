//! A connection under TLS: one socket, one session.
//!
//! Reading and writing take `&self`, as the halves of a socket do. Both happen in the one task of the
//! connection, so the lock is never waited for.

use std::cell::RefCell;
use std::io::{self, BufRead, IoSlice, Write};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::Connection;
use tokio::io::{AsyncRead, ReadBuf};

use super::super::plain::{PlainRead, PlainWrite};
use super::sealed::{RECORD, Sealed};

#[derive(Debug)]
pub struct TlsStream {
    write: PlainWrite,
    session: Mutex<Session>,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) read: PlainRead,
    pub(super) tls: Connection,
    /// Read from the socket and not yet decrypted, because nobody had room for it.
    pub(super) raw: BytesMut,
    /// Nothing more can be decrypted.
    broken: bool,
    sealed: Sealed,
}

/// Read at once: at least one record, and as much as is wanted up to several.
const READ: std::ops::RangeInclusive<usize> = RECORD..=64 * 1024;

thread_local! {
    /// Records on their way from a socket to a session. Of the thread, so that an idle connection
    /// holds no buffer for them.
    pub(super) static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; *READ.end()].into());
}

impl TlsStream {
    pub(super) fn new(session: Session, write: PlainWrite) -> Self {
        Self {
            write,
            session: Mutex::new(session),
        }
    }

    pub(crate) fn socket(&self) -> &PlainWrite {
        &self.write
    }

    fn lock(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let session = &mut *self.lock();
        session.poll_read(&self.write, out, |read, raw| {
            Pin::new(read).poll_read(cx, raw)
        })
    }

    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_by(buffer, PlainRead::try_read)
    }

    fn read_by(
        &self,
        buffer: &mut [u8],
        read: impl Fn(&PlainRead, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let session = &mut *self.lock();
        let mut out = ReadBuf::new(buffer);
        let read = session.poll_read(&self.write, &mut out, |half, raw| {
            match read(half, raw.initialize_unfilled()) {
                Ok(length) => {
                    raw.advance(length);
                    Poll::Ready(Ok(()))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            }
        });
        match read {
            Poll::Ready(read) => read.map(|()| out.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Ready if a read may find something: what is here may be part of a record only.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let session = &mut *self.lock();
        let opened = session.tls.reader().fill_buf().map(|_| ());
        let starved = opened.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if starved && session.raw.is_empty() && !session.broken {
            session.read.poll_read_ready(cx)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// How many of one byte are there to be read, asked of the kernel and not of the poller. What is said
    /// between two sessions of TLS only, as a ticket, is taken in and is none.
    pub(crate) fn peek(&self) -> io::Result<usize> {
        self.read_by(&mut [0], PlainRead::read_now)
    }

    /// Bytes count as written when the records that hold them are with the socket. What would block
    /// is tried again with the same bytes, which are not encrypted twice.
    pub(crate) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let session = &mut *self.lock();
        if session.sealed.is_open() {
            session.send(&self.write)?;
            session.sealed = Sealed::new(session.tls.writer().write_vectored(parts)?);
        }
        let sent = session.send(&self.write);
        session.sealed.tell(sent)
    }

    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write(parts) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.write.poll_write_ready(cx))?;
                }
                written => return Poll::Ready(written),
            }
        }
    }

    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_send(&self.write, cx)
    }

    /// Says goodbye, and that nothing more comes.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut session = self.lock();
        session.tls.send_close_notify();
        ready!(session.poll_send(&self.write, cx))?;
        Poll::Ready(self.write.shutdown_write())
    }

    /// Best effort: a socket that takes nothing more has nobody who listens.
    pub(crate) fn say_goodbye(&self) {
        let mut session = self.lock();
        session.tls.send_close_notify();
        let _ = session.send(&self.write);
    }
}

impl Session {
    pub(super) fn new(read: PlainRead, tls: Connection) -> Self {
        Self {
            read,
            tls,
            raw: BytesMut::new(),
            broken: false,
            sealed: Sealed::default(),
        }
    }

    /// `fill` reads from the socket.
    fn poll_read(
        &mut self,
        write: &PlainWrite,
        out: &mut ReadBuf<'_>,
        mut fill: impl FnMut(&mut PlainRead, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let mut raw = std::mem::take(&mut self.raw);
        let mut rest = &raw[..];
        let mut opened = self.open(&mut rest, out, write);
        let left = rest.len();
        if left > 0 {
            raw.advance(raw.len() - left);
            self.raw = raw;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                match opened {
                    _ if out.filled().len() > before || out.remaining() == 0 => {
                        return Poll::Ready(Ok(()));
                    }
                    Ok(Open::Ended) => return Poll::Ready(Ok(())),
                    Err(error) => return Poll::Ready(Err(error)),
                    Ok(Open::Starved) => {}
                }
                let most = out.remaining().clamp(*READ.start(), *READ.end());
                let mut raw = ReadBuf::new(&mut scratch[..most]);
                ready!(fill(&mut self.read, &mut raw))?;
                let mut rest = raw.filled();
                if rest.is_empty() {
                    // Whoever cuts a connection can make it look as if its peer had nothing more to
                    // say; only a goodbye says so.
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                opened = self.open(&mut rest, out, write);
                self.raw.extend_from_slice(rest);
            }
        })
    }

    /// Decrypts until there is no room or nothing left to decrypt.
    fn open(
        &mut self,
        sealed: &mut &[u8],
        out: &mut ReadBuf<'_>,
        write: &PlainWrite,
    ) -> io::Result<Open> {
        loop {
            let mut reader = self.tls.reader();
            match reader.fill_buf() {
                Ok([]) => return Ok(Open::Ended),
                Ok(plain) => {
                    let take = plain.len().min(out.remaining());
                    out.put_slice(&plain[..take]);
                    reader.consume(take);
                    if out.remaining() == 0 {
                        return Ok(Open::Starved);
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if self.broken {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if sealed.is_empty() {
                return Ok(Open::Starved);
            }
            let fed = self.feed(sealed);
            // An answer to a change of keys, or an alert; if there is no room, before the next write.
            let _ = self.send(write);
            self.broken = fed.is_err();
            // What it is tells whether the peer will have none of us.
            fed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    /// Takes in some of what came from the socket.
    pub(super) fn feed(&mut self, sealed: &mut &[u8]) -> Result<(), rustls::Error> {
        match self.tls.read_tls(sealed) {
            Ok(1..) => {}
            // After a goodbye nothing is taken.
            Ok(0) => *sealed = &[],
            Err(_) => return Err(rustls::Error::PeerSentOversizedRecord),
        }
        self.tls.process_new_packets().map(|_| ())
    }

    /// Sends what is encrypted until none is left.
    pub(super) fn send(&mut self, write: &PlainWrite) -> io::Result<()> {
        while self.tls.wants_write() {
            let sent = self.tls.write_tls(&mut Records(write))?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.sealed.sent(sent);
        }
        Ok(())
    }

    pub(super) fn poll_send(
        &mut self,
        write: &PlainWrite,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.send(write) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(write.poll_write_ready(cx))?;
                }
                sent => return Poll::Ready(sent),
            }
        }
    }
}

/// How decrypting ended.
enum Open {
    /// The peer has said goodbye.
    Ended,
    /// Nothing without more bytes, or more room.
    Starved,
}

/// Where records go.
struct Records<'a>(&'a PlainWrite);

impl Write for Records<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
