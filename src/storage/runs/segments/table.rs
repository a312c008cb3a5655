//! What the log knows in memory: its runs, its segments, what waits for the writer. One lock guards it all.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    io,
    sync::Arc,
};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    disk::DiskFile,
    index::{Index, Place},
    payload::{Record, StoredKey},
    pending::{Entries, Pending, Reply, Spent, Told, What},
    record::{Header, Kind},
    remains::Remains,
    run_map::RunMap,
    waking::WriterState,
};
use crate::{
    model::{Digest, Entry, Run, RunId, SessionId, limits},
    storage::runs::{
        CreateError, Newest,
        by_session::BySession,
        keys::UsedKeys,
        session_hints::{SessionFollowers, SessionHints},
    },
};

/// Everything in memory.
#[derive(Default)]
pub(super) struct Table {
    pub(super) runs: RunMap<Kept>,
    pub(super) by_session: BySession,
    pub(super) hints: SessionHints,
    pub(super) keys: UsedKeys,
    /// Keys of runs whose first record is under way. The channel closes when it is on disk or refused.
    pub(super) keys_under_way: HashMap<Digest, watch::Sender<()>>,
    /// Runs whose first record is under way.
    pub(super) beginning: HashSet<RunId>,
    pub(super) ended: BTreeSet<(Timestamp, RunId)>,
    pub(super) segments: BTreeMap<u32, Segment>,
    /// Segments whose files are to be removed, in this order.
    pub(super) needless: VecDeque<u32>,
    /// Files that go on behind their end after a failed write, and the bytes that count.
    pub(super) uncut: Vec<(Arc<dyn DiskFile>, u64)>,
    /// Records that count no more.
    pub(super) remains: HashMap<RunId, Remains>,
    /// Bytes on disk of the runs that are kept.
    pub(super) live_bytes: u64,
    /// Bytes of what waits for the writer, drops excepted.
    queued_bytes: u64,
    /// Kept runs of which a part is damaged.
    pub(super) damaged_runs: usize,
    pub(super) last_place: u64,
    tails: VecDeque<(RunId, usize, usize)>,
    tail_bytes: usize,
    queue: Vec<Pending>,
    /// Runs that are to begin, of what waits for the writer.
    starts: usize,
    pub(super) writer: WriterState,
    /// Runs whose drop is not on disk yet.
    pub(super) undurable_drops: HashSet<RunId>,
    /// Why nothing can be written at present.
    pub(super) stalled: Option<Arc<io::Error>>,
    pub(super) closed: bool,
    /// The segment that is written.
    pub(super) current: u32,
}

/// A run.
pub(super) struct Kept {
    pub(super) place: u64,
    pub(super) session_id: SessionId,
    /// While there is no terminal event.
    pub(super) live: Option<Box<Live>>,
    pub(super) ended_at: Timestamp,
    pub(super) last_sequence: u64,
    /// The newest record with the run's state.
    pub(super) head: Place,
    pub(super) index: Index,
    /// On disk.
    pub(super) bytes: u64,
    /// Its newest events, as far as they are in memory.
    pub(super) tail: VecDeque<Arc<Entry>>,
    pub(super) key: Option<Box<StoredKey>>,
    /// What follows `last_sequence` was damaged.
    pub(super) damaged: bool,
}

/// What only a run has that goes on.
pub(super) struct Live {
    pub(super) run: Run,
    /// The end of the log with all that waits for the writer.
    pub(super) claimed: u64,
    /// Bytes on disk with all that waits for the writer.
    pub(super) claimed_bytes: u64,
    pub(super) last: watch::Sender<Newest>,
}

/// A file of the log.
pub(super) struct Segment {
    pub(super) file: Arc<dyn DiskFile>,
    /// Bytes that count; what lies behind them is nothing.
    pub(super) length: u64,
    /// Bytes of records that are needed.
    pub(super) live: u64,
    /// Runs that have records here which do not count: they are dropped, or the records were copied.
    pub(super) dead: HashSet<RunId>,
    /// Something in it is damaged.
    pub(super) damaged: bool,
}

impl Segment {
    pub(super) fn new(file: Arc<dyn DiskFile>, length: u64) -> Self {
        Self { file, length, live: 0, dead: HashSet::new(), damaged: false }
    }
}

impl Kept {
    /// A run whose records are yet to be added.
    pub(super) fn new(
        place: u64,
        session_id: SessionId,
        key: Option<StoredKey>,
        created_at: Timestamp,
    ) -> Self {
        Self {
            place,
            session_id,
            live: None,
            ended_at: created_at,
            last_sequence: 0,
            head: Place { segment: 0, offset: 0, length: 0, first_sequence: 0, count: 0 },
            index: Index::default(),
            bytes: 0,
            tail: VecDeque::new(),
            key: key.map(Box::new),
            damaged: false,
        }
    }
}

