//! One exchange on a stream: the request goes out, the answer comes in, at the same time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body as _;

use super::answer::answer;
use super::upload::Upload;
use super::{Fault, Slot};
use crate::message::fields::lines;
use crate::wire::client::AnswerBody;

/// Why there is no answer, and what the server has seen of the request.
pub(in super::super) struct Failure {
    pub fault: Fault,
    /// Nothing of it was looked at (RFC 9113 section 8.7): the body to send again, if that is remembered.
    pub unseen: Option<Body>,
    /// The connection had carried requests before, and broke before anything of an answer came.
    pub stale: bool,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            unseen: None,
            stale: false,
        }
    }
}

/// A request under way.
pub(super) struct Exchange {
    pub(super) upload: Upload,
    /// Why the request broke off. Told where more of the answer would have to be waited for.
    pub(super) failed: Option<axum::Error>,
    slot: Slot,
}

impl Exchange {
    pub(super) fn send(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Err(error)) = self.upload.poll_send(cx) {
            self.failed = Some(error);
        }
    }

    /// Nothing more of the answer is waited for once the request has broken off. The stream is reset when it
    /// is dropped.
    pub(super) fn poll_failed(&mut self) -> Poll<Fault> {
        match self.failed.take() {
            Some(error) => Poll::Ready(Fault::Body(error)),
            None => Poll::Pending,
        }
    }
}

/// Sends a request and waits for the head of the answer. `interim` is told of each 1xx but 100.
pub(in super::super) async fn exchange(
    mut slot: Slot,
    request: Request<()>,
    body: Body,
    interim: &mut impl FnMut(StatusCode, &HeaderMap),
) -> Result<Response<AnswerBody>, Failure> {
    let end = body.is_end_stream();
    let ready = poll_fn(|cx| slot.requests.poll_ready(cx)).await;
    let sent = ready.and_then(|()| slot.requests.send_request(request, end));
    let (mut response, stream) = match sent {
        Ok(sent) => sent,
        Err(error) => {
            return Err(Failure {
                unseen: Some(body),
                ..Failure::from(Fault::Stream(error))
            });
        }
    };
    let reused = slot.reused;
    let mut exchange = Exchange {
        upload: Upload::new(stream, body, end),
        failed: None,
        slot,
    };
    let mut answered = false;
    let head = poll_fn(|cx| {
        exchange.send(cx);
        let head = poll_head(&mut response, cx, &mut |status, headers| {
            answered = true;
            interim(status, headers);
        });
        match head {
            Poll::Ready(head) => Poll::Ready(head.and_then(sound)),
            Poll::Pending => exchange.poll_failed().map(Err),
        }
    })
    .await;
    match head {
        Ok(head) => Ok(answer(head, exchange)),
        Err(Fault::Stream(_)) if let Some(alert) = exchange.slot.state.alert.get() => {
            Err(Fault::Tls(alert.clone()).into())
        }
        Err(Fault::Stream(error)) if !answered => {
            let unseen = is_unseen(&error);
            let stale = reused && (error.is_io() || error.is_go_away());
            Err(Failure {
                fault: Fault::Stream(error),
                unseen: unseen.then(|| exchange.upload.again()).flatten(),
                stale,
            })
        }
        Err(fault) => Err(fault.into()),
    }
}

fn poll_head(
    response: &mut ResponseFuture,
    cx: &mut Context<'_>,
    interim: &mut impl FnMut(StatusCode, &HeaderMap),
) -> Poll<Result<Response<RecvStream>, Fault>> {
    while let Poll::Ready(Some(Ok(head))) = response.poll_informational(cx) {
        match head.status() {
            StatusCode::CONTINUE => {}
            // Of HTTP/1.1 only (RFC 9113 section 8.6): to a client it would be the end of that.
            StatusCode::SWITCHING_PROTOCOLS => {
                return Poll::Ready(Err(Fault::Answer("it is a 101")));
            }
            status => interim(status, head.headers()),
        }
    }
    Pin::new(response).poll(cx).map_err(Fault::Stream)
}

/// What h2 lets pass and HTTP/1.1 could read otherwise.
fn sound(head: Response<RecvStream>) -> Result<Response<RecvStream>, Fault> {
    if head.status().is_informational() {
        return Err(Fault::Answer("it is an interim answer and the last"));
    }
    if lines(head.headers(), &CONTENT_LENGTH).nth(1).is_some() {
        return Err(Fault::Answer("it has two lengths"));
    }
    Ok(head)
}

/// Has the server said that it did not look at the request? A stream above the last that a GOAWAY names
/// ends with that GOAWAY.
fn is_unseen(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}
