//! Requests by method and exact status code, without a lock and without a table of every pair.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::add;

/// Pairs of method and code that one route answers with fit here nearly always.
const INLINE: usize = 16;
const METHODS: usize = 10;
/// 100 to 599, and one for any other.
const CODES: usize = 501;

/// Counters of one worker. A cell is claimed for a pair at its first use; should a route use more
/// pairs than there are cells, the whole table is made once.
#[derive(Debug, Default)]
pub(super) struct Codes {
    cells: [Cell; INLINE],
    table: OnceLock<Box<[AtomicU64]>>,
}

#[derive(Debug, Default)]
struct Cell {
    /// The pair plus one; 0 is free.
    pair: AtomicU32,
    count: AtomicU64,
}

impl Codes {
    pub(super) fn add(&self, method: usize, code: u16) {
        add(self.counter(method, code), 1);
    }

    fn counter(&self, method: usize, code: u16) -> &AtomicU64 {
        let pair = method * CODES + code_index(code);
        let tag = u32::try_from(pair + 1).unwrap_or(u32::MAX);
        for step in 0..INLINE {
            let cell = &self.cells[(pair + step) % INLINE];
            let claimed = cell.pair.load(Ordering::Relaxed);
            if claimed == tag
                || claimed == 0
                    && cell
                        .pair
                        .compare_exchange(0, tag, Ordering::Relaxed, Ordering::Relaxed)
                        .is_ok_and(|_| true)
            {
                return &cell.count;
            }
        }
        let table = self
            .table
            .get_or_init(|| (0..METHODS * CODES).map(|_| 0.into()).collect());
        &table[pair]
    }

    /// Calls `visit(method, code, count)`; code 0 is one outside 100 to 599.
    pub(super) fn visit(&self, mut visit: impl FnMut(usize, u16, u64)) {
        let mut show = |pair: usize, count: &AtomicU64| {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                visit(pair / CODES, code_of(pair % CODES), count);
            }
        };
        for cell in &self.cells {
            let tag = cell.pair.load(Ordering::Relaxed);
            if tag > 0 {
                show(tag as usize - 1, &cell.count);
            }
        }
        let table = self.table.get().into_iter().flatten();
        table
            .enumerate()
            .for_each(|(pair, count)| show(pair, count));
    }
}

fn code_index(code: u16) -> usize {
    match code {
        100..=599 => usize::from(code) - 99,
        _ => 0,
    }
}

fn code_of(index: usize) -> u16 {
    match index {
        0 => 0,
        index => u16::try_from(index + 99).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_pair_is_counted_apart_also_beyond_the_inline_cells() {
        let codes = Codes::default();
        let mut expected = BTreeMap::new();
        for round in 0..3 {
            for method in 0..METHODS {
                for code in [99, 100, 200, 204, 404, 599, 600] {
                    codes.add(method, code);
                    let shown = if (100..600).contains(&code) { code } else { 0 };
                    *expected.entry((method, shown)).or_insert(0) += 1;
                }
            }
            let mut seen = BTreeMap::new();
            codes.visit(|method, code, count| *seen.entry((method, code)).or_insert(0) += count);
            assert_eq!(seen, expected, "round {round}");
        }
    }
}
