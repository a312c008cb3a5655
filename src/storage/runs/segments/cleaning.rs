//! Cleaning: what is still needed of segments in which little is goes to the end of the log, and the segments go.
//!
//! The writer reads a segment from its beginning, a step with each group commit, and writes the records that are needed
//! once more, along with what waits. Only when they are on disk does the table point to the copies, and only then may
//! the segment be removed. Who reads the old file meanwhile has it open and goes on. When the process ends half-way,
//! records are there twice; opening keeps one of each.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Shared,
    disk::DiskFile,
    index::Place,
    read::whole,
    record::{HEADER, Header, Kind},
    segment_head::HEAD,
    table::{Segment, Table},
};
use crate::model::RunId;

/// A segment is cleaned when at least so many percent of it are of no use: then at most a quarter is written again, and
/// the files take at most four times what is needed.
const USELESS_PERCENT: u64 = 75;
/// The same when all files together take more than the log may: with at most four fifths kept, this gets below it.
const USELESS_PERCENT_WHEN_OVER: u64 = 20;
/// Bytes of a segment that are looked at with one group commit: they take well below a millisecond.
const STEP: u64 = 256 << 10;
/// The same when all files together take more than the log may.
const STEP_WHEN_OVER: u64 = 1 << 20;
/// A step is at most this part of a segment, so that copies do not fill segments that others begin.
const STEPS_IN_A_SEGMENT: u64 = 4;
/// Records that are looked up while the table is locked.
const LOOKED_UP_AT_ONCE: usize = 256;
/// The pause after a failure.
const REST: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 10_000 });

/// Cleans one segment after the other.
#[derive(Default)]
pub(super) struct Cleaner {
    victim: Option<Victim>,
    /// What was read of it with this step.
    bytes: Vec<u8>,
    /// What is needed of that.
    copies: Vec<Copy>,
    /// Where the next step begins.
    next: u64,
    rest_until: Option<Instant>,
}

/// When there is something to clean.
pub(super) enum Wanted {
    Now,
    In(Duration),
    Never,
}

/// The segment that is being cleaned.
struct Victim {
    number: u32,
    file: Arc<dyn DiskFile>,
    length: u64,
}

/// A record that is written once more.
struct Copy {
    header: Header,
    /// Where it is in what was read.
    at: usize,
    /// Where it is in its segment.
    offset: u32,
}

impl Cleaner {
    pub(super) fn wanted(&self, table: &Table, total: u64) -> Wanted {
        let remove_again = self.rest_until.is_some() && !table.needless.is_empty();
        let nothing = self.victim.is_none() && !table.has_needless() && worst(table, total).is_none();
        if nothing && !remove_again {
            return Wanted::Never;
        }
        let rest = self.rest_until.map(|it| it.saturating_duration_since(Instant::now()));
        rest.filter(|it| !it.is_zero()).map_or(Wanted::Now, Wanted::In)
    }

