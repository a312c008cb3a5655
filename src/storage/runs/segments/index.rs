//! Where the events of one run lie: about six bytes of memory for an event that was written alone.

/// Records in one chunk: what is read and cached together.
const CHUNK_RECORDS: u16 = 64;
/// A chunk of larger records ends sooner.
const CHUNK_BYTES: u32 = 64 << 10;
/// Lengths are kept in steps of so many bytes; a read may take some bytes too many.
const LENGTH_STEP: u32 = 32;

/// The records of a run, in order and without a gap.
#[derive(Debug, Default)]
pub(super) struct Index {
    chunks: Vec<Chunk>,
}

/// Records of one run in one segment, close to each other in sequence.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) segment: u32,
    /// Of its first record.
    pub(super) offset: u32,
    pub(super) first_sequence: u64,
    /// Bytes of its records on disk.
    pub(super) bytes: u32,
    pub(super) records: u16,
    /// For each record: distance from the one before, length in steps, events; in base 128.
    places: Vec<u8>,
    /// Where the next distance is counted from.
    last_offset: u32,
}

/// A record of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u32,
    /// Bytes to read: the record's, and up to 31 more.
    pub(super) length: u32,
    pub(super) first_sequence: u64,
    pub(super) count: u32,
}

impl Index {
    /// Adds the record that comes next.
    pub(super) fn push(&mut self, place: Place) {
        let fits = self.chunks.last().is_some_and(|it| {
            it.segment == place.segment
                && it.records < CHUNK_RECORDS
                && it.bytes < CHUNK_BYTES
                && it.last_offset <= place.offset
        });
        if !fits {
            if let Some(last) = self.chunks.last_mut() {
                last.places.shrink_to_fit();
            }
            self.chunks.push(Chunk {
                segment: place.segment,
                offset: place.offset,
                first_sequence: place.first_sequence,
                bytes: 0,
                records: 0,
                places: Vec::new(),
                last_offset: place.offset,
            });
        }
        let Some(chunk) = self.chunks.last_mut() else { return };
        put(&mut chunk.places, place.offset - chunk.last_offset);
        put(&mut chunk.places, place.length.div_ceil(LENGTH_STEP));
        put(&mut chunk.places, place.count);
        chunk.last_offset = place.offset;
        chunk.records += 1;
        chunk.bytes = chunk.bytes.saturating_add(place.length);
    }

    /// The chunk that holds the event `sequence`, if any does.
    pub(super) fn chunk_of(&self, sequence: u64) -> Option<&Chunk> {
        let after = self.chunks.partition_point(|it| it.first_sequence <= sequence);
        self.chunks.get(after.checked_sub(1)?)
    }

    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Lets go of room that was left for more.
    pub(super) fn shrink(&mut self) {
        self.chunks.shrink_to_fit();
        if let Some(last) = self.chunks.last_mut() {
            last.places.shrink_to_fit();
        }
    }

    /// Bytes of memory.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let places: usize = self.chunks.iter().map(|it| it.places.capacity() + 16).sum();
        places + self.chunks.capacity() * size_of::<Chunk>()
    }
}

impl Chunk {
    /// Its records, in order.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut bytes = self.places.as_slice();
        let (mut offset, mut first_sequence) = (self.offset, self.first_sequence);
        let mut places = Vec::with_capacity(self.records.into());
        while !bytes.is_empty() {
            offset += take(&mut bytes);
            let length = take(&mut bytes) * LENGTH_STEP;
            let count = take(&mut bytes);
            places.push(Place { segment: self.segment, offset, length, first_sequence, count });
            first_sequence += u64::from(count);
        }
        places
    }
}

fn put(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

fn take(bytes: &mut &[u8]) -> u32 {
    let (mut value, mut shift) = (0, 0);
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        value |= u32::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 || shift > 28 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_record_is_found_where_it_was_put(
            steps in proptest::collection::vec((1u32..500_000, 72u32..5000, 1u32..300, 0u8..50), 1..400)
        ) {
            let (mut index, mut put) = (Index::default(), Vec::new());
            let (mut segment, mut offset, mut first_sequence) = (1, 64, 1u64);
            for (gap, length, count, turn) in steps {
                if turn == 0 {
                    (segment, offset) = (segment + 1, 64);
                }
                let place = Place { segment, offset, length, first_sequence, count };
                index.push(place);
                put.push(place);
                offset += length + gap;
                first_sequence += u64::from(count);
            }
            for place in put {
                for sequence in [place.first_sequence, place.first_sequence + u64::from(place.count) - 1] {
                    let found = index.chunk_of(sequence).unwrap().places();
                    let found = found.iter().rev().find(|it| it.first_sequence <= sequence).unwrap();
                    prop_assert_eq!((found.segment, found.offset), (place.segment, place.offset));
                    prop_assert!((place.length..place.length + LENGTH_STEP).contains(&found.length));
                }
            }
        }
    }

    #[test]
    fn an_event_written_alone_takes_less_than_eight_bytes() {
        let mut index = Index::default();
        let events = 100_000;
        for number in 0..events {
            let (segment, offset) = (number / 200 + 1, (number % 200) * 300_000);
            let first_sequence = u64::from(number) + 1;
            index.push(Place { segment, offset, length: 300, first_sequence, count: 1 });
        }
        index.shrink();
        let each = index.memory() as f64 / f64::from(events);
        assert!(each <= 8.0, "{each}");
    }
}
