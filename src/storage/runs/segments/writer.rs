//! The one thread that writes: all that waits goes out in one write and one sync, whichever runs it is of.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    Shared, SyncMode,
    cleaning::{Cleaner, Wanted},
    disk::DiskFile,
    index::Place,
    pending::{Pending, Told, What},
    segment_head::{HEAD, SegmentHead},
    table::Segment,
    waking::pause_for_starts,
};
use crate::storage::runs::CreateError;

/// The pause between two tries to write when the disk is full or fails.
const RETRY: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 250 });
/// How long a log that is closed tries to get rid of what waits.
const LAST_TRIES: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 5000 });

/// Bytes that are put together before they are written: they are still in the processor's cache then. All pieces of a
/// group commit share one sync.
const PIECE: usize = if cfg!(test) { 500 } else { 1 << 20 };
/// Records that have room without growing when they wait: about half a megabyte.
const MUCH: usize = 1024;
/// Records that are taken into the table while it is locked.
const TAKEN_AT_ONCE: usize = 64;

/// Writes until the log is closed.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    /// The number of the segment that is written, and the end of it.
    pub(super) current: Option<Current>,
    /// The segment before, and the bytes of it that count.
    pub(super) sealed: Option<(u32, u32)>,
    pub(super) next_segment: u32,
    pub(super) next_commit: u64,
    pub(super) batch: Vec<u8>,
    pub(super) cleaner: Cleaner,
}

pub(super) struct Current {
    pub(super) number: u32,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) length: u64,
}

impl Current {
    /// Its number and the bytes that count.
    fn sealed(&self) -> (u32, u32) {
        (self.number, u32::try_from(self.length).unwrap_or(u32::MAX))
    }
}

impl Writer {
    pub(super) fn run(mut self) {
        // Filled and emptied in turns with the queue, so that neither has to grow again.
        let mut pending = Vec::new();
        let mut last = None::<Instant>;
        // The runs that began with the last commit.
        let mut starts = 0;
        let mut give_up = None::<Instant>;
        loop {
            // Before it waits, so that a busy writer is woken once for a commit: by the clock, and not by who comes first.
            let pause = self.shared.options.commit_interval;
            if let Some(last) = last.filter(|_| !pause.is_zero()) {
                self.shared.pause(last, pause, pause_for_starts(pause, starts));
            }
            let Some(stalled) = self.wait() else { break };
            last = Some(Instant::now());
            let mut table = self.shared.table();
            starts = table.take_queue(&mut pending);
            let closed = table.closed;
            drop(table);
            if !stalled {
                self.cleaner.gather(&self.shared);
            }
            if pending.is_empty() && !self.cleaner.has_copies() && !stalled {
                self.cleaner.tidy(&self.shared);
                continue;
            }
            while let Err(error) = self.commit(&mut pending) {
                self.stall(&mut pending, error);
                if closed || self.shared.table().closed {
                    let until = *give_up.get_or_insert_with(|| Instant::now() + LAST_TRIES);
                    if Instant::now() >= until {
                        tracing::error!(
                            "the run log is closed while its disk fails; what was not acknowledged is lost"
                        );
                        return;
                    }
                }
                thread::sleep(RETRY);
                // What came meanwhile goes along; what begins a run is refused while nothing can be written.
                self.shared.table().take_queue(&mut pending);
            }
            // A burst may have made it large.
            pending.shrink_to(MUCH);
            self.cleaner.tidy(&self.shared);
        }
        if let Err(error) = self.seal() {
            tracing::error!(%error, "the end of the run log could not be synced");
        }
    }

    /// The log is closed, and all of it counts: the head of an empty segment says so. What is damaged from now on at its end is
    /// not taken for a write that was cut.
    fn seal(&mut self) -> io::Result<()> {
        if self.current.is_some() {
            self.segment_for(self.shared.options.segment_bytes)?;
        }
        Ok(())
    }

    /// Waits for something to write or to clean; `None` when the log is closed and nothing is left to write. True while
    /// the log is stalled: then it is tried from time to time whether the disk works again.
    fn wait(&self) -> Option<bool> {
        let mut table = self.shared.table();
        loop {
            if table.has_queued() {
                return Some(table.stalled.is_some());
            }
            if table.closed {
                return None;
            }
            let wait = match self.cleaner.wanted(&table, self.shared.options.total) {
                Wanted::Now => return Some(table.stalled.is_some()),
                Wanted::In(pause) => Some(pause),
                Wanted::Never => None,
            };
            table = self.shared.wait(table, wait);
        }
    }

    /// Writes what waits, makes it durable, and tells everybody. `pending` is as before when that fails.
    fn commit(&mut self, pending: &mut Vec<Pending>) -> io::Result<()> {
        let records = pending.iter().map(|it| it.record.length()).sum::<u64>();
        let bytes = records + self.cleaner.bytes();
        let Current { number, file, length } = self.segment_for(bytes)?;
        self.write(pending, &*file, length)?;
        // What a copy is made of has survived until now, and is about to go.
        if self.shared.options.sync == SyncMode::Fsync || self.cleaner.has_copies() {
            file.sync()?;
        }
        self.next_commit += 1;
        if let Some(current) = &mut self.current {
            current.length += bytes;
        }
        let mut table = self.shared.table();
        if let Some(segment) = table.segments.get_mut(&number) {
            segment.length = length + bytes;
        }
        // Before anybody is told: who is may begin another run at once.
        if table.stalled.take().is_some() {
            tracing::info!("the run log can be written again");
        }
        drop(table);
        self.take_up(pending, number, length);
        if self.cleaner.has_copies() {
            self.cleaner.copied(&mut self.shared.table(), number, length + records);
        }
        Ok(())
    }