impl Table {
    /// Takes a run into all indexes.
    pub(super) fn keep(&mut self, run_id: RunId, kept: Kept) {
        self.by_session.insert(&kept.session_id, kept.place, run_id);
        self.last_place = self.last_place.max(kept.place);
        if let Some(key) = kept.key.as_deref() {
            self.remember(*key, run_id);
        }
        if kept.live.is_none() {
            self.ended.insert((kept.ended_at, run_id));
        }
        self.live_bytes += kept.bytes;
        self.damaged_runs += usize::from(kept.damaged);
        self.runs.insert(run_id, kept);
    }

    pub(super) fn remember(&mut self, key: StoredKey, run_id: RunId) {
        let forgotten = self.keys.insert(key.key(), run_id, key.used_at, limits::IDEMPOTENCY_KEYS);
        self.keys_forgotten(forgotten);
    }

    /// Hands a record to the writer.
    pub(super) fn enqueue(&mut self, pending: Pending) {
        self.queued_bytes += pending.queued_bytes();
        self.starts += usize::from(pending.begins());
        self.queue.push(pending);
    }

    /// True when something waits for the writer.
    pub(super) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// True when a run that is to begin waits for the writer.
    pub(super) fn has_starts(&self) -> bool {
        self.starts > 0
    }

    /// Moves all that waits for the writer behind `pending`; gives how many runs are to begin by it.
    pub(super) fn take_queue(&mut self, pending: &mut Vec<Pending>) -> usize {
        if pending.is_empty() {
            std::mem::swap(pending, &mut self.queue);
        } else {
            pending.append(&mut self.queue);
        }
        std::mem::take(&mut self.starts)
    }

    /// The run of a record that waited could not begin.
    pub(super) fn refused(&mut self, pending: &Pending) {
        self.queued_bytes -= pending.queued_bytes();
        self.settled(pending);
    }

    /// A run has begun, or has not.
    fn settled(&mut self, pending: &Pending) {
        if let What::Begin { key, .. } = &pending.what {
            self.beginning.remove(&pending.record.header.run_id);
            if let Some(key) = key {
                self.keys_under_way.remove(&key.name);
            }
        }
    }

    /// Refuses runs that are to begin while nothing can be written.
    pub(super) fn takes_runs(&self) -> Result<(), CreateError> {
        if let Some(error) = &self.stalled {
            return Err(CreateError::Unavailable(error.clone()));
        }
        if self.closed {
            return Err(CreateError::Unavailable(Arc::new(io::ErrorKind::BrokenPipe.into())));
        }
        Ok(())
    }

    /// Drops ended runs, oldest first, until `added` bytes fit below `total` with those that wait for the writer, and one
    /// more run below `most`.
    pub(super) fn make_room(&mut self, total: u64, most: usize, added: u64) -> bool {
        while self.live_bytes + self.queued_bytes + added > total
            || self.runs.len() + self.beginning.len() >= most
        {
            if !self.drop_oldest_ended() {
                return false;
            }
        }
        true
    }

    /// Drops the run that ended first. Its files go when nothing in them is needed any more.
    pub(super) fn drop_oldest_ended(&mut self) -> bool {
        let Some((_, run_id)) = self.ended.pop_first() else { return false };
        let Some(kept) = self.runs.remove(&run_id) else { return true };
        self.live_bytes -= kept.bytes;
        self.damaged_runs -= usize::from(kept.damaged);
        for chunk in kept.index.chunks() {
            if let Some(segment) = self.segments.get_mut(&chunk.segment) {
                segment.live = segment.live.saturating_sub(chunk.bytes.into());
            }
            self.bury(run_id, chunk.segment);
        }
        self.by_session.remove(&kept.session_id, kept.place, run_id);
        self.hints.changed(&kept.session_id);
        let is_its_own = |it: &StoredKey| self.keys.get(it.name).is_some_and(|used| used.run_id == run_id);
        let key = kept.key.map(|it| *it).filter(is_its_own);
        self.undurable_drops.insert(run_id);
        let record = Record::drop_run(run_id, key);
        self.enqueue(Pending { record, entries: Entries::default(), what: What::Drop { key }, room: None });
        true
    }

    /// A record is at `place`. Gives who is to be told.
    pub(super) fn committed(&mut self, pending: Pending, place: Place, tail_limit: usize) -> Told {
        self.queued_bytes -= pending.queued_bytes();
        self.settled(&pending);
        let Pending { record, mut entries, what, room: _ } = pending;
        let (run_id, header) = (record.header.run_id, record.header);
        debug_assert_eq!(u64::from(place.length), record.length(), "a record has one length");
        let mut told = Told::default();
        match what {
            What::Drop { key } => {
                self.undurable_drops.remove(&run_id);
                self.drop_written(run_id, place, key);
            }
            What::Begin { run, key, reply } => {
                let mut kept = Kept::new(header.place, run.session_id.clone(), key, run.created_at);
                kept.last_sequence = run.last_sequence;
                let last = watch::Sender::new(Newest::at(run.last_sequence));
                let (claimed, claimed_bytes) = (run.last_sequence, record.length());
                kept.live = Some(Box::new(Live { run, claimed, claimed_bytes, last }));
                self.keep(run_id, kept);
                self.added(run_id, place, true, &mut entries);
                told.session_followers = self.session_followers(run_id);
                told.reply = Reply::Begun(reply);
            }
            What::Append { run, reply } => {
                told.followers = self.appended(run, place, header.has_run, &mut entries);
                told.session_followers = self.session_followers(run_id);
                told.reply = Reply::Appended(reply);
            }
        }
        told.spent = Spent::new(record, entries.all);
        self.displace(tail_limit, &mut told.spent.displaced);
        told
    }

