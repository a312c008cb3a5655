//! Reading: from memory what is new, from disk what is older, decoded once for all who read it at the same time.

use std::{collections::BTreeMap, io, sync::Arc};

use super::{
    Shared,
    chunks::{Decoded, Wanted},
    disk::DiskFile,
    index::Place,
    payload,
    record::{HEADER, Header},
    table::Kept,
};
use crate::{
    model::{Entry, Run, RunError, RunId, RunState, limits},
    runtime::task,
    storage::runs::{ReadError, Slice},
};

/// Chunks that are read at once for one reader.
const CHUNKS_AT_ONCE: usize = 16;

/// Where the next events are.
enum Found {
    Memory(Decoded),
    Disk(Vec<Wanted>),
    Damage,
}

/// What a reader has got so far.
struct Taken {
    entries: Vec<Arc<Entry>>,
    bytes: usize,
    max_bytes: usize,
    /// The sequence that comes next.
    next: u64,
}

impl Shared {
    pub(super) async fn read(
        self: Arc<Self>,
        run_id: RunId,
        after: u64,
        max_bytes: usize,
    ) -> Result<Slice, ReadError> {
        let mut taken = Taken { entries: Vec::new(), bytes: 0, max_bytes, next: after.saturating_add(1) };
        loop {
            let (last_sequence, found) = self.find(run_id, &taken)?;
            let before = taken.next;
            let more = match found {
                Some(Found::Memory(decoded)) => Ok(vec![Arc::new(decoded)]),
                Some(Found::Disk(wanted)) => {
                    self.chunks(wanted).await.map_err(|error| read_error(run_id, before, error))
                }
                Some(Found::Damage) => Err(ReadError::Damaged),
                None => Ok(Vec::new()),
            };
            let room = match more {
                Ok(more) => more.iter().all(|it| taken.take(it)),
                // What came before can be read.
                Err(_) if !taken.entries.is_empty() => false,
                Err(error) => return Err(error),
            };
            if !room || taken.next > last_sequence {
                return Ok(Slice { entries: taken.entries, last_sequence });
            }
            if taken.next == before {
                // A chunk that does not hold what the index says.
                let nothing = taken.entries.is_empty();
                let slice = Slice { entries: taken.entries, last_sequence };
                return if nothing { Err(ReadError::Damaged) } else { Ok(slice) };
            }
        }
    }

    /// Where the events are that a reader gets next; `None` when they are yet to come.
    fn find(&self, run_id: RunId, taken: &Taken) -> Result<(u64, Option<Found>), ReadError> {
        let next = taken.next;
        let table = self.table();
        let kept = table.runs.get(&run_id).ok_or(ReadError::NotFound)?;
        let last = kept.last_sequence;
        if next > last {
            return Ok((last, kept.damaged.then_some(Found::Damage)));
        }
        let first_in_memory = kept.tail.front().map_or(u64::MAX, |it| it.event.sequence);
        if first_in_memory <= next {
            let skip = usize::try_from(next - first_in_memory).unwrap_or(usize::MAX);
            // As many as a reader may take at a time, and not the whole tail.
            let mut some = Decoded::default();
            for entry in kept.tail.iter().skip(skip) {
                let bytes = some.bytes + entry.event.bytes();
                if bytes > limits::WATCH_BATCH_BYTES && !some.entries.is_empty() {
                    break;
                }
                some.entries.push(entry.clone());
                some.bytes = bytes;
            }
            return Ok((last, Some(Found::Memory(some))));
        }
        let (mut wanted, mut bytes) = (Vec::new(), taken.bytes);
        for chunk in kept.index.chunks_from(next).take(CHUNKS_AT_ONCE) {
            if chunk.first_sequence >= first_in_memory || (bytes >= taken.max_bytes && !wanted.is_empty()) {
                break;
            }
            let segment = table.segments.get(&chunk.segment).ok_or(ReadError::NotFound)?;
            let key = (run_id, chunk.first_sequence, chunk.records);
            let it = Wanted { key, chunk: chunk.clone(), file: segment.file.clone() };
            bytes += it.likely_bytes();
            wanted.push(it);
        }
        if wanted.is_empty() { Err(ReadError::Damaged) } else { Ok((last, Some(Found::Disk(wanted)))) }
    }

