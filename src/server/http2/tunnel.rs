//! A stream that has become a tunnel, run by the task of its connection: the tunnel, and the sender that
//! hyper has for what the tunnel writes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use hyper::upgrade::OnUpgrade;

use crate::net::Alarm;
use crate::net::tunnel::{End, Side, Substream};
use crate::proxy::Bridge;

/// A future that hyper would spawn.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Both sides have agreed to a tunnel, which begins when hyper has sent the head that says so.
pub(super) struct Agreed {
    bridge: Bridge,
    upgrade: OnUpgrade,
    sender: Option<Task>,
}

impl Agreed {
    pub(super) fn new(bridge: Bridge, upgrade: OnUpgrade) -> Self {
        Self {
            bridge,
            upgrade,
            sender: None,
        }
    }

    pub(super) fn send_by(&mut self, sender: Task) {
        self.sender = Some(sender);
    }

    /// None if the client was gone before.
    pub(super) fn begin(self, write_timeout: Duration) -> Option<Tunnel> {
        let sender = self.sender?;
        let upgraded = self.upgrade.now_or_never()?.ok()?;
        let stream = Arc::new(Substream::new(upgraded));
        let carried = self.bridge.begin(Side::Stream(Arc::clone(&stream)))?;
        Some(Tunnel {
            sender: Some(sender),
            carried: Some(Box::pin(carried)),
            stream,
            write_timeout,
            alarm: None,
        })
    }
}

pub(super) struct Tunnel {
    /// Dropped before its end, it resets the stream.
    sender: Option<Task>,
    carried: Option<Pin<Box<dyn Future<Output = End> + Send>>>,
    stream: Arc<Substream>,
    /// For the client to take what is left at the end.
    write_timeout: Duration,
    alarm: Option<Alarm>,
}

impl Tunnel {
    /// Ready when it is over, and h2 has everything that the client may still take.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // First, so that a client that resets its stream is not taken for one that has finished.
        self.poll_sender(cx);
        if let Some(carried) = &mut self.carried {
            let end = carried.as_mut().poll(cx);
            if end.is_ready() {
                self.carried = None;
            }
            if matches!(end, Poll::Ready(end) if end.is_orderly()) {
                self.stream.finish();
            }
            self.poll_sender(cx);
            if !ready!(end).is_orderly() {
                return Poll::Ready(());
            }
        }
        if self.sender.is_none() {
            return Poll::Ready(());
        }
        let limit = self.write_timeout;
        self.alarm.get_or_insert_with(|| Alarm::new(limit)).poll(cx)
    }

    fn poll_sender(&mut self, cx: &mut Context<'_>) {
        if let Some(sender) = &mut self.sender
            && sender.as_mut().poll(cx).is_ready()
        {
            self.sender = None;
            self.stream.sender_ended();
        }
    }
}
