//! Runs: the map from run id to channel, the writer of each run, and reading its log.

mod audience;
mod error;
#[cfg(test)]
mod model_check;
mod reader;
mod relay;
mod retention;
mod runs;
mod session_runs;
mod watch;
mod watch_session;
mod watch_settings;
mod writer;

pub use error::{
    AnswerError, CursorExpired, CursorOutOfRange, EmitError, LogFull, LogUnavailable, ReadRunError,
    RunNotFound, RunUnreadable, SessionEnded, StartWriterError, WatchEnd, WatchError, WatchSessionError,
};
pub use retention::sweep_ended;
pub use runs::{BeginLog, Runs, TakenUp, Work};
pub use session_runs::SessionRuns;
pub use watch::Watch;
pub use watch_session::SessionWatch;
pub use watch_settings::{BadCoalesce, Coalesce, WatchSettings};
pub use writer::WriterHandle;

// What a listing is asked by and what it gives.
pub use crate::storage::{ListRuns, ReadError, RunPage, UsedKey};
