//! The answer that comes on a stream.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use h2::RecvStream;
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};

use super::Fault;
use super::exchange::Exchange;
use crate::message::fields::lines;
use crate::wire::client::{AnswerBody, Rest, SendsOn};
use crate::wire::framing::number;

/// The request under way, shared by the body of its answer and by whoever sends on what is left of it.
#[derive(Clone)]
struct Under(Arc<Mutex<Option<Exchange>>>);

pub(super) fn answer(head: Response<RecvStream>, mut exchange: Exchange) -> Response<AnswerBody> {
    let (mut head, stream) = head.into_parts();
    exchange.upload.forget();
    if exchange.upload.is_done() && stream.is_end_stream() {
        return Response::from_parts(head, AnswerBody::Empty);
    }
    let uploads = !exchange.upload.is_done();
    let left = lines(&head.headers, &CONTENT_LENGTH)
        .next()
        .and_then(number);
    let exchange = Under(Arc::new(Mutex::new(Some(exchange))));
    if uploads {
        head.extensions.insert(Rest::of(Arc::new(exchange.clone())));
    }
    let body = Body::new(StreamBody {
        exchange,
        stream,
        left,
        ended: false,
    });
    Response::from_parts(head, AnswerBody::from(body))
}

struct StreamBody {
    exchange: Under,
    stream: RecvStream,
    /// Bytes that are to come, if that is known.
    left: Option<u64>,
    ended: bool,
}

impl SendsOn for Under {
    fn poll_send(&self, cx: &mut Context<'_>) {
        let mut exchange = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(exchange) = &mut *exchange {
            exchange.send(cx);
        }
    }
}

impl StreamBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.exchange.poll_send(cx);
        let Poll::Ready(data) = self.stream.poll_data(cx) else {
            let mut exchange = self
                .exchange
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            return match &mut *exchange {
                Some(exchange) => exchange.poll_failed().map(|fault| Some(Err(fault))),
                None => Poll::Pending,
            };
        };
        match data {
            Some(Ok(data)) => {
                let length = data.len();
                self.left = self.left.map(|left| left.saturating_sub(length as u64));
                // Whoever asks for a piece passes it on before the next: the server may send more.
                let released = self.stream.flow_control().release_capacity(length);
                released.map_err(Fault::Stream)?;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            // Also by NO_ERROR, which may follow an answer that is whole (RFC 9113 section 8.1): h2 knows
            // when that was, and then has no error.
            Some(Err(error)) => Poll::Ready(Some(Err(Fault::Stream(error)))),
            None => {
                let trailers = ready!(self.stream.poll_trailers(cx)).map_err(Fault::Stream)?;
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    /// The stream is over, with whatever was left of the request.
    fn end(&mut self) {
        self.ended = true;
        *self
            .exchange
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(self.poll(cx));
        let last = match &frame {
            Some(Ok(frame)) => frame.is_trailers() || self.stream.is_end_stream(),
            Some(Err(_)) | None => true,
        };
        if last {
            self.end();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
