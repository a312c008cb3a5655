//! A record: a header of 72 bytes and a payload, each with a checksum of its own, so that a damaged payload still tells
//! whose it is. All numbers are little-endian.

use uuid::Uuid;

use crate::model::RunId;

/// Bytes of a header.
pub(super) const HEADER: usize = 72;

/// What every record begins with.
pub(super) const MAGIC: [u8; 4] = *b"rgR1";

/// The largest payload that is believed: above what a run can append in one step by a wide margin.
const MAX_PAYLOAD: u32 = 1 << 30;

/// What a record is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Begins the log of a run: a [`Begin`](super::payload::Begin), then events.
    Begin = 1,
    /// More events of a run; before them the run's state where it has changed.
    Events = 2,
    /// The run is no longer kept.
    Drop = 3,
}

/// What stands in front of every payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// The payload begins with the run's state.
    pub(super) has_run: bool,
    /// The last event is the run's terminal one.
    pub(super) terminal: bool,
    /// The first record of its group commit: all commits before were done when it was written.
    pub(super) first: bool,
    /// In a copy of an older record the group commit that wrote it first, 0 where that is not known.
    pub(super) copied_from: Option<u64>,
    pub(super) payload: u32,
    pub(super) payload_sum: u32,
    /// The group commit that wrote it. A damaged record that is followed by one of a later commit was whole once.
    pub(super) commit: u64,
    pub(super) run_id: RunId,
    pub(super) first_sequence: u64,
    /// Events in it.
    pub(super) count: u32,
    /// The run's place in the order of beginnings, in the record that begins it. (In copies of other records
    /// `copied_from` stands here.)
    pub(super) place: u64,
    /// The time of the last event, in nanoseconds since 1970.
    pub(super) time: i64,
}

impl Header {
    /// Bytes of the whole record.
    pub(super) fn length(&self) -> u64 {
        HEADER as u64 + u64::from(self.payload)
    }

    /// The header of a copy, as written by group commit number `commit`.
    pub(super) fn copy(&self, commit: u64, first: bool) -> Self {
        let written = if self.kind == Kind::Begin { 0 } else { self.commit };
        Self { commit, first, copied_from: Some(self.copied_from.unwrap_or(written)), ..*self }
    }

    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.payload.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.payload_sum.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.commit.to_le_bytes());
        bytes[24..40].copy_from_slice(self.run_id.uuid().as_bytes());
        bytes[40..48].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.count.to_le_bytes());
        bytes[52] = self.kind as u8;
        let flags = [self.has_run, self.terminal, self.first, self.copied_from.is_some()];
        bytes[53] = flags.iter().rev().fold(0, |byte, it| (byte << 1) | u8::from(*it));
        let place = if self.kind == Kind::Begin { self.place } else { self.copied_from.unwrap_or(0) };
        bytes[56..64].copy_from_slice(&place.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.time.to_le_bytes());
        let sum = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` when the bytes are none, or not whole.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | (u64::from(u32_at(at + 4)) << 32);
        if bytes[..4] != MAGIC || u32_at(4) != crc32fast::hash(&bytes[8..]) || u32_at(8) > MAX_PAYLOAD {
            return None;
        }
        let kind = match bytes[52] {
            1 => Kind::Begin,
            2 => Kind::Events,
            3 => Kind::Drop,
            _ => return None,
        };
        let (begins, copy) = (kind == Kind::Begin, bytes[53] & 8 != 0);
        Some(Self {
            kind,
            has_run: bytes[53] & 1 != 0,
            terminal: bytes[53] & 2 != 0,
            first: bytes[53] & 4 != 0,
            copied_from: copy.then(|| if begins { 0 } else { u64_at(56) }),
            payload: u32_at(8),
            payload_sum: u32_at(12),
            commit: u64_at(16),
            run_id: RunId::new(Uuid::from_slice(&bytes[24..40]).ok()?),
            first_sequence: u64_at(40),
            count: u32_at(48),
            place: if begins { u64_at(56) } else { 0 },
            time: u64_at(64).cast_signed(),
        })
    }
}
