//! The runs of each session, in two orders.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::PlacedRun;
use crate::model::{RunId, SessionId};

/// The kept runs of each session. Bounded by the runs that are kept.
#[derive(Debug, Default)]
pub(super) struct BySession {
    sessions: HashMap<SessionId, SessionRuns>,
}

#[derive(Debug, Default)]
struct SessionRuns {
    ids: BTreeSet<RunId>,
    places: BTreeMap<u64, RunId>,
}

impl BySession {
    pub(super) fn insert(&mut self, session_id: &SessionId, place: u64, run_id: RunId) {
        // Cloned only for the first run of a session.
        if !self.sessions.contains_key(session_id) {
            self.sessions.insert(session_id.clone(), SessionRuns::default());
        }
        if let Some(runs) = self.sessions.get_mut(session_id) {
            runs.ids.insert(run_id);
            runs.places.insert(place, run_id);
        }
    }

    pub(super) fn remove(&mut self, session_id: &SessionId, place: u64, run_id: RunId) {
        let Some(runs) = self.sessions.get_mut(session_id) else { return };
        runs.ids.remove(&run_id);
        runs.places.remove(&place);
        if runs.ids.is_empty() {
            self.sessions.remove(session_id);
        }
    }

    /// Ids below `before`, the highest first.
    pub(super) fn newest_first(
        &self,
        session_id: &SessionId,
        before: Option<RunId>,
    ) -> impl Iterator<Item = RunId> {
        let runs = self.sessions.get(session_id);
        let older = runs.map(|it| match before {
            Some(before) => it.ids.range(..before),
            None => it.ids.range(..),
        });
        older.into_iter().flatten().rev().copied()
    }

    /// Places above `after`, the lowest first.
    pub(super) fn placed_after(&self, session_id: &SessionId, after: u64, limit: usize) -> Vec<PlacedRun> {
        let Some((runs, first)) = self.sessions.get(session_id).zip(after.checked_add(1)) else {
            return Vec::new();
        };
        let later = runs.places.range(first..).take(limit);
        later.map(|(place, run_id)| PlacedRun { place: *place, run_id: *run_id }).collect()
    }
}
