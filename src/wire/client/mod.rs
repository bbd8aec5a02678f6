//! One exchange with an origin: the request goes out, the answer comes in, at the same time.

mod body;

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode};
use thiserror::Error;

use super::encode::Head;
use super::incoming::Incoming;
use super::outgoing::{Framing, SendError, Sender};
use super::socket::{Outgoing, poll_fill};
use super::upgraded::Upgraded;
use super::{Limits, Refusal, Reuse, buffers, encode, framing, parse};
use crate::message::fields::{has, lines};
use crate::net::{Pipe, ReadHalf, Stream, WriteHalf};
use body::{ResponseBody, Under};

pub(crate) use body::SendsOn;
pub use body::{AnswerBody, Rest};

/// A connection to an origin, between two exchanges.
#[derive(Debug)]
pub struct Connection<G> {
    read: ReadHalf,
    write: WriteHalf,
    input: BytesMut,
    /// Exchanges it has carried.
    exchanges: u64,
    /// Given back when the connection ends.
    guard: G,
}

/// Why there is no answer, and what the origin may have seen of the request.
#[derive(Debug, Error)]
#[error("{cause}")]
pub struct Failure {
    #[source]
    pub cause: Cause,
    /// The connection had carried an exchange before: the origin may have closed it meanwhile.
    pub reused: bool,
    /// Something of an answer arrived.
    pub answered: bool,
}

