//! The fields that heads refer to by number (RFC 7541, section 2.3).

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Malformed, TABLE_BYTES};

/// What a field takes of the table beside its bytes (section 4.1).
const FIELD_BYTES: usize = 32;

/// The fields that both sides know beforehand, numbered from 1 (appendix A).
#[rustfmt::skip]
pub(super) static STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];

/// A field of a head. Its name is not yet known to be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Field {
    pub(in super::super) name: Bytes,
    pub(in super::super) value: Bytes,
}

/// The fields that a client has had kept.
#[derive(Debug)]
pub(super) struct Table {
    /// The newest first.
    kept: VecDeque<Field>,
    bytes: usize,
    /// As the client has it; no more than [`TABLE_BYTES`].
    most: usize,
}

impl Field {
    /// What it counts for, in the table and in the length of a head.
    pub(in super::super) fn size(&self) -> usize {
        self.name.len() + self.value.len() + FIELD_BYTES
    }
}

impl Table {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self { kept: VecDeque::new(), bytes: 0, most: TABLE_BYTES }
    }

    /// The field with a number, of those known beforehand or of those kept.
    pub(super) fn get(&self, number: usize) -> Result<Field, Malformed> {
        let place = number.checked_sub(1).ok_or(Malformed)?;
        if let Some((name, value)) = STATIC.get(place) {
            let [name, value] = [name, value].map(|it| Bytes::from_static(it.as_bytes()));
            return Ok(Field { name, value });
        }
        self.kept.get(place - STATIC.len()).cloned().ok_or(Malformed)
    }

    /// Keeps a field, and drops old ones to make room. One that is larger than the table empties it.
    pub(super) fn keep(&mut self, field: Field) {
        self.bytes += field.size();
        self.kept.push_front(field);
        self.make_room();
    }

    /// Has the table hold `most` bytes.
    pub(super) fn resize(&mut self, most: usize) -> Result<(), Malformed> {
        if most > TABLE_BYTES {
            return Err(Malformed);
        }
        self.most = most;
        self.make_room();
        Ok(())
    }

    fn make_room(&mut self) {
        while self.bytes > self.most
            && let Some(oldest) = self.kept.pop_back()
        {
            self.bytes -= oldest.size();
        }
    }
}
