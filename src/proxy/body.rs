//! Bodies that tell the Record what passes through them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Body as _, Frame, SizeHint};

use crate::telemetry::Record;
use crate::why::Why;
use crate::wire::client::AnswerBody;

/// Resolves when a stream has to end.
pub(super) type Until = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The body of an answer. It holds the Record, which so closes when the body has ended or was
/// dropped, and nothing of the snapshot.
pub(super) struct Observed {
    body: AnswerBody,
    record: Option<Record>,
    why: Why,
    until: Option<Until>,
}

impl Observed {
    pub(super) fn new(body: AnswerBody, record: Record, why: Why, until: Option<Until>) -> Self {
        Self {
            body,
            record: Some(record),
            why,
            until,
        }
    }

    fn close(&mut self, why: Why) {
        if let Some(mut record) = self.record.take() {
            record.ends(why);
        }
    }
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(until) = &mut self.until
            && until.as_mut().poll(cx).is_ready()
        {
            // Event streams have no last event: their clients come back by themselves.
            self.close(Why::Draining);
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(record)) = (frame.data_ref(), &mut self.record) {
                    record.sent(data.len() as u64);
                }
            }
            // Passed on as an error, so that the client cannot take it for the end.
            Some(Err(_)) => self.close(Why::UpstreamTruncated),
            None => {
                let why = self.why;
                self.close(why);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Observed {
    /// A body of known length is not asked again after its last byte.
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            let why = self.why;
            self.close(why);
        }
    }
}

/// The body of a request, counted as the upstream takes it.
pub(super) struct Counted {
    body: Body,
    bytes: Arc<AtomicU64>,
}

impl Counted {
    pub(super) fn new(body: Body, bytes: Arc<AtomicU64>) -> Self {
        Self { body, bytes }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
