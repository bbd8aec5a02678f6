//! One client connection: a request is read, answered and forgotten, then the next.

mod reply;
mod shared;

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{EXPECT, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version};
use tokio::sync::oneshot;

pub use shared::Interim;

use super::outgoing::Sent;
use super::upgraded::{OnUpgrade, Upgraded};
use super::{BodyLength, Limits, Refusal, RequestHead, Reuse, framing, parse, preface};
use crate::message::fields::{has, lines};
use crate::net::{Alarm, Stream};
use shared::{RequestBody, Shared};

/// What a client may do, and for how long.
#[derive(Debug, Clone)]
pub struct Terms {
    pub limits: Limits,
    /// From the connection, or the first byte of a later request, to the end of the head.
    pub header_timeout: Duration,
    /// From the end of an answer to the first byte of the next request.
    pub idle_timeout: Duration,
    /// While the client takes nothing of an answer.
    pub write_timeout: Duration,
    /// On one connection; the last one closes it.
    pub requests: u64,
}

/// What answers the requests of one connection.
pub trait Handle {
    /// Of an answer.
    type Body: Sent;

    fn handle(&self, request: Request<Body>) -> impl Future<Output = Response<Self::Body>>;

    /// Answers what is no request.
    fn refuse(&self, refused: Refused) -> Response<Self::Body>;
}

/// Serves requests until the client leaves, breaks a rule, or `closing` is set: then the request
/// under way is the last. Whoever sets it polls this afterwards. `early` was read already; `make`
/// makes the handler for this connection. If `preface` says so, a client that begins with that of
/// HTTP/2 is given back, with what was read from it.
pub async fn serve<M, H>(
    stream: Stream,
    early: BytesMut,
    terms: &Terms,
    make: M,
    preface: bool,
    closing: &AtomicBool,
) -> Option<(Stream, Bytes)>
where
    M: FnOnce(Interim) -> H,
    H: Handle,
{
    let shared = Shared::new(stream, early);
    let handler = make(Interim::new(&shared));
    let mut connection = Connection {
        shared,
        terms,
        closing,
        alarm: Alarm::new(terms.header_timeout),
        begun: true,
        skipped: false,
        preface,
        requests: 0,
        last: false,
    };
    // All but waiting for a request is boxed, so that an idle connection does not hold the room that
    // a request takes.
    loop {
        let mut come = poll_fn(|cx| connection.poll_head(cx)).await;
        let head = match &mut come {
            Ok(Come::Head(head)) => head,
            Ok(Come::Preface) => return Arc::into_inner(connection.shared)?.into_parts(),
            Ok(Come::Nothing) => {
                connection.shared.write.say_goodbye();
                return None;
            }
            Err(refused) => {
                connection.last = true;
                let request = Asked {
                    method: Method::GET,
                    version: Version::HTTP_11,
                };
                let response = handler.refuse(*refused);
                if Box::pin(connection.write(response, &request)).await.is_ok() {
                    Box::pin(connection.linger()).await;
                }
                return None;
            }
        };
        // Written into its box: `Box::pin` puts it together elsewhere, and copies it with all the room that
        // is still empty.
        let answer = Box::write(Box::new_uninit(), connection.answer(head, &handler));
        match Box::into_pin(answer).await {
            Ok(Next::Request) => {}
            Ok(Next::Linger) => {
                Box::pin(connection.linger()).await;
                return None;
            }
            Ok(Next::Upgrade(upgrade)) => {
                connection.upgrade(upgrade);
                return None;
            }
            Err(Gone) => return None,
        }
    }
}

/// Why a request is answered without being handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Rule(Refusal),
    /// The head did not come in time.
    TooSlow,
}

/// The client is not there any more, or nothing more can be said to it.
struct Gone;

enum Next {
    Request,
    Linger,
    Upgrade(oneshot::Sender<Upgraded>),
}

/// What a client has sent.
#[expect(
    clippy::large_enum_variant,
    reason = "passed on at once, and mostly the large one"
)]
enum Come {
    Head(RequestHead),
    /// HTTP/2 follows it, and is still unread.
    Preface,
    /// No more requests will.
    Nothing,
}

/// What an answer has to know of its request.
struct Asked {
    method: Method,
    version: Version,
}

struct Connection<'a> {
    shared: Arc<Shared>,
    terms: &'a Terms,
    closing: &'a AtomicBool,
    alarm: Alarm,
    /// The first byte of the head has come. For the first request the time runs from the connection.
    begun: bool,
    /// An empty line before the head was skipped, and another will not be.
    skipped: bool,
    /// What comes first may be the preface of HTTP/2.
    preface: bool,
    requests: u64,
    /// No further request will be read.
    last: bool,
}

