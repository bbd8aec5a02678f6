//! Two connections joined into one: bytes both ways until an end, a stall, or the order to drain.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::websocket::{CLOSE_TO_CLIENT, Frames, close_to_server};

/// What a tunnel may do, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// The bytes are WebSocket frames: a tunnel that must end says goodbye with close 1001.
    pub websocket: bool,
    /// Without a byte either way for this long, it ends.
    pub idle: Duration,
    /// The same once one side has finished sending.
    pub half_closed: Duration,
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides finished.
    Finished,
    /// The client's connection broke.
    ClientBroke,
    /// The upstream's connection broke.
    UpstreamBroke,
    /// Nothing passed for as long as the terms allow.
    Idle,
    Drained,
}

/// Bytes carried so far, readable while the tunnel runs and after it was dropped.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub from_client: AtomicU64,
    pub to_client: AtomicU64,
}

/// How long a goodbye may take, the client's answer to it included.
const GOODBYE: Duration = Duration::from_secs(2);
/// A buffer is of the first size for what tunnels carry most of the time, nothing or a ping, and grows
/// to the second for what is to be carried fast.
const BUFFER: std::ops::RangeInclusive<usize> = 1024..=64 * 1024;

/// Carries bytes until the tunnel ends, or until `drain` says that it must.
pub(crate) async fn join<C, U>(
    client: C,
    upstream: U,
    terms: Terms,
    drain: impl Future<Output = ()>,
    traffic: &Traffic,
) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (client_read, client_write) = split(client);
    let (upstream_read, upstream_write) = split(upstream);
    let clock = Clock::new(terms);
    let mut up = Direction::new(client_read, upstream_write, &traffic.from_client);
    let mut down = Direction::new(upstream_read, client_write, &traffic.to_client);
    let end = {
        let both = async {
            tokio::try_join!(
                up.carry(&clock, End::ClientBroke, End::UpstreamBroke),
                down.carry(&clock, End::UpstreamBroke, End::ClientBroke),
            )
        };
        tokio::select! {
            carried = both => carried.err(),
            () = clock.runs_out() => Some(End::Idle),
            () = drain => Some(End::Drained),
        }
    };
    let end = end.or(up.refused).or(down.refused).unwrap_or(End::Finished);
    if terms.websocket && matches!(end, End::Drained | End::Idle) {
        // Best effort: a peer that is gone already cannot be told.
        let _ = timeout(GOODBYE, goodbye(up, down, &clock)).await;
    }
    end
}

/// Finishes the frames under way, says close 1001 both ways, and waits for the client's answer, so
/// that its connection is not reset with the goodbye still unread. Then it is for us to close: a
/// client waits for the server to do so.
async fn goodbye<C, U>(
    mut up: Direction<'_, C, U>,
    mut down: Direction<'_, U, C>,
    clock: &Clock,
) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    if up.frames.closed() || down.frames.closed() {
        // They part already, with a code of their own: the answer to it is all that is to come.
        let _ = tokio::try_join!(
            up.carry(clock, End::ClientBroke, End::UpstreamBroke),
            down.carry(clock, End::UpstreamBroke, End::ClientBroke),
        );
        return Ok(());
    }
    let farewell = close_to_server();
    tokio::try_join!(down.close(&CLOSE_TO_CLIENT), up.close(&farewell))?;
    while !up.frames.finished() {
        let read = up.from.read(&mut up.buffer).await?;
        if read == 0 {
            break;
        }
        up.frames.advance(&up.buffer[..read]);
    }
    Ok(())
}

/// One way of a tunnel.
struct Direction<'a, F, T> {
    from: ReadHalf<F>,
    to: WriteHalf<T>,
    frames: Frames,
    buffer: Vec<u8>,
    /// What of the buffer was read and is not yet written: a write may be left half-way when the
    /// tunnel is told to drain.
    pending: std::ops::Range<usize>,
    carried: &'a AtomicU64,
    /// Whoever was to be written to takes no more.
    refused: Option<End>,
}

