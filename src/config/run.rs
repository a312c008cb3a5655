//! How runs are kept.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize};

use crate::storage::{MemoryLimits, SegmentOptions, SyncMode};

/// The longest pause between two commits. Nobody wants to wait longer for an event that is there.
const LONGEST_COMMIT_INTERVAL: Duration = Duration::from_millis(100);

/// A full log has about so many files, each of which is open.
const SEGMENTS: u64 = 128;
const SMALLEST_SEGMENT: u64 = 256 << 10;
const LARGEST_SEGMENT: u64 = 1 << 30;

/// How runs are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunSettings {
    /// What an event has gone through before anybody sees it.
    pub log: RunLogKind,
    /// How long a run can be read after its end.
    #[serde(with = "duration")]
    pub retention: Duration,
    /// Bytes that all files of the log may come to. Beyond four fifths of it the runs that ended first are dropped, then
    /// starts refused; the rest is room for what dropped runs leave behind until it is cleaned away.
    pub disk_total: u64,
    /// Bytes that the log of one run may take on disk. A run that reaches it ends with an error.
    pub disk_per_run: u64,
    /// Runs that are kept. Beyond it the runs that ended first are dropped, then starts refused.
    pub most: usize,
    /// The least time between two commits; what is written meanwhile shares one. A run that begins alone does not wait for it.
    #[serde(with = "duration")]
    pub commit_interval: Duration,
    /// Bytes of memory for what was lately written or read, so that watchers need not read it from disk.
    pub cache: usize,
    /// Bytes that the log of one run may take in memory. A run that reaches it ends with an error.
    pub memory_per_run: usize,
    /// Bytes that all logs may take in memory. Beyond it the runs that ended first are dropped, then starts refused.
    pub memory_total: usize,
}

/// What an event has gone through before it is acknowledged and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunLogKind {
    /// It is on the disk: it survives a loss of power.
    Fsync,
    /// The system has it: it survives the end of the process, but not of the machine.
    Os,
    /// It is in memory: gone with the process.
    Memory,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            log: RunLogKind::Fsync,
            retention: Duration::from_secs(24 * 3600),
            disk_total: 10 << 30,
            disk_per_run: 1 << 30,
            most: 1_000_000,
            commit_interval: Duration::from_millis(2),
            cache: 64 << 20,
            memory_per_run: 64 << 20,
            memory_total: 512 << 20,
        }
    }
}

impl RunSettings {
    /// The bounds of the log in memory.
    pub fn memory_limits(&self) -> MemoryLimits {
        MemoryLimits { per_run: self.memory_per_run, total: self.memory_total }
    }

    /// How the log on disk behaves; `None` when runs are kept in memory.
    pub fn segment_options(&self) -> Option<SegmentOptions> {
        let sync = match self.log {
            RunLogKind::Fsync => SyncMode::Fsync,
            RunLogKind::Os => SyncMode::Os,
            RunLogKind::Memory => return None,
        };
        Some(SegmentOptions {
            sync,
            commit_interval: self.commit_interval,
            segment_bytes: (self.disk_total / SEGMENTS).clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT),
            total: self.disk_total,
            per_run: self.disk_per_run,
            most: self.most,
            cache: self.cache,
        })
    }

    /// What is wrong with the values, if anything is.
    pub(super) fn problem(&self) -> Option<String> {
        let never_zero = [
            ("run.retention", self.retention.is_zero()),
            ("run.disk_total", self.disk_total == 0),
            ("run.disk_per_run", self.disk_per_run == 0),
            ("run.most", self.most == 0),
            ("run.cache", self.cache == 0),
            ("run.memory_per_run", self.memory_per_run == 0),
            ("run.memory_total", self.memory_total == 0),
        ];
        if let Some((key, _)) = never_zero.iter().find(|(_, zero)| *zero) {
            return Some(format!("{key}: must be more than 0"));
        }
        if self.disk_per_run > self.disk_total {
            return Some("run.disk_per_run: must not be more than run.disk_total".to_owned());
        }
        if self.commit_interval > LONGEST_COMMIT_INTERVAL {
            return Some(format!("run.commit_interval: must not be more than {LONGEST_COMMIT_INTERVAL:?}"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Option<String> {
        toml::from_str::<RunSettings>(text).unwrap().problem()
    }

    #[test]
    fn what_would_keep_nothing_is_refused() {
        for key in ["disk_total", "disk_per_run", "most", "cache", "memory_per_run", "memory_total"] {
            let told = problem(&format!("{key} = 0"));
            assert_eq!(told, Some(format!("run.{key}: must be more than 0")));
        }
        assert_eq!(problem("retention = '0s'").as_deref(), Some("run.retention: must be more than 0"));
        assert_eq!(problem("commit_interval = '0s'"), None, "commits may follow each other at once");
    }

    #[test]
    fn a_part_is_not_larger_than_the_whole() {
        let told = problem("disk_per_run = 6\ndisk_total = 5");
        assert_eq!(told.as_deref(), Some("run.disk_per_run: must not be more than run.disk_total"));
        assert_eq!(problem("disk_per_run = 5\ndisk_total = 5"), None);
    }

    #[test]
    fn nobody_waits_long_for_a_commit() {
        assert_eq!(problem("commit_interval = '100ms'"), None);
        let told = problem("commit_interval = '101ms'");
        assert_eq!(told.as_deref(), Some("run.commit_interval: must not be more than 100ms"));
    }

    #[test]
    fn the_log_is_named_by_one_word() {
        for (word, kind) in
            [("fsync", RunLogKind::Fsync), ("os", RunLogKind::Os), ("memory", RunLogKind::Memory)]
        {
            assert_eq!(toml::from_str::<RunSettings>(&format!("log = '{word}'")).unwrap().log, kind);
        }
        assert!(toml::from_str::<RunSettings>("log = 'disk'").is_err());
    }
}
