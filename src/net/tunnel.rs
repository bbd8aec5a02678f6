//! Two connections joined into one: bytes both ways until an end, a stall, or the order to drain.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::{Instant, sleep_until, timeout};

use super::websocket::{CLOSE_TO_CLIENT, Frames, close_to_server};

/// What a tunnel may do, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// The bytes are WebSocket frames: a drained tunnel says goodbye with close 1001.
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
const BUFFER: usize = 16 * 1024;

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
            carried = both => carried.err().unwrap_or(End::Finished),
            () = clock.runs_out() => End::Idle,
            () = drain => End::Drained,
        }
    };
    if end == End::Drained && terms.websocket {
        // Best effort: a peer that is gone already cannot be told.
        let _ = timeout(GOODBYE, goodbye(up, down)).await;
    }
    end
}

/// Finishes the frames under way, says close 1001 both ways, and waits for the client's answer, so
/// that its connection is not reset with the goodbye still unread. Then it is for us to close: a
/// client waits for the server to do so.
async fn goodbye<C, U>(mut up: Direction<'_, C, U>, mut down: Direction<'_, U, C>) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
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
}

impl<'a, F, T> Direction<'a, F, T>
where
    F: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn new(from: ReadHalf<F>, to: WriteHalf<T>, carried: &'a AtomicU64) -> Self {
        let buffer = vec![0; BUFFER];
        Self {
            from,
            to,
            frames: Frames::default(),
            buffer,
            pending: 0..0,
            carried,
        }
    }

    /// Fails with `from_broke` or `to_broke`, whichever it was.
    async fn carry(&mut self, clock: &Clock, from_broke: End, to_broke: End) -> Result<(), End> {
        loop {
            self.flush(clock).await.map_err(|_| to_broke)?;
            let read = self
                .from
                .read(&mut self.buffer)
                .await
                .map_err(|_| from_broke)?;
            if read == 0 {
                clock.one_side_finished();
                return self.to.shutdown().await.map_err(|_| to_broke);
            }
            self.frames.advance(&self.buffer[..read]);
            self.pending = 0..read;
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
            // Byte by byte: not one of the frame after may follow.
            let read = self.from.read(&mut self.buffer[..1]).await?;
            if read == 0 {
                return Ok(());
            }
            self.frames.advance(&self.buffer[..1]);
            self.to.write_all(&self.buffer[..1]).await?;
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
}

impl Clock {
    fn new(terms: Terms) -> Self {
        let half_closed = AtomicBool::new(false);
        Self {
            terms,
            started: Instant::now(),
            last: AtomicU64::new(0),
            half_closed,
        }
    }

    fn touch(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    fn one_side_finished(&self) {
        self.half_closed.store(true, Ordering::Relaxed);
        self.touch();
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
            // Looked at again at least this often, because the limit shrinks when one side ends.
            sleep_until(end.min(Instant::now() + self.terms.half_closed)).await;
        }
    }
}
