//! The map of sessions and the rule of compare-and-set, for every store that keeps its sessions in this process.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

use super::{PutError, Revision, Stored};
use crate::model::{Session, SessionId};

/// All sessions of a store. Every change costs the same, however many there are.
#[derive(Debug, Default)]
pub(super) struct Table {
    sessions: HashMap<SessionId, Stored>,
    last_revision: Revision,
}

impl Table {
    pub(super) fn get(&self, session_id: &SessionId) -> Option<Stored> {
        self.sessions.get(session_id).cloned()
    }

    /// See [`super::SessionStore::put`].
    pub(super) fn put(&mut self, session: Session, expected: Revision) -> Result<Stored, PutError> {
        self.expect(&session.session_id, expected)?;
        self.last_revision += 1;
        let stored = Stored { session: Arc::new(session), revision: self.last_revision };
        self.insert(stored.clone());
        Ok(stored)
    }

    /// See [`super::SessionStore::delete`]. Gives the revision of the change, none if there was nothing to forget.
    pub(super) fn delete(
        &mut self,
        session_id: &SessionId,
        expected: Revision,
    ) -> Result<Option<Revision>, PutError> {
        self.expect(session_id, expected)?;
        if self.sessions.remove(session_id).is_none() {
            return Ok(None);
        }
        self.last_revision += 1;
        Ok(Some(self.last_revision))
    }

    pub(super) fn unused_since(&self, instant: Timestamp) -> Vec<Stored> {
        self.sessions.values().filter(|it| it.session.updated_at < instant).cloned().collect()
    }

    /// Everything, in no order. Shares the sessions; takes some milliseconds per 100,000 of them.
    pub(super) fn rows(&self) -> Vec<Stored> {
        self.sessions.values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Takes over a change that was made before, unless what is here is newer. So changes may be told twice.
    pub(super) fn replay_put(&mut self, stored: Stored) {
        self.last_revision = self.last_revision.max(stored.revision);
        let here = self.sessions.get(&stored.session.session_id);
        if here.is_none_or(|it| it.revision <= stored.revision) {
            self.insert(stored);
        }
    }

    /// Forgets again what was forgotten before, unless what is here is newer.
    pub(super) fn replay_delete(&mut self, session_id: &SessionId, revision: Revision) {
        self.last_revision = self.last_revision.max(revision);
        if self.sessions.get(session_id).is_some_and(|it| it.revision <= revision) {
            self.sessions.remove(session_id);
        }
    }

    /// Changes each session that `change` finds something to change in, and gives it a new revision. Gives their
    /// number. Sessions that have no revision yet get one, and count as changed.
    pub(super) fn amend(&mut self, mut change: impl FnMut(&mut Session) -> bool) -> usize {
        let mut changed = 0;
        for stored in self.sessions.values_mut() {
            if change(Arc::make_mut(&mut stored.session)) || stored.revision == 0 {
                changed += 1;
                self.last_revision += 1;
                stored.revision = self.last_revision;
            }
        }
        changed
    }

    fn expect(&self, session_id: &SessionId, expected: Revision) -> Result<(), PutError> {
        let actual = self.sessions.get(session_id).map_or(0, |it| it.revision);
        if actual == expected { Ok(()) } else { Err(PutError::Conflict { expected, actual }) }
    }

    fn insert(&mut self, stored: Stored) {
        self.sessions.insert(stored.session.session_id.clone(), stored);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str) -> Session {
        Session::new(SessionId::parse(id).unwrap(), "", Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_session_made_again_never_shows_an_old_revision() {
        let mut table = Table::default();
        let first = table.put(session("a"), 0).unwrap();
        table.delete(&first.session.session_id, first.revision).unwrap();
        let second = table.put(session("a"), 0).unwrap();
        assert_ne!(first.revision, second.revision);
        let late = table.put(session("a"), first.revision);
        assert!(matches!(late, Err(PutError::Conflict { actual, .. }) if actual == second.revision));
    }

    #[test]
    fn what_is_replayed_twice_changes_nothing_and_never_goes_back() {
        let mut table = Table::default();
        let old = table.put(session("a"), 0).unwrap();
        let new = table.put(Session { purpose: "new".into(), ..session("a") }, old.revision).unwrap();
        table.replay_put(old.clone());
        table.replay_delete(&old.session.session_id, old.revision);
        assert_eq!(table.get(&old.session.session_id).unwrap().session, new.session);
        table.replay_delete(&old.session.session_id, new.revision + 1);
        assert!(table.get(&old.session.session_id).is_none());
        assert_eq!(
            table.put(session("b"), 0).unwrap().revision,
            new.revision + 2,
            "revisions go on after the replayed"
        );
    }
}
