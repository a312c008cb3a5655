//! Sessions in memory: gone with the process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{PutError, Revision, SessionStore, StoreError, Stored, table::Table};
use crate::model::{Session, SessionId};

/// Sessions in memory.
#[derive(Debug, Default)]
pub struct MemorySessionStore {
    table: Mutex<Table>,
}

impl MemorySessionStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SessionStore for MemorySessionStore {
    async fn get(&self, session_id: &SessionId) -> Result<Option<Stored>, StoreError> {
        Ok(self.table().get(session_id))
    }

    async fn put(&self, session: Session, expected: Revision) -> Result<Revision, PutError> {
        Ok(self.table().put(session, expected)?.revision)
    }

    async fn delete(&self, session_id: &SessionId, expected: Revision) -> Result<(), PutError> {
        self.table().delete(session_id, expected)?;
        Ok(())
    }

    async fn count(&self) -> Result<usize, StoreError> {
        Ok(self.table().len())
    }

    async fn unused_since(&self, instant: Timestamp) -> Result<Vec<Stored>, StoreError> {
        Ok(self.table().unused_since(instant))
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