    pub(super) async fn run(self: Arc<Self>, run_id: RunId) -> Result<Run, ReadError> {
        let (head, file, damaged, last_sequence) = {
            let table = self.table();
            let kept = table.runs.get(&run_id).ok_or(ReadError::NotFound)?;
            if let Some(live) = &kept.live {
                return Ok(live.run.clone());
            }
            let segment = table.segments.get(&kept.head.segment).ok_or(ReadError::NotFound)?;
            (kept.head, segment.file.clone(), kept.damaged, kept.last_sequence)
        };
        let run = stored(file, head, payload::run_of).await?;
        if !damaged || run.state.is_terminal() {
            return Ok(run);
        }
        // How it went on is lost.
        let text = "a part of the run's log is damaged; what became of it is not known";
        let error = Some(RunError::permanent("log_damaged", text));
        Ok(Run { state: RunState::Failed, last_sequence, finished_at: Some(run.created_at), error, ..run })
    }

    pub(super) async fn params(
        self: Arc<Self>,
        run_id: RunId,
    ) -> Result<BTreeMap<String, String>, ReadError> {
        let (first, file) = {
            let table = self.table();
            let kept = table.runs.get(&run_id).ok_or(ReadError::NotFound)?;
            let first = kept.index.chunks().first().and_then(|it| it.places().first().copied());
            let first = first.ok_or(ReadError::Damaged)?;
            (first, table.segments.get(&first.segment).map(|it| it.file.clone()).ok_or(ReadError::NotFound)?)
        };
        stored(file, first, |header, bytes| Ok(payload::begin_of(header, bytes)?.params)).await
    }

    /// The runs for which `which` is true, in the order of their places.
    pub(super) fn placed(&self, which: impl Fn(&Kept) -> bool) -> Vec<RunId> {
        let table = self.table();
        let runs = table.runs.iter().filter(|(_, it)| which(it));
        let mut placed: Vec<_> = runs.map(|(run_id, it)| (it.place, *run_id)).collect();
        placed.sort_unstable();
        placed.into_iter().map(|(_, run_id)| run_id).collect()
    }
}

impl Taken {
    /// Takes what comes next of `decoded`; false when there was no room for all of it.
    fn take(&mut self, decoded: &Decoded) -> bool {
        let skip = decoded.entries.partition_point(|it| it.event.sequence < self.next);
        let new = &decoded.entries[skip..];
        // What lies behind damage is not reached.
        let Some(last) = new.last().filter(|_| new[0].event.sequence == self.next) else { return true };
        if skip == 0 && self.bytes + decoded.bytes <= self.max_bytes {
            self.entries.extend_from_slice(new);
            self.bytes += decoded.bytes;
            self.next = last.event.sequence + 1;
            return true;
        }
        for entry in new {
            let bytes = self.bytes + entry.event.bytes();
            if bytes > self.max_bytes && !self.entries.is_empty() {
                return false;
            }
            self.entries.push(entry.clone());
            (self.bytes, self.next) = (bytes, entry.event.sequence + 1);
        }
        true
    }
}

fn read_error(run_id: RunId, first: u64, error: io::Error) -> ReadError {
    if error.kind() != io::ErrorKind::InvalidData {
        return ReadError::Failed(Arc::new(error));
    }
    tracing::error!(%run_id, first, "a stored event is damaged");
    ReadError::Damaged
}

/// What a record at `place` says.
async fn stored<T: Send + 'static>(
    file: Arc<dyn DiskFile>,
    place: Place,
    what: impl FnOnce(&Header, &[u8]) -> io::Result<T> + Send + 'static,
) -> Result<T, ReadError> {
    let read = task::blocking(move || record_at(&*file, place, what)).await;
    let read = read.unwrap_or_else(|| Err(io::Error::other("reading panicked")));
    read.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => ReadError::Damaged,
        _ => ReadError::Failed(Arc::new(error)),
    })
}

/// What a record at `place` says, in a thread that may block.
pub(super) fn record_at<T>(
    file: &dyn DiskFile,
    place: Place,
    what: impl FnOnce(&Header, &[u8]) -> io::Result<T>,
) -> io::Result<T> {
    let mut bytes = vec![0; place.length as usize];
    let read = file.read_at(place.offset.into(), &mut bytes)?;
    let (header, payload) = whole(&bytes[..read])?;
    what(&header, payload)
}

/// The record at the beginning of `bytes`, if it is whole.
pub(super) fn whole(bytes: &[u8]) -> io::Result<(Header, &[u8])> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let header = Header::decode(bytes).ok_or_else(damaged)?;
    let payload = bytes.get(HEADER..HEADER + header.payload as usize).ok_or_else(damaged)?;
    if crc32fast::hash(payload) == header.payload_sum { Ok((header, payload)) } else { Err(damaged()) }
}