    /// Takes the next step: reads, and picks what is needed.
    pub(super) fn gather(&mut self, shared: &Shared) {
        self.copies.clear();
        if self.rest_until.is_some_and(|it| it > Instant::now()) {
            return;
        }
        let options = &shared.options;
        let (victim, step) = {
            let table = shared.table();
            let victim = self.victim.take().or_else(|| {
                self.next = HEAD as u64;
                let number = worst(&table, options.total)?;
                let segment = table.segments.get(&number)?;
                Some(Victim { number, file: segment.file.clone(), length: segment.length })
            });
            let step = if used(&table) > options.total { STEP_WHEN_OVER } else { STEP };
            (victim, step.min(options.segment_bytes / STEPS_IN_A_SEGMENT))
        };
        let Some(victim) = victim else { return };
        match self.step(shared, &victim, step) {
            Ok(()) => self.victim = Some(victim),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::error!(
                    segment = victim.number,
                    "a segment of the run log is damaged; it is not cleaned"
                );
                if let Some(segment) = shared.table().segments.get_mut(&victim.number) {
                    segment.damaged = true;
                }
                self.copies.clear();
            }
            Err(error) => {
                tracing::warn!(%error, segment = victim.number, "a segment of the run log could not be read");
                self.give_up();
            }
        }
    }

    fn step(&mut self, shared: &Shared, victim: &Victim, step: u64) -> io::Result<()> {
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let (begin, rest) = (self.next, victim.length.saturating_sub(self.next));
        self.read(victim, begin, step.max(HEADER as u64).min(rest))?;
        let first = Header::decode(&self.bytes).map_or(0, |it| it.length());
        if first > self.bytes.len() as u64 {
            // The first record is taken whole, however long it is.
            self.read(victim, begin, first.min(rest))?;
        }
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(header) = self.bytes.get(at..).and_then(Header::decode) {
            let end = at + HEADER + header.payload as usize;
            if end > self.bytes.len() {
                break;
            }
            let offset = u32::try_from(begin + at as u64).unwrap_or(u32::MAX);
            found.push(Copy { header, at, offset });
            at = end;
        }
        if at == 0 && rest > 0 {
            return Err(damaged());
        }
        self.next = begin + at as u64;
        while !found.is_empty() {
            let later = found.split_off(found.len().min(LOOKED_UP_AT_ONCE));
            let table = shared.table();
            self.copies
                .extend(found.into_iter().filter(|it| table.needs(&it.header, victim.number, it.offset)));
            found = later;
        }
        if self.copies.iter().all(|it| whole(&self.bytes[it.at..]).is_ok()) { Ok(()) } else { Err(damaged()) }
    }

    fn read(&mut self, victim: &Victim, begin: u64, length: u64) -> io::Result<()> {
        self.bytes.resize(usize::try_from(length).unwrap_or_default(), 0);
        let read = victim.file.read_at(begin, &mut self.bytes)?;
        self.bytes.truncate(read);
        Ok(())
    }

    /// True when there is something to be written.
    pub(super) fn has_copies(&self) -> bool {
        !self.copies.is_empty()
    }

    /// Bytes that are to be written.
    pub(super) fn bytes(&self) -> u64 {
        self.copies.iter().map(|it| it.header.length()).sum()
    }

    /// Puts the copies behind what else group commit number `commit` writes. `first` when that is nothing.
    pub(super) fn put(&self, commit: u64, mut first: bool, batch: &mut Vec<u8>) {
        for copy in &self.copies {
            let payload = copy.at + HEADER..copy.at + HEADER + copy.header.payload as usize;
            let header = copy.header.copy(commit, std::mem::take(&mut first));
            batch.extend_from_slice(&header.encode());
            batch.extend_from_slice(&self.bytes[payload]);
        }
    }

    /// The copies are on disk: in `segment` from `offset` on.
    pub(super) fn copied(&mut self, table: &mut Table, segment: u32, mut offset: u64) {
        let Some(victim) = &self.victim else { return };
        let mut moved: Vec<(RunId, u32, Place)> = Vec::new();
        for Copy { header, offset: from, .. } in self.copies.drain(..) {
            let place = Place {
                segment,
                offset: u32::try_from(offset).unwrap_or(u32::MAX),
                length: u32::try_from(header.length()).unwrap_or(u32::MAX),
                first_sequence: header.first_sequence,
                count: header.count,
            };
            offset += header.length();
            match header.kind {
                Kind::Drop => table.drop_moved(header.run_id, place),
                _ => moved.push((header.run_id, from, place)),
            }
        }
        moved.sort_by_key(|(run_id, _, place)| (*run_id, place.first_sequence));
        for of_one in moved.chunk_by(|(one, ..), (two, ..)| one == two) {
            let places: Vec<_> = of_one.iter().map(|(_, from, to)| (*from, *to)).collect();
            table.moved(of_one[0].0, victim.number, &places);
        }
    }

    /// Nothing could be written: what was to be copied stays where it is for the time being.
    pub(super) fn give_up(&mut self) {
        self.copies.clear();
        self.victim = None;
        self.rest_until = Some(Instant::now() + REST);
    }

    /// After a step: lets go of the segment when all of it was seen, and removes what nobody needs.
    pub(super) fn tidy(&mut self, shared: &Shared) {
        self.bytes.clear();
        self.bytes.shrink_to(STEP as usize);
        let mut table = shared.table();
        if let Some(done) = self.victim.take_if(|it| self.next >= it.length)
            && let Some(segment) = table.segments.get_mut(&done.number)
            && segment.live > 0
        {
            // Never so; but it would be cleaned again and again.
            tracing::error!(segment = done.number, "a segment of the run log holds less than it should");
            segment.damaged = true;
        }
        table.take_needless();
        let needless = !table.needless.is_empty();
        drop(table);
        if self.rest_until.is_none_or(|it| it <= Instant::now()) {
            let removed = !needless || shared.try_to_remove_needless();
            self.rest_until = (!removed).then(|| Instant::now() + REST);
        }
    }
}

/// True when there is nothing to clean or to remove.
#[cfg(test)]
pub(super) fn is_clean(table: &Table, total: u64) -> bool {
    worst(table, total).is_none() && !table.has_needless() && table.needless.is_empty()
}

/// The segment that is to be cleaned next, if any is.
fn worst(table: &Table, total: u64) -> Option<u32> {
    let least = if used(table) > total { USELESS_PERCENT_WHEN_OVER } else { USELESS_PERCENT };
    let sealed = table.segments.iter().filter(|(number, it)| {
        // Where nothing is needed nothing is to be copied.
        **number != table.current && it.live > 0 && !it.damaged
    });
    let useless = sealed.map(|(number, it)| (useless_percent(it), *number));
    useless.filter(|(percent, _)| *percent >= least).max().map(|(_, number)| number)
}

fn useless_percent(segment: &Segment) -> u64 {
    let records = segment.length.saturating_sub(HEAD as u64).max(1);
    records.saturating_sub(segment.live) * 100 / records
}

/// Bytes of all files.
fn used(table: &Table) -> u64 {
    table.segments.values().map(|it| it.length).sum()
}
