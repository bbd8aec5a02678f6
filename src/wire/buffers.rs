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

/// Spares that are tried before a new one is made.
const TRIES: usize = 4;

/// Gives an empty buffer all of its memory again, or a spare one's: the one used last, which the
/// processor's cache still holds.
pub(super) fn renew(buffer: &mut BytesMut) {
    if buffer.try_reclaim(ROOM) {
        return;
    }
    give_back(buffer);
    *buffer = SPARE
        .with_borrow_mut(take)
        .unwrap_or_else(|| BytesMut::with_capacity(ROOM));
}

fn take(spare: &mut Vec<BytesMut>) -> Option<BytesMut> {
    for _ in 0..TRIES {
        let mut last = spare.pop()?;
        if last.try_reclaim(ROOM) {
            return Some(last);
        }
        // Somebody still holds bytes of it, and may for long: it is not the first to be tried again.
        spare.push(last);
        let end = spare.len() - 1;
        spare.swap(0, end);
    }
    None
}

/// Takes back the memory of a buffer whose bytes are not wanted any more. Others may still hold some
/// of them: fields of a head, a piece of a body.
pub(super) fn give_back(buffer: &mut BytesMut) {
    let mut buffer = std::mem::take(buffer);
    if buffer.capacity() == 0 || buffer.capacity() >= 2 * ROOM {
        return;
    }
    buffer.clear();
    // A thread that ends has given up its spares already.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MOST {
            spare.push(buffer);
        }
    });
}