    /// Events were appended to `run`. Gives the channel of those who follow it, if anybody does.
    fn appended(
        &mut self,
        run: Run,
        place: Place,
        has_run: bool,
        entries: &mut Entries,
    ) -> Option<watch::Sender<Newest>> {
        let (run_id, ended) = (run.run_id, run.finished_at);
        let live = self.runs.get(&run_id)?.live.as_ref()?;
        let newest = Newest::committed(&live.last, run.last_sequence, &entries.all, entries.bytes);
        self.added(run_id, place, has_run, entries);
        let kept = self.runs.get_mut(&run_id)?;
        kept.last_sequence = run.last_sequence;
        let live = kept.live.as_mut()?;
        // There for everybody from now on; who waits for it is woken later.
        live.last.send_if_modified(|it| {
            *it = newest;
            false
        });
        let followers = (live.last.receiver_count() > 0).then(|| live.last.clone());
        if let Some(ended_at) = ended {
            kept.ended_at = ended_at;
            kept.live = None;
            kept.index.shrink();
            self.ended.insert((ended_at, run_id));
        } else {
            live.run = run;
        }
        followers
    }

    fn session_followers(&mut self, run_id: RunId) -> Option<SessionFollowers> {
        let kept = self.runs.get(&run_id)?;
        self.hints.followers(&kept.session_id)
    }

    /// Moves the events to the newest of the run.
    fn added(&mut self, run_id: RunId, place: Place, has_run: bool, entries: &mut Entries) {
        let Some(kept) = self.runs.get_mut(&run_id) else { return };
        kept.index.push(place);
        kept.bytes += u64::from(place.length);
        self.live_bytes += u64::from(place.length);
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live += u64::from(place.length);
        }
        if has_run {
            kept.head = place;
        }
        self.tail_bytes += entries.bytes;
        self.tails.push_back((run_id, entries.all.len(), entries.bytes));
        kept.tail.extend(entries.all.drain(..));
    }

    /// Puts what the newest events of all runs take above `limit` out of memory.
    fn displace(&mut self, limit: usize, displaced: &mut Vec<Arc<Entry>>) {
        while self.tail_bytes > limit {
            let Some((run_id, count, bytes)) = self.tails.pop_front() else { break };
            self.tail_bytes -= bytes;
            if let Some(kept) = self.runs.get_mut(&run_id) {
                displaced.extend(kept.tail.drain(..count.min(kept.tail.len())));
            }
        }
    }
}

impl Table {
    /// The record with this header at `offset` of `segment` is needed there.
    pub(super) fn needs(&self, header: &Header, segment: u32, offset: u32) -> bool {
        if header.kind == Kind::Drop {
            return self.needs_drop(header.run_id, segment);
        }
        let place = self.runs.get(&header.run_id).and_then(|it| it.index.place_of(header.first_sequence));
        place.is_some_and(|it| (it.segment, it.offset) == (segment, offset))
    }

    /// Records of a run were copied: from these places in `segment`, in the order of their sequences, to others.
    pub(super) fn moved(&mut self, run_id: RunId, segment: u32, copies: &[(u32, Place)]) {
        let mut moved = Vec::with_capacity(copies.len());
        for (offset, to) in copies {
            let kept = self.runs.get_mut(&run_id);
            let place = kept.as_ref().and_then(|it| it.index.place_of(to.first_sequence));
            let still = place.is_some_and(|it| (it.segment, it.offset) == (segment, *offset));
            let Some(kept) = kept.filter(|_| still) else {
                // The run was dropped meanwhile.
                self.bury(run_id, to.segment);
                continue;
            };
            if (kept.head.segment, kept.head.offset) == (segment, *offset) {
                kept.head = *to;
            }
            moved.push(*to);
            if let Some(old) = self.segments.get_mut(&segment) {
                old.live = old.live.saturating_sub(to.length.into());
            }
            if let Some(new) = self.segments.get_mut(&to.segment) {
                new.live += u64::from(to.length);
            }
        }
        if let Some(kept) = self.runs.get_mut(&run_id).filter(|_| !moved.is_empty()) {
            kept.index.relocate(&moved);
            if kept.live.is_none() {
                kept.index.shrink();
            }
            // What is left there must not outlive the record that will drop the run.
            self.bury(run_id, segment);
        }
    }
}
