//! A logged event together with its encoded forms.

use std::sync::{Arc, OnceLock};

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

/// An event as a watcher of its whole session gets it.
#[derive(Debug, Clone)]
pub struct SessionEntry {
    /// The event.
    pub entry: Arc<Entry>,
    /// The position in the session right after it, in place of the position in the run.
    pub cursor: String,
}

impl Entry {
    /// How many wire formats can be kept.
    pub const FORMATS: usize = 3;

    /// An entry that nobody has encoded yet.
    pub fn new(event: Event) -> Self {
        Self { event, encoded: Default::default() }
    }

    /// The event in wire format number `format` (below [`Entry::FORMATS`]), encoded at most once.
    pub fn encoded(&self, format: usize, encode: impl FnOnce(&Event) -> Bytes) -> Bytes {
        self.encoded[format].get_or_init(|| encode(&self.event)).clone()
    }
}