impl Connection<'_> {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Come, Refused>> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        loop {
            // It begins nothing: a client that sends one after a body may ask no more.
            self.skipped = self.skipped || parse::skip_empty_line(&mut state.input);
            if self.preface && !state.input.is_empty() {
                match preface::preface(&state.input) {
                    Some(true) => return Poll::Ready(Ok(Come::Preface)),
                    whole => self.preface = whole.is_some(),
                }
            }
            if !self.preface && !state.input.is_empty() {
                let parsed = parse::request(&mut state.input, &self.terms.limits);
                if let Some(head) = parsed.map_err(Refused::Rule)? {
                    self.skipped = false;
                    return Poll::Ready(Ok(Come::Head(head)));
                }
                if !std::mem::replace(&mut self.begun, true) {
                    self.alarm.set(self.terms.header_timeout);
                }
            }
            match state.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Ok(Come::Nothing)),
                Poll::Pending => break,
            }
        }
        if state.input.is_empty() && self.is_closing() {
            return Poll::Ready(Ok(Come::Nothing));
        }
        ready!(self.alarm.poll(cx));
        if state.input.is_empty() {
            Poll::Ready(Ok(Come::Nothing))
        } else {
            Poll::Ready(Err(Refused::TooSlow))
        }
    }

    fn is_closing(&mut self) -> bool {
        self.last |= self.closing.load(Ordering::Relaxed);
        self.last
    }

    async fn answer(
        &mut self,
        head: &mut RequestHead,
        handler: &impl Handle,
    ) -> Result<Next, Gone> {
        let asked = Asked {
            method: head.method.clone(),
            version: head.version,
        };
        let length = match framing::request(head.version, &head.headers) {
            Ok(length) => length,
            Err(refusal) => {
                self.last = true;
                self.write(handler.refuse(Refused::Rule(refusal)), &asked)
                    .await?;
                return Ok(Next::Linger);
            }
        };
        self.requests += 1;
        self.last |= framing::reuse(head.version, &head.headers) == Reuse::Close
            || self.requests >= self.terms.requests;
        let (request, upgrade) = self.request(head, length);
        let response = {
            let mut answering = std::pin::pin!(handler.handle(request));
            let shared = Arc::clone(&self.shared);
            // Nobody reads from a client whose upstream takes nothing of what it has sent already.
            let mut broken =
                std::pin::pin!((length != BodyLength::Empty).then(|| shared.write.broken()));
            poll_fn(|cx| {
                if let Poll::Ready(response) = answering.as_mut().poll(cx) {
                    return Poll::Ready(Ok(response));
                }
                let broken = broken.as_mut().as_pin_mut();
                let broken = broken.is_some_and(|broken| broken.poll(cx).is_ready());
                if broken || self.shared.is_gone(cx) {
                    Poll::Ready(Err(Gone))
                } else {
                    Poll::Pending
                }
            })
            .await?
        };
        self.is_closing();
        let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        self.write(response, &asked).await?;
        match upgrade {
            Some(upgrade) if switching => Ok(Next::Upgrade(upgrade)),
            _ if self.last => Ok(Next::Linger),
            _ => {
                self.begun = false;
                self.alarm.set(self.terms.idle_timeout);
                Ok(Next::Request)
            }
        }
    }

    fn request(
        &self,
        head: &mut RequestHead,
        length: BodyLength,
    ) -> (Request<Body>, Option<oneshot::Sender<Upgraded>>) {
        let mut state = self.shared.lock();
        state.body = length.into();
        let expects = lines(&head.headers, &EXPECT)
            .next()
            .is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        state.expects = expects && head.version == Version::HTTP_11 && !state.body.is_done();
        let body = match length {
            BodyLength::Empty => Body::empty(),
            _ => Body::new(RequestBody::new(&self.shared)),
        };
        let mut request = head.take_request(body);
        let asks = length == BodyLength::Empty && has(request.headers(), &UPGRADE);
        let upgrade = asks.then(|| {
            let (sender, on_upgrade) = OnUpgrade::new();
            request.extensions_mut().insert(on_upgrade);
            sender
        });
        (request, upgrade)
    }

    fn upgrade(self, upgrade: oneshot::Sender<Upgraded>) {
        let shared = Arc::try_unwrap(self.shared).ok();
        if let Some((stream, early)) = shared.and_then(Shared::into_parts) {
            // Nobody may be waiting for it any more.
            let _ = upgrade.send(Upgraded::new(stream, early));
        }
    }
}
