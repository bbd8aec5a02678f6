//! Who keeps a connection going: moves its frames, asks whether the server lives while requests wait for
//! it, and lets go of it when nobody has asked anything for long.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::Connection;
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

use super::State;
use crate::config::UpstreamHttp2Table;
use crate::metrics::OpenConnection;
use crate::net::tap::Read;
use crate::net::tls::alert;
use crate::net::{Stream, Tap};

/// A server that has answered once is not asked again before this time is over, unless something else
/// came or was asked for meanwhile: servers of gRPC throw out clients that ask more often.
const PAUSE: Duration = Duration::from_secs(300);

/// For the goodbye of an idle connection.
const GOODBYE: Duration = Duration::from_secs(2);

/// A day, where nothing is waited for.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a connection may be idle, and what to do then.
pub(crate) struct Idle {
    pub(crate) limit: Duration,
    /// Lets go of those connections that have ended.
    pub(crate) forget: Box<dyn Fn() + Send + Sync>,
}

pub(super) struct Keeper {
    state: Arc<State>,
    idle: Idle,
    /// None if servers are not asked.
    interval: Option<Duration>,
    patience: Duration,
    _open: OpenConnection,
}

/// When the server was asked whether it lives.
enum Asked {
    Never,
    /// And has to answer until then.
    Until(Instant),
    /// And has answered, when so many bytes had come and so many requests had been sent.
    Answered {
        at: Instant,
        read: u64,
        carried: usize,
    },
}

impl Keeper {
    pub(super) fn new(
        state: Arc<State>,
        settings: &UpstreamHttp2Table,
        idle: Idle,
        open: OpenConnection,
    ) -> Self {
        let interval = settings.ping_interval.0;
        Self {
            state,
            idle,
            interval: (!interval.is_zero()).then_some(interval),
            patience: settings.ping_timeout.0,
            _open: open,
        }
    }

    /// Until the connection has ended. What is still under way on it then breaks.
    pub(super) async fn keep(self, mut connection: Connection<Tap<Meter>, Bytes>) {
        let mut pings = connection.ping_pong();
        let ended = self.watch(&mut connection, pings.as_mut()).await;
        self.state.ended.store(true, Ordering::Relaxed);
        (self.idle.forget)();
        match ended {
            // Its handles have gone. A server that takes nothing does not take the goodbye either.
            Ended::Idle => {
                let _ = timeout(GOODBYE, connection).await;
            }
            Ended::Silent => tracing::debug!("a server of HTTP/2 does not answer a ping"),
            Ended::Closed(Err(error)) => tracing::debug!(%error, "HTTP/2 to a server ended"),
            Ended::Closed(Ok(())) => {}
        }
    }

    async fn watch(
        &self,
        connection: &mut Connection<Tap<Meter>, Bytes>,
        mut pings: Option<&mut PingPong>,
    ) -> Ended {
        let mut asked = Asked::Never;
        loop {
            let (busy, read) = (self.is_busy(), self.read());
            let wait = match busy {
                false => self.idle.limit,
                true => self.interval.unwrap_or(LONG),
            };
            let until = match asked {
                Asked::Until(until) => until,
                _ => Instant::now() + wait,
            };
            tokio::select! {
                biased;
                closed = &mut *connection => return Ended::Closed(closed),
                pong = pong(pings.as_deref_mut()), if matches!(asked, Asked::Until(_)) => {
                    if let Err(error) = pong {
                        return Ended::Closed(Err(error));
                    }
                    asked = Asked::Answered {
                        at: Instant::now(),
                        read: self.read(),
                        carried: self.carried(),
                    };
                }
                () = self.state.changed.notified() => {}
                () = sleep_until(until) => match asked {
                    Asked::Until(_) => return Ended::Silent,
                    _ if !busy && !self.is_busy() => return Ended::Idle,
                    _ if busy && self.is_silent(&asked, read) => {
                        let pings = pings.as_deref_mut();
                        if pings.is_some_and(|pings| pings.send_ping(Ping::opaque()).is_ok()) {
                            asked = Asked::Until(Instant::now() + self.patience);
                        }
                    }
                    _ => {}
                },
            }
        }
    }

    /// Has nothing come since `read` bytes had, and is it worth asking why?
    fn is_silent(&self, asked: &Asked, read: u64) -> bool {
        let lately = match asked {
            Asked::Answered {
                at,
                read: then,
                carried,
            } => *then == read && *carried == self.carried() && at.elapsed() < PAUSE,
            Asked::Never | Asked::Until(_) => false,
        };
        self.interval.is_some() && self.read() == read && !lately
    }

    fn carried(&self) -> usize {
        self.state.carried.load(Ordering::Relaxed)
    }

    fn read(&self) -> u64 {
        self.state.read.load(Ordering::Relaxed)
    }

    fn is_busy(&self) -> bool {
        self.state.streams.load(Ordering::Relaxed) > 0
    }
}

enum Ended {
    Closed(Result<(), h2::Error>),
    Idle,
    Silent,
}

async fn pong(pings: Option<&mut PingPong>) -> Result<(), h2::Error> {
    match pings {
        Some(pings) => poll_fn(|cx| pings.poll_pong(cx)).await.map(drop),
        None => std::future::pending().await,
    }
}

/// Tells how much came on a connection, and why TLS ended on it.
pub(super) struct Meter(Arc<State>);

impl Meter {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self(state)
    }
}

impl Read for Meter {
    fn poll_read(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self(state) = self;
        let before = buffer.filled().len();
        // h2 keeps no more of an error than its text.
        let note = |error: io::Error| {
            if let Some(alert) = alert(&error) {
                let _ = state.alert.set(alert.clone());
            }
            error
        };
        ready!(Pin::new(stream).poll_read(cx, buffer)).map_err(note)?;
        let came = (buffer.filled().len() - before) as u64;
        state.read.fetch_add(came, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}
