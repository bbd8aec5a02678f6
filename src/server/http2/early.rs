//! A connection on its way to h2: what of it was read already comes first, and its first frame has to
//! be what RFC 9113 section 3.4 asks for, which h2 does not look at.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use crate::net::Stream;
use crate::net::tap::Read;

/// Where the type of the first frame is: after the 24 bytes of the preface and three of its length.
const TYPE: usize = 24 + 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

pub(super) struct Early {
    early: Bytes,
    first: FirstFrame,
}

impl Early {
    pub(super) fn new(early: Bytes) -> Self {
        let first = FirstFrame::default();
        Self { early, first }
    }
}

/// Makes of a first frame that is not SETTINGS one that nothing may begin with, so that h2 ends the
/// connection in its own order.
#[derive(Default)]
struct FirstFrame {
    /// Bytes that came so far; not counted any further than the type.
    seen: usize,
}

impl FirstFrame {
    fn look(&mut self, bytes: &mut [u8]) {
        let Some(at) = TYPE.checked_sub(self.seen) else {
            return;
        };
        if let Some(kind) = bytes.get_mut(at).filter(|kind| **kind != SETTINGS) {
            *kind = CONTINUATION;
        }
        self.seen += bytes.len();
    }
}

impl Read for Early {
    fn poll_read(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.early.is_empty() {
            ready!(Pin::new(stream).poll_read(cx, buffer))?;
        } else {
            let length = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early[..length]);
            self.early.advance(length);
            if self.early.is_empty() {
                // An empty piece would still hold its buffer.
                self.early = Bytes::new();
            }
        }
        self.first.look(&mut buffer.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}
