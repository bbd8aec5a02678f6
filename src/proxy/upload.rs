//! The body of a request on its way to the upstream: counted, limited, and not waited for too long.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::HeaderName;
use http_body::{Frame, SizeHint};

use crate::message::fault::BodyFault;
use crate::message::forwarded;
use crate::net::Alarm;
use crate::telemetry::Received;

pub(super) struct Upload {
    body: Body,
    received: Arc<Received>,
    /// Bytes that may still come.
    left: u64,
    /// How long to wait for the next of them.
    idle: Duration,
    alarm: Option<Alarm>,
    /// The peer may say on whose behalf it asks, in trailers too.
    trusted: bool,
    /// Fields that nobody may send.
    never: Option<Arc<[HeaderName]>>,
}

impl Upload {
    pub(super) fn new(
        body: Body,
        received: Arc<Received>,
        most: u64,
        idle: Duration,
        trusted: bool,
        never: Option<Arc<[HeaderName]>>,
    ) -> Self {
        Self {
            body,
            received,
            left: most,
            idle,
            alarm: None,
            trusted,
            never,
        }
    }

    fn take(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyFault> {
        if let Some(data) = frame.data_ref() {
            let length = data.len() as u64;
            self.received.add(length);
            self.left = self.left.checked_sub(length).ok_or(BodyFault::TooLarge)?;
        }
        if let Some(trailers) = frame.trailers_mut() {
            let never = self.never.as_deref().unwrap_or_default();
            forwarded::strip_trailers(trailers, self.trusted, never);
        }
        Ok(frame)
    }

    /// The client sends nothing. The time runs from when it was first waited for: before that it may
    /// have been the upstream that took nothing.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<BodyFault> {
        let waits = self.received.waits();
        let idle = self.idle;
        let alarm = self.alarm.get_or_insert_with(|| Alarm::new(idle));
        if !waits {
            self.received.set_waits(true);
            alarm.set(idle);
        }
        alarm.poll(cx).map(|()| BodyFault::Stalled)
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let stalled = self.poll_stalled(cx);
            return stalled.map(|fault| Some(Err(axum::Error::new(fault))));
        };
        self.received.set_waits(false);
        Poll::Ready(frame.map(|frame| self.take(frame?).map_err(axum::Error::new)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
