//! Buffers that connections of one worker share: an idle connection holds none, and a busy one
//! allocates none.

use std::cell::RefCell;

use bytes::BytesMut;

/// Room made for a read. Large enough that a large body costs few calls, small enough to keep.
pub(super) const ROOM: usize = 64 * 1024;
/// More than this many are only wanted in bursts.
const MOST: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Gives an empty buffer all of its memory again, or a spare one's: the one used last, which the
/// processor's cache still holds.
pub(super) fn renew(buffer: &mut BytesMut) {
    if !buffer.try_reclaim(ROOM) {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        *buffer = spare.unwrap_or_else(|| BytesMut::with_capacity(ROOM));
    }
}

/// Takes back the memory of a buffer whose bytes are not wanted any more, unless somebody still
/// holds a part of it.
pub(super) fn give_back(buffer: &mut BytesMut) {
    let mut buffer = std::mem::take(buffer);
    if buffer.capacity() == 0 {
        return;
    }
    buffer.clear();
    // A thread that ends has given up its spares already.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MOST && buffer.try_reclaim(ROOM) && buffer.capacity() < 2 * ROOM {
            spare.push(buffer);
        }
    });
}
