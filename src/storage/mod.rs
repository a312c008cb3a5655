//! What survives: sessions, run logs and idempotency keys. One trait each, with implementations that are chosen by configuration.
//!
//! The traits ask only for what a shared engine can do too: append with the expected sequence, range read, follow from
//! a sequence, compare-and-set by revision. Nothing assumes that one process sees everything.

mod claim;
pub mod runs;
pub mod sessions;

pub use runs::{
    AppendError, CreateError, ListRuns, MemoryLimits, MemoryRunLog, NewRun, Newest, OpenLogError, PlacedRun,
    ReadError, RunLog, RunPage, SegmentOptions, SegmentRunLog, Slice, SyncMode, Trim, UsedKey,
};
pub use sessions::{
    FileOptions, FileSessionStore, Loaded, MemorySessionStore, OpenError, PutError, Revision, SessionStore,
    StoreError, Stored,
};
