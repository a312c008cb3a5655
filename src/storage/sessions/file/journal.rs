//! The journal: one line of JSON for each change, in the order of their revisions.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::model::{Session, SessionId};
use crate::storage::claim::is_at;
use crate::storage::{Revision, Stored};

/// One change of the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Line", into = "Line")]
pub(super) enum Change {
    Put(Stored),
    Delete { session_id: SessionId, revision: Revision },
}

/// What reading a journal has met beside its changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Bytes up to the end of the last line.
    pub(super) whole_bytes: u64,
    /// Bytes after it: a write that was cut off.
    pub(super) torn_bytes: u64,
    /// Lines that are no change.
    pub(super) damaged_lines: usize,
}

/// A journal that is written. It is always whole: a write that fails is taken back.
#[derive(Debug)]
pub(super) struct Journal {
    file: Arc<File>,
    path: PathBuf,
    bytes: u64,
    broken: bool,
}

/// A change as it is written: exactly one of `put` and `delete`.
#[derive(Serialize, Deserialize)]
struct Line {
    revision: Revision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    put: Option<Arc<Session>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delete: Option<SessionId>,
}

#[derive(Debug, thiserror::Error)]
#[error("neither put nor delete")]
struct NoChange;

impl Change {
    /// Appends the line of the change to `lines`.
    pub(super) fn encode(&self, lines: &mut Vec<u8>) -> io::Result<()> {
        let before = lines.len();
        let encoded = serde_json::to_writer(&mut *lines, self);
        encoded.inspect_err(|_| lines.truncate(before))?;
        lines.push(b'\n');
        Ok(())
    }
}

impl From<Change> for Line {
    fn from(change: Change) -> Self {
        match change {
            Change::Put(Stored { session, revision }) => Self { revision, put: Some(session), delete: None },
            Change::Delete { session_id, revision } => Self { revision, put: None, delete: Some(session_id) },
        }
    }
}

impl TryFrom<Line> for Change {
    type Error = NoChange;

    fn try_from(line: Line) -> Result<Self, NoChange> {
        let revision = line.revision;
        match (line.put, line.delete) {
            (Some(session), None) => Ok(Self::Put(Stored { session, revision })),
            (None, Some(session_id)) => Ok(Self::Delete { session_id, revision }),
            _ => Err(NoChange),
        }
    }
}

impl Journal {
    /// Opens the journal at `path` to write behind its first `whole_bytes`; what stands after them is cut off.
    pub(super) fn open(path: &Path, whole_bytes: u64) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        if file.metadata()?.len() > whole_bytes {
            file.set_len(whole_bytes)?;
        }
        Ok(Self { file: Arc::new(file), path: path.to_owned(), bytes: whole_bytes, broken: false })
    }

    /// Writes whole lines, all or none.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        match (&*self.file).write_all(lines) {
            Ok(()) => {
                self.bytes += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.broken = self.file.set_len(self.bytes).is_err();
                Err(error)
            }
        }
    }

    /// False once what was written would not be found again: the file was removed or replaced, or a write that failed
    /// could not be taken back.
    pub(super) fn sound(&self) -> bool {
        !self.broken && is_at(&self.file, &self.path)
    }

    /// Moves what is written to `old` and goes on in an empty file.
    pub(super) fn rotate(&mut self, old: &Path) -> io::Result<()> {
        fs::rename(&self.path, old)?;
        *self = Self::open(&self.path, 0)?;
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }
}

/// Tells `apply` every change of the journal at `path`, in order; none if there is no such file.
pub(super) fn read(path: &Path, mut apply: impl FnMut(Change)) -> io::Result<Reading> {
    let mut reading = Reading::default();
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(reading),
        file => file?,
    };
    let mut input = BufReader::new(file);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        if line.last() != Some(&b'\n') {
            reading.torn_bytes = line.len() as u64;
            break;
        }
        reading.whole_bytes += line.len() as u64;
        match serde_json::from_slice(&line) {
            Ok(change) => apply(change),
            Err(_) if line.trim_ascii().is_empty() => {}
            Err(_) => reading.damaged_lines += 1,
        }
        line.clear();
    }
    Ok(reading)
}
