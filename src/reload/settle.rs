//! Has the writer finished? A pure decision on what was read when.

use std::time::Duration;

use tokio::time::Instant;

use super::source::Hash;

/// What to do after a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Take it.
    Settled,
    /// Read again after this time.
    Wait(Duration),
}

/// One change on its way to rest: the same non-empty bytes must be read twice with `settle` between,
/// and no writer may hold the file. A file that is written without end is taken every `max_wait`,
/// whenever it happens to make sense; the time in which there was nothing to read does not count.
#[derive(Debug)]
pub(super) struct Settling {
    settle: Duration,
    max_wait: Duration,
    began: Option<Instant>,
    last: Option<(Instant, Hash)>,
}

impl Settling {
    pub(super) fn new(settle: Duration, max_wait: Duration) -> Self {
        Self {
            settle,
            max_wait,
            began: None,
            last: None,
        }
    }

    /// `hash` is none for a file that is missing or empty; `parses` is asked only when it decides.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        hash: Option<Hash>,
        busy: bool,
        parses: impl FnOnce() -> bool,
    ) -> Decision {
        let since = match (&self.last, hash) {
            (_, None) => {
                self.last = None;
                return Decision::Wait(self.settle);
            }
            (Some((since, last)), Some(hash)) if *last == hash => *since,
            (_, Some(hash)) => {
                self.last = Some((now, hash));
                now
            }
        };
        let quiet = now.saturating_duration_since(since);
        // A writer that holds the file and does nothing to it is not waited for longer: what it holds
        // is applied, or refused and told.
        if quiet >= self.settle && !busy || quiet >= self.max_wait {
            return Decision::Settled;
        }
        let began = *self.began.get_or_insert(now);
        let overdue = now.saturating_duration_since(began) >= self.max_wait;
        if overdue && !busy && parses() {
            return Decision::Settled;
        }
        let left = match self.settle.saturating_sub(quiet) {
            Duration::ZERO => self.settle,
            left => left,
        };
        Decision::Wait(left.max(Duration::from_millis(5)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_millis(100);
    const MAX_WAIT: Duration = Duration::from_secs(2);

    fn hash(byte: u8) -> Option<Hash> {
        (byte > 0).then(|| Hash::of(&[byte]))
    }

    /// Rows of: milliseconds, content (0 is empty), writer busy, settled?
    fn run(rows: &[(u64, u8, bool, bool)], parses: bool) {
        let start = Instant::now();
        let mut settling = Settling::new(SETTLE, MAX_WAIT);
        for (at, content, busy, settled) in rows {
            let now = start + Duration::from_millis(*at);
            let decision = settling.observe(now, hash(*content), *busy, || parses);
            assert_eq!(
                decision == Decision::Settled,
                *settled,
                "at {at}: {decision:?}"
            );
        }
    }

    #[test]
    fn two_equal_readings_apart_settle() {
        run(
            &[
                (0, 1, false, false),
                (50, 1, false, false),
                (100, 1, false, true),
            ],
            true,
        );
    }

    #[test]
    fn a_change_starts_the_time_anew_and_emptiness_is_not_content() {
        run(
            &[
                (0, 1, false, false),
                (90, 2, false, false),
                (180, 2, false, false),
                (185, 0, false, false),
                (300, 2, false, false),
                (400, 2, false, true),
            ],
            true,
        );
        run(
            &[
                (0, 0, false, false),
                (5000, 0, false, false),
                (60_000, 0, false, false),
            ],
            true,
        );
    }

    #[test]
    fn after_long_emptiness_the_first_content_is_not_overdue() {
        run(
            &[
                (0, 0, false, false),
                (5000, 1, false, false),
                (5050, 2, false, false),
                (5150, 2, false, true),
            ],
            true,
        );
    }

    #[test]
    fn a_writer_that_holds_the_file_is_waited_for_but_not_for_ever() {
        run(
            &[
                (0, 1, true, false),
                (500, 1, true, false),
                (1900, 1, true, false),
                (2000, 1, true, true),
            ],
            true,
        );
    }

    #[test]
    fn endless_writing_is_taken_when_it_makes_sense() {
        let rows = (0..60).map(|n| (n * 50, (n % 50) as u8 + 1, false, n * 50 >= 2000));
        let rows: Vec<_> = rows.collect();
        run(&rows[..41], true);
        let never: Vec<_> = rows
            .iter()
            .map(|(at, byte, _, _)| (*at, *byte, false, false))
            .collect();
        run(&never, false);
    }
}
