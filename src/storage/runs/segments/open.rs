//! Opening: all segments are read and checked, and the table is made of what they hold.
//!
//! A record that is not whole at the end of the last commit was never acknowledged: the segment is cut there. One that
//! is followed by a record of a later commit was whole once: that is damage. It is told, and costs the events of its own
//! run from there on; where even its header is damaged, runs that may have lost their newest events by it count as
//! damaged too.

use std::{collections::HashMap, fs, io, path::Path, sync::Arc};

use super::{
    OpenLogError,
    disk::{Disk, DiskFile},
    found::Found,
    read::whole,
    record::{HEADER, Header, MAGIC},
    segment_head::{HEAD, HeadError, SegmentHead},
    table::{Segment, Table},
    writer::Current,
};
use crate::storage::claim::{Claim, ClaimError};

/// So often a reader begins anew when a file has gone between listing and opening it.
const OPEN_TRIES: u32 = 100;

/// What was found.
pub(super) struct Scan {
    pub(super) table: Table,
    pub(super) current: Option<Current>,
    /// Where there is no segment to go on with: the last one, and the bytes of it that count.
    pub(super) sealed: Option<(u32, u32)>,
    pub(super) next_segment: u32,
    pub(super) next_commit: u64,
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
    let files = open_all(disk, write).map_err(failed("open"))?;
    let mut found = Found::default();
    let (mut current, mut before) = (None, None);
    let last = files.last().map(|(number, _)| *number);
    let sealed = sealed(&files);
    for (number, file) in files {
        let bytes = read_all(&*file).map_err(failed("read"))?;
        let sealed = sealed.get(&number).map(|it| *it as usize);
        let head = SegmentHead::decode(&bytes);
        match &head {
            Ok(head) => {
                found.table.last_place = found.table.last_place.max(head.next_place.saturating_sub(1));
                found.last_commit = found.last_commit.max(head.next_commit.saturating_sub(1));
            }
            Err(HeadError::Format(found)) => {
                return Err(OpenLogError::Format { folder: folder.to_owned(), found: *found });
            }
            // The end of the process met its beginning: there is nothing in it.
            Err(HeadError::Damaged) if bytes.len().max(sealed.unwrap_or(0)) <= HEAD => {
                if write && let Err(error) = disk.remove(number) {
                    tracing::warn!(%error, segment = number, "could not remove a segment without a head");
                }
                continue;
            }
            Err(HeadError::Damaged) => {
                tracing::error!(segment = number, "the head of a segment of the run log is damaged");
            }
        }
        found.table.segments.insert(number, Segment::new(file.clone(), 0));
        let end = found.records(number, &bytes, sealed);
        if let Some(segment) = found.table.segments.get_mut(&number) {
            segment.length = end;
        }
        if write && end < bytes.len() as u64 {
            let cut = bytes.len() as u64 - end;
            tracing::info!(segment = number, bytes = cut, "an unfinished write is cut off");
            file.truncate(end).and_then(|()| file.sync()).map_err(failed("cut"))?;
        }
        before = u32::try_from(end).ok().map(|end| (number, end));
        if write && Some(number) == last && head.is_ok() {
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
    let next_commit = found.last_commit + 1;
    let mut table = found.into_table();
    table.current = current.as_ref().map_or(0, |it| it.number);
    let sealed = before.filter(|_| current.is_none());
    Ok(Scan { table, current, sealed, next_segment: last.map_or(1, |it| it + 1), next_commit })
}

impl Found {
    /// Takes up the records of a segment, of which `sealed` bytes count where that is known; gives where they end.
    fn records(&mut self, number: u32, bytes: &[u8], sealed: Option<usize>) -> u64 {
        let bytes = &bytes[..sealed.unwrap_or(usize::MAX).min(bytes.len())];
        if sealed.is_some_and(|it| bytes.len() < it) {
            tracing::error!(segment = number, "the end of a segment of the run log is missing");
            self.nameless_damage(number, bytes.len());
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
                    self.damaged(number, at, &header);
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
                    self.nameless_damage(number, at);
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
}

/// Opens all files. Only who has the folder claimed, to write, can be sure that none goes meanwhile.
fn open_all(disk: &dyn Disk, write: bool) -> io::Result<Vec<(u32, Arc<dyn DiskFile>)>> {
    let mut tries = 0;
    loop {
        let files = disk.list()?.into_iter().map(|it| Ok((it, disk.open(it, write)?)));
        match files.collect::<io::Result<Vec<_>>>() {
            // The gateway that has the folder open has removed one; what is needed of it may be in a newer one.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !write && tries < OPEN_TRIES => {
                tries += 1
            }
            opened => return opened,
        }
    }
}

/// For each segment the bytes of it that count, as far as that is known: the next one tells. Where that one has gone
/// but later ones are there, all of it counts: what meant nothing was cut before.
fn sealed(files: &[(u32, Arc<dyn DiskFile>)]) -> HashMap<u32, u32> {
    let (mut sealed, mut before) = (HashMap::new(), None::<(u32, u32)>);
    for (number, file) in files {
        let mut bytes = [0; HEAD];
        let read = file.read_at(0, &mut bytes).unwrap_or(0);
        if let Ok(head) = SegmentHead::decode(&bytes[..read]) {
            if let Some((before, length)) = before {
                sealed.entry(before).or_insert(length);
            }
            sealed.extend(head.sealed);
        }
        let length = file.length().ok().and_then(|it| u32::try_from(it).ok());
        before = length.map(|length| (*number, length));
    }
    sealed
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
