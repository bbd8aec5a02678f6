//! The body of a request on its way into a stream, no faster than the server takes it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use http_body::{Body as _, Frame};

/// So much of a body is remembered until the server has said something, in case it never looked at the
/// request. A message of gRPC mostly fits.
const REMEMBERED: usize = 64 * 1024;

pub(super) struct Upload {
    stream: SendStream<Bytes>,
    body: Body,
    /// Read from the body, and not yet taken by the stream.
    piece: Bytes,
    done: bool,
    /// What was read from the body; none if it is too much to remember.
    sent: Option<Sent>,
}

#[derive(Default)]
struct Sent {
    pieces: VecDeque<Bytes>,
    length: usize,
    trailers: Option<HeaderMap>,
}

impl Upload {
    /// `done` if there is no body.
    pub(super) fn new(stream: SendStream<Bytes>, body: Body, done: bool) -> Self {
        Self {
            stream,
            body,
            piece: Bytes::new(),
            done,
            sent: Some(Sent::default()),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The server has said something: it has seen the request.
    pub(super) fn forget(&mut self) {
        self.sent = None;
    }

    /// The body as it was, if that is remembered.
    pub(super) fn again(self) -> Option<Body> {
        let Sent {
            pieces, trailers, ..
        } = self.sent?;
        if pieces.is_empty() && trailers.is_none() {
            return Some(self.body);
        }
        let rest = self.body;
        Some(Body::new(Again {
            pieces,
            trailers,
            rest,
        }))
    }

    /// Sends what can be sent; ready when nothing more is to be. That the server takes no more is no
    /// error: what it says instead counts.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        while !self.done {
            if !self.piece.is_empty() {
                self.done = ready!(self.poll_piece(cx)).is_err();
                continue;
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.take(frame),
                Some(Err(error)) => {
                    self.done = true;
                    return Poll::Ready(Err(error));
                }
                None => self.end(),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        self.stream.reserve_capacity(self.piece.len());
        let mut room = self.stream.capacity();
        if room == 0 {
            if let Poll::Ready(reset) = self.stream.poll_reset(cx) {
                return Poll::Ready(Err(reset?.into()));
            }
            room = match ready!(self.stream.poll_capacity(cx)) {
                Some(room) => room?,
                None => return Poll::Ready(Err(Reason::CANCEL.into())),
            };
        }
        let piece = self.piece.split_to(room.min(self.piece.len()));
        let end = self.piece.is_empty() && self.body.is_end_stream();
        self.stream.send_data(piece, end)?;
        self.done = end;
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => {
                self.remember(&data);
                if data.is_empty() && self.body.is_end_stream() {
                    self.end();
                }
                self.piece = data;
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                if let Some(sent) = &mut self.sent {
                    sent.trailers = Some(trailers.clone());
                }
                let _ = self.stream.send_trailers(trailers);
                self.done = true;
            }
        }
    }

    fn end(&mut self) {
        let _ = self.stream.send_data(Bytes::new(), true);
        self.done = true;
    }

    fn remember(&mut self, data: &Bytes) {
        self.sent = self.sent.take().and_then(|mut sent| {
            sent.length += data.len();
            sent.pieces.push_back(data.clone());
            (sent.length <= REMEMBERED).then_some(sent)
        });
    }
}

/// A body that is sent once more from its beginning.
struct Again {
    pieces: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    rest: Body,
}

impl http_body::Body for Again {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match self.trailers.take() {
            Some(trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.trailers.is_none() && self.rest.is_end_stream()
    }
}
