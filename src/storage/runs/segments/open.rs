//! Opening: all segments are read and checked, and the table is made of what they hold.
//!
//! A record that is not whole at the end of the last commit was never acknowledged: the segment is cut there. One that
//! is followed by a record of a later commit was whole once: that is damage. It is told, and costs the events of its own
//! run from there on; where even its header is damaged, runs that may have lost their newest events by it count as
//! damaged too.

use std::{collections::HashMap, fs, io, path::Path};

use super::{
    OpenLogError,
    disk::{Disk, DiskFile},
    index::{Index, Place},
    payload::{self, StoredKey},
    read::whole,
    record::{HEADER, Header, Kind, MAGIC},
    segment_head::{HEAD, HeadError, SegmentHead},
    table::{Kept, Live, Segment, Table},
    writer::Current,
};
use crate::{
    model::RunId,
    storage::claim::{Claim, ClaimError},
};

/// What was found.
pub(super) struct Scan {
    pub(super) table: Table,
    pub(super) current: Option<Current>,
    pub(super) next_segment: u32,
    pub(super) next_commit: u64,
}

/// What is known of a run while segments are read.
struct Found {
    kept: Option<Kept>,
    /// Records in the order they were met.
    records: Vec<(Place, bool)>,
    terminal: bool,
    time: i64,
    /// A record of it is damaged.
    damaged: bool,
}

#[derive(Default)]
struct Scanner {
    runs: HashMap<RunId, Found>,
    dropped: HashMap<RunId, Option<StoredKey>>,
    table: Table,
    last_commit: u64,
    /// The newest place of damage that does not tell whose it is.
    nameless_damage: Option<(u32, u32)>,
}

