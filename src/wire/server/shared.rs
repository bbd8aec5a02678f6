//! What a connection and the body of its request share.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};

use super::super::encode;
use super::super::incoming::{Incoming, Step};
use super::super::socket::{Outgoing, poll_fill};
use crate::net::{ReadHalf, Stream, WriteHalf};

/// Bytes of interim answers that may wait for a client.
const MOST_INTERIM: usize = 64 * 1024;

/// Bytes read ahead of what is being answered. They are wanted only to see the client leave.
const READ_AHEAD: usize = 16 * 1024;

/// Connection and body belong to one task, so the lock is never waited for.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) write: WriteHalf,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) read: ReadHalf,
    pub(super) input: BytesMut,
    pub(super) body: Incoming,
    /// Interim answers on their way.
    pub(super) output: Outgoing,
    /// The client waits for a 100 before it sends the body.
    pub(super) expects: bool,
}

impl Shared {
    pub(super) fn new(stream: Stream, input: BytesMut) -> Arc<Self> {
        let (read, write) = stream.into_split();
        let state = State {
            read,
            input,
            body: Incoming::Done,
            output: Outgoing::default(),
            expects: false,
        };
        Arc::new(Self {
            write,
            state: Mutex::new(state),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the client left? Seen only while nothing else reads from it, and not through more
    /// pipelined bytes than are read ahead.
    pub(super) fn is_gone(&self, cx: &mut Context<'_>) -> bool {
        let mut state = self.lock();
        while state.body.is_done() && state.input.len() < READ_AHEAD {
            match state.poll_fill(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return true,
            }
        }
        false
    }

    /// The connection and what was read of it, if nobody else has a share.
    pub(super) fn into_parts(self) -> Option<(Stream, Bytes)> {
        let State { read, input, .. } = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        Some((read.reunite(self.write)?, input.freeze()))
    }
}

impl State {
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        poll_fill(&mut self.read, &mut self.input, cx)
    }
}

/// Relays interim answers to a client that waits. It does not keep the connection.
#[derive(Debug, Clone)]
pub struct Interim(Weak<Shared>);

impl Interim {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }

    /// Sends at once what the socket takes at once; the rest goes before the answer.
    pub fn send(&self, status: StatusCode, headers: &HeaderMap) {
        let Some(shared) = self.0.upgrade() else {
            return;
        };
        let mut state = shared.lock();
        if state.output.waiting() > MOST_INTERIM {
            // A client that does not read can do without hints.
            return;
        }
        encode::response(status, headers, state.output.head());
        let mut cx = Context::from_waker(Waker::noop());
        // An error shows again when the answer is written.
        let _ = state.output.poll_write(&shared.write, &mut cx);
    }
}

/// The body of a request, read from the connection when somebody asks for it.
pub(super) struct RequestBody {
    shared: Arc<Shared>,
}

impl RequestBody {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut state = self.shared.lock();
        if std::mem::take(&mut state.expects) {
            encode::response(StatusCode::CONTINUE, &HeaderMap::new(), state.output.head());
        }
        if !state.output.is_empty() {
            ready!(state.output.poll_write(&self.shared.write, cx)).map_err(axum::Error::new)?;
        }
        loop {
            let State { input, body, .. } = &mut *state;
            match body.step(input).map_err(axum::Error::new)? {
                Step::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                Step::End => return Poll::Ready(None),
                Step::Starved => {
                    if ready!(state.poll_fill(cx)).map_err(axum::Error::new)? == 0 {
                        let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                        return Poll::Ready(Some(Err(axum::Error::new(error))));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.shared.lock().body.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        let exact = self.shared.lock().body.exact();
        exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
