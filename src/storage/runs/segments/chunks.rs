//! Chunks of records: read together, decoded once for all who read them at the same time.

use std::{io, sync::Arc, time::Duration};

use futures::future::join_all;
use quick_cache::{Weighter, sync::GuardResult};

use super::{
    Shared,
    disk::DiskFile,
    index::{Chunk, Place},
    payload,
    read::whole,
    record::HEADER,
};
use crate::{
    model::{Entry, RunId},
    runtime::task,
};

/// Records that lie within so many bytes are read at once.
const SPAN: u64 = 128 << 10;
/// Threads that read and decode for one reader at the same time, where it asks for more than one chunk.
const THREADS: usize = 2;

/// What a record with one event takes on disk besides its text, about.
const AROUND_CONTENT: usize = HEADER + 40;

/// A chunk as it was when it was read: the run, its first sequence, its records.
pub(super) type ChunkKey = (RunId, u64, u16);

/// Events that follow each other.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) entries: Vec<Arc<Entry>>,
    /// What they take in memory.
    pub(super) bytes: usize,
}

/// A chunk that is to be read.
pub(super) struct Wanted {
    pub(super) key: ChunkKey,
    pub(super) chunk: Chunk,
    pub(super) file: Arc<dyn DiskFile>,
}

/// Weighs chunks by what their events take in memory.
#[derive(Debug, Clone)]
pub(super) struct DecodedBytes;

impl Weighter<ChunkKey, Arc<Decoded>> for DecodedBytes {
    fn weight(&self, _key: &ChunkKey, decoded: &Arc<Decoded>) -> u64 {
        (decoded.bytes as u64).max(1)
    }
}

impl Shared {
    /// The first of `wanted`, and those after it as far as they had to be read and could be. What somebody else is reading
    /// is waited for when it is the first.
    pub(super) async fn chunks(&self, mut wanted: Vec<Wanted>) -> io::Result<Vec<Arc<Decoded>>> {
        let mut guards = Vec::with_capacity(wanted.len());
        for it in &wanted {
            if guards.is_empty() {
                match self.chunks.get_value_or_guard_async(&it.key).await {
                    Ok(decoded) => return Ok(vec![decoded]),
                    Err(guard) => guards.push(guard),
                }
            } else {
                match self.chunks.get_value_or_guard(&it.key, Some(Duration::ZERO)) {
                    GuardResult::Guard(guard) => guards.push(guard),
                    GuardResult::Value(_) | GuardResult::Timeout => break,
                }
            }
        }
        wanted.truncate(guards.len());
        let mut decoded = Vec::with_capacity(guards.len());
        for (guard, read) in guards.into_iter().zip(read_all(wanted).await) {
            match read {
                Ok(read) => {
                    let read = Arc::new(read);
                    decoded.push(read.clone());
                    // Kept by nobody when it is too large.
                    drop(guard.insert(read));
                }
                Err(error) if decoded.is_empty() => return Err(error),
                // Whoever reads on meets it.
                Err(_) => break,
            }
        }
        Ok(decoded)
    }
}

impl Decoded {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.event.bytes();
        self.entries.push(Arc::new(entry));
    }
}

impl Wanted {
    /// What it will take in memory, about.
    pub(super) fn likely_bytes(&self) -> usize {
        let records = usize::from(self.chunk.records);
        let content = (self.chunk.bytes as usize).saturating_sub(records * AROUND_CONTENT);
        records * size_of::<Entry>() + (1 + Entry::FORMATS) * content
    }

    /// Its events, as far as they are whole.
    fn read(&self) -> io::Result<Decoded> {
        let places = self.chunk.places();
        let mut decoded = Decoded::default();
        decoded.entries.reserve(places.iter().map(|it| it.count as usize).sum());
        let mut bytes = Vec::new();
        let mut rest = places.as_slice();
        while let [first, ..] = rest {
            let end = |it: &Place| u64::from(it.offset) + u64::from(it.length);
            let near = rest.iter().take_while(|it| end(it) - u64::from(first.offset) <= SPAN).count().max(1);
            let (together, later) = rest.split_at(near);
            let span = together.last().map_or(0, |it| end(it) - u64::from(first.offset));
            bytes.resize(usize::try_from(span).unwrap_or_default(), 0);
            let read = self.file.read_at(first.offset.into(), &mut bytes)?;
            for place in together {
                let record = bytes[..read].get((place.offset - first.offset) as usize..).unwrap_or_default();
                match decode(place, record, &mut decoded) {
                    Err(error) if decoded.entries.is_empty() => return Err(error),
                    // What comes before the damage can be read.
                    Err(_) => return Ok(decoded),
                    Ok(()) => {}
                }
            }
            rest = later;
        }
        Ok(decoded)
    }
}

/// Reads chunks in threads that may block; gives them in the same order.
async fn read_all(mut wanted: Vec<Wanted>) -> Vec<io::Result<Decoded>> {
    let each = wanted.len().div_ceil(THREADS);
    let mut parts = Vec::with_capacity(THREADS);
    while !wanted.is_empty() {
        let later = wanted.split_off(each.min(wanted.len()));
        let part = std::mem::replace(&mut wanted, later);
        parts.push(async move {
            let count = part.len();
            let read = task::blocking(move || part.iter().map(Wanted::read).collect::<Vec<_>>()).await;
            let panicked = || Err(io::Error::other("reading panicked"));
            read.unwrap_or_else(|| std::iter::repeat_with(panicked).take(count).collect())
        });
    }
    join_all(parts).await.into_iter().flatten().collect()
}

/// The events of the record that should be at `place`.
fn decode(place: &Place, bytes: &[u8], decoded: &mut Decoded) -> io::Result<()> {
    let (header, payload) = whole(bytes)?;
    if header.first_sequence != place.first_sequence {
        return Err(io::ErrorKind::InvalidData.into());
    }
    payload::events_of(&header, payload, |event| decoded.push(Entry::new(event)))
}
