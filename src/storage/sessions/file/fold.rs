//! Folding: the journal goes into a new snapshot while changes go on in a new journal.
//!
//! The steps, each of which may be the last before a crash:
//!
//! 1. the journal is renamed to the old journal, and a new journal is opened;
//! 2. the next snapshot is written beside the snapshot, with at least all that the old journal holds, and synced;
//! 3. it is renamed over the snapshot, and the directory is synced;
//! 4. the old journal is removed.
//!
//! Loading reads snapshot, old journal, journal. Up to 3 they hold everything; after 3 the old journal tells what the
//! snapshot holds already, which changes nothing. A snapshot may also hold changes that the new journal tells again.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvError, TryRecvError, sync_channel},
    },
    thread,
};

use super::{
    buffer::Buffer,
    files::{Files, remove_if_there},
    snapshot,
};
use crate::storage::Stored;

/// A fold under way on a thread of its own. There is one at a time.
#[derive(Debug)]
pub(super) struct Folding {
    result: Receiver<io::Result<u64>>,
}

/// Steps 2 to 4. Gives the size of the snapshot.
pub(super) fn fold(files: &Files, rows: Vec<Stored>) -> io::Result<u64> {
    let bytes = snapshot::write(files, rows)?;
    remove_if_there(&files.old_journal)?;
    Ok(bytes)
}

impl Folding {
    /// Starts with what is in the table now; pokes the writer when it is done.
    pub(super) fn start(files: &Files, buffer: &Arc<Buffer>) -> io::Result<Self> {
        let (sender, result) = sync_channel(1);
        let (files, buffer) = (files.clone(), Arc::clone(buffer));
        thread::Builder::new().name("sessions-fold".to_owned()).spawn(move || {
            let folded = fold(&files, buffer.rows());
            // Fails only where the writer has ended, which waits for this.
            let _ = sender.send(folded);
            buffer.poke();
        })?;
        Ok(Self { result })
    }

    /// The size of the new snapshot, once it stands.
    pub(super) fn done(&self) -> Option<io::Result<u64>> {
        match self.result.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(panicked())),
        }
    }

    /// Waits until it is done.
    pub(super) fn wait(self) -> io::Result<u64> {
        self.result.recv().unwrap_or_else(|RecvError| Err(panicked()))
    }
}

fn panicked() -> io::Error {
    io::Error::other("the thread that wrote the snapshot panicked")
}
