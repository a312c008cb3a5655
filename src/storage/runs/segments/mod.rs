//! Run logs on disk: segments of records, written by one thread in group commits.
//!
//! ```text
//! append ──> table (claims the sequence) ──> writer: one write, one sync ──> table: index, tail, followers ──> reply
//! read   ──> tail in memory, else a chunk of records from disk, decoded once for all readers
//! ```
//!
//! An event is acknowledged and can be read only after its record is on disk ([`SyncMode`] says what that means). While the
//! disk is full or fails, runs that go on wait, runs that are to begin are refused, and what was acknowledged stays.
//! `open` tells what becomes of damage, `remains` when a file is not needed any more, `cleaning` how a file becomes so in
//! which little is.

mod chunks;
mod cleaning;
mod disk;
mod event_json;
mod found;
mod index;
mod open;
mod options;
mod payload;
mod pending;
mod read;
mod record;
mod remains;
mod retention;
mod run_map;
mod segment_head;
mod table;
#[cfg(test)]
mod tests;
mod waking;
mod writer;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, oneshot, watch};

pub use self::options::{SegmentOptions, SyncMode};
use self::{
    chunks::{ChunkKey, Decoded, DecodedBytes},
    cleaning::Cleaner,
    disk::{Disk, Folder},
    payload::{Begin, Record, StoredKey},
    pending::{Entries, Pending, What},
    table::Table,
    writer::Writer,
};
use super::{
    AppendError, CreateError, ListRuns, NewRun, Newest, PlacedRun, ReadError, RunLog, RunPage, Slice, Trim,
    UsedKey,
};
use crate::{
    model::{Digest, Event, Run, RunId, SessionId},
    storage::claim::Claim,
};

/// Bytes that may wait for the writer. Beyond it appends wait for room.
const WAITING_KIB: u32 = 32 << 10;

/// Why a log cannot be opened. Its text is for operators.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// Another process has it open.
    #[error("{} is in use by another gateway; give each gateway a data folder of its own", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// It was written by another version.
    #[error(
        "the runs in {} are of format {found}, this gateway reads {}; export them with the version that wrote them",
        folder.display(), segment_head::FORMAT
    )]
    Format {
        /// The folder.
        folder: PathBuf,
        /// The version of the format.
        found: u32,
    },
    /// The system refused. Damage is no reason.
    #[error("cannot {doing} the runs in {}", folder.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Run logs on disk. Dropping it writes what waits.
pub struct SegmentRunLog {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
}

/// What the writer and the callers share.
struct Shared {
    table: Mutex<Table>,
    something_waits: Condvar,
    /// Held while files are removed.
    removing: Mutex<()>,
    disk: Box<dyn Disk>,
    options: SegmentOptions,
    chunks: Cache<ChunkKey, Arc<Decoded>, DecodedBytes>,
    _claim: Option<Claim>,
}

impl SegmentRunLog {
    /// Opens the log in `folder`, or makes an empty one. Reads all segments before it returns: call it where blocking is
    /// allowed.
    pub fn open(folder: impl AsRef<Path>, options: SegmentOptions) -> Result<Self, OpenLogError> {
        let folder = folder.as_ref();
        let claim = open::claim(folder)?;
        Self::on(Box::new(Folder(folder.to_owned())), folder, options, Some(claim))
    }

    /// Opens the log in `folder` for reading only, also while a gateway has it open: what it held at this moment.
    pub fn open_read_only(folder: impl AsRef<Path>) -> Result<Self, OpenLogError> {
        let folder = folder.as_ref();
        let disk = Box::new(Folder(folder.to_owned()));
        let scan = open::scan(&*disk, folder, false)?;
        let mut table = scan.table;
        table.closed = true;
        let shared = Arc::new(Shared::new(table, disk, SegmentOptions::default(), None));
        let room = Arc::new(Semaphore::new(0));
        // Nobody waits for room that never comes.
        room.close();
        Ok(Self { shared, room, writer: None })
    }

