//! Header maps that the messages of one worker use one after another: to make one takes two
//! allocations, and each request needs two.

use std::cell::RefCell;

use http::HeaderMap;

/// More than this many are only wanted in bursts.
const MOST: usize = 64;
/// Room for the fields of most messages. A map with far more is not kept for them.
const ROOM: usize = 24;

thread_local! {
    static SPARE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// An empty map, with room for `fields`.
pub fn take(fields: usize) -> HeaderMap {
    match SPARE.with_borrow_mut(Vec::pop) {
        Some(spare) if spare.capacity() >= fields => spare,
        _ => HeaderMap::with_capacity(fields.max(ROOM)),
    }
}

/// Takes back a map whose fields are not wanted any more.
pub fn give_back(mut map: HeaderMap) {
    if !(ROOM..4 * ROOM).contains(&map.capacity()) {
        return;
    }
    map.clear();
    // A thread that ends has given up its spares already.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MOST {
            spare.push(map);
        }
    });
}