    /// Writes what waits, and what is copied, from `offset` on.
    fn write(&mut self, pending: &mut [Pending], file: &dyn DiskFile, mut offset: u64) -> io::Result<()> {
        let (commit, mut first) = (self.next_commit, true);
        self.batch.clear();
        for it in pending {
            it.record.put(commit, std::mem::take(&mut first), &mut self.batch);
            if self.batch.len() >= PIECE {
                file.write_at(offset, &self.batch)?;
                offset += self.batch.len() as u64;
                self.batch.clear();
            }
        }
        self.cleaner.put(commit, first, &mut self.batch);
        if !self.batch.is_empty() {
            file.write_at(offset, &self.batch)?;
        }
        // A large record may have made it so.
        self.batch.shrink_to(4 * PIECE);
        Ok(())
    }

    /// Takes what is on disk, in segment `number` from `offset` on, into the table, and tells everybody. A few at a time:
    /// those who were told go on while the rest is taken up.
    fn take_up(&self, pending: &mut Vec<Pending>, number: u32, mut offset: u64) {
        let mut rest = pending.drain(..).peekable();
        let mut told = Vec::<Told>::with_capacity(TAKEN_AT_ONCE);
        let mut room = None::<OwnedSemaphorePermit>;
        while rest.peek().is_some() {
            let mut table = self.shared.table();
            for mut it in rest.by_ref().take(TAKEN_AT_ONCE) {
                let (header, length) = (it.record.header, it.record.length());
                let place = Place {
                    segment: number,
                    // Segments are smaller than 4 GiB.
                    offset: u32::try_from(offset).unwrap_or(u32::MAX),
                    length: u32::try_from(length).unwrap_or(u32::MAX),
                    first_sequence: header.first_sequence,
                    count: header.count,
                };
                offset += length;
                match (&mut room, it.room.take()) {
                    (Some(all), Some(more)) => all.merge(more),
                    (room, more) => *room = room.take().or(more),
                }
                told.push(table.committed(it, place, self.shared.options.cache));
            }
            drop(table);
            drop(room.take());
            told.drain(..).for_each(Told::send);
        }
    }

    /// The segment that takes `bytes` more; a new one when there is none or it has no room.
    fn segment_for(&mut self, bytes: u64) -> io::Result<Current> {
        let limit = self.shared.options.segment_bytes;
        if let Some(current) = &self.current
            && (current.length + bytes <= limit || current.length <= HEAD as u64)
        {
            let Current { number, file, length } = current;
            return Ok(Current { number: *number, file: file.clone(), length: *length });
        }
        if let Some(full) = &self.current {
            // In the setting `os` nothing has synced it yet.
            full.file.sync()?;
            self.sealed = Some(full.sealed());
        }
        let number = self.next_segment;
        let head = SegmentHead {
            number,
            next_place: self.shared.table().last_place + 1,
            next_commit: self.next_commit,
            sealed: self.sealed,
        };
        // A try that failed half-way may have left the file.
        let disk = &self.shared.disk;
        let file = disk.create(number).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => disk.open(number, true),
            _ => Err(error),
        })?;
        file.truncate(0)?;
        file.write_at(0, &head.encode())?;
        // Also in the setting `os`: copies are believed to be there.
        file.sync()?;
        disk.sync_folder()?;
        self.next_segment += 1;
        let length = HEAD as u64;
        let mut table = self.shared.table();
        table.segments.insert(number, Segment::new(file.clone(), length));
        table.current = number;
        drop(table);
        self.current = Some(Current { number, file: file.clone(), length });
        Ok(Current { number, file, length })
    }

    /// Nothing can be written: runs that were to begin are refused, all else waits. What a failed sync leaves in a file
    /// is unknown, so the next try is made in a new one.
    fn stall(&mut self, pending: &mut Vec<Pending>, error: io::Error) {
        let error = Arc::new(error);
        if self.cleaner.has_copies() {
            self.cleaner.give_up();
        }
        if let Some(broken) = self.current.take() {
            if broken.length <= HEAD as u64 && self.shared.disk.remove(broken.number).is_ok() {
                // Else a disk that stays full would gather one empty file for each try.
                self.shared.table().segments.remove(&broken.number);
            } else {
                // What is behind the end means nothing, as the next segment will tell. Its room may be needed at once.
                drop(broken.file.truncate(broken.length));
                self.sealed = Some(broken.sealed());
                self.shared.table().uncut.push((broken.file, broken.length));
            }
        }
        let mut table = self.shared.table();
        if table.stalled.is_none() {
            tracing::error!(%error, "the run log cannot be written; runs wait, new ones are refused");
        }
        table.stalled = Some(error.clone());
        let mut refused = Vec::new();
        table.take_queue(pending);
        for it in std::mem::take(pending) {
            if !it.begins() {
                pending.push(it);
                continue;
            }
            table.refused(&it);
            if let What::Begin { reply, .. } = it.what {
                refused.push(reply);
            }
        }
        drop(table);
        for reply in refused {
            drop(reply.send(Err(CreateError::Unavailable(error.clone()))));
        }
    }
}
