//! The body of an answer, and what becomes of the connection after it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::super::incoming::{Incoming, Step};
use super::super::outgoing::{Piece, Sent, poll_frame};
use super::{Cause, Exchange, Reclaim};
use crate::net::Pipe;

/// The body of an answer. Most are small and arrive with their head: for them nothing is allocated,
/// and the connection is free at once.
pub enum AnswerBody {
    Empty,
    Whole(Bytes),
    Arriving(Box<dyn Sent + Send>),
    /// Somebody else made it.
    Stream(Body),
}

impl From<Body> for AnswerBody {
    fn from(body: Body) -> Self {
        Self::Stream(body)
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Whole(bytes)
        }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Arriving(body) => Pin::new(body).poll_frame(cx),
            Self::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(_) => false,
            Self::Arriving(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Arriving(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

impl Sent for AnswerBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, axum::Error>>> {
        match self {
            Self::Arriving(body) => body.poll_piece(cx),
            _ => poll_frame(self, cx),
        }
    }
}

/// The rest of an answer. It gives the connection back.
pub(super) struct ResponseBody<G: Send + Unpin + 'static, R: Reclaim<G>> {
    pub(super) exchange: Arc<Under<G>>,
    pub(super) incoming: Incoming,
    pub(super) keep: bool,
    pub(super) reclaim: R,
}

/// An exchange under way after the head of its answer; none once it is over. The lock is there
/// because two hold it: the body of the answer, and [`Rest`] while the request is still sent.
pub(super) type Under<G> = Mutex<Option<Exchange<G>>>;

/// What is left of a request whose answer has begun, in the extensions of that answer. Whoever writes
/// the answer sends this on too when the client does not take what is written: it may be a client
/// that reads nothing until it has sent everything.
#[derive(Clone)]
pub struct Rest(Arc<dyn SendsOn>);

/// A request under way.
pub(crate) trait SendsOn: Send + Sync {
    /// Sends what can be sent. What goes wrong is told by the body of the answer.
    fn poll_send(&self, cx: &mut Context<'_>);
}

impl Rest {
    pub(crate) fn of(exchange: Arc<dyn SendsOn>) -> Self {
        Self(exchange)
    }

    /// Sends what can be sent. What goes wrong is told by the body of the answer.
    pub fn poll_send(&self, cx: &mut Context<'_>) {
        self.0.poll_send(cx);
    }
}

impl<G: Send + Unpin + 'static> SendsOn for Under<G> {
    fn poll_send(&self, cx: &mut Context<'_>) {
        let mut exchange = self.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(exchange) = &mut *exchange {
            exchange.upload(cx);
        }
    }
}

impl<G: Send + Unpin + 'static, R: Reclaim<G>> ResponseBody<G, R> {
    fn exchange(&self) -> MutexGuard<'_, Option<Exchange<G>>> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes of a body of known length, unless some of it was read already.
    fn poll_pipe(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Pipe>, Cause>> {
        let mut guard = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(exchange), Incoming::Known(left)) = (&mut *guard, &self.incoming) else {
            return Poll::Ready(Ok(None));
        };
        if !exchange.connection.input.is_empty() {
            return Poll::Ready(Ok(None));
        }
        exchange.upload(cx);
        let Some(pipe) = ready!(exchange.poll_pipe(*left, cx))? else {
            return Poll::Ready(Ok(None));
        };
        drop(guard);
        self.incoming.took(pipe.len() as u64);
        if self.incoming.is_done() {
            self.finish();
        }
        Poll::Ready(Ok(Some(pipe)))
    }

    /// The answer has ended: the connection goes back if the request has, too, and nothing unasked
    /// came after it.
    fn finish(&mut self) {
        let exchange = self
            .exchange()
            .take_if(|exchange| exchange.upload.is_done());
        if let Some(exchange) = exchange {
            exchange.finish(self.keep, &mut self.reclaim);
        }
    }
}

impl<G: Send + Unpin + 'static, R: Reclaim<G>> Sent for ResponseBody<G, R> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, axum::Error>>> {
        match ready!(self.poll_pipe(cx)) {
            Ok(None) => poll_frame(self, cx),
            Ok(Some(pipe)) => Poll::Ready(Some(Ok(Piece::Pipe(pipe)))),
            Err(cause) => Poll::Ready(Some(Err(axum::Error::new(cause)))),
        }
    }
}

impl<G: Send + Unpin + 'static, R: Reclaim<G>> http_body::Body for ResponseBody<G, R> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let mut guard = this.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(exchange) = &mut *guard else {
            return Poll::Ready(None);
        };
        exchange.upload(cx);
        let frame = loop {
            let input = &mut exchange.connection.input;
            match this.incoming.step(input).map_err(axum::Error::new)? {
                Step::Frame(frame) => break Some(frame),
                Step::End => break None,
                Step::Starved => {
                    let read = ready!(exchange.poll_fill(cx)).map_err(axum::Error::new)?;
                    if read == 0 {
                        let ended = this.incoming.ended();
                        ended.map_err(|_| axum::Error::new(exchange.cut_off()))?;
                        *guard = None;
                        return Poll::Ready(None);
                    }
                }
            }
        };
        drop(guard);
        if this.incoming.is_done() {
            this.finish();
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .exact()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
