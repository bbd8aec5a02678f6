//! One way of a tunnel: what one side says is carried to the other.

use std::io;
use std::ops::{Range, RangeInclusive};
use std::sync::atomic::{AtomicU64, Ordering};

use super::End;
use super::clock::Clock;
use super::side::{Reader, Writer};
use super::websocket::Frames;

/// A buffer is of the first size for what tunnels carry most of the time, nothing or a ping, and grows
/// to the second for what is to be carried fast.
const BUFFER: RangeInclusive<usize> = 1024..=64 * 1024;

pub(super) struct Direction<'a> {
    from: Reader,
    to: &'a Writer,
    pub(super) frames: Frames,
    buffer: Vec<u8>,
    /// What of the buffer was read and is not yet written: a write may be left half-way when the
    /// tunnel is told to drain.
    pending: Range<usize>,
    clock: &'a Clock,
    carried: &'a AtomicU64,
    /// Whoever was to be written to takes no more.
    pub(super) refused: Option<End>,
}

impl<'a> Direction<'a> {
    /// `early` was read already.
    pub(super) fn new(
        from: Reader,
        early: &[u8],
        to: &'a Writer,
        clock: &'a Clock,
        carried: &'a AtomicU64,
    ) -> Self {
        let mut buffer = vec![0; early.len().next_power_of_two().max(*BUFFER.start())];
        buffer[..early.len()].copy_from_slice(early);
        let mut frames = Frames::default();
        frames.advance(early);
        Self {
            from,
            to,
            frames,
            buffer,
            pending: 0..early.len(),
            clock,
            carried,
            refused: None,
        }
    }

    /// Fails with `from_broke` when nothing more can be read. That nothing more can be written is
    /// only remembered, as `to_broke`: the last words of that side may be on their way.
    pub(super) async fn carry(&mut self, from_broke: End, to_broke: End) -> Result<(), End> {
        loop {
            if self.flush().await.is_err() {
                break;
            }
            let most = self.buffer.len();
            let read = self.read(most).await.map_err(|_| from_broke)?;
            if read == 0 {
                self.clock.one_side_finished();
                if self.to.shutdown_write().is_err() {
                    break;
                }
                if self.to.is_stream() {
                    self.clock.client_parts();
                }
                return Ok(());
            }
            self.fit(read);
        }
        self.refused = Some(to_broke);
        self.clock.one_side_finished();
        Ok(())
    }

    /// Was a close carried, whole?
    pub(super) fn has_parted(&self) -> bool {
        self.frames.finished() && self.pending.is_empty()
    }

    /// Carries on to the end of the frame under way and puts a close frame after it.
    pub(super) async fn close(&mut self, frame: &[u8]) -> io::Result<()> {
        self.flush().await?;
        while !self.frames.between() {
            // Not one byte of the frame after may follow.
            let most = self.frames.to_read().min(self.buffer.len());
            if self.read(most).await? == 0 {
                return Ok(());
            }
            self.flush().await?;
        }
        self.buffer[..frame.len()].copy_from_slice(frame);
        self.pending = 0..frame.len();
        self.flush().await
    }

    /// Reads on to the end of a close frame, for nobody.
    pub(super) async fn see_close(&mut self) -> io::Result<()> {
        while !self.frames.finished() {
            let most = self.buffer.len();
            if self.read(most).await? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// What is read is to be written next.
    async fn read(&mut self, most: usize) -> io::Result<usize> {
        let read = self.from.read(&mut self.buffer[..most]).await?;
        self.frames.advance(&self.buffer[..read]);
        self.pending = 0..read;
        Ok(read)
    }

    /// Makes the buffer twice as large after a read that filled it, half after one of little.
    fn fit(&mut self, read: usize) {
        let size = self.buffer.len();
        if read == size && size < *BUFFER.end() {
            self.buffer.resize(size * 2, 0);
        } else if read < size / 4 && size > *BUFFER.start() {
            self.buffer.truncate(size / 2);
            self.buffer.shrink_to_fit();
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.to.try_write(&self.buffer[self.pending.clone()]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.pending.start += written;
                    self.carried.fetch_add(written as u64, Ordering::Relaxed);
                    self.clock.touch();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.clock.blocked(self.to.write_ready()).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::net::UnixStream;

    use super::super::{Side, Terms};
    use super::*;
    use crate::net::{Plain, Stream};

    #[tokio::test]
    async fn a_buffer_is_large_for_as_long_as_much_is_carried() {
        let (one, _) = UnixStream::pair().expect("two sockets");
        let stream = Stream::Plain(Plain::Unix(one));
        let (from, to, _) = Side::Connection(stream, Bytes::new()).into_split();
        let clock = Clock::new(Terms {
            websocket: false,
            idle: Duration::ZERO,
            half_closed: Duration::ZERO,
        });
        let carried = AtomicU64::new(0);
        let mut direction = Direction::new(from, b"", &to, &clock, &carried);
        let mut after = |read: usize| {
            direction.fit(read.min(direction.buffer.len()));
            direction.buffer.capacity()
        };
        let grown: Vec<_> = (0..8).map(|_| after(usize::MAX)).collect();
        assert_eq!(grown, [2, 4, 8, 16, 32, 64, 64, 64].map(|kib| kib * 1024));
        assert_eq!(after(40 * 1024), 64 * 1024, "neither full nor nearly empty");
        let shrunk: Vec<_> = (0..8).map(|_| after(100)).collect();
        assert_eq!(shrunk, [32, 16, 8, 4, 2, 1, 1, 1].map(|kib| kib * 1024));
    }
}
