//! The thread that writes behind: gathers changes, appends them to the journal, folds it when it has grown.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    FileOptions,
    buffer::Buffer,
    files::{Files, remove_if_there},
    fold::{Folding, fold},
    journal::Journal,
    load::Load,
    sync::Syncer,
    trouble::Trouble,
};
use crate::storage::claim::Claim;

/// What is changed within this time is written at once, unless somebody waits for a flush. Well below half of the 50 ms
/// after which a change survives the end of the process, so that a busy machine still keeps them; several starts of runs,
/// so that they share a write and a sync.
const GATHER: Duration = Duration::from_millis(20);

/// A snapshot up to this size is kept fresh for people who read it, see [`FileOptions::settle`]. Some hundred sessions,
/// written in some milliseconds. Larger ones wait for the journal to outgrow them.
const SMALL_BYTES: u64 = 256 << 10;

/// Lines are gathered in a buffer that keeps no more room than this when it is empty.
const LINES_BYTES: usize = 256 << 10;

/// How long closing goes on trying to write what cannot be written.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two such tries.
const CLOSE_PAUSE: Duration = Duration::from_millis(50);

/// Writes until the buffer is closed and written.
#[derive(Debug)]
pub(super) struct Writer {
    files: Files,
    buffer: Arc<Buffer>,
    syncer: Syncer,
    journal: Journal,
    /// Lines that are not in the journal yet, and how many changes they are. Bounded by the buffer, which counts them.
    lines: Vec<u8>,
    changes: usize,
    flush: u64,
    /// True if the files do not hold what they should, so that all must be written anew.
    lost: bool,
    folds: Folds,
    trouble: Trouble,
    /// Last, because fields are dropped in their order: the files are nobody else's before all has ended.
    claim: Claim,
}

/// When the journal is folded, and how far that is.
#[derive(Debug)]
struct Folds {
    under_way: Option<Folding>,
    /// The journal is folded when it is larger than the snapshot, and than this.
    journal_bytes: u64,
    settle: Duration,
    snapshot_bytes: u64,
    /// True while there is an old journal.
    rotated: bool,
    wanted: bool,
    /// When the first change went into the journal that the snapshot does not hold.
    unfolded_since: Option<Instant>,
    trouble: Trouble,
}

impl Writer {
    pub(super) fn new(
        files: Files,
        claim: Claim,
        buffer: Arc<Buffer>,
        load: Load,
        options: &FileOptions,
    ) -> io::Result<Self> {
        let syncer = Syncer::start(files.clone(), Arc::clone(&buffer))?;
        let folds = Folds {
            under_way: None,
            journal_bytes: options.journal_bytes,
            settle: options.settle,
            snapshot_bytes: load.snapshot_bytes,
            rotated: load.rotated,
            wanted: load.wants_fold,
            unfolded_since: (load.journal.bytes() > 0).then(Instant::now),
            trouble: Trouble::none("fold", &files.snapshot),
        };
        let trouble = Trouble::none("write", &files.journal);
        Ok(Self {
            files,
            buffer,
            syncer,
            journal: load.journal,
            lines: Vec::new(),
            changes: 0,
            flush: 0,
            lost: false,
            folds,
            trouble,
            claim,
        })
    }

    /// Works until the buffer is closed and all in it is written.
    pub(super) fn run(mut self) {
        let mut closing = None;
        loop {
            let closed = self.buffer.wait(self.flush, !self.trouble.holds_back(), self.wake_at());
            if !closed {
                self.buffer.gather(self.flush, GATHER);
            }
            self.take();
            if closed || !self.trouble.holds_back() {
                let written = self.write();
                self.trouble.note(written);
            }
            self.tend_fold(closed);
            if closed && self.end(*closing.get_or_insert_with(Instant::now)) {
                break;
            }
        }
    }

