//! Buffers that connections of one worker share, to read into and to write out of: an idle connection
//! holds none, and a busy one allocates none.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;

/// Room made for a read. Large enough that a large body costs few calls, small enough to keep.
pub(super) const ROOM: usize = 64 * 1024;
/// More than this many are only wanted in bursts.
const MOST: usize = 64;

#[derive(Default)]
struct Spare {
    /// The one used last, which the processor's cache still holds. Mostly there is no other.
    last: Cell<BytesMut>,
    others: RefCell<Vec<BytesMut>>,
}

thread_local! {
    static SPARE: Spare = Spare::default();
}

/// Spares that are tried before a new one is made.
const TRIES: usize = 4;

/// Gives an empty buffer all of its memory again, or a spare one's.
pub(super) fn renew(buffer: &mut BytesMut) {
    if buffer.capacity() > 0 {
        if buffer.try_reclaim(ROOM) {
            return;
        }
        give_back(buffer);
    }
    *buffer = SPARE.with(|spare| {
        let mut last = spare.last.take();
        if last.capacity() > 0 && last.try_reclaim(ROOM) {
            return last;
        }
        let mut others = spare.others.borrow_mut();
        keep(&mut others, last);
        take(&mut others).unwrap_or_else(|| BytesMut::with_capacity(ROOM))
    });
}

fn take(others: &mut Vec<BytesMut>) -> Option<BytesMut> {
    for _ in 0..TRIES {
        let mut last = others.pop()?;
        if last.try_reclaim(ROOM) {
            return Some(last);
        }
        // Somebody still holds bytes of it, and may for long: it is not the first to be tried again.
        others.push(last);
        let end = others.len() - 1;
        others.swap(0, end);
    }
    None
}

fn keep(others: &mut Vec<BytesMut>, buffer: BytesMut) {
    if buffer.capacity() > 0 && others.len() < MOST {
        others.push(buffer);
    }
}

/// Takes back the memory of a buffer whose bytes are not wanted any more. Others may still hold some
/// of them: a piece of a body.
pub(super) fn give_back(buffer: &mut BytesMut) {
    if buffer.capacity() == 0 {
        return;
    }
    let mut buffer = std::mem::take(buffer);
    if buffer.capacity() >= 2 * ROOM {
        return;
    }
    buffer.clear();
    // A thread that ends has given up its spares already.
    let _ = SPARE.try_with(|spare| {
        let before = spare.last.replace(buffer);
        if before.capacity() > 0 {
            keep(&mut spare.others.borrow_mut(), before);
        }
    });
}

/// Room for most heads and a small body.
const OUTPUT: usize = 16 * 1024;

thread_local! {
    static OUTPUTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty one to be filled and written out.
pub(super) fn output() -> Vec<u8> {
    let spare = OUTPUTS.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| Vec::with_capacity(OUTPUT))
}

/// Takes back the memory of what was written.
pub(super) fn give_back_output(output: &mut Vec<u8>) {
    let mut output = std::mem::take(output);
    if !(OUTPUT..=2 * OUTPUT).contains(&output.capacity()) {
        return;
    }
    output.clear();
    // A thread that ends has given up its spares already.
    let _ = OUTPUTS.try_with(|outputs| {
        let mut outputs = outputs.borrow_mut();
        if outputs.len() < MOST {
            outputs.push(output);
        }
    });
}
