//! The files of a store: their names, the lock on them, and what is done with a damaged one.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::OpenError;
use crate::storage::claim::{Claim, ClaimError};

/// Where the parts of a store are. All stand in one directory.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) dir: PathBuf,
    /// All sessions at one moment: `init_sessions.json`.
    pub(super) snapshot: PathBuf,
    /// The next snapshot while it is written. Means nothing before it is renamed.
    pub(super) next_snapshot: PathBuf,
    /// The changes since: `init_sessions.journal`.
    pub(super) journal: PathBuf,
    /// The changes before those, from the rotation of the journal until the next snapshot stands.
    pub(super) old_journal: PathBuf,
    lock: PathBuf,
}

impl Files {
    pub(super) fn beside(snapshot: &Path) -> Self {
        let dir = match snapshot.parent() {
            Some(dir) if dir != Path::new("") => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        Self {
            dir,
            snapshot: snapshot.to_owned(),
            next_snapshot: with_suffix(snapshot, ".new"),
            journal: snapshot.with_extension("journal"),
            old_journal: snapshot.with_extension("journal.old"),
            lock: snapshot.with_extension("lock"),
        }
    }

    /// Makes the directory where it is missing, and claims the files for this process until the result is dropped.
    /// The system drops it too when the process ends in any way.
    pub(super) fn claim(&self) -> Result<Claim, OpenError> {
        let failed = |source| OpenError::Io { doing: "claim", path: self.lock.clone(), source };
        fs::create_dir_all(&self.dir).map_err(failed)?;
        Claim::of(&self.lock).map_err(|error| match error {
            ClaimError::InUse => OpenError::InUse { path: self.snapshot.clone() },
            ClaimError::Io(source) => failed(source),
        })
    }

    /// Makes renames, new files and removals in the directory survive a loss of power.
    pub(super) fn sync_dir(&self) -> io::Result<()> {
        if cfg!(unix) { File::open(&self.dir)?.sync_all() } else { Ok(()) }
    }
}

/// Gives a damaged file a second name that nothing here touches again, `….damaged-<time>`. The file also stays where it
/// is, so that what is readable in it is not lost before it stands elsewhere.
pub(super) fn keep_damaged(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let suffix = now.strftime(".damaged-%Y%m%dT%H%M%SZ").to_string();
    let mut aside = with_suffix(path, &suffix);
    for number in 2.. {
        if !aside.exists() {
            break;
        }
        aside = with_suffix(path, &format!("{suffix}-{number}"));
    }
    // Not every file system has hard links.
    fs::hard_link(path, &aside).or_else(|_| fs::copy(path, &aside).map(drop))?;
    Ok(aside)
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = OsString::from(path);
    text.push(suffix);
    PathBuf::from(text)
}
