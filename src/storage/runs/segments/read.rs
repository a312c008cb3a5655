//! Reading: from memory what is new, from disk what is older, decoded once for all who read it at the same time.

use std::{collections::BTreeMap, io, sync::Arc};

use quick_cache::Weighter;

use super::{
    Shared,
    disk::DiskFile,
    index::Place,
    payload,
    record::{HEADER, Header},
    table::Kept,
};
use crate::{
    model::{Entry, Run, RunError, RunId, RunState},
    runtime::task,
    storage::runs::{ReadError, Slice},
};

/// Records that lie within so many bytes are read at once.
const SPAN: u64 = 128 << 10;

/// A chunk as it was when it was read: the run, its first sequence, its records.
pub(super) type ChunkKey = (RunId, u64, u16);

/// Weighs chunks by what their events take in memory.
#[derive(Debug, Clone)]
pub(super) struct EntryBytes;

impl Weighter<ChunkKey, Arc<Vec<Arc<Entry>>>> for EntryBytes {
    fn weight(&self, _key: &ChunkKey, entries: &Arc<Vec<Arc<Entry>>>) -> u64 {
        entries.iter().map(|it| it.event.bytes() as u64).sum::<u64>().max(1)
    }
}

/// Where the next events are.
enum Found {
    Memory(Vec<Arc<Entry>>),
    Disk { key: ChunkKey, places: Vec<Place>, file: Arc<dyn DiskFile> },
    Damage,
}

impl Shared {
    pub(super) async fn read(
        self: Arc<Self>,
        run_id: RunId,
        after: u64,
        max_bytes: usize,
    ) -> Result<Slice, ReadError> {
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        let (mut next, mut bytes) = (after.saturating_add(1), 0);
        loop {
            let (last_sequence, found) = self.find(run_id, next)?;
            let more = match found {
                None => return Ok(Slice { entries, last_sequence }),
                Some(Found::Damage) if entries.is_empty() => return Err(ReadError::Damaged),
                Some(Found::Damage) => return Ok(Slice { entries, last_sequence }),
                Some(Found::Memory(more)) => Arc::new(more),
                Some(Found::Disk { key, places, file }) => {
                    let load = async {
                        let read = task::blocking(move || read_places(&*file, &places)).await;
                        read.unwrap_or_else(|| Err(io::Error::other("reading panicked"))).map(Arc::new)
                    };
                    match self.chunks.get_or_insert_async(&key, load).await {
                        Ok(chunk) => chunk,
                        Err(_) if !entries.is_empty() => return Ok(Slice { entries, last_sequence }),
                        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                            tracing::error!(%run_id, first = key.1, "a stored event is damaged");
                            return Err(ReadError::Damaged);
                        }
                        Err(error) => return Err(ReadError::Failed(Arc::new(error))),
                    }
                }
            };
            let before = next;
            for entry in more.iter().filter(|it| it.event.sequence >= before) {
                let size = entry.event.bytes();
                if !entries.is_empty() && bytes + size > max_bytes {
                    return Ok(Slice { entries, last_sequence });
                }
                bytes += size;
                next = entry.event.sequence + 1;
                entries.push(entry.clone());
            }
            if next == before {
                // A chunk that does not hold what the index says.
                return if entries.is_empty() {
                    Err(ReadError::Damaged)
                } else {
                    Ok(Slice { entries, last_sequence })
                };
            }
        }
    }

    /// Where the event `next` is; `None` when it is yet to come.
    fn find(&self, run_id: RunId, next: u64) -> Result<(u64, Option<Found>), ReadError> {
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
            let mut bytes = 0;
            let fits = |entry: &&Arc<Entry>| {
                bytes += entry.event.bytes();
                bytes <= crate::model::limits::WATCH_BATCH_BYTES
            };
            let mut some: Vec<_> = kept.tail.iter().skip(skip).take_while(fits).cloned().collect();
            if some.is_empty() {
                some.extend(kept.tail.get(skip).cloned());
            }
            return Ok((last, Some(Found::Memory(some))));
        }
        let chunk = kept.index.chunk_of(next).ok_or(ReadError::Damaged)?;
        let file = table.segments.get(&chunk.segment).map(|it| it.file.clone()).ok_or(ReadError::NotFound)?;
        let key = (run_id, chunk.first_sequence, chunk.records);
        Ok((last, Some(Found::Disk { key, places: chunk.places(), file })))
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

/// The events of records of one segment.
fn read_places(file: &dyn DiskFile, places: &[Place]) -> io::Result<Vec<Arc<Entry>>> {
    let mut entries = Vec::new();
    let mut bytes = Vec::new();
    let mut rest = places;
    while let [first, ..] = rest {
        let end = |it: &Place| u64::from(it.offset) + u64::from(it.length);
        let near = rest.iter().take_while(|it| end(it) - u64::from(first.offset) <= SPAN).count().max(1);
        let (together, later) = rest.split_at(near);
        let span = together.last().map_or(0, |it| end(it) - u64::from(first.offset));
        bytes.resize(usize::try_from(span).unwrap_or_default(), 0);
        let read = file.read_at(first.offset.into(), &mut bytes)?;
        for place in together {
            let from = (place.offset - first.offset) as usize;
            let taken = whole(bytes[..read].get(from..).unwrap_or_default()).and_then(|(header, payload)| {
                if header.first_sequence != place.first_sequence {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                payload::events_of(&header, payload, |event| entries.push(Arc::new(Entry::new(event))))
            });
            match taken {
                Err(error) if entries.is_empty() => return Err(error),
                // What comes before the damage can be read.
                Err(_) => return Ok(entries),
                Ok(()) => {}
            }
        }
        rest = later;
    }
    Ok(entries)
}
