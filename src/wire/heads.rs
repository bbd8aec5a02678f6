//! What is kept of the head of a message. It is copied once, whole, out of the buffer that was read into,
//! and its values are slices of that copy. Slices of the buffer itself would keep all of it for as long as
//! the request takes, and the next read would go to memory that the processor's cache does not hold.
//!
//! The copies of one worker lie side by side: each would cost two allocations of its own.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::Header;

use super::{Limits, Refusal};
use crate::message::maps;

/// Room for a few dozen heads. One that is kept for long keeps so much.
const ROOM: usize = 4 * 1024;
/// A longer one would leave no room for others.
const LONG: usize = 1024;

thread_local! {
    static HEADS: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

fn copy(head: &[u8]) -> Bytes {
    if head.len() > LONG {
        return Bytes::copy_from_slice(head);
    }
    HEADS.with_borrow_mut(|heads| {
        if heads.capacity() < head.len() && !heads.try_reclaim(ROOM) {
            *heads = BytesMut::with_capacity(ROOM);
        }
        heads.extend_from_slice(head);
        heads.split().freeze()
    })
}

/// A copy of a head, for slices of it.
pub(super) struct Head {
    bytes: Bytes,
    /// Where the original begins.
    base: usize,
}

impl Head {
    pub(super) fn copy(buffer: &[u8], length: usize) -> Self {
        Self {
            bytes: copy(&buffer[..length]),
            base: buffer.as_ptr().addr(),
        }
    }

    /// The same bytes as `part` of the original.
    pub(super) fn part(&self, part: &[u8]) -> Bytes {
        let begin = part.as_ptr().addr() - self.base;
        self.bytes.slice(begin..begin + part.len())
    }

    /// The fields but those to `skip`, in a map that has room for some more.
    pub(super) fn fields(
        &self,
        fields: &[Header<'_>],
        skip: impl Fn(&Header<'_>) -> bool,
        limits: &Limits,
        spare: usize,
    ) -> Result<HeaderMap, Refusal> {
        if fields.len() > limits.fields {
            return Err(Refusal::TooManyHeaders);
        }
        let mut map = maps::take(fields.len() + spare);
        for field in fields.iter().filter(|field| !skip(field)) {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let name = name.map_err(|_| Refusal::HeaderName)?;
            let value = HeaderValue::from_maybe_shared(self.part(field.value));
            let value = value.map_err(|_| Refusal::HeaderValue)?;
            map.try_append(name, value)
                .map_err(|_| Refusal::TooManyHeaders)?;
        }
        Ok(map)
    }
}