    fn on(
        disk: Box<dyn Disk>,
        folder: &Path,
        options: SegmentOptions,
        claim: Option<Claim>,
    ) -> Result<Self, OpenLogError> {
        let scan = open::scan(&*disk, folder, true)?;
        let shared = Arc::new(Shared::new(scan.table, disk, options, claim));
        let writer = Writer {
            shared: shared.clone(),
            current: scan.current,
            sealed: scan.sealed,
            next_segment: scan.next_segment,
            next_commit: scan.next_commit,
            batch: Vec::new(),
            cleaner: Cleaner::default(),
        };
        let writer = thread::Builder::new().name("runs-write".to_owned()).spawn(|| writer.run());
        let failed = |source| OpenLogError::Io { doing: "start writing", folder: folder.to_owned(), source };
        let room = Arc::new(Semaphore::new(WAITING_KIB as usize));
        Ok(Self { shared, room, writer: Some(writer.map_err(failed)?) })
    }

    /// Waits until there is room among what waits for the writer.
    async fn room_for(&self, record: &Record) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let kib = u32::try_from(record.length() / 1024 + 1).unwrap_or(u32::MAX).min(WAITING_KIB);
        self.room.clone().acquire_many_owned(kib).await.ok()
    }
}

impl Shared {
    fn new(table: Table, disk: Box<dyn Disk>, options: SegmentOptions, claim: Option<Claim>) -> Self {
        let chunks = Cache::with_weighter(4096, options.cache as u64, DecodedBytes);
        let table = Mutex::new(table);
        let (something_waits, removing) = (Condvar::new(), Mutex::new(()));
        Self { table, something_waits, removing, disk, options, chunks, _claim: claim }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table at a time when `key` is not under way: who is told that it was used finds the run.
    async fn table_with(&self, key: Option<StoredKey>) -> MutexGuard<'_, Table> {
        loop {
            let mut settled = {
                let table = self.table();
                match key.and_then(|it| table.keys_under_way.get(&it.name)) {
                    Some(under_way) => under_way.subscribe(),
                    None => return table,
                }
            };
            // Nothing is ever sent: the channel closes.
            drop(settled.changed().await);
        }
    }
}