#[derive(Debug, Error)]
pub enum Cause {
    #[error("the connection was closed or reset")]
    Closed(#[source] io::Error),
    #[error("the answer is not sound HTTP/1.1")]
    Refused(#[from] Refusal),
    #[error("the body of the request broke off")]
    Body(#[source] axum::Error),
}

impl<G> Connection<G> {
    pub fn new(stream: Stream, guard: G) -> Self {
        let (read, write) = stream.into_split();
        Self {
            read,
            write,
            input: BytesMut::new(),
            exchanges: 0,
            guard,
        }
    }

    /// Is it still open, with nothing said on it unasked? What the poller has seen costs no system
    /// call; `surely` asks the kernel, for what happened since the poller was last asked.
    pub fn is_usable(&self, surely: bool) -> bool {
        let would_block = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let read = match surely {
            true => self.read.peek(),
            false => self.read.try_read(&mut [0]),
        };
        self.input.is_empty() && read.is_err_and(would_block)
    }
}

/// Where a connection goes that can be used again.
pub trait Reclaim<G>: Send + Unpin + 'static {
    fn reclaim(&mut self, connection: Connection<G>);
}

/// Sends a request and waits for the head of the answer. `interim` is told of each 1xx but 100,
/// which is a matter between two hops.
pub async fn exchange<G, R>(
    connection: Connection<G>,
    head: Head<'_>,
    body: Body,
    limits: Limits,
    reclaim: R,
    interim: &mut impl FnMut(StatusCode, &HeaderMap),
) -> Result<Response<AnswerBody>, Failure>
where
    G: Send + Unpin + 'static,
    R: Reclaim<G>,
{
    let mut out = Outgoing::default();
    encode::request(&head, out.head());
    let upload = Sender::new(out, body, promised(head.headers));
    let mut exchange = Exchange {
        connection,
        upload,
        answered: false,
        broken: false,
        failed: None,
    };
    let answer = poll_fn(|cx| exchange.poll_head(cx, &limits, interim)).await;
    let answer = answer.and_then(|answer| {
        let parse::ResponseHead {
            status,
            version,
            headers,
        } = &answer;
        let length = framing::response(head.method, *status, *version, headers);
        length
            .map(|length| (answer, length))
            .map_err(Cause::Refused)
    });
    match answer {
        Ok((answer, length)) => Ok(exchange.into_response(answer, length.into(), reclaim)),
        Err(cause) => {
            let reused = exchange.connection.exchanges > 0;
            Err(Failure {
                cause,
                reused,
                answered: exchange.answered,
            })
        }
    }
}

/// The framing that the head promises; none if it has no body.
fn promised(headers: &HeaderMap) -> Option<Framing> {
    if has(headers, &TRANSFER_ENCODING) {
        return Some(Framing::Chunked);
    }
    let length = lines(headers, &CONTENT_LENGTH)
        .next()
        .and_then(framing::number);
    length.filter(|length| *length > 0).map(Framing::Known)
}

struct Exchange<G> {
    connection: Connection<G>,
    upload: Sender<Body>,
    answered: bool,
    /// Half a request was sent: nothing else can follow it.
    broken: bool,
    /// Why the request broke off. It is told where the answer needs more than has arrived already: an
    /// answer that is here whole is the answer all the same.
    failed: Option<Cause>,
}

impl<G> Exchange<G> {
    /// Sends on, and keeps what goes wrong until it matters.
    fn upload(&mut self, cx: &mut Context<'_>) {
        if let Err(cause) = self.try_upload(cx) {
            self.failed = Some(cause);
        }
    }

    /// Reads more of the answer; 0 is the end of the stream. Nothing more is waited for once the
    /// request has broken off.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Cause>> {
        let Connection { read, input, .. } = &mut self.connection;
        let read = poll_fill(read, input, cx);
        self.or_failed(read)
    }

    /// The same into a pipe; none where it has to be read.
    fn poll_pipe(&mut self, most: u64, cx: &mut Context<'_>) -> Poll<Result<Option<Pipe>, Cause>> {
        let pipe = Pipe::poll_from(&self.connection.read, most, cx);
        self.or_failed(pipe)
    }

    fn or_failed<T>(&mut self, read: Poll<io::Result<T>>) -> Poll<Result<T, Cause>> {
        match (read, self.failed.take()) {
            (Poll::Ready(Ok(read)), failed) => {
                self.failed = failed;
                Poll::Ready(Ok(read))
            }
            (_, Some(cause)) => Poll::Ready(Err(cause)),
            (read, None) => read.map_err(Cause::Closed),
        }
    }

    /// Why the answer ends too early.
    fn cut_off(&mut self) -> Cause {
        let closed = || Cause::Closed(io::ErrorKind::UnexpectedEof.into());
        self.failed.take().unwrap_or_else(closed)
    }

    /// Sends on. An origin that stops reading may have answered already: then the rest of the
    /// request is given up, and the answer is what counts.
    fn try_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        if self.upload.is_done() {
            return Ok(());
        }
        match self.upload.poll_send(&self.connection.write, cx) {
            Poll::Ready(Err(SendError::Body(error))) => {
                self.broken = true;
                Err(Cause::Body(error))
            }
            Poll::Ready(Err(SendError::Socket(_))) => {
                self.upload.abandon();
                self.broken = true;
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: &Limits,
        interim: &mut impl FnMut(StatusCode, &HeaderMap),
    ) -> Poll<Result<parse::ResponseHead, Cause>> {
        self.upload(cx);
        loop {
            let input = &mut self.connection.input;
            while !input.is_empty()
                && let Some(head) = parse::response(input, limits).map_err(Cause::Refused)?
            {
                match head.status {
                    StatusCode::SWITCHING_PROTOCOLS => return Poll::Ready(Ok(head)),
                    StatusCode::CONTINUE => {}
                    status if status.is_informational() => interim(status, &head.headers),
                    _ => return Poll::Ready(Ok(head)),
                }
            }
            match ready!(self.poll_fill(cx))? {
                0 => return Poll::Ready(Err(self.cut_off())),
                _ => self.answered = true,
            }
        }
    }
}

impl<G: Send + Unpin + 'static> Exchange<G> {
    fn into_response<R: Reclaim<G>>(
        mut self,
        head: parse::ResponseHead,
        incoming: Incoming,
        mut reclaim: R,
    ) -> Response<AnswerBody> {
        let keep = framing::reuse(head.version, &head.headers) == Reuse::Keep;
        let mut response = Response::new(AnswerBody::Empty);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let Connection {
                read,
                write,
                input,
                guard,
                ..
            } = self.connection;
            if let Some(stream) = read.reunite(write) {
                let upgraded = Upgraded::new(stream, input.freeze());
                response
                    .extensions_mut()
                    .insert(Switched::new(upgraded, guard));
            }
            return response;
        }
        *response.body_mut() = match self.take_whole(&incoming) {
            Some(bytes) => {
                self.finish(keep, &mut reclaim);
                bytes.into()
            }
            None => {
                let uploads = !self.upload.is_done();
                let exchange: Arc<Under<G>> = Arc::new(Mutex::new(Some(self)));
                if uploads {
                    response
                        .extensions_mut()
                        .insert(Rest::of(Arc::clone(&exchange) as _));
                }
                let body = ResponseBody {
                    exchange,
                    incoming,
                    keep,
                    reclaim,
                };
                AnswerBody::Arriving(Box::new(body))
            }
        };
        response
    }

    /// All of the answer's body, if it is here and the request has been sent.
    fn take_whole(&mut self, incoming: &Incoming) -> Option<Bytes> {
        let length = usize::try_from(incoming.exact()?).ok()?;
        let input = &mut self.connection.input;
        let whole = self.upload.is_done() && input.len() >= length;
        whole.then(|| input.split_to(length).freeze())
    }

    /// Both messages have ended.
    fn finish(mut self, keep: bool, reclaim: &mut impl Reclaim<G>) {
        let clean = self.connection.input.is_empty() && !self.broken;
        if keep && clean {
            self.connection.exchanges += 1;
            buffers::give_back(&mut self.connection.input);
            reclaim.reclaim(self.connection);
        }
    }
}

/// The connection of an answer that switched protocols, in its extensions.
#[derive(Debug)]
pub struct Switched<G>(Arc<Mutex<Option<(Upgraded, G)>>>);

impl<G> Clone for Switched<G> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<G> Switched<G> {
    fn new(upgraded: Upgraded, guard: G) -> Self {
        Self(Arc::new(Mutex::new(Some((upgraded, guard)))))
    }

    /// The connection with its guard; none if it was taken before.
    pub fn take(&self) -> Option<(Upgraded, G)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