/// Makes the folder where it is missing, and claims it for this process until the result is dropped.
pub(super) fn claim(folder: &Path) -> Result<Claim, OpenLogError> {
    let failed = |source| OpenLogError::Io { doing: "claim", folder: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    Claim::of(&folder.join("lock")).map_err(|error| match error {
        ClaimError::InUse => OpenLogError::InUse { folder: folder.to_owned() },
        ClaimError::Io(source) => failed(source),
    })
}

/// Reads everything; with `write` the torn end of the last segment is cut, and it is opened to be gone on with.
pub(super) fn scan(disk: &dyn Disk, folder: &Path, write: bool) -> Result<Scan, OpenLogError> {
    let failed = |doing| move |source| OpenLogError::Io { doing, folder: folder.to_owned(), source };
    let numbers = disk.list().map_err(failed("list"))?;
    let mut scanner = Scanner::default();
    let mut current = None;
    let last = numbers.last().copied();
    let sealed = sealed(disk, &numbers);
    for number in numbers {
        let file = match disk.open(number, write) {
            // Removed by a gateway that has the folder open.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !write => continue,
            opened => opened.map_err(failed("open"))?,
        };
        let bytes = read_all(&*file).map_err(failed("read"))?;
        let sealed = sealed.get(&number).map(|it| *it as usize);
        let end = match SegmentHead::decode(&bytes) {
            Ok(head) => {
                scanner.table.last_place = scanner.table.last_place.max(head.next_place.saturating_sub(1));
                scanner.last_commit = scanner.last_commit.max(head.next_commit.saturating_sub(1));
                scanner.table.segments.insert(number, Segment::new(file.clone(), 0));
                scanner.records(number, &bytes, sealed)
            }
            Err(HeadError::Format(found)) => {
                return Err(OpenLogError::Format { folder: folder.to_owned(), found });
            }
            // The end of the process met its beginning.
            Err(HeadError::Damaged) if bytes.len() <= HEAD => 0,
            Err(HeadError::Damaged) => {
                tracing::error!(segment = number, "the head of a segment of the run log is damaged");
                scanner.table.segments.insert(number, Segment::new(file.clone(), 0));
                scanner.records(number, &bytes, sealed)
            }
        };
        if let Some(segment) = scanner.table.segments.get_mut(&number) {
            segment.length = end;
        }
        if write && end < bytes.len() as u64 && end >= HEAD as u64 {
            tracing::info!(
                segment = number,
                bytes = bytes.len() as u64 - end,
                "an unfinished write is cut off"
            );
            file.truncate(end).and_then(|()| file.sync()).map_err(failed("cut"))?;
        }
        if write && Some(number) == last && end >= HEAD as u64 {
            current = Some(Current { number, file, length: end });
        }
    }
    if write {
        // What was written but not synced is shown from now on, and a new file may not be in its folder yet.
        if let Some(current) = &current {
            current.file.sync().map_err(failed("sync"))?;
        }
        disk.sync_folder().map_err(failed("sync"))?;
    }
    let next_commit = scanner.last_commit + 1;
    let mut table = scanner.finish();
    table.current = current.as_ref().map_or(0, |it| it.number);
    Ok(Scan { table, current, next_segment: last.map_or(1, |it| it + 1), next_commit })
}

impl Scanner {
    /// Takes up the records of a segment, of which `sealed` bytes count where that is known; gives where they end.
    fn records(&mut self, number: u32, bytes: &[u8], sealed: Option<usize>) -> u64 {
        let bytes = &bytes[..sealed.unwrap_or(usize::MAX).min(bytes.len())];
        if sealed.is_some_and(|it| bytes.len() < it) {
            tracing::error!(segment = number, "the end of a segment of the run log is missing");
            self.nameless_damage = Some((number, u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        }
        let mut at = HEAD;
        let mut end = HEAD;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match (whole(rest), Header::decode(rest)) {
                (Ok((header, payload)), _) => {
                    self.record(number, at, &header, payload);
                    at += HEADER + payload.len();
                    end = at;
                }
                (Err(_), Some(header)) if sealed.is_some() || followed(rest, header.commit) => {
                    tracing::error!(segment = number, run_id = %header.run_id, "a stored record is damaged");
                    if header.kind == Kind::Drop {
                        // Its key is lost; that the run is dropped is not.
                        self.drop_run(number, header.run_id, None);
                    } else {
                        self.found(header.run_id).damaged = true;
                    }
                    at += HEADER + header.payload as usize;
                    end = at.min(bytes.len());
                }
                (Err(_), None) if sealed.is_some() || self.was_whole(rest) => {
                    let skipped = next_header(rest).unwrap_or(rest.len());
                    tracing::error!(
                        segment = number,
                        offset = at,
                        bytes = skipped,
                        "a part of the run log is damaged"
                    );
                    self.nameless_damage = Some((number, u32::try_from(at).unwrap_or(u32::MAX)));
                    at += skipped;
                    end = at;
                }
                // The torn end.
                _ => break,
            }
        }
        end as u64
    }

    /// True when what is damaged at the beginning of `bytes` was whole once: a loss of power may leave any part of the
    /// last commit unwritten, also its first record.
    fn was_whole(&self, bytes: &[u8]) -> bool {
        let next = self.last_commit + 1;
        whole_records(bytes).any(|it| it.commit > next || (it.commit == next && it.first))
    }

    fn found(&mut self, run_id: RunId) -> &mut Found {
        self.runs.entry(run_id).or_insert_with(|| Found {
            kept: None,
            records: Vec::new(),
            terminal: false,
            time: 0,
            damaged: false,
        })
    }

    fn record(&mut self, number: u32, at: usize, header: &Header, payload: &[u8]) {
        self.last_commit = self.last_commit.max(header.commit);
        // Also of runs that are dropped: their places are not given again.
        self.table.last_place = self.table.last_place.max(header.place);
        let place = Place {
            segment: number,
            offset: u32::try_from(at).unwrap_or(u32::MAX),
            length: u32::try_from(header.length()).unwrap_or(u32::MAX),
            first_sequence: header.first_sequence,
            count: header.count,
        };
        if header.kind == Kind::Drop {
            let key = payload::kept_key(payload).ok().flatten();
            self.drop_run(number, header.run_id, key);
            return;
        }
        let found = self.found(header.run_id);
        if header.kind == Kind::Begin {
            match payload::begin_of(header, payload) {
                Ok(begin) => {
                    let run = begin.run;
                    found.kept = Some(Kept::new(header.place, run.session_id, begin.key, run.created_at));
                }
                Err(_) => found.damaged = true,
            }
        }
        found.terminal |= header.terminal;
        found.time = found.time.max(header.time);
        found.records.push((place, header.has_run));
    }

    fn drop_run(&mut self, number: u32, run_id: RunId, key: Option<StoredKey>) {
        self.dropped.insert(run_id, key);
        if let Some(segment) = self.table.segments.get_mut(&number) {
            segment.drops.push(run_id);
            segment.newest_key = key.map_or(segment.newest_key, |it| segment.newest_key.max(it.used_at));
        }
    }

    /// Makes the table of what was found.
    fn finish(mut self) -> Table {
        for (run_id, found) in std::mem::take(&mut self.runs) {
            if self.dropped.contains_key(&run_id) {
                for (place, _) in found.records {
                    if let Some(segment) = self.table.segments.get_mut(&place.segment) {
                        segment.dead.insert(run_id);
                    }
                }
                continue;
            }
            self.keep(run_id, found);
        }
        // A key may have been used again after it was forgotten: it stands for the run that used it last.
        let dropped = self.dropped.iter().filter_map(|(run_id, key)| Some(((*key)?, 0, *run_id)));
        let kept = self.table.runs.iter();
        let kept = kept.filter_map(|(run_id, it)| Some((*it.key.as_deref()?, it.place, *run_id)));
        let mut keys: Vec<_> = dropped.chain(kept).collect();
        keys.sort_by_key(|(key, place, _)| (key.used_at, *place));
        for (key, _, run_id) in keys {
            self.table.remember(key, run_id);
        }
        self.table
    }

    fn keep(&mut self, run_id: RunId, mut found: Found) {
        let Some(mut kept) = found.kept.take() else {
            tracing::error!(%run_id, "the beginning of a run's log is lost; the run is not kept");
            for (place, _) in found.records {
                if let Some(segment) = self.table.segments.get_mut(&place.segment) {
                    segment.dead.insert(run_id);
                }
            }
            return;
        };
        // A write that was tried again after a failure may be there twice.
        found.records.sort_by_key(|(place, _)| (place.first_sequence, std::cmp::Reverse(place.count)));
        let mut index = Index::default();
        for (place, has_run) in found.records {
            let next = kept.last_sequence + 1;
            if place.first_sequence < next {
                continue;
            }
            // What lies behind a gap is kept with the run, and cannot be reached.
            if place.first_sequence > next {
                found.damaged = true;
                break;
            }
            kept.last_sequence += u64::from(place.count);
            kept.bytes += u64::from(place.length);
            if has_run {
                kept.head = place;
            }
            if let Some(segment) = self.table.segments.get_mut(&place.segment) {
                segment.live += u64::from(place.length);
            }
            index.push(place);
        }
        index.shrink();
        kept.index = index;
        let newest = kept.index.chunks().last().and_then(|it| it.places().last().copied());
        let lost_its_end = !found.terminal
            && self.nameless_damage.zip(newest).is_some_and(|(damage, it)| (it.segment, it.offset) < damage);
        kept.damaged = found.damaged || lost_its_end;
        if kept.damaged {
            tracing::error!(%run_id, after = kept.last_sequence, "the log of a run is damaged");
        }
        kept.ended_at = payload::timestamp(found.time);
        if !found.terminal && !kept.damaged {
            self.revive(&mut kept);
        }
        self.table.keep(run_id, kept);
    }

    /// A run that goes on: its state is needed in memory.
    fn revive(&mut self, kept: &mut Kept) {
        let read = || {
            let file = &self.table.segments.get(&kept.head.segment)?.file;
            let mut bytes = vec![0; kept.head.length as usize];
            let read = file.read_at(kept.head.offset.into(), &mut bytes).ok()?;
            let (header, payload) = whole(&bytes[..read]).ok()?;
            payload::run_of(&header, payload).ok()
        };
        match read() {
            Some(mut run) => {
                run.last_sequence = kept.last_sequence;
                let last = tokio::sync::watch::Sender::new(kept.last_sequence);
                let (claimed, claimed_bytes) = (kept.last_sequence, kept.bytes);
                kept.live = Some(Box::new(Live { run, claimed, claimed_bytes, last }));
            }
            None => kept.damaged = true,
        }
    }
}

/// For each segment the bytes of it that count, as far as a later one tells.
fn sealed(disk: &dyn Disk, numbers: &[u32]) -> HashMap<u32, u32> {
    let head = |number: &u32| {
        let mut bytes = [0; HEAD];
        let read = disk.open(*number, false).ok()?.read_at(0, &mut bytes).ok()?;
        SegmentHead::decode(&bytes[..read]).ok()?.sealed
    };
    numbers.iter().filter_map(head).collect()
}

/// True when a whole record of a later commit follows.
fn followed(bytes: &[u8], commit: u64) -> bool {
    whole_records(bytes).any(|it| it.commit > commit)
}

/// The headers of the whole records in `bytes`, the beginning excepted.
fn whole_records(bytes: &[u8]) -> impl Iterator<Item = Header> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += bytes.get(at..).and_then(next_header)?;
            if let Ok((header, _)) = whole(&bytes[at..]) {
                return Some(header);
            }
        }
    })
}

/// Where the next header may be, the beginning excepted.
fn next_header(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes.get(1..)?, &MAGIC).map(|at| at + 1)
}

fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
