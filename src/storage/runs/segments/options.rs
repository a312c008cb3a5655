//! How a log on disk behaves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When an event counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncMode {
    /// After `fdatasync`: it survives a loss of power.
    Fsync,
    /// After the write: it survives the end of the process, however it ends, but not that of the machine.
    Os,
}

/// How a log on disk behaves.
#[derive(Debug, Clone)]
pub struct SegmentOptions {
    /// When an event counts as written.
    pub sync: SyncMode,
    /// The least time from the beginning of one group commit to that of the next, but for the start of a run that comes
    /// alone.
    pub commit_interval: Duration,
    /// Bytes after which a new segment is begun. Below 2 GiB.
    pub segment_bytes: u64,
    /// Bytes that all files together may come to, but for a segment or two and what idempotency keys take. Beyond four
    /// fifths of it the runs that ended first are dropped, then starts refused: the rest is what dropped runs leave behind
    /// until it is cleaned away.
    pub total: u64,
    /// Bytes on disk of one run. One that reaches it cannot append any more, its terminal event excepted.
    pub per_run: u64,
    /// Runs that are kept. Beyond it the runs that ended first are dropped, then starts refused.
    pub most: usize,
    /// Bytes of memory for the newest events of all runs, and as many again for older ones that are being read.
    pub cache: usize,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            sync: SyncMode::Fsync,
            commit_interval: Duration::from_millis(2),
            segment_bytes: 64 << 20,
            total: 10 << 30,
            per_run: 1 << 30,
            most: 1_000_000,
            cache: 64 << 20,
        }
    }
}

impl SegmentOptions {
    /// Bytes that kept runs may take.
    pub(super) fn kept(&self) -> u64 {
        self.total / 5 * 4
    }
}
