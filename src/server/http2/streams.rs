//! The streams of one connection: each is a future that hyper makes, and that is watched here.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::Instant;

use super::answer::{Answer, AnswerBody};
use super::tunnel::{Agreed, Task, Tunnel};
use crate::net::{Alarm, Patience};
use crate::proxy::{Connection, Observed};
use crate::wire::client::Rest;

/// Where one stream's answer is found once there is one, or the tunnel that it becomes.
pub(super) struct Slot {
    answer: OnceLock<Arc<Answer>>,
    agreed: Mutex<Option<Agreed>>,
    connection: Arc<Connection>,
    write_timeout: Duration,
}

impl Slot {
    pub(super) fn new(connection: &Arc<Connection>, write_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            answer: OnceLock::new(),
            agreed: Mutex::default(),
            connection: Arc::clone(connection),
            write_timeout,
        })
    }

    pub(super) fn fill(&self, body: Observed, rest: Option<Rest>, bodiless: bool) -> AnswerBody {
        let body = AnswerBody::new(body, rest, bodiless);
        let _ = self.answer.set(Arc::clone(&body.0));
        body
    }

    /// hyper is about to send the head that begins this tunnel, and to execute its sender.
    pub(super) fn agree(&self, agreed: Agreed) {
        *self.lock_agreed() = Some(agreed);
    }

    fn lock_agreed(&self) -> MutexGuard<'_, Option<Agreed>> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None if it became none.
    fn tunnel(&self) -> Option<Tunnel> {
        let agreed = self.lock_agreed().take()?;
        agreed.begin(self.write_timeout)
    }
}

/// Takes what hyper would spawn, for the connection's own task to run. Its lock is never waited for.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Mutex<New>>);

#[derive(Default)]
struct New {
    /// Of the stream for which hyper is about to execute something.
    slot: Option<Arc<Slot>>,
    begun: Vec<OneStream>,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, New> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// hyper calls the service for a stream, and executes its future right after; or it has got the answer
    /// that makes the stream a tunnel, and executes the sender of that.
    pub(super) fn begin(&self, slot: &Arc<Slot>) {
        self.lock().slot = Some(Arc::clone(slot));
    }

    pub(super) fn take(&self) -> Vec<OneStream> {
        std::mem::take(&mut self.lock().begun)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        let mut new = self.lock();
        let Some(slot) = new.slot.take() else { return };
        let future: Task = Box::pin(future);
        if let Some(agreed) = &mut *slot.lock_agreed() {
            agreed.send_by(future);
            return;
        }
        new.begun.push(OneStream {
            future: Some(future),
            tunnel: None,
            slot,
            patience: Patience::default(),
            alarm: None,
        });
    }
}

/// How a stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It had an answer, whole or not.
    Answered,
    /// The client took the request back before.
    TakenBack,
}

/// A request and its answer, until the last byte of it is written.
pub(super) struct OneStream {
    /// hyper's part, done when h2 has everything. Dropped before, it resets the stream.
    future: Option<Task>,
    tunnel: Option<Box<Tunnel>>,
    slot: Arc<Slot>,
    patience: Patience,
    alarm: Option<Alarm>,
}

impl Future for OneStream {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = &mut *self;
        if let Some(future) = &mut this.future
            && future.as_mut().poll(cx).is_ready()
        {
            this.future = None;
            this.tunnel = this.slot.tunnel().map(Box::new);
        }
        if let Some(tunnel) = &mut this.tunnel {
            return tunnel.poll(cx).map(|()| Ended::Answered);
        }
        let slot = Arc::clone(&this.slot);
        let Some(answer) = slot.answer.get() else {
            return match this.future {
                Some(_) => Poll::Pending,
                None => Poll::Ready(Ended::TakenBack),
            };
        };
        let released = answer.poll_released(cx).is_ready();
        if released && this.future.is_none() {
            return Poll::Ready(Ended::Answered);
        }
        let ended = this.poll_untaken(answer, cx);
        ended.map(|()| Ended::Answered)
    }
}

impl OneStream {
    /// Must it end, although the client has not taken all that it was given?
    fn poll_untaken(&mut self, answer: &Answer, cx: &mut Context<'_>) -> Poll<()> {
        let blocked = answer.blocked();
        if blocked.is_some() && self.future.is_some() && answer.poll_end(cx).is_ready() {
            return Poll::Ready(());
        }
        if blocked.is_none() && self.alarm.is_none() {
            return Poll::Pending;
        }
        let limit = self.slot.write_timeout;
        let connection = &self.slot.connection;
        let alarm = self
            .alarm
            .get_or_insert_with(|| connection.alarm(Instant::now(), limit));
        let over = self.patience.poll_over(blocked, limit, alarm, cx);
        over.map(|()| answer.refused())
    }
}

impl Drop for OneStream {
    fn drop(&mut self) {
        if let Some(answer) = self.slot.answer.get() {
            answer.settle();
        }
        if let Some(alarm) = self.alarm.take() {
            self.slot.connection.keep(alarm);
        }
    }
}
