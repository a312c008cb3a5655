//! A logged event together with its encoded forms.

use std::sync::OnceLock;

use bytes::Bytes;

use super::Event;

/// A committed event, with room for its encoded forms: whoever first needs the event in a wire format encodes it, and
/// all other watchers share the bytes.
#[derive(Debug)]
pub struct Entry {
    /// The event.
    pub event: Event,
    encoded: [OnceLock<Bytes>; Entry::FORMATS],
}

impl Entry {
    /// How many wire formats can be kept.
    pub const FORMATS: usize = 2;

    /// An entry that nobody has encoded yet.
    pub fn new(event: Event) -> Self {
        Self { event, encoded: Default::default() }
    }

    /// The event in wire format number `format` (below [`Entry::FORMATS`]), encoded at most once.
    pub fn encoded(&self, format: usize, encode: impl FnOnce(&Event) -> Bytes) -> Bytes {
        self.encoded[format].get_or_init(|| encode(&self.event)).clone()
    }
}
