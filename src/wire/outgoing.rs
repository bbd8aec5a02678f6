//! A body on its way out, framed as its head says.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::chunked::{LAST_CHUNK, encode_end, encode_size};
use super::socket::Outgoing;
use crate::net::{Pipe, WriteHalf};

/// Of a body of which so much is still to come, pieces come in pipes. For less, the copy costs less than
/// the calls.
const LONG: u64 = 32 * 1024;

/// How the body is framed on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes are promised and still to be sent.
    Known(u64),
    Chunked,
    /// Closing the connection ends it.
    UntilClose,
}

/// The body of a message that is sent.
pub trait Sent: Body<Data = Bytes, Error = axum::Error> + Unpin {
    /// What comes next, as a frame or in a pipe, for a receiver that takes either.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Next {
        poll_frame(self, cx)
    }

    /// Asked while the receiver takes nothing and so no frame is wanted: must it end early, as if it
    /// were whole, or broken off?
    fn poll_end(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Pending
    }

    /// The kernel has taken all of the message.
    fn delivered(&mut self) {}

    /// The receiver took nothing for so long that it was given up.
    fn refused(&mut self) {}
}

impl Sent for axum::body::Body {}

/// What comes of a body.
#[derive(Debug)]
pub enum Piece {
    Frame(Frame<Bytes>),
    /// Bytes that the kernel has moved, and has to be asked to move on.
    Pipe(Pipe),
}

type Next = Poll<Option<Result<Piece, axum::Error>>>;

pub(super) fn poll_frame<B>(body: &mut B, cx: &mut Context<'_>) -> Next
where
    B: Body<Data = Bytes, Error = axum::Error> + Unpin + ?Sized,
{
    let frame = Pin::new(body).poll_frame(cx);
    frame.map(|frame| frame.map(|frame| frame.map(Piece::Frame)))
}

/// Sends a head that is encoded already and the body after it.
#[derive(Debug)]
pub(super) struct Sender<B> {
    pub(super) out: Outgoing,
    /// Kept until all of it was taken.
    body: Option<B>,
    more: More,
    framing: Framing,
    /// The body broke off, and why. What came of it before is still sent.
    broken: Option<axum::Error>,
}

/// What is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Frames,
    /// Its end, as soon as there is room for it.
    End,
    Nothing,
}

/// Who broke it off.
#[derive(Debug)]
pub(super) enum SendError {
    /// The body itself: where it comes from.
    Body(axum::Error),
    /// The connection it goes to.
    Socket(#[expect(dead_code, reason = "for the log of a debugging session")] io::Error),
}

impl<B: Sent> Sender<B> {
    /// Without a framing nothing of the body is sent.
    pub(super) fn new(out: Outgoing, body: B, framing: Option<Framing>) -> Self {
        Self {
            out,
            body: Some(body),
            more: framing.map_or(More::Nothing, |_| More::Frames),
            framing: framing.unwrap_or(Framing::Known(0)),
            broken: None,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && self.out.is_empty()
    }

    /// Bytes that were taken so far, if more wait to be.
    pub(super) fn blocked(&self) -> Option<u64> {
        (!self.out.is_empty()).then_some(self.out.written)
    }

    /// The receiver is given up.
    pub(super) fn give_up(&mut self) {
        if let Some(body) = &mut self.body {
            body.refused();
        }
    }

    /// Gives up what was not sent.
    pub(super) fn abandon(&mut self) {
        self.body = None;
        self.more = More::Nothing;
        self.out = Outgoing::default();
    }

    /// Sends until all of it is sent.
    pub(super) fn poll_send(
        &mut self,
        stream: &WriteHalf,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        loop {
            while self.out.takes_more() {
                let body = match (self.more, &mut self.body) {
                    (More::Frames, Some(body)) => body,
                    (More::End, _) => {
                        self.end();
                        continue;
                    }
                    _ => break,
                };
                let long = matches!(self.framing, Framing::Known(LONG..));
                let next = match long && self.out.is_empty() && stream.takes_pipes() {
                    true => body.poll_piece(cx),
                    false => poll_frame(body, cx),
                };
                match next {
                    Poll::Ready(Some(Ok(piece))) => self.take(piece),
                    Poll::Ready(Some(Err(error))) => self.break_off(error),
                    Poll::Ready(None) => self.end(),
                    Poll::Pending => {
                        // The head must not wait for the body.
                        let written = self.out.poll_write(stream, cx);
                        ready!(written).map_err(SendError::Socket)?;
                        return Poll::Pending;
                    }
                }
            }
            let written = self.out.poll_write(stream, cx);
            if written.map_err(SendError::Socket)?.is_pending() {
                return self.poll_blocked(cx);
            }
            if let Some(error) = self.broken.take() {
                return Poll::Ready(Err(SendError::Body(error)));
            }
            if self.more == More::Nothing {
                if let Some(mut body) = self.body.take() {
                    body.delivered();
                }
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if self.more == More::Frames
            && let Some(body) = &mut self.body
        {
            ready!(body.poll_end(cx)).map_err(SendError::Body)?;
            self.more = More::End;
        }
        Poll::Pending
    }

    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Frame(frame) => self.take_frame(frame),
            Piece::Pipe(pipe) => {
                if self.promised(pipe.len()) {
                    self.out.pipe(pipe);
                }
            }
        }
        // What is promised and sent is not waited for to end.
        if self.framing == Framing::Known(0) {
            self.more = More::Nothing;
        }
    }

    fn take_frame(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => match self.framing {
                Framing::UntilClose => self.out.push(data, b""),
                Framing::Chunked => {
                    encode_size(data.len(), self.out.head());
                    self.out.push(data, b"\r\n");
                }
                Framing::Known(_) => {
                    if self.promised(data.len()) {
                        self.out.push(data, b"");
                    }
                }
            },
            Err(frame) => {
                if let (Ok(trailers), Framing::Chunked) = (frame.into_trailers(), self.framing) {
                    encode_end(&trailers, self.out.head());
                    self.more = More::Nothing;
                }
            }
        }
    }

    /// Is so much of a known length still to come? More than was promised would be read as the next
    /// message.
    fn promised(&mut self, length: usize) -> bool {
        let Framing::Known(left) = &mut self.framing else {
            return false;
        };
        match left.checked_sub(length as u64) {
            Some(rest) => *left = rest,
            None => self.break_off(wrong_length()),
        }
        self.broken.is_none()
    }

    fn end(&mut self) {
        self.more = More::Nothing;
        match self.framing {
            Framing::Chunked => self.out.head().extend_from_slice(LAST_CHUNK),
            Framing::Known(1..) => self.break_off(wrong_length()),
            Framing::Known(0) | Framing::UntilClose => {}
        }
    }

    fn break_off(&mut self, error: axum::Error) {
        self.more = More::Nothing;
        self.broken = Some(error);
    }
}

fn wrong_length() -> axum::Error {
    axum::Error::new(io::Error::from(io::ErrorKind::InvalidData))
}
