//! From files to a table: the snapshot, then the journal that a fold has left, then the journal.

use std::{io, path::Path};

use jiff::Timestamp;

use super::{
    FileOptions, Loaded, OpenError,
    files::{Files, keep_damaged, remove_if_there},
    fold::fold,
    journal::{self, Change, Journal},
    snapshot::{self, Row},
};
use crate::{
    model::Session,
    storage::{Stored, sessions::table::Table},
};

/// A store as its files tell it, ready to be written on.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) table: Table,
    pub(super) journal: Journal,
    /// The size of the snapshot.
    pub(super) snapshot_bytes: u64,
    /// True if the old journal is still there.
    pub(super) rotated: bool,
    /// True if the snapshot should be written anew soon.
    pub(super) wants_fold: bool,
}

/// Reads the files. Fails only where they cannot be read or written at all; damage is told in the log, and what is
/// readable is kept. May be cut off anywhere and called again.
pub(super) fn load(files: &Files, options: &FileOptions, now: Timestamp) -> Result<Load, OpenError> {
    let mut table = Table::default();
    let found = at(&files.snapshot, "read", snapshot::read)?;
    for Row { session, revision } in found.rows {
        table.replay_put(Stored { session: session.into(), revision });
    }
    let rotated = files.old_journal.exists();
    let mut apply = |change| match change {
        Change::Put(stored) => table.replay_put(stored),
        Change::Delete { session_id, revision } => table.replay_delete(&session_id, revision),
    };
    let old = at(&files.old_journal, "read", |path| journal::read(path, &mut apply))?;
    let new = at(&files.journal, "read", |path| journal::read(path, &mut apply))?;
    if new.torn_bytes > 0 {
        tracing::info!(path = %files.journal.display(), bytes = new.torn_bytes, "cut off a change that was never finished");
    }
    let amended = table.amend(|session| amend(session, options.loaded, now));
    let damaged = [
        (&files.snapshot, found.damaged),
        (&files.old_journal, old.damaged_lines > 0),
        (&files.journal, new.damaged_lines > 0),
    ];
    let damaged = damaged.map(|(path, damaged)| damaged.then_some(path.as_path()));
    let journal = at(&files.journal, "open", |path| Journal::open(path, new.whole_bytes))?;
    let wants_fold = rotated || amended > 0;
    let mut load = Load { table, journal, snapshot_bytes: found.bytes, rotated, wants_fold };
    if damaged.iter().any(Option::is_some) {
        tell_damage(damaged.into_iter().flatten(), load.table.len(), now);
        if let Err(error) = load.replace_all(files) {
            tracing::warn!(%error, "the sessions that could be read are not written yet; this is tried again");
            load.wants_fold = true;
        }
    }
    Ok(load)
}

impl Load {
    /// Writes the table to a new snapshot and starts a new journal. The damaged files go, their second names stay.
    fn replace_all(&mut self, files: &Files) -> io::Result<()> {
        self.snapshot_bytes = fold(files, self.table.rows())?;
        self.rotated = false;
        remove_if_there(&files.journal)?;
        self.journal = Journal::open(&files.journal, 0)?;
        self.wants_fold = false;
        files.sync_dir()
    }
}

/// What a restart makes of a session: gives it the times it lacks and, where this is wanted, forgets its active run.
fn amend(session: &mut Session, loaded: Loaded, now: Timestamp) -> bool {
    let before = (session.created_at, session.updated_at, session.active_run_id);
    if session.updated_at == Timestamp::UNIX_EPOCH {
        session.updated_at = now;
    }
    if session.created_at == Timestamp::UNIX_EPOCH {
        session.created_at = session.updated_at;
    }
    if loaded == Loaded::ForgetActive
        && let Some(run_id) = session.active_run_id.take()
    {
        session.latest_run_id = Some(run_id);
    }
    before != (session.created_at, session.updated_at, session.active_run_id)
}

fn tell_damage<'a>(paths: impl Iterator<Item = &'a Path>, kept: usize, now: Timestamp) {
    for path in paths {
        match keep_damaged(path, now) {
            Ok(aside) => tracing::warn!(
                path = %path.display(), moved_to = %aside.display(), sessions = kept,
                "a file of sessions was damaged; it was moved aside, and what was readable is kept"
            ),
            Err(error) => tracing::warn!(
                path = %path.display(), %error, sessions = kept,
                "a file of sessions was damaged and could not be moved aside; what was readable is kept"
            ),
        }
    }
}

fn at<T>(path: &Path, doing: &'static str, act: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, OpenError> {
    act(path).map_err(|source| OpenError::Io { doing, path: path.to_owned(), source })
}
