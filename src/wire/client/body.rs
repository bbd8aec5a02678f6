//! The body of an answer, and what becomes of the connection after it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::super::buffers;
use super::super::incoming::{Incoming, Step};
use super::super::socket::poll_fill;
use super::{Connection, Exchange, Reclaim};

/// The body of an answer. Most are small and arrive with their head: for them nothing is allocated,
/// and the connection is free at once.
#[derive(Debug)]
pub enum AnswerBody {
    Empty,
    Whole(Bytes),
    /// It is still arriving, or somebody else made it.
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
            Self::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(_) => false,
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// The rest of an answer. It sends the rest of the request on, too, and gives the connection back.
pub(super) struct ResponseBody<G: Send + Unpin + 'static, R: Reclaim<G>> {
    pub(super) exchange: Option<Exchange<G>>,
    pub(super) incoming: Incoming,
    pub(super) keep: bool,
    pub(super) reclaim: R,
}

impl<G: Send + Unpin + 'static, R: Reclaim<G>> ResponseBody<G, R> {
    /// All of the body, if it is here and the request has been sent.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        let exchange = self.exchange.as_mut()?;
        let length = usize::try_from(self.incoming.exact()?).ok()?;
        let input = &mut exchange.connection.input;
        if !exchange.upload.is_done() || input.len() < length {
            return None;
        }
        let bytes = input.split_to(length).freeze();
        self.incoming = Incoming::Done;
        self.finish();
        Some(bytes)
    }

    /// The answer has ended: the connection goes back if the request has, too, and nothing unasked
    /// came after it.
    pub(super) fn finish(&mut self) -> bool {
        let Some(exchange) = &mut self.exchange else {
            return true;
        };
        if !exchange.upload.is_done() {
            return false;
        }
        let clean = exchange.connection.input.is_empty() && !exchange.broken;
        if let Some(mut exchange) = self.exchange.take()
            && self.keep
            && clean
        {
            exchange.connection.exchanges += 1;
            buffers::give_back(&mut exchange.connection.input);
            self.reclaim.reclaim(exchange.connection);
        }
        true
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
        let Some(exchange) = &mut this.exchange else {
            return Poll::Ready(None);
        };
        exchange.upload(cx).map_err(axum::Error::new)?;
        loop {
            let Connection { read, input, .. } = &mut exchange.connection;
            match this.incoming.step(input).map_err(axum::Error::new)? {
                Step::Frame(frame) => {
                    if this.incoming.is_done() {
                        this.finish();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Step::End => {
                    this.finish();
                    return Poll::Ready(None);
                }
                Step::Starved => {
                    this.incoming.make_room(input);
                    let read = ready!(poll_fill(read, input, cx)).map_err(axum::Error::new)?;
                    if read == 0 {
                        this.incoming.ended().map_err(axum::Error::new)?;
                        this.exchange = None;
                        return Poll::Ready(None);
                    }
                }
            }
        }
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
