//! When the writer works and when it waits: it is woken by the clock, once for a commit, where much is written, and by who
//! comes where little is.

use std::{
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Shared, pending::Pending, table::Table};

/// When the last commit began so many runs, those that are to begin next wait the whole pause. One alone does not wait at
/// all: its client does, and there is nothing to share a sync with.
const MANY_STARTS: u32 = 9;

/// What the writer has to be woken for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriterState {
    /// Nothing: it looks for more before it waits.
    #[default]
    Works,
    /// The start of a run: it lets all else gather.
    Pauses,
    /// Anything.
    Rests,
}

impl Shared {
    /// Hands a record to the writer.
    pub(super) fn hand_over(&self, mut table: MutexGuard<'_, Table>, pending: Pending) {
        let wake = match table.writer {
            WriterState::Works => false,
            WriterState::Pauses => pending.begins(),
            WriterState::Rests => true,
        };
        if wake {
            table.writer = WriterState::Works;
        }
        table.enqueue(pending);
        drop(table);
        // It would be a system call each time.
        if wake {
            self.something_waits.notify_one();
        }
    }

    /// Waits until something waits for the writer, at most so long.
    pub(super) fn wait<'a>(
        &self,
        mut table: MutexGuard<'a, Table>,
        most: Option<Duration>,
    ) -> MutexGuard<'a, Table> {
        table.writer = WriterState::Rests;
        let mut table = match most {
            None => self.something_waits.wait(table).unwrap_or_else(PoisonError::into_inner),
            Some(most) => {
                let waited = self.something_waits.wait_timeout(table, most);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        table.writer = WriterState::Works;
        table
    }

    /// Lets records gather for the writer until `pause` has passed since `since`; for the start of a run, whose client
    /// waits, only until `for_starts` has. Who comes does not wake the writer: the clock does, once for a commit.
    pub(super) fn pause(&self, since: Instant, pause: Duration, for_starts: Duration) {
        let mut table = self.table();
        while !table.closed {
            let starts = table.has_starts();
            let most = if starts { for_starts } else { pause };
            let left = most.saturating_sub(since.elapsed());
            if left.is_zero() {
                return;
            }
            table.writer = if starts { WriterState::Works } else { WriterState::Pauses };
            let waited = self.something_waits.wait_timeout(table, left);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
            table.writer = WriterState::Works;
        }
    }
}

/// How much of the pause between two commits passes before a run begins, when the last commit has begun so many.
pub(super) fn pause_for_starts(pause: Duration, starts: usize) -> Duration {
    let others = u32::try_from(starts).unwrap_or(u32::MAX).saturating_sub(1);
    pause.mul_f64(f64::from(others.min(MANY_STARTS - 1)) / f64::from(MANY_STARTS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_runs_begin_together_the_longer_those_wait_that_come_next() {
        let pauses =
            [0, 1, 2, 5, 9, 100].map(|it| pause_for_starts(Duration::from_millis(8), it).as_millis());
        assert_eq!(pauses, [0, 0, 1, 4, 8, 8]);
    }
}
