//! Writing an answer, and ending a connection so that it arrives.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use http_body::Body;
use tokio::time::timeout;

use super::super::client::Rest;
use super::super::framing::number;
use super::super::incoming::Step;
use super::super::outgoing::{Framing, SendError, Sender, Sent};
use super::super::{date, encode};
use super::shared::State;
use super::{Asked, Connection, Gone};
use crate::message::fields::{has, lines};
use crate::message::maps;
use crate::net::Patience;

/// After the last answer: how long, and how much, a client may still send before it is cut. Cutting
/// at once could take back the answer that it has not read yet.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

impl Connection<'_> {
    /// Writes an answer whole, head and first bytes of the body together.
    pub(super) async fn write<B>(
        &mut self,
        response: Response<B>,
        asked: &Asked,
    ) -> Result<(), Gone>
    where
        B: Sent,
    {
        let (mut head, body) = response.into_parts();
        let rest = head.extensions.remove::<Rest>();
        let settled = self.settle_request_body();
        let framing = self.frame(&mut head.headers, head.status, &body, asked);
        let mut out = std::mem::take(&mut self.shared.lock().output);
        encode::response(head.status, &head.headers, out.head());
        maps::give_back(head.headers);
        // Nothing but the end of the connection ends it. Until it is whole, whatever breaks it off
        // must look like no such end.
        let until_close = framing == Some(Framing::UntilClose);
        if until_close {
            let reset = self.shared.write.reset_when_dropped(true);
            reset.map_err(|_| Gone)?;
        }
        let mut sender = Sender::new(out, body, framing);
        let mut patience = Patience::default();
        poll_fn(|cx| match sender.poll_send(&self.shared.write, cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(SendError::Body(_) | SendError::Socket(_))) => Poll::Ready(Err(Gone)),
            Poll::Pending if self.shared.is_gone(cx) => Poll::Ready(Err(Gone)),
            Poll::Pending => {
                if let Some(rest) = &rest {
                    rest.poll_send(cx);
                }
                let limit = self.terms.write_timeout;
                let ends = patience.poll_over(sender.blocked(), limit, &mut self.alarm, cx);
                if ends.is_ready() {
                    sender.give_up();
                    return Poll::Ready(Err(Gone));
                }
                Poll::Pending
            }
        })
        .await?;
        drop(rest);
        if until_close {
            let reset = self.shared.write.reset_when_dropped(false);
            reset.map_err(|_| Gone)?;
        }
        // What of the request was not read can be told from the next one only if all of it is here.
        if !settled {
            self.settle_request_body();
        }
        Ok(())
    }

    /// Reads over what is here of a body that nobody wanted. If that is not all of it, no other
    /// request can follow.
    fn settle_request_body(&mut self) -> bool {
        let mut state = self.shared.lock();
        let State {
            input,
            body,
            expects,
            ..
        } = &mut *state;
        let unwanted = Arc::strong_count(&self.shared) == 1 && !*expects;
        while unwanted && matches!(body.step(input), Ok(Step::Frame(_))) {}
        self.last |= !body.is_done();
        body.is_done()
    }

    /// Completes the head with what frames the answer on this connection; none if it has no body.
    fn frame(
        &mut self,
        headers: &mut HeaderMap,
        status: StatusCode,
        body: &impl Body,
        asked: &Asked,
    ) -> Option<Framing> {
        if has(headers, &TRANSFER_ENCODING) {
            headers.remove(TRANSFER_ENCODING);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return None;
        }
        let framing = self.framing(headers, status, body, asked);
        if has(headers, &CONNECTION) {
            let said = headers.remove(CONNECTION);
            self.last |= said.is_some_and(|value| value == "close");
        }
        if self.last {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        } else if asked.version == Version::HTTP_10 {
            headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
        }
        if !has(headers, &DATE) {
            headers.insert(DATE, date::now());
        }
        framing
    }

    fn framing(
        &mut self,
        headers: &mut HeaderMap,
        status: StatusCode,
        body: &impl Body,
        asked: &Asked,
    ) -> Option<Framing> {
        if status == StatusCode::NO_CONTENT {
            headers.remove(CONTENT_LENGTH);
            return None;
        }
        if status == StatusCode::NOT_MODIFIED || asked.method == Method::HEAD {
            return None;
        }
        let promised = lines(headers, &CONTENT_LENGTH).next().and_then(number);
        if let Some(length) = promised.or_else(|| body.size_hint().exact()) {
            if promised.is_none() {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            return Some(Framing::Known(length)).filter(|_| length > 0);
        }
        if asked.version == Version::HTTP_11 {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            return Some(Framing::Chunked);
        }
        self.last = true;
        Some(Framing::UntilClose)
    }

    /// Ends the connection so that the last answer is not lost to what the client still sends.
    pub(super) async fn linger(self) {
        let shared = self.shared;
        if shared.write.shutdown_write().is_err() {
            return;
        }
        let mut left = LINGER_BYTES;
        let drained = poll_fn(|cx| {
            let mut state = shared.lock();
            loop {
                state.input.clear();
                match state.poll_fill(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(read @ 1..)) if read < left => left -= read,
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
        });
        // Whoever sends on for longer is cut.
        let _ = timeout(LINGER, drained).await;
    }
}