    fn take(&mut self) {
        let work = self.buffer.take();
        self.flush = work.flush;
        for change in &work.changes {
            match change.encode(&mut self.lines) {
                Ok(()) => self.changes += 1,
                // Sessions are texts, numbers and times: there is none that has no JSON.
                Err(error) => {
                    tracing::error!(%error, "a session has no form to be stored in");
                    self.buffer.written(1);
                }
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if let Some(error) = self.syncer.failure() {
            self.lost = true;
            return Err(error);
        }
        if self.lost || !self.journal.sound() {
            self.lost = true;
            self.write_anew()?;
            self.lost = false;
        }
        if !self.lines.is_empty() {
            self.journal.append(&self.lines)?;
            self.folds.unfolded_since.get_or_insert_with(Instant::now);
            self.lines.clear();
            self.lines.shrink_to(LINES_BYTES);
            self.buffer.written(std::mem::take(&mut self.changes));
        }
        self.syncer.sync(self.journal.file(), self.flush);
        Ok(())
    }

    /// Writes everything from memory, because the files are gone or cannot be relied on.
    fn write_anew(&mut self) -> io::Result<()> {
        if let Some(folding) = self.folds.under_way.take() {
            // Whatever it has written is written again.
            let _ = folding.wait();
        }
        if !self.claim.stands() {
            self.claim = self.files.claim().map_err(io::Error::other)?;
        }
        self.folds.snapshot_bytes = fold(&self.files, self.buffer.rows())?;
        remove_if_there(&self.files.journal)?;
        self.journal = Journal::open(&self.files.journal, 0)?;
        self.folds.folded();
        self.folds.rotated = false;
        Ok(())
    }

    /// Takes up a fold that is done and starts one that is due. A small last one is waited for when `closing`.
    fn tend_fold(&mut self, closing: bool) {
        if let Some(result) = self.folds.under_way.as_ref().and_then(Folding::done) {
            self.folds.under_way = None;
            self.folds.ended(result);
        }
        let works = self.trouble.next_try().is_none();
        if works && self.folds.under_way.is_none() && self.folds.due(&self.journal, closing) {
            match self.start_fold() {
                Ok(folding) => self.folds.under_way = Some(folding),
                Err(error) => self.folds.ended(Err(error)),
            }
        }
    }

    fn start_fold(&mut self) -> io::Result<Folding> {
        // A fold that failed has left its old journal. It must not be overwritten; the snapshot will hold both.
        if !self.folds.rotated {
            self.folds.rotated = true;
            self.journal.rotate(&self.files.old_journal)?;
            self.syncer.sync(self.journal.file(), self.flush);
        }
        let folding = Folding::start(&self.files, &self.buffer)?;
        self.folds.folded();
        Ok(folding)
    }

    /// True once nothing is left to do, or closing has taken too long.
    fn end(&mut self, closing_since: Instant) -> bool {
        self.syncer.wait_idle();
        if let Some(folding) = self.folds.under_way.take() {
            let result = folding.wait();
            self.folds.ended(result);
        }
        let works = self.trouble.next_try().is_none();
        if works && self.lines.is_empty() && !self.syncer.has_failed() {
            return true;
        }
        let late = closing_since.elapsed() > CLOSE_PATIENCE;
        if late {
            tracing::error!(
                changes = self.changes,
                "closed without having written the last changes of sessions"
            );
        } else {
            thread::sleep(CLOSE_PAUSE);
        }
        late
    }

    /// When to look around even if nothing is changed.
    fn wake_at(&self) -> Option<Instant> {
        let folds = &self.folds;
        let fold = if folds.under_way.is_some() { None } else { folds.next() };
        self.trouble.next_try().or(fold)
    }
}

impl Folds {
    fn due(&self, journal: &Journal, closing: bool) -> bool {
        let outgrown = journal.bytes() > self.journal_bytes.max(self.snapshot_bytes);
        let settled = |since: Instant| closing || since.elapsed() >= self.settle;
        let stale = self.is_small() && self.unfolded_since.is_some_and(settled);
        (self.wanted || outgrown || stale) && !self.trouble.holds_back()
    }

    /// When a fold will be due if nothing more is written.
    fn next(&self) -> Option<Instant> {
        let stale = || self.unfolded_since.filter(|_| self.is_small())?.checked_add(self.settle);
        self.trouble.next_try().or_else(|| self.wanted.then(Instant::now)).or_else(stale)
    }

    /// The snapshot holds, or is about to hold, everything.
    fn folded(&mut self) {
        self.wanted = false;
        self.unfolded_since = None;
    }

    fn ended(&mut self, result: io::Result<u64>) {
        match self.trouble.note(result) {
            Some(bytes) => {
                self.snapshot_bytes = bytes;
                self.rotated = false;
            }
            None => self.wanted = true,
        }
    }

    fn is_small(&self) -> bool {
        self.snapshot_bytes <= SMALL_BYTES
    }
}