impl<'a, F, T> Direction<'a, F, T>
where
    F: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn new(from: ReadHalf<F>, to: WriteHalf<T>, carried: &'a AtomicU64) -> Self {
        let buffer = vec![0; *BUFFER.start()];
        Self {
            from,
            to,
            frames: Frames::default(),
            buffer,
            pending: 0..0,
            carried,
            refused: None,
        }
    }

    /// Fails with `from_broke` when nothing more can be read. That nothing more can be written is
    /// only remembered, as `to_broke`: the last words of that side may be on their way.
    async fn carry(&mut self, clock: &Clock, from_broke: End, to_broke: End) -> Result<(), End> {
        loop {
            if self.flush(clock).await.is_err() {
                break;
            }
            let read = self.from.read(&mut self.buffer).await;
            let read = read.map_err(|_| from_broke)?;
            if read == 0 {
                clock.one_side_finished();
                if self.to.shutdown().await.is_err() {
                    break;
                }
                return Ok(());
            }
            self.frames.advance(&self.buffer[..read]);
            self.pending = 0..read;
            self.fit(read);
        }
        self.refused = Some(to_broke);
        clock.one_side_finished();
        Ok(())
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

    async fn flush(&mut self, clock: &Clock) -> io::Result<()> {
        while !self.pending.is_empty() {
            let written = self.to.write(&self.buffer[self.pending.clone()]).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.pending.start += written;
            self.carried.fetch_add(written as u64, Ordering::Relaxed);
            clock.touch();
        }
        self.to.flush().await
    }

    /// Carries on to the end of the frame under way and puts a close frame after it.
    async fn close(&mut self, frame: &[u8]) -> io::Result<()> {
        self.to
            .write_all(&self.buffer[self.pending.clone()])
            .await?;
        while !self.frames.between() {
            // Not one byte of the frame after may follow.
            let most = self.frames.to_read().min(self.buffer.len());
            let read = self.from.read(&mut self.buffer[..most]).await?;
            if read == 0 {
                return Ok(());
            }
            self.frames.advance(&self.buffer[..read]);
            self.to.write_all(&self.buffer[..read]).await?;
        }
        self.to.write_all(frame).await?;
        self.to.flush().await
    }
}

/// When the tunnel was last used. Atomics only because a task must be able to move.
struct Clock {
    terms: Terms,
    started: Instant,
    /// Milliseconds after `started`.
    last: AtomicU64,
    half_closed: AtomicBool,
    /// The limit is another one from now on.
    changed: Notify,
}

impl Clock {
    fn new(terms: Terms) -> Self {
        Self {
            terms,
            started: Instant::now(),
            last: AtomicU64::new(0),
            half_closed: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    fn touch(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    fn one_side_finished(&self) {
        self.half_closed.store(true, Ordering::Relaxed);
        self.touch();
        self.changed.notify_one();
    }

    async fn runs_out(&self) {
        loop {
            let half_closed = self.half_closed.load(Ordering::Relaxed);
            let limit = if half_closed {
                self.terms.half_closed
            } else {
                self.terms.idle
            };
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let end = self.started + last + limit;
            if Instant::now() >= end {
                return;
            }
            tokio::select! {
                () = sleep_until(end) => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[test]
    fn a_buffer_is_large_for_as_long_as_much_is_carried() {
        let ((from, _), (_, to)) = (split(duplex(1).0), split(duplex(1).0));
        let carried = AtomicU64::new(0);
        let mut direction = Direction::new(from, to, &carried);
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

    #[tokio::test]
    async fn the_last_words_of_a_side_that_takes_no_more_are_delivered() {
        let hour = Duration::from_secs(3600);
        let terms = Terms {
            websocket: false,
            idle: hour,
            half_closed: hour,
        };
        for client_is_gone in [true, false] {
            let ((stays, one), (gone, two)) = (duplex(1024), duplex(1024));
            let (mut stays, mut gone) = (stays, gone);
            gone.write_all(b"last words").await.expect("room for them");
            drop(gone);
            stays.write_all(b"unheard").await.expect("room for it");
            let reader = async {
                let mut heard = String::new();
                stays.read_to_string(&mut heard).await.expect("an end");
                drop(stays);
                heard
            };
            let traffic = Traffic::default();
            let (client, upstream) = if client_is_gone {
                (two, one)
            } else {
                (one, two)
            };
            let never = std::future::pending();
            let tunnel = join(client, upstream, terms, never, &traffic);
            let (end, heard) = tokio::join!(tunnel, reader);
            let broke = if client_is_gone {
                End::ClientBroke
            } else {
                End::UpstreamBroke
            };
            assert_eq!((end, heard.as_str()), (broke, "last words"));
        }
    }
}