#[async_trait]
impl RunLog for SegmentRunLog {
    async fn create(&self, new: NewRun) -> Result<(), CreateError> {
        let NewRun { run, events, params, key } = new;
        let used_at = run.created_at;
        let key = key.map(|it| StoredKey { name: it.name, request: it.request, used_at });
        let begin = Begin { run, params, key };
        let mut record = Record::begin(&begin, &events);
        let entries = Entries::new(events);
        // What has to be refused does not wait for room first: while the disk fails there may be none.
        self.shared.table().takes_runs()?;
        let room = self.room_for(&record).await;
        let (reply, written) = oneshot::channel();
        {
            let mut table = self.shared.table_with(key).await;
            let run = begin.run;
            table.takes_runs()?;
            if table.runs.contains_key(&run.run_id) || table.beginning.contains(&run.run_id) {
                return Err(CreateError::Exists);
            }
            if let Some(used) = key.and_then(|it| table.keys.get(it.name)) {
                return Err(CreateError::KeyUsed(used));
            }
            let options = &self.shared.options;
            if !table.make_room(options.kept(), options.most, record.length()) {
                return Err(CreateError::Full);
            }
            if let Some(key) = key {
                table.keys_under_way.insert(key.name, watch::Sender::new(()));
            }
            table.beginning.insert(run.run_id);
            table.last_place += 1;
            record.header.place = table.last_place;
            let pending = Pending { record, entries, what: What::Begin { run, key, reply }, room };
            self.shared.hand_over(table, pending);
        }
        let closed = || CreateError::Unavailable(Arc::new(io::ErrorKind::BrokenPipe.into()));
        written.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn append(&self, run: Run, expected: u64, events: Vec<Event>) -> Result<(), AppendError> {
        let state_changed = events.iter().any(|it| changes_state(&it.kind));
        // All that takes long is done before the table is locked.
        let record = Record::events(&run, state_changed, &events);
        let entries = Entries::new(events);
        let room = self.room_for(&record).await;
        let (reply, written) = oneshot::channel();
        {
            let mut table = self.shared.table();
            if table.closed {
                return Err(AppendError::Closed);
            }
            let terminal = run.state.is_terminal();
            let kept = table.runs.get(&run.run_id).ok_or(AppendError::NotFound)?;
            let live = kept.live.as_ref();
            let actual = live.map_or(kept.last_sequence, |it| it.claimed);
            if live.is_none() || actual != expected {
                return Err(AppendError::Conflict { expected, actual });
            }
            let bytes = live.map_or(0, |it| it.claimed_bytes) + record.length();
            let options = &self.shared.options;
            let fits =
                bytes <= options.per_run && table.make_room(options.kept(), usize::MAX, record.length());
            if !fits && !terminal {
                return Err(AppendError::Full);
            }
            if let Some(live) = table.runs.get_mut(&run.run_id).and_then(|it| it.live.as_mut()) {
                live.claimed = run.last_sequence;
                live.claimed_bytes = bytes;
            }
            let pending = Pending { record, entries, what: What::Append { run, reply }, room };
            self.shared.hand_over(table, pending);
        }
        let spent = written.await.map_err(|_| AppendError::Closed)?;
        drop(spent);
        Ok(())
    }

    async fn read(&self, run_id: RunId, after: u64, max_bytes: usize) -> Result<Slice, ReadError> {
        self.shared.clone().read(run_id, after, max_bytes).await
    }

    async fn follow(&self, run_id: RunId) -> Result<watch::Receiver<Newest>, ReadError> {
        let table = self.shared.table();
        let kept = table.runs.get(&run_id).ok_or(ReadError::NotFound)?;
        // Nothing more comes of a run that has ended: its channel is closed with the last value in it.
        let ended = || watch::channel(Newest::at(kept.last_sequence)).1;
        Ok(kept.live.as_ref().map_or_else(ended, |it| it.last.subscribe()))
    }

    async fn follow_session(&self, session_id: &SessionId) -> watch::Receiver<u64> {
        self.shared.table().hints.follow(session_id)
    }

    async fn run(&self, run_id: RunId) -> Result<Run, ReadError> {
        self.shared.clone().run(run_id).await
    }

    async fn params(&self, run_id: RunId) -> Result<BTreeMap<String, String>, ReadError> {
        self.shared.clone().params(run_id).await
    }

    async fn used_key(&self, name: Digest) -> Option<UsedKey> {
        self.shared.table().keys.get(name)
    }

    async fn list(&self, request: ListRuns) -> Result<RunPage, ReadError> {
        let ids: Vec<_> = {
            let table = self.shared.table();
            let newest = table.by_session.newest_first(&request.session_id, request.before);
            newest.take(request.limit + 1).collect()
        };
        let more = ids.len() > request.limit;
        let mut runs = Vec::with_capacity(request.limit.min(ids.len()));
        for run_id in ids.into_iter().take(request.limit) {
            match self.run(run_id).await {
                Ok(run) => runs.push(run),
                // Dropped meanwhile.
                Err(ReadError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(RunPage { runs, more })
    }

    async fn placed_after(&self, session_id: &SessionId, after: u64, limit: usize) -> Vec<PlacedRun> {
        self.shared.table().by_session.placed_after(session_id, after, limit)
    }

    async fn live(&self) -> Vec<RunId> {
        self.shared.placed(|it| it.live.is_some())
    }

    async fn all(&self) -> Vec<RunId> {
        self.shared.placed(|_| true)
    }

    async fn trim(&self, trim: Trim) {
        self.shared.clone().trim(trim).await;
    }
}

impl Drop for SegmentRunLog {
    fn drop(&mut self) {
        self.shared.table().closed = true;
        self.shared.something_waits.notify_one();
        if let Some(writer) = self.writer.take() {
            // A panic has been told by the panic hook.
            drop(writer.join());
        }
    }
}

/// True for events after which the run is not what it was, but for its newest sequence.
fn changes_state(kind: &crate::model::EventKind) -> bool {
    use crate::model::EventKind;
    kind.is_terminal() || matches!(kind, EventKind::State { .. })
}
