//! Sessions by id, changed by compare-and-set.

mod file;
mod memory;
mod table;

pub use file::{FileOptions, FileSessionStore, Loaded, OpenError};
pub use memory::MemorySessionStore;

use async_trait::async_trait;
use std::sync::Arc;

use crate::model::{Session, SessionId};

/// Names one change of a store. Every change gets a higher one than all changes before it, whichever session it is of,
/// so a session that was forgotten and made again never shows a revision it had before. 0 stands for "not stored".
pub type Revision = u64;

/// A session and the revision it was read at.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The session.
    pub session: Arc<Session>,
    /// What to expect when writing it back.
    pub revision: Revision,
}

/// Why a session was not written.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Somebody else changed it since it was read; read again and decide again.
    #[error("the session is at revision {actual}, not {expected}")]
    Conflict {
        /// What the caller expected.
        expected: Revision,
        /// What is stored.
        actual: Revision,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The store itself failed: a full disk, a lost connection.
#[derive(Debug, thiserror::Error)]
#[error("the session store failed")]
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Keeps sessions.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// The session as stored, if there is one.
    async fn get(&self, session_id: &SessionId) -> Result<Option<Stored>, StoreError>;

    /// Stores the session if its revision is still `expected` (0: if it is not stored yet); gives the new revision.
    ///
    /// A call that is dropped before its end has either done all or nothing.
    async fn put(&self, session: Session, expected: Revision) -> Result<Revision, PutError>;

    /// Forgets the session if its revision is still `expected`. Nothing happens if it is not stored and 0 is expected.
    async fn delete(&self, session_id: &SessionId, expected: Revision) -> Result<(), PutError>;

    /// How many sessions are stored.
    async fn count(&self) -> Result<usize, StoreError>;

    /// All sessions last used before `instant`, with their revisions: what the expiry sweep looks at.
    async fn unused_since(&self, instant: jiff::Timestamp) -> Result<Vec<Stored>, StoreError>;

    /// Returns once everything acknowledged so far would survive the end of the process.
    async fn flush(&self) -> Result<(), StoreError>;
}
