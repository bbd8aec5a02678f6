//! Two ends joined: bytes both ways until an end, a stall, or the order to drain.

mod clock;
mod direction;
mod side;
mod substream;
mod websocket;

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::time::timeout;

use clock::Clock;
use direction::Direction;
use side::Writer;
use websocket::{CLOSE_TO_CLIENT, close_to_server};

pub(crate) use side::Side;
pub(crate) use substream::Substream;

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

impl End {
    /// Did it end in order, so that each side may be told that the other has said all?
    pub(crate) fn is_orderly(self) -> bool {
        match self {
            Self::Finished | Self::Idle | Self::Drained => true,
            Self::ClientBroke | Self::UpstreamBroke => false,
        }
    }
}

/// Bytes carried so far, readable while the tunnel runs and after it was dropped.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub from_client: AtomicU64,
    pub to_client: AtomicU64,
}

/// How long a goodbye may take, the client's answer to it included.
const GOODBYE: Duration = Duration::from_secs(2);

/// Carries bytes until the tunnel ends, or until `drain` says that it must.
pub(crate) async fn join(
    client: Side,
    upstream: Side,
    terms: Terms,
    drain: impl Future<Output = ()>,
    traffic: &Traffic,
) -> End {
    let (client_read, client, from_client) = client.into_split();
    let (upstream_read, upstream, from_upstream) = upstream.into_split();
    let clock = Clock::new(terms);
    let carried = (&traffic.from_client, &traffic.to_client);
    let mut up = Direction::new(client_read, &from_client, &upstream, &clock, carried.0);
    let mut down = Direction::new(upstream_read, &from_upstream, &client, &clock, carried.1);
    drop((from_client, from_upstream));
    let end = tokio::select! {
        carried = carry(&mut up, &mut down) => carried.err(),
        end = clock.runs_out() => Some(end),
        never = watch(&client, &upstream, &clock) => match never {},
        () = drain => Some(End::Drained),
    };
    let end = end.or(up.refused).or(down.refused).unwrap_or(End::Finished);
    if terms.websocket && up.has_parted() && down.has_parted() {
        // However its connections end now, they have nothing left to carry.
        return End::Finished;
    }
    if terms.websocket && matches!(end, End::Drained | End::Idle) {
        // Best effort: a peer that is gone already cannot be told.
        let _ = timeout(GOODBYE, goodbye(up, down)).await;
    }
    end
}

async fn carry(up: &mut Direction<'_>, down: &mut Direction<'_>) -> Result<(), End> {
    let up = up.carry(End::ClientBroke, End::UpstreamBroke);
    let down = down.carry(End::UpstreamBroke, End::ClientBroke);
    tokio::try_join!(up, down).map(|_| ())
}

/// Notices that a connection has broken while nobody reads from it, because the other side takes
/// nothing, or because it had finished. What it had said before is still carried.
async fn watch(client: &Writer, upstream: &Writer, clock: &Clock) -> Infallible {
    let end = tokio::select! {
        () = client.broken() => End::ClientBroke,
        () = upstream.broken() => End::UpstreamBroke,
    };
    clock.one_side_broke(end);
    pending().await
}

/// Finishes the frames under way, says close 1001 both ways, and waits for the client's answer, so
/// that its connection is not reset with the goodbye still unread. Then it is for us to close: a
/// client waits for the server to do so.
async fn goodbye(mut up: Direction<'_>, mut down: Direction<'_>) -> io::Result<()> {
    if up.frames.closed() || down.frames.closed() {
        // They part already, with a code of their own: the answer to it is all that is to come.
        let _ = carry(&mut up, &mut down).await;
        return Ok(());
    }
    let farewell = close_to_server();
    tokio::try_join!(down.close(&CLOSE_TO_CLIENT), up.close(&farewell))?;
    up.see_close().await
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::net::{Plain, Stream};

    #[tokio::test]
    async fn the_last_words_of_a_side_that_takes_no_more_are_delivered() {
        let hour = Duration::from_secs(3600);
        let terms = Terms {
            websocket: false,
            idle: hour,
            half_closed: hour,
        };
        for client_is_gone in [true, false] {
            let pair = || UnixStream::pair().expect("two sockets");
            let ((stays, one), (gone, two)) = (pair(), pair());
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
            let side = |stream| Side::Connection(Stream::Plain(Plain::Unix(stream)), Bytes::new());
            let (one, two) = (side(one), side(two));
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
