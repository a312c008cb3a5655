//! Runs: the map from run id to channel, the writer of each run, and reading its log.

mod error;
#[cfg(test)]
mod model_check;
mod retention;
mod runs;
mod watch;
mod writer;

pub use error::{
    CursorOutOfRange, EmitError, LogFull, LogUnavailable, ReadRunError, RunNotFound, RunUnreadable,
    StartWriterError, WatchEnd, WatchError,
};
pub use retention::sweep_ended;
pub use runs::{BeginLog, Runs};
pub use watch::Watch;
pub use writer::WriterHandle;

// What a listing is asked by and what it gives.
pub use crate::storage::{ListRuns, ReadError, RunPage, UsedKey};
