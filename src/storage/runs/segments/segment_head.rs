//! The first bytes of every segment: what it is, and where the counters stood when it was begun.

/// Bytes of a segment's head.
pub(super) const HEAD: usize = 64;

/// The version of the format. A gateway that finds another one does not start; `rungate runs export` of the version that
/// wrote it moves the runs on.
pub(super) const FORMAT: u32 = 1;

const MAGIC: [u8; 12] = *b"rungate runs";

/// What stands at the beginning of a segment. The counters survive here when all runs are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) number: u32,
    pub(super) next_place: u64,
    pub(super) next_commit: u64,
    /// The segment that was written before and the bytes of it that count, where there was one: what lies behind them
    /// was never acknowledged, what lies before them was.
    pub(super) sealed: Option<(u32, u32)>,
}

/// Why a segment's first bytes are no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadError {
    /// Of another version of the format.
    Format(u32),
    /// Not whole.
    Damaged,
}

impl SegmentHead {
    pub(super) fn encode(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..12].copy_from_slice(&MAGIC);
        bytes[12..16].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.next_place.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.next_commit.to_le_bytes());
        let (sealed, length) = self.sealed.unwrap_or_default();
        bytes[40..44].copy_from_slice(&sealed.to_le_bytes());
        bytes[44..48].copy_from_slice(&length.to_le_bytes());
        let sum = crc32fast::hash(&bytes[20..]);
        bytes[16..20].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        let bytes: &[u8; HEAD] =
            bytes.get(..HEAD).and_then(|it| it.try_into().ok()).ok_or(HeadError::Damaged)?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | (u64::from(u32_at(at + 4)) << 32);
        if bytes[..12] != MAGIC {
            return Err(HeadError::Damaged);
        }
        if u32_at(12) != FORMAT {
            return Err(HeadError::Format(u32_at(12)));
        }
        if u32_at(16) != crc32fast::hash(&bytes[20..]) {
            return Err(HeadError::Damaged);
        }
        let sealed = Some((u32_at(40), u32_at(44))).filter(|(_, length)| *length > 0);
        Ok(Self { number: u32_at(20), next_place: u64_at(24), next_commit: u64_at(32), sealed })
    }
}
