//! Where the events of one run lie: about six bytes of memory for an event that was written alone.

/// Records in one chunk: what is read and cached together.
const CHUNK_RECORDS: u16 = 64;
/// A chunk of larger records ends sooner.
const CHUNK_BYTES: u32 = 64 << 10;

/// The records of a run, in order and without a gap.
#[derive(Debug, Default)]
pub(super) struct Index {
    chunks: Vec<Chunk>,
    /// Of the newest record: where the next distance is counted from.
    last_offset: u32,
}

/// Records of one run in one segment that follow each other in sequence.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) segment: u32,
    /// Of its first record.
    pub(super) offset: u32,
    pub(super) first_sequence: u64,
    /// Bytes of its records on disk.
    pub(super) bytes: u32,
    pub(super) records: u16,
    /// For each record in base 128: distance from the one before; length, doubled, and one more where it does not hold
    /// one event; their number then.
    places: Vec<u8>,
}

/// A record of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u32,
    /// Its bytes on disk.
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
                && self.last_offset <= place.offset
        });
        if !fits {
            let places = self.chunks.last_mut().map(Chunk::seal).unwrap_or_default();
            self.chunks.push(Chunk {
                segment: place.segment,
                offset: place.offset,
                first_sequence: place.first_sequence,
                bytes: 0,
                records: 0,
                places,
            });
            self.last_offset = place.offset;
        }
        let Some(chunk) = self.chunks.last_mut() else { return };
        put(&mut chunk.places, place.offset - self.last_offset);
        put(&mut chunk.places, (place.length << 1) | u32::from(place.count != 1));
        if place.count != 1 {
            put(&mut chunk.places, place.count);
        }
        self.last_offset = place.offset;
        chunk.records += 1;
        chunk.bytes = chunk.bytes.saturating_add(place.length);
    }

    /// The chunk that holds the event `sequence`, if any does.
    pub(super) fn chunk_of(&self, sequence: u64) -> Option<&Chunk> {
        self.chunks.get(self.number_of(sequence)?)
    }

    /// The chunk that holds the event `sequence`, and those after it.
    pub(super) fn chunks_from(&self, sequence: u64) -> impl Iterator<Item = &Chunk> {
        self.number_of(sequence).into_iter().flat_map(|number| &self.chunks[number..])
    }

    /// The record that begins with the event `first_sequence`, if one does.
    pub(super) fn place_of(&self, first_sequence: u64) -> Option<Place> {
        let mut places = self.chunk_of(first_sequence)?.iter();
        places.find(|it| it.first_sequence >= first_sequence).filter(|it| it.first_sequence == first_sequence)
    }

    /// Puts records elsewhere: `moved`, in the order of their sequences, are their new places.
    pub(super) fn relocate(&mut self, moved: &[Place]) {
        let mut rest = moved;
        while let Some(from) = rest.first().and_then(|it| self.number_of(it.first_sequence)) {
            // What lies in neighbouring chunks is done together.
            let (mut to, mut count) = (from, 0);
            for place in rest {
                match self.number_of(place.first_sequence) {
                    Some(number) if number <= to + 1 => (to, count) = (number, count + 1),
                    _ => break,
                }
            }
            let (together, later) = rest.split_at(count);
            // The chunk before may have room for more in its segment.
            self.rebuild(from.saturating_sub(1), to, together);
            rest = later;
        }
    }

    fn rebuild(&mut self, from: usize, to: usize, mut moved: &[Place]) {
        let mut rebuilt = Self::default();
        for place in self.chunks[from..=to].iter().flat_map(Chunk::iter) {
            match moved.split_first() {
                Some((new, later)) if new.first_sequence == place.first_sequence => {
                    rebuilt.push(*new);
                    moved = later;
                }
                _ => rebuilt.push(place),
            }
        }
        if to + 1 == self.chunks.len() {
            self.last_offset = rebuilt.last_offset;
        }
        self.chunks.splice(from..=to, rebuilt.chunks);
    }

    fn number_of(&self, sequence: u64) -> Option<usize> {
        self.chunks.partition_point(|it| it.first_sequence <= sequence).checked_sub(1)
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
    /// Nothing is added any more: takes as much memory as it needs, in one piece that was not anything before, and gives
    /// the room it grew in to the next chunk. Growing anew each time would leave holes between what stays.
    fn seal(&mut self) -> Vec<u8> {
        let whole = self.places.as_slice().to_vec();
        let mut room = std::mem::replace(&mut self.places, whole);
        room.clear();
        room
    }

    /// Its records, in order.
    pub(super) fn places(&self) -> Vec<Place> {
        self.iter().collect()
    }

    fn iter(&self) -> impl Iterator<Item = Place> {
        let mut bytes = self.places.as_slice();
        let (mut offset, mut first_sequence) = (self.offset, self.first_sequence);
        std::iter::from_fn(move || {
            if bytes.is_empty() {
                return None;
            }
            offset += take(&mut bytes);
            let length = take(&mut bytes);
            let (length, count) = (length >> 1, if length & 1 == 0 { 1 } else { take(&mut bytes) });
            let place = Place { segment: self.segment, offset, length, first_sequence, count };
            first_sequence += u64::from(count);
            Some(place)
        })
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
                    prop_assert_eq!(*found, place);
                }
                prop_assert_eq!(index.place_of(place.first_sequence), Some(place));
            }
        }

        #[test]
        fn records_that_were_moved_are_found_and_so_are_the_others(
            records in proptest::collection::vec((1u32..4, 72u32..5000, 1u32..5), 1..400),
            rounds in proptest::collection::vec((1u32..8, 1usize..40), 1..30)
        ) {
            let (mut index, mut places) = (Index::default(), Vec::<Place>::new());
            let (mut ends, mut first_sequence) = (std::collections::HashMap::new(), 1u64);
            let mut at = |segment: u32, length: u32| {
                let end = ends.entry(segment).or_insert(64);
                *end += length;
                *end - length
            };
            for (turn, length, count) in records {
                let segment = if turn == 1 { 1 } else { 2 };
                let offset = at(segment, length);
                places.push(Place { segment, offset, length, first_sequence, count });
                index.push(places[places.len() - 1]);
                first_sequence += u64::from(count);
            }
            for (number, (from, most)) in rounds.into_iter().enumerate() {
                // All of one segment, so many at a time, to one that is newer.
                let to = 10 + u32::try_from(number / 3).unwrap();
                let mut moved = Vec::new();
                for place in places.iter_mut().filter(|it| it.segment % 8 == from).take(most) {
                    (place.offset, place.segment) = (at(to, place.length), to);
                    moved.push(*place);
                }
                index.relocate(&moved);
                let found: Vec<_> = index.chunks().iter().flat_map(Chunk::iter).collect();
                prop_assert_eq!(&found, &places);
                for chunk in index.chunks() {
                    prop_assert_eq!(chunk.bytes, chunk.iter().map(|it| it.length).sum::<u32>());
                }
            }
        }
    }

    #[test]
    fn an_event_written_alone_takes_six_bytes_and_few_more_while_the_run_goes_on() {
        let mut index = Index::default();
        let events = 100_000;
        for number in 0..events {
            let (segment, offset) = (number / 200 + 1, (number % 200) * 300_000);
            let first_sequence = u64::from(number) + 1;
            index.push(Place { segment, offset, length: 300, first_sequence, count: 1 });
        }
        let each = |index: &Index| index.memory() as f64 / f64::from(events);
        assert!(each(&index) <= 7.0, "{}", each(&index));
        index.shrink();
        assert!(each(&index) <= 6.3, "{}", each(&index));
    }
}
