//! The body of an answer, and what becomes of the connection after it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::super::incoming::{Incoming, Step};
use super::super::socket::poll_fill;
use super::{Connection, Exchange, Reclaim};

/// The body of an answer. It sends the rest of the request on, too, and gives the connection back.
pub(super) struct ResponseBody<G: Send + Unpin + 'static, R: Reclaim<G>> {
    pub(super) exchange: Option<Exchange<G>>,
    pub(super) incoming: Incoming,
    pub(super) keep: bool,
    pub(super) reclaim: R,
}

impl<G: Send + Unpin + 'static, R: Reclaim<G>> ResponseBody<G, R> {
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
