//! What is on its way to the disk, and who is told when it is there.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::payload::{Record, StoredKey};
use crate::{
    model::{Entry, Event, Run},
    storage::runs::{CreateError, Newest, session_hints::SessionFollowers},
};

/// A record on its way to the disk.
pub(super) struct Pending {
    pub(super) record: Record,
    pub(super) entries: Entries,
    pub(super) what: What,
    /// Its share of what may wait; `None` where nobody can wait.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// The events of a record as they stay in memory.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) all: Vec<Arc<Entry>>,
    /// What they take in memory.
    pub(super) bytes: usize,
}

/// What becomes of the table when the record is on disk.
pub(super) enum What {
    Begin { run: Run, key: Option<StoredKey>, reply: oneshot::Sender<Result<(), CreateError>> },
    Append { run: Run, reply: oneshot::Sender<Spent> },
    Drop { key: Option<StoredKey> },
}

/// What is not needed any more when a record is on disk. Whoever appended it lets go of it, in its own task: the writer has
/// no time for it, and what another thread has allocated takes it longer.
#[derive(Default)]
pub(super) struct Spent {
    /// Events that others have pushed out of memory.
    pub(super) displaced: Vec<Arc<Entry>>,
    _record: Vec<u8>,
}

/// Who is to be told that a record is on disk; not before the table is unlocked, so that nobody who is woken waits for
/// the lock.
#[derive(Default)]
pub(super) struct Told {
    pub(super) reply: Reply,
    /// The channel of those who follow the run. The newest value is in it already: who comes to follow while the table is
    /// not locked any more and nobody is woken yet must see it.
    pub(super) followers: Option<watch::Sender<Newest>>,
    pub(super) session_followers: Option<SessionFollowers>,
    pub(super) spent: Spent,
}

/// Whoever waits for a record.
#[derive(Default)]
pub(super) enum Reply {
    #[default]
    Nobody,
    Begun(oneshot::Sender<Result<(), CreateError>>),
    Appended(oneshot::Sender<Spent>),
}

impl Pending {
    /// True for a record that begins a run.
    pub(super) fn begins(&self) -> bool {
        matches!(self.what, What::Begin { .. })
    }

    /// The bytes that the run of it will have more; none for a drop.
    pub(super) fn queued_bytes(&self) -> u64 {
        if matches!(self.what, What::Drop { .. }) { 0 } else { self.record.length() }
    }
}

impl Entries {
    pub(super) fn new(events: Vec<Event>) -> Self {
        let bytes = events.iter().map(Event::bytes).sum();
        let all = events.into_iter().map(|it| Arc::new(Entry::new(it))).collect();
        Self { all, bytes }
    }
}

impl Spent {
    /// The memory of a record and of the list of its events, which others were moved to; filled by those that go.
    pub(super) fn new(record: Record, emptied: Vec<Arc<Entry>>) -> Self {
        Self { displaced: emptied, _record: record.into_bytes() }
    }
}

impl Told {
    pub(super) fn send(self) {
        if let Some(followers) = self.followers {
            followers.send_modify(|_| {});
        }
        // After those of the run: who follows a session looks at the channels of its runs when it is woken.
        if let Some(followers) = self.session_followers {
            followers.wake();
        }
        // Whoever waited may have gone away; the record stands.
        match self.reply {
            Reply::Nobody => {}
            Reply::Begun(reply) => drop(reply.send(Ok(()))),
            Reply::Appended(reply) => drop(reply.send(self.spent)),
        }
    }
}
