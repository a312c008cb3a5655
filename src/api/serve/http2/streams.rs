//! The streams of a connection, by their numbers.

use super::stream::Stream;

/// Open streams in the order of their numbers, which only rise. Bounded by `max_streams`.
#[derive(Default)]
#[allow(clippy::vec_box, reason = "when one goes, the places of the others are moved and not the streams")]
pub(super) struct Streams(Vec<Box<Stream>>);

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a stream whose number is higher than all before.
    pub(super) fn push(&mut self, stream: Stream) {
        self.0.push(Box::new(stream));
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Stream> {
        let place = self.place(number)?;
        Some(&mut self.0[place])
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Box<Stream>> {
        let place = self.place(number)?;
        let stream = self.0.remove(place);
        // Nothing is kept for a time when there were many.
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Some(stream)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.0.iter_mut().map(|it| &mut **it)
    }

    fn place(&self, number: u32) -> Option<usize> {
        self.0.binary_search_by_key(&number, |it| it.number()).ok()
    }
}
