//! The two ends of a tunnel: a connection of its own, or a stream of HTTP/2.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use super::substream::Substream;
use crate::net::{ReadHalf, Stream, WriteHalf};

/// One end.
pub(crate) enum Side {
    /// What was read of it already comes with it.
    Connection(Stream, Bytes),
    Stream(Arc<Substream>),
}

impl Side {
    pub(super) fn into_split(self) -> (Reader, Writer, Bytes) {
        match self {
            Self::Connection(stream, early) => {
                let (read, write) = stream.into_split();
                (Reader::Connection(read), Writer::Connection(write), early)
            }
            Self::Stream(stream) => {
                let read = Reader::Stream(Arc::clone(&stream));
                (read, Writer::Stream(stream), Bytes::new())
            }
        }
    }
}

pub(super) enum Reader {
    Connection(ReadHalf),
    Stream(Arc<Substream>),
}

impl Reader {
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Connection(half) => half.read(buffer).await,
            Self::Stream(stream) => stream.read(buffer).await,
        }
    }
}

/// What would block has to be tried again with the same bytes.
pub(super) enum Writer {
    Connection(WriteHalf),
    Stream(Arc<Substream>),
}

impl Writer {
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Connection(half) => half.try_write(bytes),
            Self::Stream(stream) => stream.try_write(bytes),
        }
    }

    /// Resolves when a write may get further than the last one did.
    pub(super) async fn write_ready(&self) -> io::Result<()> {
        match self {
            Self::Connection(half) => half.write_ready().await,
            Self::Stream(stream) => stream.write_ready().await,
        }
    }

    /// Resolves when nothing can be said to this side any more, whether or not anybody reads from it.
    pub(super) async fn broken(&self) {
        match self {
            // The poller itself fails only when its runtime ends.
            Self::Connection(half) => drop(half.broken().await),
            Self::Stream(stream) => stream.broken().await,
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Says that nothing more comes, though all the rest is still read.
    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Connection(half) => half.shutdown_write(),
            Self::Stream(stream) => {
                stream.finish();
                Ok(())
            }
        }
    }
}
