//! The body of an answer in the hands of h2. It is delivered when h2 has written the last piece of it,
//! which may be long after hyper has asked for that piece and dropped the body.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};

use crate::message::hop;
use crate::proxy::Observed;
use crate::wire::Sent;
use crate::wire::client::Rest;

/// An answer under way. Only the connection's task touches it.
pub(super) struct Answer {
    body: Mutex<Observed>,
    rest: Option<Rest>,
    flow: Arc<Flow>,
}

/// What became of the pieces of an answer. They know nothing more of it: h2 drops them while it holds
/// its lock, and whatever else belongs to the answer, as the body of the request, would ask for that.
#[derive(Default)]
pub(super) struct Flow {
    /// Bytes given to h2, and of these the bytes that it has written.
    given: AtomicU64,
    written: AtomicU64,
    /// Pieces that it holds.
    held: AtomicUsize,
    /// All of the body was given.
    whole: AtomicBool,
    /// Some of it was thrown away.
    cut: AtomicBool,
    /// Told when nothing is held any more.
    watcher: AtomicWaker,
}

impl Answer {
    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that were written so far, if more wait to be.
    pub(super) fn blocked(&self) -> Option<u64> {
        let written = self.flow.written.load(Ordering::Relaxed);
        (self.flow.given.load(Ordering::Relaxed) > written).then_some(written)
    }

    /// Ready when h2 holds nothing of it.
    pub(super) fn poll_released(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.flow.watcher.register(cx.waker());
        match self.flow.held.load(Ordering::Relaxed) {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    /// While the client takes nothing: sends on what is left of the request, and must the answer end?
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(rest) = &self.rest {
            rest.poll_send(cx);
        }
        self.lock().poll_end(cx).map(drop)
    }

    /// The client took nothing for so long that it is given up.
    pub(super) fn refused(&self) {
        self.lock().refused();
    }

    /// Nothing more can become of it: was it delivered?
    pub(super) fn settle(&self) {
        let said = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let held = self.flow.held.load(Ordering::Relaxed);
        if held == 0 && said(&self.flow.whole) && !said(&self.flow.cut) {
            self.lock().delivered();
        }
    }
}

pub(super) struct AnswerBody(pub(super) Arc<Answer>);

impl AnswerBody {
    /// `bodiless`: nothing of the body is to be sent.
    pub(super) fn new(body: Observed, rest: Option<Rest>, bodiless: bool) -> Self {
        let flow = Flow::default();
        let whole = bodiless || body.is_end_stream();
        flow.whole.store(whole, Ordering::Relaxed);
        Self(Arc::new(Answer {
            body: Mutex::new(body),
            rest,
            flow: Arc::new(flow),
        }))
    }
}

impl Body for AnswerBody {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let answer = &*self.0;
        let flow = &answer.flow;
        if flow.whole.load(Ordering::Relaxed) {
            return Poll::Ready(None);
        }
        let mut body = answer.lock();
        loop {
            let Some(frame) = ready!(Pin::new(&mut *body).poll_frame(cx)).transpose()? else {
                break;
            };
            match frame.into_data() {
                Ok(data) => {
                    let end = body.is_end_stream();
                    if data.is_empty() && !end {
                        continue;
                    }
                    flow.whole.store(end, Ordering::Relaxed);
                    flow.given.fetch_add(data.len() as u64, Ordering::Relaxed);
                    flow.held.fetch_add(1, Ordering::Relaxed);
                    let flow = Arc::clone(flow);
                    return Poll::Ready(Some(Ok(Frame::data(Piece { data, flow }))));
                }
                Err(frame) => {
                    let mut trailers = frame.into_trailers().unwrap_or_default();
                    hop::strip_response(&mut trailers);
                    if trailers.is_empty() {
                        break;
                    }
                    flow.whole.store(true, Ordering::Relaxed);
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
            }
        }
        flow.whole.store(true, Ordering::Relaxed);
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.0.flow.whole.load(Ordering::Relaxed)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}

/// A piece of an answer that h2 holds until it is written, or thrown away.
pub(super) struct Piece {
    data: Bytes,
    flow: Arc<Flow>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.data.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.data
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
        let written = &self.flow.written;
        written.fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if !self.data.is_empty() {
            self.flow.cut.store(true, Ordering::Relaxed);
        }
        if self.flow.held.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.flow.watcher.wake();
        }
    }
}
