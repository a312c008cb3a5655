//! Sessions in a file that people can read: `init_sessions.json`, and a journal beside it.
//!
//! All sessions are in memory, in one map. A change is made there and acknowledged; within 50 ms a thread has appended
//! it to the journal, so that it survives the end of the process by whatever cause, and soon after it is synced, so
//! that it survives a loss of power. A journal that has outgrown the snapshot is folded into a new one on another
//! thread, so that a change costs the same however many sessions there are. `fold` tells why no moment of this loses
//! anything, `load` what becomes of damaged files.

mod buffer;
mod files;
mod fold;
mod journal;
mod load;
mod snapshot;
mod sync;
#[cfg(test)]
mod tests;
mod trouble;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;

use self::{buffer::Buffer, files::Files, load::load, writer::Writer};
use super::{PutError, Revision, SessionStore, StoreError, Stored};
use crate::{
    model::{Session, SessionId},
    runtime::clock,
};

/// How a store on files behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// What loading makes of the active runs of stored sessions.
    pub loaded: Loaded,
    /// The journal is folded into the snapshot when it is larger than the snapshot, and than this many bytes.
    pub journal_bytes: u64,
    /// While the snapshot is small (up to 256 KiB), how long it may lag behind the journal.
    pub settle: Duration,
}

/// What loading makes of the active runs of stored sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// No run survives a restart: the active run becomes the latest one, and the session is free.
    ForgetActive,
    /// Runs may have survived: the sessions are as stored, and whoever knows the runs decides.
    KeepActive,
}

/// Why a store cannot be opened. Its text is for operators.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, has it open.
    #[error("{} is in use by another gateway; give each gateway a data directory of its own", path.display())]
    InUse {
        /// The snapshot.
        path: PathBuf,
    },
    /// The system refused. Damaged contents are no reason.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried: read, open, claim.
        doing: &'static str,
        /// The file it was tried with.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Sessions in memory, written behind to files.
///
/// Dropping it writes what is left, which may take some time: some milliseconds as a rule, seconds if a large snapshot
/// is being written or the disk fails.
#[derive(Debug)]
pub struct FileSessionStore {
    buffer: Arc<Buffer>,
    writer: Option<JoinHandle<()>>,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { loaded: Loaded::ForgetActive, journal_bytes: 64 << 10, settle: Duration::from_millis(20) }
    }
}

impl FileSessionStore {
    /// Opens the store whose snapshot is at `path`, or makes an empty one. Its directory is made where it is missing.
    ///
    /// Reads everything before it returns: call it where blocking is allowed. Of damaged files it keeps what is
    /// readable, see [`OpenError`] for what makes it fail.
    ///
    /// Loaded sessions are as they were, but for three things: missing times become the time of loading, missing
    /// revisions are given, and active runs are treated as [`FileOptions::loaded`] says.
    pub fn open(path: impl AsRef<Path>, options: FileOptions) -> Result<Self, OpenError> {
        let files = Files::beside(path.as_ref());
        let claim = files.claim()?;
        let mut load = load(&files, &options, clock::now())?;
        let failed = |source| OpenError::Io { doing: "start writing", path: files.journal.clone(), source };
        let buffer = Arc::new(Buffer::new(std::mem::take(&mut load.table)));
        let writer =
            Writer::new(files.clone(), claim, Arc::clone(&buffer), load, &options).map_err(failed)?;
        let writer = thread::Builder::new().name("sessions-write".to_owned()).spawn(|| writer.run());
        Ok(Self { buffer, writer: Some(writer.map_err(failed)?) })
    }
}

#[async_trait]
impl SessionStore for FileSessionStore {
    async fn get(&self, session_id: &SessionId) -> Result<Option<Stored>, StoreError> {
        Ok(self.buffer.get(session_id))
    }

    /// Fails with [`PutError::Store`] only if so many changes wait for the disk that this one found no room for five
    /// seconds; it has not happened then.
    async fn put(&self, session: Session, expected: Revision) -> Result<Revision, PutError> {
        self.buffer.put(session, expected).await
    }

    async fn delete(&self, session_id: &SessionId, expected: Revision) -> Result<(), PutError> {
        self.buffer.delete(session_id, expected).await
    }

    async fn count(&self) -> Result<usize, StoreError> {
        Ok(self.buffer.count())
    }

    async fn unused_since(&self, instant: Timestamp) -> Result<Vec<Stored>, StoreError> {
        Ok(self.buffer.unused_since(instant))
    }

    /// Synced too: survives a loss of power. Fails if that takes ten seconds; nothing is lost by that yet.
    async fn flush(&self) -> Result<(), StoreError> {
        self.buffer.flush().await
    }
}

impl Drop for FileSessionStore {
    fn drop(&mut self) {
        self.buffer.close();
        if let Some(writer) = self.writer.take() {
            // A panic has been told by the panic hook.
            let _ = writer.join();
        }
    }
}
