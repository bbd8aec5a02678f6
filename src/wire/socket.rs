//! Polling a socket: reading into a buffer, writing out of several.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::io::poll_read_buf;

use super::buffers::{self, ROOM};
use crate::net::{Pipe, ReadHalf, WriteHalf};

/// Reads what is there to the end of `buffer`; 0 is the end of the stream. Goes through tokio's own
/// reading, which knows from a short read that there is no more and saves the call that would say so.
/// Who waits holds no buffer.
pub(super) fn poll_fill(
    read: &mut ReadHalf,
    buffer: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if buffer.is_empty() {
        if read.poll_read_ready(cx)?.is_pending() {
            buffers::give_back(buffer);
            return Poll::Pending;
        }
        buffers::renew(buffer);
    } else if buffer.capacity() - buffer.len() < ROOM / 4 {
        buffer.reserve(ROOM);
    }
    let read = poll_read_buf(Pin::new(read), cx, buffer);
    if read.is_pending() && buffer.is_empty() {
        buffers::give_back(buffer);
    }
    read
}

/// What waits to be written: bytes of ours, a piece of somebody's body, and the end of a chunk. Or a piece
/// alone that is in the kernel already.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    head: Vec<u8>,
    /// Bytes of it that were written.
    sent: usize,
    data: Bytes,
    tail: &'static [u8],
    piped: Option<Pipe>,
    /// Bytes written so far.
    pub(super) written: u64,
}

/// Pieces up to this size are copied behind the head, to leave with it in one plain write.
const SMALL: usize = 8 * 1024;

impl Drop for Outgoing {
    fn drop(&mut self) {
        buffers::give_back_output(&mut self.head);
    }
}

impl Outgoing {
    /// Where a head is encoded to.
    pub(super) fn head(&mut self) -> &mut Vec<u8> {
        if self.head.capacity() == 0 {
            self.head = buffers::output();
        }
        &mut self.head
    }

    pub(super) fn is_empty(&self) -> bool {
        let ours = self.data.is_empty() && self.tail.is_empty();
        self.head.is_empty() && ours && self.piped.is_none()
    }

    /// Bytes of ours that wait.
    pub(super) fn waiting(&self) -> usize {
        self.head.len() - self.sent
    }

    /// Is there room for another piece before what waits is written?
    pub(super) fn takes_more(&self) -> bool {
        self.data.is_empty() && self.head.len() < SMALL && self.piped.is_none()
    }

    /// To be called only while it [takes more](Self::takes_more).
    pub(super) fn push(&mut self, data: Bytes, tail: &'static [u8]) {
        if data.len() <= SMALL {
            let head = self.head();
            head.extend_from_slice(&data);
            head.extend_from_slice(tail);
        } else {
            (self.data, self.tail) = (data, tail);
        }
    }

    /// To be called only while it is empty.
    pub(super) fn pipe(&mut self, pipe: Pipe) {
        self.piped = Some(pipe);
    }

    /// Writes until nothing waits.
    pub(super) fn poll_write(
        &mut self,
        stream: &WriteHalf,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = if let Some(pipe) = &mut self.piped {
                pipe.try_write(stream)
            } else if self.data.is_empty() && self.tail.is_empty() {
                stream.try_write(&self.head[self.sent..])
            } else {
                let parts = [&self.head[self.sent..], &self.data[..], self.tail].map(IoSlice::new);
                stream.try_write_vectored(&parts)
            };
            match written {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(stream.poll_write_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        // What comes next may be long in coming.
        buffers::give_back_output(&mut self.head);
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        self.written += written as u64;
        if let Some(pipe) = &self.piped {
            if pipe.is_empty() {
                self.piped = None;
            }
            return;
        }
        let head = written.min(self.waiting());
        self.sent += head;
        if self.sent == self.head.len() {
            self.head.clear();
            self.sent = 0;
        }
        let data = (written - head).min(self.data.len());
        self.data.advance(data);
        if self.data.is_empty() {
            // An empty piece would still hold its buffer, and the next read could not go there.
            self.data = Bytes::new();
        }
        self.tail = &self.tail[written - head - data..];
    }
}
