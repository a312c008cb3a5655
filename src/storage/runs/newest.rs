//! What followers of a run are told.

use std::sync::Arc;

use tokio::sync::watch;

use crate::model::{Entry, limits};

/// The end of a run's log, with what was committed last.
#[derive(Debug, Clone)]
pub struct Newest {
    /// The newest committed sequence.
    pub last_sequence: u64,
    /// The entries of the last commit; none when nobody was there to be told, or when they are more than is read at a
    /// time.
    entries: Arc<[Arc<Entry>]>,
    /// What they take in memory.
    bytes: usize,
}

impl Newest {
    /// A log that ends at `last_sequence`.
    pub(super) fn at(last_sequence: u64) -> Self {
        Self { last_sequence, entries: Arc::default(), bytes: 0 }
    }

    /// A log that ends at `last_sequence` with a commit of `entries`, which take so many `bytes`, for those who are told by
    /// `last`.
    pub(super) fn committed(
        last: &watch::Sender<Self>,
        last_sequence: u64,
        entries: &[Arc<Entry>],
        bytes: usize,
    ) -> Self {
        if last.receiver_count() == 0 || bytes > limits::WATCH_BATCH_BYTES {
            return Self::at(last_sequence);
        }
        Self { last_sequence, entries: entries.into(), bytes }
    }

    /// A log that ends with `entries`, for those who have seen what was before; at least one of them.
    pub(crate) fn with(entries: Vec<Arc<Entry>>) -> Self {
        let last_sequence = entries.last().map_or(0, |it| it.event.sequence);
        let bytes = entries.iter().map(|it| it.event.bytes()).sum();
        Self { last_sequence, entries: entries.into(), bytes }
    }

    /// The events after `after`, if all of them came with the last commit and take at most `max_bytes`: who has seen
    /// everything before need not ask the log.
    pub fn after(&self, after: u64, max_bytes: usize) -> Option<&[Arc<Entry>]> {
        let begins_there = self.entries.first().is_some_and(|it| it.event.sequence == after + 1);
        (begins_there && self.bytes <= max_bytes).then_some(&*self.entries)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::model::{Command, Draft, RunId, RunMachine, SessionId};

    #[test]
    fn only_who_has_seen_all_that_was_before_is_told_and_only_what_he_takes() {
        let (run_id, session_id) = (RunId::new(Uuid::from_u128(1)), SessionId::new(Uuid::from_u128(1)));
        let (mut machine, _) = RunMachine::create(run_id, session_id, "w".into(), Timestamp::UNIX_EPOCH);
        let mut emit = || machine.apply(Command::Emit(Draft::log("x")), Timestamp::UNIX_EPOCH).unwrap();
        let entries: Vec<_> =
            [emit(), emit()].into_iter().flatten().map(|it| Arc::new(Entry::new(it))).collect();
        let (last, _follower) = watch::channel(Newest::at(1));
        let newest = Newest::committed(&last, 3, &entries, 100);
        assert_eq!(newest.after(1, 100).map(<[_]>::len), Some(2));
        for (after, most) in [(0, 100), (2, 100), (3, 100), (1, 99)] {
            assert!(newest.after(after, most).is_none(), "after {after}, at most {most}");
        }
        let much = limits::WATCH_BATCH_BYTES + 1;
        assert!(Newest::committed(&last, 3, &entries, much).after(1, much).is_none());
    }
}
