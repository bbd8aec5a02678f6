//! The body of an answer on its way to the client: it tells the Record what passes, and ends what
//! lasts too long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use http_body::{Frame, SizeHint};

use super::Until;
use crate::message::grpc;
use crate::net::{Alarm, Patience};
use crate::telemetry::{Received, Record};
use crate::upstream;
use crate::why::Why;
use crate::wire::client::AnswerBody;
use crate::wire::{Piece, Sent};

/// It holds the Record, which so closes when the body was delivered or dropped, and nothing of the
/// snapshot.
pub(crate) struct Observed {
    body: AnswerBody,
    record: Option<Record>,
    why: Why,
    watch: Option<Box<Watch>>,
}

/// What can end an answer that does not come all at once.
pub(super) struct Watch {
    /// Resolves when it has to end, and why.
    pub(super) until: Option<Until>,
    /// How long to wait for the next piece.
    pub(super) idle: Duration,
    pub(super) patience: Patience,
    pub(super) alarm: Option<Alarm>,
    /// The client still sends: as long as it does, the upstream may be silent.
    pub(super) received: Arc<Received>,
    /// The client said that it reads trailers.
    pub(super) trailers: bool,
}

impl Observed {
    pub(super) fn new(
        body: AnswerBody,
        record: Record,
        why: Why,
        watch: Option<Box<Watch>>,
    ) -> Self {
        Self {
            body,
            record: Some(record),
            why,
            watch,
        }
    }

    /// Of an answer that is none, but the beginning of a tunnel.
    pub(super) fn none() -> Self {
        Self {
            body: AnswerBody::Empty,
            record: None,
            why: Why::Ok,
            watch: None,
        }
    }

    fn close(&mut self, why: Why) {
        if let Some(mut record) = self.record.take() {
            record.ends(why);
        }
    }

    /// What comes of the body by `next`, and what of it is passed on.
    fn poll_next<P>(
        &mut self,
        next: impl FnOnce(&mut AnswerBody, &mut Context<'_>) -> Poll<Option<Result<P, axum::Error>>>,
        take: impl FnOnce(&mut Self, P) -> Option<P>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P, axum::Error>>> {
        if let Poll::Ready(end) = self.poll_until(cx) {
            return Poll::Ready(end.err().map(Err));
        }
        let Poll::Ready(piece) = next(&mut self.body, cx) else {
            if let Some(watch) = &mut self.watch
                && watch.poll_stalled(cx).is_ready()
            {
                self.close(Why::UpstreamStalled);
                return Poll::Ready(Some(Err(timed_out())));
            }
            return Poll::Pending;
        };
        if let Some(watch) = &mut self.watch {
            watch.patience = Patience::default();
        }
        Poll::Ready(match piece {
            Some(Ok(piece)) => take(self, piece).map(Ok),
            Some(Err(error)) => {
                self.close(upstream::why_of_body(&error));
                Some(Err(error))
            }
            None => None,
        })
    }

    fn take_piece(&mut self, piece: Piece) -> Option<Piece> {
        match piece {
            Piece::Frame(frame) => self.take(frame).map(Piece::Frame),
            Piece::Pipe(pipe) => {
                self.sent(pipe.len());
                Some(Piece::Pipe(pipe))
            }
        }
    }

    fn sent(&mut self, bytes: usize) {
        if let Some(record) = &mut self.record {
            record.sent(bytes as u64);
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        if let Some(data) = frame.data_ref() {
            self.sent(data.len());
            return Some(frame);
        }
        if let (Some(record), Some(trailers)) = (&mut self.record, frame.trailers_ref())
            && let Some(code) = record.code()
        {
            *code = grpc::code(trailers);
        }
        let wanted = self.watch.as_ref().is_some_and(|watch| watch.trailers);
        wanted.then_some(frame)
    }

    /// Must the answer end, although its body has more to come? As if it were whole, or broken off.
    fn poll_until(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        let Some(watch) = &mut self.watch else {
            return Poll::Pending;
        };
        let why = ready!(watch.poll_until(cx));
        self.close(why);
        Poll::Ready(match why {
            Why::Draining => Ok(()),
            _ => Err(timed_out()),
        })
    }
}

/// Passed on as an error, so that the client cannot take it for the end.
fn timed_out() -> axum::Error {
    axum::Error::new(io::Error::from(io::ErrorKind::TimedOut))
}

impl Sent for Observed {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, axum::Error>>> {
        self.poll_next(AnswerBody::poll_piece, Self::take_piece, cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        self.poll_until(cx)
    }

    /// Only now is it known that the client did not leave before the last byte.
    fn delivered(&mut self) {
        self.close(self.why);
    }

    fn refused(&mut self) {
        self.close(Why::ClientStalled);
    }
}

impl Watch {
    /// An event stream that ends so is whole: it has no last event, and its clients come back by
    /// themselves.
    fn poll_until(&mut self, cx: &mut Context<'_>) -> Poll<Why> {
        match &mut self.until {
            Some(until) => until.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// The upstream sends nothing.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        let alarm = self.alarm.get_or_insert_with(|| Alarm::new(idle));
        let progress = Some(self.received.bytes());
        self.patience.poll_over(progress, idle, alarm, cx)
    }
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let next = |body: &mut AnswerBody, cx: &mut Context<'_>| Pin::new(body).poll_frame(cx);
        self.poll_next(next, Self::take, cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
